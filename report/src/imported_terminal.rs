//! What `explain` found in what customers sent, in a terminal: by verdict, the slowest with their parts, what their sources cannot know, and
//! how to ask an edge's recorder for more.

use std::fmt::Write;

use analysis::judging::ledger::{Entry, Owner};
use anstyle::{AnsiColor, Style};
use records::imported::{ImportReport, ImportedFile, ImportedRecord};
use settings::words::{plural, visible};

use crate::explained_terminal::{BOLD, DIM, summary, tone};

/// Renders a report; styles are ANSI, for the caller to strip where nobody sees colours.
pub fn render(report: &ImportReport) -> String {
    let mut out = String::new();
    let _ = write!(out, "\n  {BOLD}{}", plural(report.requests, "request"));
    if report.selected != report.requests {
        let _ = write!(out, "; {} admitted by the filters", report.selected);
    }
    let _ = writeln!(out, "{BOLD:#}, by the clocks of programs (grade: app)");
    let common = cannot_know_any(&report.slowest);
    if report.selected > 0 {
        summary(&mut out, &report.summary);
        let _ = writeln!(out, "\n  {BOLD}The slowest{BOLD:#}");
        for record in &report.slowest {
            out.push_str(&one(record, &common));
        }
    }
    if !common.is_empty() {
        let _ = writeln!(out, "\n  {BOLD}What none of them can know{BOLD:#}");
        for what in &common {
            let _ = writeln!(out, "  - {}", visible(what));
        }
    }
    for file in &report.imported {
        told(&mut out, file);
    }
    hints(&mut out, report);
    out
}

/// One request: a line of facts, its parts, a line of verdict, and how to ask for more.
pub fn request(record: &ImportedRecord) -> String {
    one(record, &[])
}

fn one(record: &ImportedRecord, known: &[&str]) -> String {
    let style = tone(&record.label());
    let mut out = String::new();
    let total = record.judged.as_ref().map_or("–".to_owned(), |j| j.reading.ledger.total.to_string());
    let _ = writeln!(out, "  {style}{total:>9}  {}{style:#}  {}", record.label(), facts(record));
    if let Some(judged) = &record.judged {
        for entry in &judged.reading.ledger.entries {
            let _ = writeln!(
                out,
                "             {DIM}{:>9}  {}: {}{DIM:#}",
                entry.span.to_string(),
                entry.phase.words(),
                whose(entry)
            );
        }
        let _ = writeln!(out, "             {}", visible(&judged.sentence));
    }
    if let Some(error) = &record.error {
        let _ = writeln!(out, "             it says: {}", visible(error));
    }
    let more: Vec<&str> = record.cannot_know.iter().map(String::as_str).filter(|what| !known.contains(what)).collect();
    if !more.is_empty() {
        let _ = writeln!(out, "             {DIM}it cannot know {}{DIM:#}", visible(&more.join("; nor ")));
    }
    let ends = record.key.as_ref();
    let ends = ends.map(|key| key.server.as_ref().map_or(key.client.clone(), |server| format!("{},{server}", key.client)));
    // What passes address translation comes first.
    if let Some(key) = record.random.clone().or(ends) {
        let _ = writeln!(out, "             at the edge: whostalled capture dump --flow {} -o flow.pcapng", visible(&key));
    }
    out
}

/// "line 7 of edge.log 2026-11-25T04:00:00.1Z 192.0.2.7:40000 → 198.51.100.1:443 `https://example.com/`, 200, reused connection".
fn facts(record: &ImportedRecord) -> String {
    let mut text = format!("{} of {}", record.place, visible(&record.file));
    if let Some(started) = &record.started {
        let _ = write!(text, " {started}");
    }
    let _ = write!(text, " {} → {}", record.client, record.server);
    if let Some(asked) = record.url.as_ref().or(record.server_name.as_ref()) {
        let _ = write!(text, " {}", visible(asked));
    }
    if let Some(version) = &record.version {
        let _ = write!(text, ", {}", visible(version));
    }
    if let Some(status) = record.status {
        let _ = write!(text, ", {status}");
    }
    if record.reused {
        text.push_str(", on a connection that was there");
    }
    let _ = write!(text, ", by the {}'s program ({})", record.seen_by, record.source);
    text
}

/// "path", "client, path, loss or edge".
fn whose(entry: &Entry) -> String {
    if entry.owner_of_excess() != Owner::Unattributed {
        return entry.kind.map_or(entry.owner.words().to_owned(), |kind| format!("{} ({})", entry.owner.words(), kind.words()));
    }
    let who: Vec<&str> = entry.candidates.iter().map(Owner::words).collect();
    let or = match who.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nobody's".into(),
    };
    if entry.round_trip { format!("a round trip, and what made it longer: {or}") } else { or }
}

/// What no source of these can know.
fn cannot_know_any(records: &[ImportedRecord]) -> Vec<&str> {
    let Some((first, others)) = records.split_first() else { return Vec::new() };
    if others.is_empty() {
        return Vec::new(); // it says so itself
    }
    let all = |what: &&str| others.iter().all(|record| record.cannot_know.iter().any(|known| known == what));
    first.cannot_know.iter().map(String::as_str).filter(all).collect()
}

fn told(out: &mut String, file: &ImportedFile) {
    let _ = writeln!(out, "\n  {DIM}{}: {}, {}{DIM:#}", visible(&file.name), file.source, plural(file.requests, "request"));
    let warning = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    for skipped in &file.skipped {
        let unit = skipped.first.split(' ').next().unwrap_or("part");
        let many = match (skipped.n, unit) {
            (1, _) => format!("1 {unit}"),
            (n, "entry") => format!("{n} entries"),
            (n, unit) => format!("{n} {unit}s"),
        };
        let _ = writeln!(out, "  {warning}left out:{warning:#} {many} {} ({} is the first)", skipped.reason, skipped.first);
    }
    if let Some(cut) = &file.cut {
        let _ = writeln!(out, "  {warning}warning:{warning:#} {}; what was read before counts", visible(cut));
    }
}

fn hints(out: &mut String, report: &ImportReport) {
    if let Some(file) = report.imported.first().filter(|_| report.requests > 0) {
        let _ = writeln!(out, "  to reproduce: whostalled run --from {}", visible(&file.name));
    }
    if report.slowest.iter().any(|record| record.key.is_some() && record.random.is_none()) {
        let _ =
            writeln!(out, "  {DIM}Behind address translation the edge sees another client's end than the client does.{DIM:#}");
    }
}
