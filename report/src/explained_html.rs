//! What `explain` found, as one page that needs nothing else.

use analysis::judging::ledger::Owner;
use analysis::judging::vocabulary::in_words;
use maud::{Markup, html};
use pages::{Ticket, permalink, scrolling};
use records::explained::{ExplainReport, ExplainedRecord, NOT_JUDGED};

use crate::citing::Files;
use crate::explained_terminal::{capture_line, facts, found, times};
use crate::html::{frame, ledger, legend, shares};
use crate::waterfall;

/// Renders the page.
pub fn page(report: &ExplainReport) -> String {
    let files: Vec<&str> = report.files.iter().map(|f| f.rsplit('/').next().unwrap_or(f)).collect();
    let body = html! {
        h1 { "Who stalled?" }
        div.soft { (files.join(", ")) }
        p { (found(report)) "." }
        @for warning in &report.warnings { p.warning { strong { "Warning: " } (warning) } }
        @if report.selected > 0 { (summary(report)) (slowest(report)) }
        h2 { "Captures" }
        @for capture in &report.captures { p { (capture_line(capture)) "." } }
        p.soft { "A capture made at one end alone cannot show everything: where the far end's packets do not tell, the verdict is "
            em { "inconclusive" } " and says what would settle it. Every packet number is that of Wireshark's " code { "frame.number" } "." }
    };
    frame(&files.join(", "), &body)
}

fn summary(report: &ExplainReport) -> Markup {
    let most = report.summary.iter().map(|s| s.n).max().unwrap_or(1).max(1);
    html! {
        h2 { "By verdict" }
        (scrolling("Handshakes by verdict", &html! { table {
            tr { th scope="col" { "verdict" } th.n scope="col" { "handshakes" } th scope="col" style="width:30%" { "their share" } th.n scope="col" { "p50" } th.n scope="col" { "max" } th.n scope="col" { "time lost, all together" } }
            @for share in &report.summary {
                @let [p50, max, lost] = times(share);
                tr {
                    td { span class=(tone(&share.verdict)) { (in_words(&share.verdict)) } }
                    td.n { (share.n) }
                    td { div class=(format!("bar {}", owner_class(&share.verdict))) style=(format!("width:{:.1}%", 100.0 * share.n as f64 / most as f64)) {} }
                    td.n { (p50) } td.n { (max) } td.n { (lost) }
                }
            }
        } }))
    }
}

fn slowest(report: &ExplainReport) -> Markup {
    html! {
        h2 { "The slowest" }
        p { "One lane per observer, each on its own clock. The bar divides the handshake among the owners of its time; verdicts never subtract across clocks." }
        (legend())
        @for (i, record) in report.slowest.iter().enumerate() {
            @let id = format!("h{}", record.id);
            details id=(id) open[i == 0] {
                summary {
                    @if let Some(j) = &record.judged { (j.reading.ledger.total) ", " }
                    span class=(tone(&record.label())) { (in_words(&record.label())) } " " span.soft { (facts(record)) }
                }
                div {
                    (permalink(&id, &format!("handshake {}", record.id)))
                    (handshake(record, Files(&report.files)))
                    (ticket(record, Files(&report.files)).render(&format!("t-{id}")))
                }
            }
        }
    }
}

fn handshake(record: &ExplainedRecord, files: Files<'_>) -> Markup {
    html! {
        (scrolling(&format!("Waterfall of handshake {}", record.id), &waterfall::draw(&record.lanes, record.judged.as_ref().map(|j| &j.reading.ledger), files)))
        @if let Some(j) = &record.judged { p { (j.sentence) } (ledger(j, files)) }
        @if let Some(why) = &record.not_judged { p { "Not judged: " (why) "." } }
        @for note in &record.notes { p.soft { (note) } }
        p.soft { "Where the capture was made: " (record.how) "." }
    }
}

fn ticket(record: &ExplainedRecord, files: Files<'_>) -> Ticket {
    let judged = record.judged.as_ref();
    let took = judged.map_or(String::new(), |j| format!(", {}", j.reading.ledger.total));
    Ticket::new(format!("A TLS handshake: {}{took}", in_words(&record.label())))
        .fact("Client", record.client.clone())
        .fact("Server", record.server.clone())
        .fact("Server name", record.server_name.clone())
        .fact("TLS", record.version.clone())
        .fact("Time", record.started.clone())
        .fact("What it says", judged.map(|j| j.sentence.clone()).or_else(|| record.not_judged.clone()))
        .fact("Where the time went", judged.map(|j| shares(j, files)))
        .fact("Captures", files.names())
        .fact("Where the capture was made", record.how.clone())
}

fn tone(label: &str) -> &'static str {
    match label.split(':').next().unwrap_or_default() {
        "healthy" => "label ok",
        "inconclusive" | NOT_JUDGED => "label open",
        _ => "label bad",
    }
}

/// The colour class of a verdict's first owner.
fn owner_class(label: &str) -> &'static str {
    match Owner::named_by(label) {
        Some(Owner::ClientHost) => "client-host",
        Some(Owner::Client | Owner::ClientApp) => "client-app",
        Some(Owner::Path) => "path",
        Some(Owner::Loss) => "loss",
        Some(Owner::EdgeHost) => "edge-host",
        Some(Owner::Edge | Owner::EdgeApp) => "edge-app",
        Some(Owner::Resolver) => "resolver",
        Some(Owner::Protocol) => "protocol",
        None if label == "healthy" => "healthy",
        Some(Owner::Unattributed) | None => "unattributed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explained_terminal::render;
    use records::explained::{CaptureRecord, Counts};

    #[test]
    fn names_of_files_bring_no_control_characters_onto_page_or_terminal() {
        let name = "edge\u{1b}]0;title\u{7}\u{9b}31m.pcap".to_owned();
        let capture =
            CaptureRecord { files: vec![name.clone()], packets: 1, dropped: 0, observation_points: vec!["\u{1b}[2J".into()] };
        let counts =
            Counts { not_understood: [("EtherType 0x88e5".to_owned(), 20), ("ESP".to_owned(), 1)].into(), ..Counts::default() };
        let report = ExplainReport {
            format: 1,
            captures: vec![capture],
            files: vec![name.clone()],
            counts,
            handshakes: 0,
            selected: 0,
            summary: Vec::new(),
            warnings: vec![format!("{name}: it breaks off")],
            slowest: Vec::new(),
        };
        let page = page(&report);
        assert!(!page.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{page:?}");
        assert!(page.contains("edge\\u{1b}]0;title"));
        let terminal = render(&report);
        assert!(!terminal.contains("\u{1b}]") && !terminal.contains('\u{9b}'), "{terminal:?}");
        assert!(!terminal.contains("\u{1b}[2J") && terminal.contains("edge\\u{1b}]0;title"), "{terminal:?}");
        assert!(terminal.contains("; 21 frames not understood"), "of all kinds together: {terminal:?}");
    }
}
