//! Looks for what the host must have. In: the features that the depending crates ask for. Out: an error that names each missing library and
//! the command that installs it; of clang, which can be done without, a warning.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[path = "../capture/src/tool.rs"]
mod tool;

/// A library that is linked.
struct Library {
    /// The feature that asks for it, as cargo hands it to build scripts.
    feature: &'static str,
    /// The one by which it comes from elsewhere.
    unless: Option<&'static str>,
    name: &'static str,
    /// Names a folder in which it is, too.
    folder: &'static str,
    /// Debian's package.
    package: &'static str,
    why: &'static str,
}

const LIBRARIES: [Library; 2] = [
    Library {
        feature: "CARGO_FEATURE_LIBPCAP",
        unless: None,
        name: "pcap",
        folder: "LIBPCAP_LIBDIR",
        package: "libpcap-dev",
        why: "packets are captured with it",
    },
    Library {
        feature: "CARGO_FEATURE_SQLITE",
        unless: Some("CARGO_FEATURE_BUNDLED_SQLITE"),
        name: "sqlite3",
        folder: "SQLITE3_LIB_DIR",
        package: "libsqlite3-dev",
        why: "incidents and alerts are kept in it; or build with --features bundled-sqlite",
    },
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../capture/src/tool.rs");
    println!("cargo:rerun-if-env-changed=CLANG");
    let asked = |feature: &str| std::env::var_os(feature).is_some();
    let wanted = LIBRARIES.iter().filter(|library| asked(library.feature) && !library.unless.is_some_and(asked));
    let mut missing = Vec::new();
    for library in wanted {
        println!("cargo:rerun-if-env-changed={}", library.folder);
        if !links(library) {
            missing.push(library);
        }
    }
    if asked("CARGO_FEATURE_LIBPCAP") {
        look_for_clang();
    }
    if missing.is_empty() {
        return;
    }
    let mut said = String::from("\nThis host lacks what whostalled is linked with:\n");
    for Library { name, package, why, .. } in &missing {
        said += &format!("  lib{name}, with what compilers need of it (Debian: {package}): {why}\n");
    }
    let packages: Vec<&str> = missing.iter().map(|library| library.package).collect();
    said += &format!("Install it and build again:\n\n    apt-get install {}\n\n", packages.join(" "));
    said += "`make build` does both, and says what it installs.\n";
    eprintln!("{said}");
    std::process::exit(1);
}

/// Whether the linker finds it: asked as Rust will ask. A linker that is missing is Rust's to say.
fn links(library: &Library) -> bool {
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let mut command = Command::new("cc");
    command.args(["-shared", "-x", "c", "-", "-o"]).arg(Path::new(&out).join("linked")).arg(format!("-l{}", library.name));
    if let Ok(folder) = std::env::var(library.folder) {
        command.arg(format!("-L{folder}"));
    }
    let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return true };
    // An empty program; one that cannot be written to has ended, and says why by its status.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(b"\n"));
    child.wait().is_ok_and(|status| status.success())
}

/// The recorder's filter is compiled with it; `capture`'s build script says what becomes of that.
fn look_for_clang() {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let watched = tool::to_watch(&clang, std::env::var_os("PATH").as_deref());
    let is_there = watched.iter().any(|place| place.is_file());
    if !is_there {
        println!("cargo:rerun-if-env-changed=PATH");
        println!(
            "cargo:warning={clang} is missing: the recorder will filter packets in user space. \
             For the filter in the kernel: apt-get install clang, then build again"
        );
    }
    for place in watched {
        println!("cargo:rerun-if-changed={}", place.display());
    }
}
