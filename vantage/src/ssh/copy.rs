//! Which program is copied, and what it is.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Names the program that is copied, instead of our own.
pub(super) const NAMED: &str = "WHOSTALLED_STATIC";
/// Such a program, beside our own.
const BESIDE: &str = "whostalled-static";

/// A program that is to run elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Binary {
    /// Its bytes.
    pub(super) size: u64,
    /// Its SHA-256, in hexadecimal.
    pub(super) sha256: String,
}

impl Binary {
    /// Reads a program.
    pub(super) fn read(path: &Path) -> std::io::Result<Self> {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let (mut file, mut size) = (File::open(path)?, 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => {
                    context.update(&buffer[..n]);
                    size += n as u64;
                }
            }
        }
        Ok(Self { size, sha256: context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect() })
    }

    /// The beginning of its hash, by which it is called.
    pub(super) fn short(&self) -> &str {
        &self.sha256[..16]
    }
}

/// The program to copy: the one that is named; else our own, but that a static one beside it goes before a dynamic one of ours, which needs
/// the other host's libraries.
pub(super) fn to_copy(named: Option<OsString>, own: PathBuf, is_static: bool) -> PathBuf {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return named.into();
    }
    let beside = own.with_file_name(BESIDE);
    if !is_static && beside.is_file() { beside } else { own }
}

/// What a program is built for, as `uname -sm` writes it: by its ELF header (elf(5), `e_machine`).
pub(super) fn machine_of(program: &Path) -> std::io::Result<String> {
    let mut header = [0; 20];
    File::open(program)?.read_exact(&mut header)?;
    let machine = match (&header[..4], u16::from_le_bytes([header[18], header[19]])) {
        (b"\x7fELF", 62) => "x86_64",
        (b"\x7fELF", 183) => "aarch64",
        _ => return Err(std::io::Error::other("it is no program for x86_64 or aarch64")),
    };
    Ok(format!("Linux {machine}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_goes_before_a_dynamic_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (own, beside) = (folder.path().join("whostalled"), folder.path().join(BESIDE));
        assert_eq!(to_copy(None, own.clone(), false), own, "there is no other");
        std::fs::write(&beside, "").expect("our own folder");
        assert_eq!(to_copy(None, own.clone(), false), beside);
        assert_eq!(to_copy(None, own.clone(), true), own, "ours is static");
        assert_eq!(to_copy(Some("/other".into()), own.clone(), true), Path::new("/other"));
        assert_eq!(to_copy(Some("".into()), own.clone(), true), own, "an empty name names nothing");
    }

    #[test]
    fn a_program_says_what_it_is_built_for() {
        let own = std::env::current_exe().expect("it runs");
        assert_eq!(machine_of(&own).expect("it is a program"), format!("Linux {}", std::env::consts::ARCH));
        assert!(machine_of(Path::new("/etc/passwd")).is_err(), "a text is none");
    }
}
