//! Tests that need what not every machine has (rights, a kernel's help, other people's captures) say `skipped: why` where it is missing,
//! and fail where `WHOSTALLED_REQUIRE` names it (`WHOSTALLED_REQUIRE=root,bpf,corpus`): a skip must not read as a pass.
//! What is no test says so by [`may_skip`].
#![forbid(unsafe_code)]

mod archive;

pub use archive::archive;

use std::fmt::{self, Display};
use std::io::Write;
use std::path::{Path, PathBuf};

use strum::VariantNames;

/// What a test needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, strum::EnumString, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Need {
    /// To be root.
    Root,
    /// The programs for the kernel, which clang compiles.
    Bpf,
    /// Captures of other projects.
    Corpus,
    /// Captures rebuilt after people's reports.
    Reports,
    /// Recordings of real stacks with the injectors' truth.
    Faults,
    /// Every TLS stack that the zoo knows.
    Stacks,
    /// Programs that `cargo xtask install-missing test` installs.
    Tools,
    /// User namespaces for ordinary users.
    Userns,
    /// The database of known holes.
    Advisories,
    /// The oldest Rust that `Cargo.toml` promises.
    Msrv,
}

impl Need {
    /// Its name in `WHOSTALLED_REQUIRE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn is_required(self) -> bool {
        std::env::var("WHOSTALLED_REQUIRE").is_ok_and(|all| match required(&all) {
            Ok(needs) => needs.contains(&self),
            Err(unknown) => panic!("{unknown}"),
        })
    }
}

/// A word of `WHOSTALLED_REQUIRE` that names nothing: what was meant would be skipped in silence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownNeed(String);

impl Display for UnknownNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WHOSTALLED_REQUIRE: {:?} is none of {}", self.0, Need::VARIANTS.join(", "))
    }
}

impl std::error::Error for UnknownNeed {}

/// What a list as in `WHOSTALLED_REQUIRE` names.
///
/// # Errors
/// The first word that names nothing.
pub fn required(list: &str) -> Result<Vec<Need>, UnknownNeed> {
    let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| UnknownNeed(word.to_owned()))).collect()
}

/// What must not be skipped here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Required(Need);

impl Display for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is required by WHOSTALLED_REQUIRE", self.0.name())
    }
}

impl std::error::Error for Required {}

/// Says that something is skipped.
///
/// # Errors
/// If what it needs is required; that is said, too.
pub fn may_skip(need: Need, why: impl Display) -> Result<(), Required> {
    // Not by `eprintln`: the harness swallows what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    if need.is_required() {
        let _ = writeln!(std::io::stderr(), "FAILED: {}", Required(need));
        return Err(Required(need));
    }
    Ok(())
}

/// Says that a test is skipped.
///
/// # Panics
/// If what it needs is required.
pub fn skipped(need: Need, why: impl Display) {
    if let Err(required) = may_skip(need, &why) {
        panic!("{required}: {why}");
    }
}

/// Whether we are root; said if not.
///
/// # Panics
/// If we are not, and must be.
#[must_use]
pub fn root() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !root {
        skipped(Need::Root, "not root");
    }
    root
}

/// Where a program is: on the path, or where only root's path leads.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    which::which_in(name, Some(std::env::join_paths(folders).ok()?), ".").ok()
}

/// The folder of a set of captures that is no part of this repository: what `WHOSTALLED_CORPUS` (`…_REPORTS`, `…_FAULTS`) names, else
/// `../shared/corpus` beside the checkout; said if there is none.
///
/// # Panics
/// If there is none, and there must be, or what is named is no folder.
#[must_use]
pub fn captures(of: Need) -> Option<PathBuf> {
    let variable = format!("WHOSTALLED_{}", of.name().to_uppercase());
    if let Some(named) = std::env::var_os(&variable).map(PathBuf::from) {
        assert!(named.is_dir(), "{variable} names {}, which is no folder", named.display());
        return Some(named);
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(of.name());
    if beside.is_dir() {
        return Some(beside);
    }
    skipped(of, format_args!("{variable} names no folder, and {} is not here", beside.display()));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_that_is_misspelt_is_an_error() {
        assert_eq!(required("root, bpf,,corpus"), Ok(vec![Need::Root, Need::Bpf, Need::Corpus]));
        assert_eq!(required(""), Ok(vec![]));
        let unknown = required("root,rooot").expect_err("there is no such thing").to_string();
        assert!(unknown.contains("\"rooot\"") && unknown.contains("root, bpf"), "{unknown}");
    }
}
