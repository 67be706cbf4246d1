//! What customers sent, from file to report: told apart from captures, judged, filtered, and read back as it was written.

use std::io::Write;
use std::path::{Path, PathBuf};

use analysis::clock::{Instant, Span};
use records::imported::{ImportReport, ImportedRecord};
use whostalled_explain::filter::Filter;
use whostalled_explain::imported::{Options, Source, explain, sniff};

fn customer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../imports/tests/customers").join(name)
}

fn report(names: &[&str], filter: Filter, top: usize) -> ImportReport {
    let files: Vec<_> = names.iter().map(|name| (customer(name), sniff(&customer(name)).ok().flatten().expect(name))).collect();
    explain(&files, Options { filter, top, each: None }).expect("the files are there")
}

#[test]
fn files_are_told_by_content_packed_or_not_and_captures_are_left_alone() {
    let told = |path: &Path| sniff(path).expect("it can be opened");
    assert_eq!(told(&customer("documented/alb-access.log.gz")), Some(Source::Alb));
    assert_eq!(told(&customer("edited/devtools.har.gz")), Some(Source::Har));
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo/recorded/c003-python-python-client-stalls/client.pcap.zst");
    assert_eq!(told(&capture), None);
    assert!(sniff(Path::new("nowhere.har")).is_err());
}

#[test]
fn the_slowest_come_first_with_the_key_and_read_back_as_they_were_written() {
    let report = report(&["documented/nlb-tls.log", "edited/curl-array.json"], Filter::default(), 3);
    assert_eq!((report.requests, report.selected, report.imported.len()), (5, 5, 2));
    let totals: Vec<Option<Span>> = report.slowest.iter().map(|r| r.judged.as_ref().map(|j| j.reading.ledger.total)).collect();
    assert!(totals.is_sorted_by(|a, b| a >= b) && totals.len() == 3, "{totals:?}");
    let first = &report.slowest[0];
    assert_eq!((first.place.as_str(), first.seen_by.as_str(), first.label().as_str()), ("line 1", "edge", "inconclusive"));
    assert_eq!(
        first.key.as_ref().map(|key| (key.client.as_str(), key.server.as_deref())),
        Some(("192.0.2.7:51341", Some("198.51.100.100:443")))
    );
    let written = serde_json::to_vec(&report).expect("it is written");
    assert_eq!(records::read::file::<ImportReport>("report.json", &written).expect("it reads"), report);
    let line = serde_json::to_vec(first).expect("it is written");
    assert_eq!(records::read::file::<ImportedRecord>("line.json", &line).expect("it reads"), *first);
}

#[test]
fn filters_admit_by_what_is_known() {
    let with = |filter: Filter| report(&["documented/nlb-tls.log", "made/curl-tls13.json"], filter, 10).selected;
    assert_eq!(with(Filter { slow: Some(Span::from_millis(200)), ..Filter::default() }), 1);
    assert_eq!(with(Filter { hosts: vec!["192.0.2.0/24".parse().expect("a network")], ..Filter::default() }), 3);
    assert_eq!(with(Filter { names: vec!["*.example.com".parse().expect("a name")], ..Filter::default() }), 1);
    assert_eq!(with(Filter { verdicts: vec!["unjudged".parse().expect("a label")], ..Filter::default() }), 1);
    assert_eq!(with(Filter { since: Some(Instant::default()), ..Filter::default() }), 3, "curl's times have no date");
}

#[test]
fn a_file_that_breaks_off_says_so_and_what_was_read_counts() {
    let report = report(&["edited/devtools-cut.har"], Filter::default(), 10);
    assert_eq!((report.requests, report.imported[0].cut.is_some(), report.imported[0].skipped.len()), (2, true, 1));
    let mut packed = tempfile::NamedTempFile::new().expect("a file");
    let bytes = std::fs::read(customer("edited/devtools.har.gz")).expect("it is there");
    packed.write_all(&bytes[..bytes.len() / 2]).expect("it is written");
    let files = [(packed.path().to_owned(), sniff(packed.path()).expect("it opens").expect("it is a HAR"))];
    let cut = explain(&files, Options { filter: Filter::default(), top: 10, each: None }).expect("it opens");
    assert!(cut.imported[0].cut.is_some(), "{:?}", cut.imported);
}
