//! `init` of the verbs that run for ever: a file to begin with, never written over another.

use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::{exit, saying};

/// Writes a file that is not there yet, and says what to do next.
///
/// # Errors
/// If it is there, or cannot be written.
pub fn write(file: &Path, text: &str, next: &dyn Fn(&str) -> String) -> Result<u8, Box<dyn Error>> {
    if file.as_os_str() == "-" {
        saying::coloured(text)?;
        return Ok(exit::HELD);
    }
    let name = file.display().to_string();
    let written = File::create_new(file).and_then(|mut made| made.write_all(text.as_bytes()));
    written.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => format!("{name} is there already: name another file, or `-` for standard output"),
        _ => format!("{name}: {e}"),
    })?;
    eprintln!("wrote {name}; next: {}", next(&name));
    Ok(exit::HELD)
}
