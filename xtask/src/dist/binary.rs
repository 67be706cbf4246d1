//! The binary that is handed out: static, without symbols; what they say lies beside it. In: a libpcap. Out: two files.
//!
//! It is linked with glibc: Rust's target for musl cannot be presumed to be installed, and glibc runs on older kernels than we need
//! (docs/decisions/0045).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use super::{Release, libpcap};

pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What the binary has beyond its default.
pub(super) const FEATURES: &str = "bundled-sqlite,native-histograms";
/// With a target named, these are for what runs there, and not for build scripts and macros.
/// Relocations that a position-independent program makes by itself, packed (DT_RELR, which glibc 2.36 knows): a megabyte less.
pub(super) const FLAGS: &str = "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs";
/// As much as may be copied to a host for one run.
const MOST_BYTES: u64 = 25_000_000;

pub(super) struct Binary {
    pub program: PathBuf,
    pub debug: PathBuf,
}

pub(super) fn build(shell: &Shell, release: &Release) -> Result<Binary> {
    let libpcap = libpcap::build(shell)?;
    let cargo = cmd!(shell, "cargo build --locked --profile dist --target {TARGET} -p whostalled --features {FEATURES}");
    let cargo = cargo.env("RUSTFLAGS", FLAGS).env("WHOSTALLED_REVISION", &release.revision);
    cargo.env("LIBPCAP_LIBDIR", &libpcap.folder).env("LIBPCAP_VER", &libpcap.version).run()?;
    let built = shell.current_dir().join("target").join(TARGET).join("dist/whostalled");
    let program = release.file(&format!("whostalled-{}-x86_64-linux", release.version));
    let debug = release.file(&format!("whostalled-{}-x86_64-linux.debug", release.version));
    cmd!(shell, "objcopy --only-keep-debug --compress-debug-sections {built} {debug}").quiet().run()?;
    cmd!(shell, "objcopy --strip-all --add-gnu-debuglink={debug} {built} {program}").quiet().run()?;
    check(shell, &program, MOST_BYTES)?;
    Ok(Binary { program, debug })
}

/// That it is what it is said to be; whether it works is tried elsewhere.
pub(super) fn check(shell: &Shell, program: &Path, most: u64) -> Result<()> {
    let bytes = std::fs::metadata(program)?.len();
    if bytes > most {
        bail!("{} has {bytes} bytes, and {most} are allowed", program.display());
    }
    let headers = cmd!(shell, "readelf --program-headers --wide {program}").quiet().read()?;
    if headers.contains("INTERP") {
        bail!("{} asks for a dynamic linker", program.display());
    }
    let notes = cmd!(shell, "readelf --notes --wide {program}").quiet().read()?;
    let kernel = notes.lines().find_map(|line| line.split_once("ABI: ")).context("no note of the kernel that it needs")?.1;
    let numbers: Vec<u32> = kernel.split('.').filter_map(|part| part.trim().parse().ok()).collect();
    if numbers.as_slice() > [4, 18, 0].as_slice() {
        bail!("{} needs Linux {kernel}, and runs on 4.18 by our promise", program.display());
    }
    let said = cmd!(shell, "{program} --version").quiet().read()?;
    println!("{said}\nneeds Linux       {}", kernel.trim());
    Ok(())
}
