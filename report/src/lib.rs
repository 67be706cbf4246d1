//! Records in, bytes out: terminal, HTML; for comparisons Markdown, annotations and JUnit, too. Renderers return values; whoever calls them writes.
#![forbid(unsafe_code)]

mod citing;
pub mod compared;
pub mod explained_html;
pub mod explained_terminal;
pub mod html;
pub mod imported_terminal;
pub mod library;
pub mod terminal;
mod waterfall;

use records::explained::ExplainedRecord;

/// A record as a line of JSON, behind what is in `out`. Compiled here, in one unit: where generic code is spread over many, a line costs half
/// as much again.
///
/// # Errors
/// Never in practice: a record has no keys but text.
pub fn json_line(record: &ExplainedRecord, out: &mut Vec<u8>) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.push(b'\n');
    Ok(())
}
