//! Files of records are read back: those of earlier programs (`written/`), and what is wrong with others is said with file, line and
//! version.

use std::path::Path;

use analysis::clock::Span;
use analysis::judging::ledger::{Kind, Owner};
use analysis::judging::verdict::Verdict;
use whostalled_records::compared::{Compared, Counted, Outcome};
use whostalled_records::explained::{ExplainReport, ExplainedRecord};
use whostalled_records::handshake::{HandshakeRecord, Judged};
use whostalled_records::imported::{ImportReport, ImportedRecord};
use whostalled_records::read::{Error, Record, VERDICT_COMMENT, file, lines, verdict_comment};
use whostalled_records::run::{ClientEnded, Manifest, RunRecord};

fn written(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/written").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every line of a file that an earlier program wrote.
fn all<T: Record>(name: &str) -> Vec<T> {
    lines(name, &written(name)).map(|read| read.unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn label(judged: Option<&Judged>) -> String {
    judged.map_or_else(String::new, |judged| judged.judgement.verdict.label())
}

/// What reading these lines as handshakes found in captures says of each.
fn said(text: &[u8]) -> Vec<String> {
    let found = lines::<ExplainedRecord>("found.ndjson", text);
    found.map(|read| read.map_or_else(|error| error.to_string(), |record| format!("#{}", record.id))).collect()
}

/// The first line of a file, changed.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(written("a6b7866-found.ndjson")).expect("it is text");
    let first = text.lines().next().expect("it has a line");
    assert!(first.contains(from), "{from}");
    first.replacen(from, to, 1).into_bytes()
}

#[test]
fn handshakes_of_runs_before_the_walk_are_read() {
    let read: Vec<HandshakeRecord> = all("8db4dd4-handshakes.ndjson");
    let labels = read.iter().map(|h| label(h.both_ends.as_ref())).collect::<Vec<_>>();
    assert_eq!(labels, ["healthy", "client", "loss/out"]);
    for judged in read.iter().flat_map(|h| [&h.both_ends, &h.edge_only]).flatten() {
        let ledger = &judged.reading.ledger;
        assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
    }
}

#[test]
fn comparisons_of_before_are_read() {
    let name = "5251137-compared.json";
    let read: Compared = file(name, &written(name)).unwrap_or_else(|error| panic!("{error}"));
    let worse: Vec<Counted> = read.counts.iter().filter(|count| count.is_worse()).map(|count| count.what).collect();
    assert_eq!(worse, [Counted::RoundTrips, Counted::ServerRecords, Counted::HelloRetryRequests]);
    assert_eq!((read.outcome, read.candidate.agreed[0].as_str()), (Outcome::Regression, "TLS 1.3"));
    assert!(read.blocks.iter().all(|block| block.base_ms.len() == read.differences.len()) && !read.blocks.is_empty());
}

#[test]
fn an_inconclusive_verdict_is_read_though_its_fields_come_twice() {
    let read: Vec<HandshakeRecord> = all("8db4dd4-handshakes.ndjson");
    let mut judged = read[2].edge_only.clone().expect("it is judged");
    let Verdict::Inconclusive { candidates, excess, .. } = &mut judged.judgement.verdict else { panic!("it is open") };
    assert!(!candidates.is_empty() && *candidates == judged.judgement.candidates);
    *excess += Span::from_millis(1); // what is open need not be all of it
    let text = serde_json::to_string(&judged).expect("it is written");
    assert_eq!(verdict_comment("one.pcapng", &format!("{VERDICT_COMMENT}{text}")).map(Result::ok), Some(Some(judged)));
}

#[test]
fn runs_are_read_from_before_stolen_time_was_measured() {
    let run: RunRecord = file("verdict.json", &written("8db4dd4-verdict.json")).expect("it reads");
    assert_eq!((run.verdict().verdict.label().as_str(), run.held()), ("client_host/cpu_starved", true));
    assert_eq!((run.verdict().cells[1].slow, run.footing.stolen_ms, run.phases[0].phases[0].p90), (0, 0.0, None));
    let manifest: Manifest = file("run.json", &written("931a83b-run.json")).expect("it reads");
    assert_eq!((manifest.cpus, manifest.scenario["name"].as_str()), (2, Some("healthy")));
    let ended: Vec<ClientEnded> = all("931a83b-events.ndjson");
    assert_eq!(ended.iter().map(|e| (e.code, e.timed_out)).collect::<Vec<_>>(), [(Some(0), false), (None, true)]);
}

#[test]
fn handshakes_found_in_captures_are_read_with_and_without_a_verdict() {
    let read: Vec<ExplainedRecord> = all("a6b7866-found.ndjson");
    let labels = read.iter().map(|r| label(r.judged.as_ref())).collect::<Vec<_>>();
    assert_eq!(labels, ["path/delay", "path/delay", "client", ""]);
    assert_eq!(read[3].not_judged.as_deref(), Some("the capture holds one direction only"));
    for record in read {
        let again = serde_json::to_vec(&record).expect("it is written");
        assert_eq!(lines::<ExplainedRecord>("again", &again).map(Result::ok).collect::<Vec<_>>(), [Some(record)]);
    }
}

#[test]
fn what_customers_sent_is_read_with_and_without_its_keys() {
    let read: Vec<ImportedRecord> = all("29c46a9-imported.ndjson");
    let labels = read.iter().map(|r| (r.source.as_str(), r.label())).collect::<Vec<_>>();
    let labels: Vec<(&str, &str)> = labels.iter().map(|(source, label)| (*source, label.as_str())).collect();
    let open = "inconclusive";
    assert_eq!(labels, [("curl's times", open), ("Chrome NetLog", open), ("curl's times", open), ("HAProxy log", "healthy")]);
    let keys: Vec<_> = read.iter().map(|r| (r.key.as_ref().map(|key| key.server.is_some()), r.random.as_deref())).collect();
    let random = "5232e1edac9c3f21a2877985b9138e8c354e267cb4a62b2ed8fef83fb8a99b3a";
    assert_eq!(keys, [(Some(true), None), (Some(true), Some(random)), (None, None), (Some(false), None)]);
    assert!(read.iter().all(|record| !record.cannot_know.is_empty()));
    for record in read {
        if let Some(judged) = &record.judged {
            assert_eq!(judged.reading.ledger.entries.iter().map(|e| e.span).sum::<Span>(), judged.reading.ledger.total);
        }
        let again = serde_json::to_vec(&record).expect("it is written");
        assert_eq!(lines::<ImportedRecord>("again", &again).map(Result::ok).collect::<Vec<_>>(), [Some(record)]);
    }
    let report: ImportReport = file("imported.json", &written("29c46a9-imported.json")).expect("it reads");
    assert_eq!((report.requests, report.slowest.len(), report.imported.len()), (7, 7, 3));
    assert_eq!(report.imported[2].cut.as_deref(), Some("the file ends behind event 88"));
    assert_eq!(report.summary.last().map(|share| (share.verdict.as_str(), share.p50_ms)), Some(("not judged", None)));
}

#[test]
fn a_kind_that_was_taken_away_is_no_kind() {
    let read: Vec<ExplainedRecord> = all("4cd4c7e-found.ndjson");
    let judged = read[0].judged.as_ref().expect("it is judged");
    let last = judged.reading.ledger.entries.last().expect("it has entries");
    assert_eq!((last.owner, last.kind, last.span.millis()), (Owner::Protocol, None, 40.0));
    assert!(judged.judgement.parts.iter().any(|part| part.owner == Owner::Path && part.kind == Some(Kind::Delay)), "others stay");
    assert!(judged.judgement.parts.iter().any(|part| part.owner == Owner::Protocol && part.kind.is_none()));
}

#[test]
fn a_later_version_is_not_guessed_at() {
    let mut text = written("a6b7866-found.ndjson");
    text.extend(b"\n{\"format\":2,\"id\":1}\n");
    let said = said(&text);
    assert_eq!(said[..4], ["#1", "#2", "#3", "#4"]);
    assert_eq!(
        said[4],
        "found.ndjson, line 6: a handshake found in captures of format 2, and this program knows formats up to 1: \
         read it with the program that wrote it, or a later one"
    );
    let error = file::<ExplainReport>("report.json", b"{\"format\":300}").expect_err("nobody knows it");
    assert!(matches!(error, Error::Later { format: 300, .. }), "{error}");
    assert!(error.to_string().starts_with("report.json: a report on captures of format 300"), "{error}");
}

#[test]
fn what_says_no_version_is_no_record() {
    for (text, is) in [("{}", "missing"), ("{\"format\":0}", "0"), ("{\"format\":\"1\"}", "\"1\""), ("7", "missing")] {
        let error = file::<RunRecord>("verdict.json", text.as_bytes()).expect_err(text);
        let said = format!("verdict.json: no record: `format` is {is}, and a judged run says which version it has (1 to 1)");
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn a_line_that_a_killed_program_left_unfinished_is_told_from_a_broken_one() {
    let whole = written("a6b7866-found.ndjson");
    let cut = &whole[..whole.len() - 40];
    assert_eq!(said(cut)[3], "found.ndjson, line 4: the file ends within a handshake found in captures");
    let last = lines::<ExplainedRecord>("found.ndjson", cut).last().expect("it has lines");
    assert!(matches!(last, Err(Error::Cut { .. })));
    // The same with a line behind it: nobody was killed there.
    let broken = said(&[cut, b"\n{\"format\":1"].concat());
    assert!(broken[3].starts_with("found.ndjson, line 4: no JSON, and so not a handshake found in captures: "), "{broken:?}");
    assert_eq!(broken[4], "found.ndjson, line 5: the file ends within a handshake found in captures");
}

#[test]
fn a_verdict_that_cannot_be_read_is_not_taken_for_none() {
    let unknown = said(&changed("\"kind\":\"delay\"", "\"kind\":\"haunted\""));
    assert!(unknown[0].starts_with("found.ndjson, line 1: not a handshake found in captures of format 1: "), "{unknown:?}");
    assert!(unknown[0].contains("haunted"), "{unknown:?}");
    let half = said(&changed("\"sentence\":", "\"sentence of whom\":"));
    assert!(half[0].contains("some are there and some are not"), "{half:?}");
}

#[test]
fn evidence_files_tell_their_verdict() {
    let record: ExplainedRecord = all("a6b7866-found.ndjson").swap_remove(0);
    let judged = record.judged.expect("it is judged");
    let comment = format!("{VERDICT_COMMENT}{}", serde_json::to_string(&judged).expect("it is written"));
    assert_eq!(verdict_comment("one.pcapng", &comment).map(Result::ok), Some(Some(judged)));
    assert!(verdict_comment("one.pcapng", "trigger: asked for").is_none());
    let error = verdict_comment("one.pcapng", &comment[..comment.len() - 1]).expect("it is a verdict").expect_err("it is cut");
    assert!(error.to_string().starts_with("one.pcapng: no JSON, and so not a verdict"), "{error}");
}
