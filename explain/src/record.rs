//! Findings as records, and what a reader should know beside them.

use std::cmp::Reverse;
use std::path::PathBuf;

use analysis::clock::{Instant, Unplaced};
use analysis::judging::sentence::{Citation, explain};
use analysis::key::Key;
use capture::file::{Broken, WAY_OUT};
use capture::set;
use jiff::Timestamp;
use records::FORMAT;
use records::explained::{CaptureRecord, Counts, ExplainedRecord, OTHER_KINDS};
use records::handshake::Judged;
use records::lanes::lanes;
use settings::words::plural;

use crate::habits;
use crate::judging::{Finding, Opinion};

/// Kinds of frames that were not understood and are said each for itself.
const MOST_KINDS: usize = 5;

/// Turns a finding into a record; `files` are those behind its packet numbers.
pub fn record(finding: &Finding, files: &[PathBuf]) -> ExplainedRecord {
    let h = &finding.placed.handshake;
    let path = finding.judged.as_ref().ok().and_then(|j| j.reading.ledger.min_path());
    let judged = |opinion: &Opinion| {
        let read = finding.placed.otherwise.as_ref().filter(|_| opinion.of_otherwise).unwrap_or(h);
        let sentence = explain(read, &opinion.reading, &opinion.judgement, &|number| cite(files, number));
        Judged { reading: opinion.reading.clone(), judgement: opinion.judgement.clone(), sentence }
    };
    ExplainedRecord {
        format: FORMAT,
        id: finding.id,
        started: timestamp(finding.started),
        started_ns: finding.started.nanos(),
        client: h.endpoints.client.to_string(),
        server: h.endpoints.server.to_string(),
        server_name: h.dialogue.server_name.clone(),
        random: h.dialogue.client_random.map(|random| Key::Random(random).to_string()),
        version: h.dialogue.version.map(|v| v.name().to_owned()),
        resumed: h.dialogue.resumed,
        habits: Some(habits::of(h)),
        seen_from: finding.placed.seen,
        how: finding.placed.how.to_string(),
        judged: finding.judged.as_ref().ok().map(judged),
        not_judged: finding.judged.as_ref().err().map(ToString::to_string),
        other_leg: finding.other_leg,
        notes: notes(finding),
        lanes: lanes(h, &[], path),
    }
}

fn notes(finding: &Finding) -> Vec<String> {
    let mut notes = finding.placed.notes.clone();
    if finding.placed.handshake.dialogue.by_turns {
        notes.push("the capture cut the bytes off: which message is which is told by whose turn it was to speak".into());
    }
    notes
}

/// A capture's time as people write it.
pub fn timestamp(at: Instant<Unplaced>) -> String {
    let nanos = at.nanos();
    Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| format!("{nanos} ns"), |t| format!("{t:.6}"))
}

/// How to call a packet: by its number, and its file if there are several.
pub fn cite(files: &[PathBuf], number: u64) -> Citation {
    let (file, number) = set::split(number);
    let name = |several: &[PathBuf]| {
        several.get(file).and_then(|f| f.file_name()).map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    };
    Citation { number, file: (files.len() > 1).then(|| name(files)) }
}

/// What to know before believing the verdicts.
pub(crate) fn warnings(
    broken: &[Broken],
    in_sections: &[(PathBuf, u64)],
    captures: &[CaptureRecord],
    counts: &Counts,
) -> Vec<String> {
    let mut found: Vec<String> = broken.iter().map(ToString::to_string).collect();
    found.extend(in_sections.iter().map(|(file, n)| {
        format!(
            "{}: {n} captures one behind another (sections of pcapng), each of an observer of its own: a handshake in two of them is not \
             joined; give them as files of their own",
            file.display()
        )
    }));
    for capture in captures.iter().filter(|c| c.dropped > 0) {
        found.push(format!(
            "{}: the capture says it dropped {} packets; where that shows in a handshake, no loss is claimed",
            capture.files.join(", "),
            capture.dropped
        ));
    }
    if counts.malformed > 0 {
        found.push(format!(
            "{} of {} packets contradict themselves or are cut before their TCP header ends",
            counts.malformed, counts.packets
        ));
    }
    found.extend(not_understood(broken, counts));
    if counts.untimed > 0 {
        let handshakes = match counts.untimed_handshakes {
            0 => String::new(),
            n => format!("; {} in them, not judged", plural(n, "TLS handshake")),
        };
        found.push(format!(
            "{} without a time (Simple Packet Blocks): nothing can be measured with them{handshakes}",
            plural(counts.untimed, "packet")
        ));
    }
    if counts.nflog > 0 {
        found.push(format!(
            "{} of NFLOG: the kernel hands them over in batches, by default after a second at the latest, and their times are when it did; \
             capture on the interface to measure",
            plural(counts.nflog, "packet")
        ));
    }
    found
}

/// "21 frames of EtherType 0x88e5 were not understood", the most frequent first.
fn not_understood(broken: &[Broken], counts: &Counts) -> Vec<String> {
    // What a whole capture was refused for is said there.
    let refused = |what: &str| broken.iter().any(|b| b.what.starts_with(&format!("frames of {what} cannot")));
    let mut kinds: Vec<(&str, u64)> = counts.not_understood.iter().map(|(what, n)| (what.as_str(), *n)).collect();
    kinds.retain(|(what, _)| !refused(what));
    kinds.sort_by_key(|(what, n)| (*what == OTHER_KINDS, Reverse(*n)));
    let rest: u64 = kinds.iter().skip(MOST_KINDS).map(|(_, n)| n).sum();
    kinds.truncate(MOST_KINDS);
    kinds.extend((rest > 0).then_some((OTHER_KINDS, rest)));
    let said = kinds.into_iter().map(|(what, n)| {
        let were = if n == 1 { "was" } else { "were" };
        let way_out = if what.starts_with("link type") { format!(": {WAY_OUT}") } else { String::new() };
        format!("{} of {what} {were} not understood{way_out}", plural(n, "frame"))
    });
    said.collect()
}
