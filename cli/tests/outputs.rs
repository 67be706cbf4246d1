//! What the binary prints, byte for byte.

use std::path::Path;
use std::process::Command;

/// A capture of one frame that is no TCP.
fn capture() -> Vec<u8> {
    let header = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    let record = [1, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0, 14, 0, 0, 0];
    [&header[..], &record[..], &[0; 14][..]].concat()
}

fn whostalled(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_whostalled")).current_dir(folder).args(arguments).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[test]
fn json_is_printed_as_it_is_and_text_without_control_characters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // DEL is no part of a colour, but what strips colours drops it.
    let name = "edge\u{7f}.pcap";
    std::fs::write(folder.path().join(name), capture()).expect("it is writable");
    let (code, out, _) = whostalled(folder.path(), &["explain", name, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((code, report["captures"][0]["files"][0].as_str()), (Some(0), Some(name)));
    let (code, out, _) = whostalled(folder.path(), &["explain", name, "--html", "page\u{1b}.html"]);
    assert!(
        code == Some(0) && out.contains("edge\\u{7f}.pcap") && !out.contains(|c: char| c.is_control() && c != '\n'),
        "{out:?}"
    );
}

#[test]
fn an_error_brings_no_control_characters_onto_the_terminal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (code, _, said) = whostalled(folder.path(), &["run", "no\u{1b}[31msuch.toml"]);
    assert!(code == Some(2) && said.contains("no\\u{1b}[31msuch.toml") && !said.contains("no\u{1b}"), "{said:?}");
}

#[test]
fn a_run_is_refused_before_the_lab_is_built() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenario =
        "name = \"x\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"a\"\n[[target]]\nname = \"b\"\nrole = \"edge\"\n";
    std::fs::write(folder.path().join("x.toml"), scenario).expect("it is writable");
    std::fs::write(folder.path().join("file"), "").expect("it is writable");
    let (code, _, said) = whostalled(folder.path(), &["run", "x.toml", "--results", "file"]);
    assert!(code == Some(2) && said.contains("writing file") && !said.contains("building the lab"), "{said}");
    let command = "client.command=[\"no-such-client\"]";
    let (code, _, said) = whostalled(folder.path(), &["run", "x.toml", "--set", command, "--set", "client.kind=command"]);
    assert!(code == Some(2) && said.contains("no-such-client") && !said.contains("building the lab"), "{said}");
    assert!(!folder.path().join("results").exists(), "nothing was begun");
}
