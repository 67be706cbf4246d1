//! Files of records, of any version ever written → typed data, or which file, which line and which version it was.
//!
//! Whoever calls has opened the file: what comes in are its name, for errors, and its bytes.
//!
//! ```
//! use whostalled_records::{explained::ExplainedRecord, read};
//!
//! let mut found = read::lines::<ExplainedRecord>("found.ndjson", b"{\"format\": 7}\n");
//! let error = found.next().expect("a line").expect_err("nobody knows what version 7 will be");
//! assert!(error.to_string().starts_with("found.ndjson, line 1: a handshake found in captures of format 7"));
//! ```

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::FORMAT;
use crate::compared::Compared;
use crate::explained::{ExplainReport, ExplainedRecord};
use crate::handshake::{HandshakeRecord, Judged};
use crate::imported::{ImportReport, ImportedRecord};
use crate::run::{ClientEnded, Manifest, RunRecord};

/// How the comment of an evidence file begins that holds a [`Judged`].
pub const VERDICT_COMMENT: &str = "whostalled-verdict: ";

/// Something that lies in files.
pub trait Record: DeserializeOwned {
    /// What it is called in errors.
    const WHAT: &str;
    /// Whether it says its format itself. What does not is read as this program's own, as all before it.
    const SAYS_FORMAT: bool = true;
}

impl Record for RunRecord {
    const WHAT: &str = "a judged run";
}
impl<S: DeserializeOwned> Record for Manifest<S> {
    const WHAT: &str = "a run's manifest";
}
impl Record for HandshakeRecord {
    const WHAT: &str = "a handshake of a run";
}
impl Record for ClientEnded {
    const WHAT: &str = "a client's end";
    const SAYS_FORMAT: bool = false;
}
impl Record for ExplainedRecord {
    const WHAT: &str = "a handshake found in captures";
}
impl Record for ExplainReport {
    const WHAT: &str = "a report on captures";
}
impl Record for ImportedRecord {
    const WHAT: &str = "a request found in what a customer sent";
}
impl Record for ImportReport {
    const WHAT: &str = "a report on what customers sent";
}
impl Record for Compared {
    const WHAT: &str = "a comparison";
}
impl Record for Judged {
    const WHAT: &str = "a verdict";
    const SAYS_FORMAT: bool = false;
}

/// Why a record cannot be had: the file's fault, or this program is too old for it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A later program wrote it.
    #[error(
        "{at}: {what} of format {format}, and this program knows formats up to {FORMAT}: read it with the program that wrote it, or a later one"
    )]
    Later {
        /// Where.
        at: Place,
        /// What it was to be.
        what: &'static str,
        /// Its version.
        format: u64,
    },
    /// It names a version that never was, or none.
    #[error("{at}: no record: `format` is {said}, and {what} says which version it has (1 to {FORMAT})")]
    NoFormat {
        /// Where.
        at: Place,
        /// What it was to be.
        what: &'static str,
        /// What it says instead.
        said: String,
    },
    /// The file ends within it: whoever wrote it was killed.
    #[error("{at}: the file ends within {what}")]
    Cut {
        /// Where.
        at: Place,
        /// What it was to be.
        what: &'static str,
    },
    /// It is no JSON.
    #[error("{at}: no JSON, and so not {what}: {source}")]
    NoJson {
        /// Where.
        at: Place,
        /// What it was to be.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It has that version, and is not that record.
    #[error("{at}: not {what} of format {format}: {source}")]
    Unreadable {
        /// Where.
        at: Place,
        /// What it was to be.
        what: &'static str,
        /// Its version.
        format: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Where a record lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The line, from 1; absent if the record is the whole file.
    pub line: Option<usize>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// Reads a file that is one record.
///
/// # Errors
/// Names the file, and the version if that is why.
pub fn file<T: Record>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    one(Place { file: name.to_owned(), line: None }, bytes, true)
}

/// Reads a file with a record in every line. A line that cannot be read is an error of its own; those behind it are read all the same.
pub fn lines<'a, T: Record>(name: &'a str, bytes: &'a [u8]) -> impl Iterator<Item = Result<T, Error>> + 'a {
    let lines = (1..).zip(bytes.split_inclusive(|b| *b == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    lines.map(|(number, line)| one(Place { file: name.to_owned(), line: Some(number) }, line, !line.ends_with(b"\n")))
}

/// Reads the verdict from a comment of an evidence file; absent if this comment is none. Errors name `file`.
pub fn verdict_comment(file: &str, comment: &str) -> Option<Result<Judged, Error>> {
    let json = comment.strip_prefix(VERDICT_COMMENT)?;
    Some(one(Place { file: file.to_owned(), line: None }, json.as_bytes(), false))
}

/// `last`: whether nothing follows it in its file, so that it may be cut.
fn one<T: Record>(at: Place, bytes: &[u8], last: bool) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        format: Value,
    }
    let what = T::WHAT;
    let head = match serde_json::from_slice::<Head>(bytes) {
        Ok(head) => head,
        Err(error) if error.is_eof() && last => return Err(Error::Cut { at, what }),
        Err(error) if error.is_data() => Head { format: Value::Null }, // a number, a string: no record
        Err(source) => return Err(Error::NoJson { at, what, source }),
    };
    let format = if T::SAYS_FORMAT { head.format } else { FORMAT.into() };
    match format.as_u64() {
        Some(1) => first(bytes).map_err(|source| Error::Unreadable { at, what, format: 1, source }),
        Some(later) if later > u64::from(FORMAT) => Err(Error::Later { at, what, format: later }),
        _ => {
            let said = if format.is_null() { "missing".to_owned() } else { format.to_string() };
            Err(Error::NoFormat { at, what, said })
        }
    }
}

/// A kind that format 1 had for a day: an acknowledgement put off, whoever waited for it.
const PUT_OFF: &str = "delayed_ack";

/// Format 1.
fn first<T: Record>(bytes: &[u8]) -> serde_json::Result<T> {
    // Nothing else of it was ever taken away; so nearly all files are read at once.
    if memchr::memmem::find(bytes, PUT_OFF.as_bytes()).is_none() {
        return serde_json::from_slice(bytes);
    }
    let mut value: Value = serde_json::from_slice(bytes)?;
    forget_put_off(&mut value);
    serde_json::from_value(value)
}

/// Since then an entry says for which rule somebody waited. These do not know: they have no kind, as where nothing more is known.
fn forget_put_off(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(kind) = fields.get_mut("kind")
                && kind == PUT_OFF
            {
                *kind = Value::Null;
            }
            fields.values_mut().for_each(forget_put_off);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_put_off),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
