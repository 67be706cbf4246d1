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

const HAPROXY: &str = "198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s2 640/0/3/0/0/7/650 200 99 - - ---- 2/2/0/0/0 0/0 \"GET /a HTTP/1.1\"\n";

#[test]
fn what_customers_send_is_explained_with_the_key_and_what_cannot_be_known() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = format!("{HAPROXY}worker exited\n{}", HAPROXY.replace("640", "2").replace(":5001", ":5002"));
    std::fs::write(folder.path().join("edge.log"), &lines).expect("it is writable");
    let (code, out, _) = whostalled(folder.path(), &["explain", "edge.log"]);
    for said in [
        "2 requests",
        "inconclusive",
        "whostalled capture dump --flow 198.51.100.4:5001 -o flow.pcapng",
        "What none of them can know",
        "left out: 1 line of no form that is known (line 2 is the first)",
        "whostalled run --from edge.log",
    ] {
        assert!(code == Some(0) && out.contains(said), "{said}: {out}");
    }
    let (code, out, _) = whostalled(folder.path(), &["explain", "edge.log", "--slow", "200ms", "--ndjson"]);
    let record: serde_json::Value = serde_json::from_str(&out).expect("it is one line of JSON");
    assert_eq!(
        (code, record["key"]["client"].as_str(), record["place"].as_str()),
        (Some(0), Some("198.51.100.4:5001"), Some("line 1"))
    );
    let (code, out, _) = whostalled(folder.path(), &["explain", "edge.log", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((code, report["requests"].as_u64(), report["format"].as_u64()), (Some(0), Some(2), Some(1)));
}

#[test]
fn captures_and_what_programs_say_are_not_mixed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("edge.pcap"), capture()).expect("it is writable");
    std::fs::write(folder.path().join("edge.log"), HAPROXY).expect("it is writable");
    for (arguments, words) in [
        (&["explain", "edge.log", "edge.pcap"][..], "two commands"),
        (&["explain", "edge.pcap", "--edge-side", "edge.log"][..], "no capture"),
        (&["explain", "edge.log", "--html", "x.html"][..], "--html needs captures"),
    ] {
        let (code, _, said) = whostalled(folder.path(), arguments);
        assert!(code == Some(2) && said.contains(words), "{said}");
    }
    let input = std::fs::File::open(folder.path().join("edge.log")).expect("it is there");
    let piped = Command::new(env!("CARGO_BIN_EXE_whostalled")).args(["explain", "-"]).stdin(input).output().expect("it starts");
    assert!(String::from_utf8_lossy(&piped.stdout).contains("line 1 of -"), "{piped:?}");
}
