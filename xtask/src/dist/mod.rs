//! What is handed out, made: a static binary, its debug information, a Debian package, a container image, what is in them and their
//! checksums. In: the sources. Out: `target/packages`.
//!
//! ```text
//! libpcap ─► binary ─► package (.deb) ─┐
//!               └───► image (OCI) ─────┼─► bill of materials, SHA256SUMS
//! pages (manual, completions) ─────────┘
//! ```
//! Whether it works is tried by `e2e` (`packages`, `first_day`).

mod binary;
mod image;
mod libpcap;
mod materials;
mod package;
mod provider;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::Found;
pub(crate) use provider::make as make_provider;

/// What all of it is called and made of.
struct Release {
    /// As Cargo.toml has it.
    version: String,
    /// The commit, and whether the sources differ from it.
    revision: String,
    /// Seconds since the epoch at which that commit was made: what files in archives are dated by, so that the same sources give the
    /// same bytes (reproducible-builds.org, SOURCE_DATE_EPOCH).
    date: String,
    /// Where everything goes.
    folder: PathBuf,
}

impl Release {
    fn of(shell: &Shell) -> Result<Self> {
        let manifest = shell.read_file("Cargo.toml")?;
        let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).context("Cargo.toml has no version")?;
        let git = cmd!(shell, "git describe --always --dirty --abbrev=12").quiet().ignore_stderr().read();
        let revision = git.unwrap_or_else(|_| "unknown (no git checkout)".into());
        let commit = cmd!(shell, "git log -1 --format=%ct").quiet().ignore_stderr().read();
        let date = std::env::var("SOURCE_DATE_EPOCH").ok().or(commit.ok());
        let date = date.context("when were these sources made? Set SOURCE_DATE_EPOCH where there is no git checkout")?;
        let folder = shell.current_dir().join("target/packages");
        Ok(Self { version: version.trim_matches('"').to_owned(), revision, date, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

pub(crate) fn make(shell: &Shell) -> Result<Found> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("packages are made on x86_64 alone: nothing else has been tried ({} here)", std::env::consts::ARCH);
    }
    let release = Release::of(shell)?;
    // What is built is looked for in the repository's own folder.
    let _whatever_the_caller_named = shell.push_env("CARGO_TARGET_DIR", shell.current_dir().join("target"));
    shell.remove_path(&release.folder)?;
    shell.create_dir(&release.folder)?;
    let binary = binary::build(shell, &release)?;
    let pages = pages(shell, &release)?;
    let package = package::build(shell, &release, &binary, &pages)?;
    let image = image::build(shell, &release, &binary)?;
    let materials = materials::list(shell, &release)?;
    let mut handed_out = vec![binary.program, binary.debug, package, image, materials];
    handed_out.sort();
    let sums = sums(shell, &release, &handed_out, "SHA256SUMS")?;
    println!("\n{sums}");
    for file in &handed_out {
        println!("{:>10} bytes  {}", std::fs::metadata(file)?.len(), file.display());
    }
    Ok(Found::Good)
}

/// The manual and completions; gives their folder.
fn pages(shell: &Shell, release: &Release) -> Result<PathBuf> {
    let folder = release.file("pages");
    // With the features of the suites that try it: what they need is not built twice.
    let features = ["--workspace", "--features", "whostalled-e2e/run"];
    cmd!(shell, "cargo build --quiet --locked {features...} --example pages").run()?;
    cmd!(shell, "target/debug/examples/pages {folder}").run()?;
    Ok(folder)
}

/// Writes checksums (`SHA256SUMS`), for `sha256sum -c` beside the files.
fn sums(shell: &Shell, release: &Release, files: &[PathBuf], to: &str) -> Result<String> {
    let names = files.iter().map(|file| file.file_name().context("a file's name")).collect::<Result<Vec<_>>>()?;
    let _beside = shell.push_dir(&release.folder);
    let sums = cmd!(shell, "sha256sum {names...}").quiet().read()?;
    shell.write_file(to, format!("{sums}\n"))?;
    Ok(sums)
}

/// An archive of a folder that comes out the same each time: names in order, root's, dated by the release.
fn archive(shell: &Shell, release: &Release, folder: &Path, to: &Path) -> Result<()> {
    let date = format!("--mtime=@{}", release.date);
    cmd!(
        shell,
        "tar --create --file {to} --directory {folder} --sort=name {date} --owner=0 --group=0 --numeric-owner --format=gnu ."
    )
    .quiet()
    .run()?;
    Ok(())
}
