//! What the tests of log lines ask of a line.

use whostalled_imports::logline::{Fields, ParsedLine, read};

/// The client of every line.
pub const CLIENT: &str = "198.51.100.4:5001";

/// What a line says: `every` (a log of all requests), the handshake's milliseconds, `named` (somebody's word that it was slow), `unread`.
pub fn said(line: &str) -> String {
    match read(line, &Fields::default()) {
        Err(_) => "unread".into(),
        Ok(ParsedLine { client, .. }) if client.to_string() != CLIENT => format!("ANOTHER END: {client}"),
        Ok(ParsedLine { every: true, .. }) => "every".into(),
        Ok(ParsedLine { took: Some(took), .. }) => took.as_millis().to_string(),
        Ok(ParsedLine { took: None, .. }) => "named".into(),
    }
}
