//! Logs of clients, servers and helpers: a JSON object a line. In: text or a file. Out: all of its objects, or that one cannot be read,
//! for the truth that a case is graded by must have no gaps.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use crate::error::{Failed, Why};

/// The objects of a log. Programs may print other lines; what begins as an object has to be one.
///
/// # Errors
/// If a line is a broken object.
pub fn lines(of: &str, text: &str) -> Result<Vec<Value>, Failed> {
    let objects = (1..).zip(text.lines()).filter(|(_, line)| line.starts_with('{'));
    objects.map(|(n, line)| serde_json::from_str(line).map_err(|e| Failed(format!("the log of {of}, line {n}: {e}")))).collect()
}

/// The same of a file; none if nobody wrote it.
///
/// # Errors
/// As [`lines`], and if the file cannot be read.
pub fn lines_in(path: &Path) -> Result<Vec<Value>, Failed> {
    match std::fs::read_to_string(path) {
        Ok(text) => lines(&path.display().to_string(), &text),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).why(format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_no_missing_line() {
        let text = "hello\n{\"t\":1}\n\n{\"t\":2}\n";
        assert_eq!(lines("x", text).expect("it is whole").len(), 2, "what is no object is the program's own talk");
        let cut = lines("x", "{\"t\":1}\n{\"t\":").expect_err("the second is cut").0;
        assert!(cut.contains("the log of x, line 2"), "{cut}");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(lines_in(&folder.join("no-such-log")).expect("nobody wrote it").is_empty());
        assert!(lines_in(folder).is_err(), "a folder is no log");
    }
}
