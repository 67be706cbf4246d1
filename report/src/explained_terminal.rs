//! What `explain` found, in a terminal: where the time went by verdict, the slowest handshakes, what to doubt.

use std::fmt::Write;

use analysis::clock::Span;
use anstyle::{AnsiColor, Style};
use records::explained::{CaptureRecord, ExplainReport, ExplainedRecord, NOT_JUDGED, SeenFrom, Share};
use settings::words::{plural, visible};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();

/// Renders a report; styles are ANSI, for the caller to strip where nobody sees colours.
pub fn render(report: &ExplainReport) -> String {
    let mut out = String::new();
    heading(&mut out, report);
    if report.selected > 0 {
        summary(&mut out, &report.summary);
        let _ = writeln!(out, "\n  {BOLD}The slowest{BOLD:#}");
        for record in &report.slowest {
            out.push_str(&handshake(record));
        }
    }
    for capture in &report.captures {
        let _ = writeln!(out, "  {DIM}{}{DIM:#}", capture_line(capture));
    }
    let warning = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    for text in &report.warnings {
        let _ = writeln!(out, "  {warning}warning:{warning:#} {}", visible(text));
    }
    out
}

/// One handshake: a line of facts, a line of verdict.
pub fn handshake(record: &ExplainedRecord) -> String {
    let style = tone(&record.label());
    let mut out = String::new();
    let total = record.judged.as_ref().map_or("–".to_owned(), |j| j.reading.ledger.total.to_string());
    let _ = writeln!(out, "  {style}{total:>9}  {}{style:#}  {}", record.label(), facts(record));
    let sentence = record.judged.as_ref().map(|j| &j.sentence).or(record.not_judged.as_ref());
    if let Some(sentence) = sentence {
        let _ = writeln!(out, "             {}", visible(sentence));
    }
    for note in &record.notes {
        let _ = writeln!(out, "             {DIM}{}{DIM:#}", visible(note));
    }
    // What one end leaves open the other may tell.
    let open = record.seen_from == SeenFrom::ClientEnd && record.label() != "healthy";
    if let Some(random) = record.random.as_ref().filter(|_| open) {
        let _ = writeln!(out, "             {DIM}at the edge: whostalled capture dump --flow {random} -o edge.pcapng{DIM:#}");
    }
    out
}

/// "#7 2026-11-25T04:00:00.123456Z 192.0.2.7:40000 → 198.51.100.1:443 example.com, TLS 1.3 resumed, seen from the edge's end".
pub(crate) fn facts(record: &ExplainedRecord) -> String {
    let name = record.server_name.as_ref().map_or(String::new(), |n| format!(" {}", visible(n)));
    let version = record.version.as_ref().map_or(String::new(), |v| format!(", {v}"));
    let resumed = if record.resumed { " resumed" } else { "" };
    let leg = record.other_leg.map_or(String::new(), |id| format!(", other leg of #{id}"));
    format!(
        "#{} {} {} → {}{name}{version}{resumed}, seen from {}{leg}",
        record.id,
        record.started,
        record.client,
        record.server,
        record.seen_from.words(),
    )
}

/// "73 TLS handshakes in 803 packets; 12 admitted by the filters".
pub(crate) fn found(report: &ExplainReport) -> String {
    let packets: u64 = report.captures.iter().map(|c| c.packets).sum();
    let mut text = format!("{} in {}", plural(report.handshakes, "TLS handshake"), plural(packets, "packet"));
    if report.selected != report.handshakes {
        let _ = write!(text, "; {} admitted by the filters", report.selected);
    }
    let counts = &report.counts;
    let also = [
        (counts.not_tls, "other TCP connection"),
        (counts.late, "late TLS connection"),
        (counts.port_checks, "port check"),
        (counts.twins, "NAT duplicate"),
    ];
    for (n, what) in also.into_iter().filter(|(n, _)| *n > 0) {
        let _ = write!(text, "; {}", plural(n, what));
    }
    let unread = counts.frames_not_understood();
    if unread > 0 {
        let _ = write!(text, "; {} not understood", plural(unread, "frame"));
    }
    text
}

fn heading(out: &mut String, report: &ExplainReport) {
    let _ = writeln!(out, "\n  {BOLD}{}{BOLD:#}", found(report));
    if report.handshakes == 0 {
        let _ = writeln!(out, "  Nothing to judge: no ClientHello or ServerHello was found on any port.");
    } else if report.selected == 0 {
        let _ = writeln!(out, "  No handshake is admitted by the filters.");
    }
}

pub(crate) fn summary(out: &mut String, shares: &[Share]) {
    let width = shares.iter().map(|s| s.verdict.chars().count()).max().unwrap_or(0).max("verdict".len());
    let _ = writeln!(out, "\n  {DIM}{:width$}  {:>8}  {:>9}  {:>9}  {:>11}{DIM:#}", "verdict", "n", "p50", "max", "time lost");
    for share in shares {
        let style = tone(&share.verdict);
        let [p50, max, lost] = times(share);
        let _ = writeln!(out, "  {style}{:width$}{style:#}  {:>8}  {p50:>9}  {max:>9}  {lost:>11}", share.verdict, share.n);
    }
}

/// Median, longest and excess of a line of the summary, as people write them.
pub(crate) fn times(share: &Share) -> [String; 3] {
    let ms = |ms: f64| Span::from_micros((ms * 1e3) as i64).to_string();
    let lost = if share.excess_ms > 0.0 && share.verdict != "healthy" { ms(share.excess_ms) } else { "–".into() };
    [share.p50_ms.map_or("–".into(), ms), share.max_ms.map_or("–".into(), ms), lost]
}

/// "client.pcap: 1200 packets; captured at the client (73 connections)".
pub(crate) fn capture_line(capture: &CaptureRecord) -> String {
    let dropped = if capture.dropped > 0 { format!(", {} dropped", capture.dropped) } else { String::new() };
    let packets = plural(capture.packets, "packet");
    let (files, points) = (capture.files.join(" + "), capture.observation_points.join("; "));
    format!("{}: {packets}{dropped}; captured {}", visible(&files), visible(&points))
}

pub(crate) fn tone(label: &str) -> Style {
    let colour = match label {
        "healthy" => AnsiColor::Green,
        "inconclusive" | NOT_JUDGED => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    Style::new().fg_color(Some(colour.into()))
}
