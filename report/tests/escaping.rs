//! What files say is text, wherever it is shown: no element of a page, no colour of a terminal.

use std::path::Path;

use records::explained::ExplainedRecord;
use records::handshake::HandshakeRecord;
use records::read::{Record, file, lines};
use records::run::RunRecord;
use whostalled_report::{explained_terminal, html, terminal};

/// A name as nobody should call a host, and the same in JSON.
const HOSTILE: &str = "<b>x</b>\"&\u{1b}[35m";
const IN_JSON: &str = r#"<b>x</b>\"&\u001b[35m"#;

fn written(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../records/tests/written").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A file that an earlier program wrote, in which `what` is called something else.
fn hostile(name: &str, what: &str) -> String {
    let text = written(name);
    assert!(text.contains(&format!("\"{what}\"")), "{name} has no {what}");
    text.replace(&format!("\"{what}\""), &format!("\"{IN_JSON}\""))
}

fn all<T: Record>(name: &str, text: &str) -> Vec<T> {
    lines(name, text.as_bytes()).map(|read| read.unwrap_or_else(|error| panic!("{error}"))).collect()
}

#[test]
fn the_page_of_a_run_has_no_element_of_anybody_elses() {
    let run: RunRecord = file("verdict.json", hostile("8db4dd4-verdict.json", "office").as_bytes()).expect("it is a run");
    let handshakes: Vec<HandshakeRecord> = all("handshakes.ndjson", &hostile("8db4dd4-handshakes.ndjson", "office"));
    let page = html::page(&run, &handshakes, &[HOSTILE.to_owned()]);
    assert!(!page.contains("<b>x") && page.contains("&lt;b&gt;x&lt;/b&gt;"), "it is shown as it is written");
    assert!(terminal::render(&run, &handshakes).contains("<b>x</b>"), "and in a terminal, too");
}

#[test]
fn a_name_brings_no_colours_onto_a_terminal() {
    let found: Vec<ExplainedRecord> = all("found.ndjson", &hostile("a6b7866-found.ndjson", "example.com"));
    let shown: Vec<String> = found.iter().map(explained_terminal::handshake).collect();
    assert!(shown.iter().any(|text| text.contains("<b>x</b>")), "{shown:?}");
    assert!(shown.iter().all(|text| !text.contains("\u{1b}[35m")), "{shown:?}");
}
