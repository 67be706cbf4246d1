//! The run as one page that needs nothing else: matrix, waterfalls, distributions, evidence.

use analysis::clock::Span;
use analysis::judging::ledger::{Owner, Phase};
use analysis::judging::run::{CellVerdict, Role};
use analysis::judging::verdict::Verdict;
use analysis::judging::vocabulary::in_words;
use maud::{Markup, html};
use pages::{Frame, Ticket, commands, permalink, scrolling};
use records::handshake::{HandshakeRecord, Judged};
use records::run::RunRecord;
use settings::words::plural;

use crate::citing::Files;
use crate::terminal::{ends, failed, grades, how, probability, role_note, scope, together, untold, vantages, words};
use crate::waterfall;

/// Handshakes drawn per cell; all of them are in `handshakes.ndjson`.
const DRAWN: usize = 6;

/// Renders the page. `injected` says what the lab did, for a reader who was not there.
pub fn page(run: &RunRecord, handshakes: &[HandshakeRecord], injected: &[String]) -> String {
    let body = html! {
        h1 { (run.scenario) }
        div.soft { (run.description) }
        div.soft { "Run " code { (run.run_id) } ", " (run.started) ", Linux " (run.kernel) }
        @if let Some(void) = &run.footing.void { p.void { "This run is void: " (void) "." } }
        (answer(run, handshakes))
        (run_ticket(run, handshakes).render("t-run"))
        (matrix(run))
        (sentences(run))
        h2 { "Where the time went" }
        p { "One lane per observer, each on its own clock. The lanes of the edge are placed on the client's axis for drawing only; the verdicts never subtract across clocks. The bar divides the handshake among the owners of its time." }
        (legend())
        @for cell in &run.verdict().cells { (cell_waterfalls(cell, handshakes)) }
        (distributions(run))
        (edge_view(run))
        (evidence(run, injected))
    };
    frame(&run.scenario, &body)
}

/// A page about `subject`: one file, all styles in it.
pub(crate) fn frame(subject: &str, body: &Markup) -> String {
    styled(subject, "", body)
}

/// The same, with styles of what others drew.
pub(crate) fn styled(subject: &str, further: &str, body: &Markup) -> String {
    let styles = [pages::PLAIN, include_str!("report.css"), further].concat();
    Frame { title: subject, styles: &styles, refresh: false, nav: &[] }.around(body)
}

fn run_ticket(run: &RunRecord, handshakes: &[HandshakeRecord]) -> Ticket {
    let mut ticket = Ticket::new(format!("{}: {}{}", run.scenario, words(&run.verdict().verdict), scope(&run.verdict().scope)))
        .fact("Run", format!("{}, {}", run.run_id, run.started))
        .fact("Evidence", format!("{}, {}", ends(&run.best), grades(handshakes)))
        .fact("Does not count", run.footing.void.clone());
    for (cell, sentence) in run.verdict().cells.iter().zip(&run.sentences) {
        ticket =
            ticket.fact(&format!("{} to {}", cell.vantage, cell.target), format!("{sentence} {} of {} slow.", cell.slow, cell.n));
    }
    ticket
}

fn answer(run: &RunRecord, handshakes: &[HandshakeRecord]) -> Markup {
    let class = match run.verdict().verdict {
        Verdict::Healthy => "answer healthy",
        Verdict::Inconclusive { .. } => "answer inconclusive",
        _ => "answer",
    };
    html! {
        div class=(class) {
            strong { "Who stalled? " } (words(&run.verdict().verdict)) (scope(&run.verdict().scope)) "."
            small {
                (ends(&run.best)) ", evidence: " (grades(handshakes)) ". "
                @if let Some(untold) = untold(run) { (untold) " " }
                @for e in &run.expectations {
                    (e.evidence) ": expected " (either(&e.expected)) ", seen " (in_words(&e.seen)) " – "
                    @if e.held { span.ok { "held" } } @else { span.bad { "failed" } } ". "
                }
            }
        }
    }
}

/// What was expected, in words.
pub(crate) fn either(labels: &[String]) -> String {
    labels.iter().map(|label| in_words(label)).collect::<Vec<_>>().join(" or ")
}

pub(crate) fn tone(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "label ok",
        Verdict::Inconclusive { .. } => "label open",
        _ => "label bad",
    }
}

fn matrix(run: &RunRecord) -> Markup {
    let vantages = vantages(run.verdict());
    let mut targets: Vec<(&str, Role)> = Vec::new();
    for c in &run.verdict().cells {
        if !targets.iter().any(|(name, _)| *name == c.target) {
            targets.push((&c.target, c.role));
        }
    }
    html! {
        h2 { "Vantage × target" }
        (scrolling("Verdicts by vantage and target", &html! { table.matrix {
            thead { tr { th scope="col" { "from" } @for (name, role) in &targets { th scope="col" { "to " (name) (role_note(name, *role)) } } } }
            tbody { @for v in vantages {
                tr {
                    th scope="row" { (v) }
                    @for (t, _) in &targets {
                        @match run.verdict().cells.iter().find(|c| c.vantage == v && c.target == *t) {
                            Some(c) => td data-to=(format!("to {t}")) {
                                span { span class=(tone(&c.verdict)) { (in_words(&c.verdict.label())) } br; span.soft { (c.slow) " of " (c.n) " " (how(&c.verdict)) } }
                            },
                            None => td data-to=(format!("to {t}")) { span.soft { "not measured" } },
                        }
                    }
                }
            } }
        } }))
    }
}

fn sentences(run: &RunRecord) -> Markup {
    html! {
        @for (cell, sentence) in run.verdict().cells.iter().zip(&run.sentences) {
            p { strong { (cell.vantage) " → " (cell.target) ": " } (sentence)
                @for one in failed(run, cell) { " " (plural(one.n, "client")) " failed: " (one.why) "." }
                @if let Some(s) = &cell.against_control {
                    span.soft { " Whole handshake against the control: shift " (s.shift) " (Hodges–Lehmann), " (probability(s.p)) " (Mann–Whitney), n = " (s.n) " and " (s.m) "." }
                }
            }
        }
    }
}

pub(crate) fn legend() -> Markup {
    let owners = [
        Owner::Resolver,
        Owner::ClientApp,
        Owner::ClientHost,
        Owner::Path,
        Owner::Loss,
        Owner::EdgeHost,
        Owner::EdgeApp,
        Owner::Protocol,
        Owner::Unattributed,
    ];
    html! { div.legend { @for o in owners { b style="font-weight:400" { i class=(waterfall::css(o)) {} (o.words()) } } } }
}

fn cell_waterfalls(cell: &CellVerdict, handshakes: &[HandshakeRecord]) -> Markup {
    let mut of_cell: Vec<&HandshakeRecord> =
        handshakes.iter().filter(|h| h.vantage == cell.vantage && h.target == cell.target).collect();
    let excess = |h: &HandshakeRecord| h.judged().map(|j| j.judgement.excess);
    of_cell.sort_by_key(|h| std::cmp::Reverse(excess(h)));
    let drawn = of_cell.len().min(DRAWN);
    html! {
        h3 { (cell.vantage) " → " (cell.target) ": " span class=(tone(&cell.verdict)) { (in_words(&cell.verdict.label())) } }
        @for (i, h) in of_cell.iter().take(DRAWN).enumerate() {
            @let id = format!("h{}", h.id);
            details id=(id) open[i == 0] {
                summary { "Handshake " (h.id) ", round " (h.round) ", " (h.client)
                    @if let Some(j) = h.judged() { ": " (j.reading.ledger.total) ", " span class=(tone(&j.judgement.verdict)) { (in_words(&j.judgement.verdict.label())) } }
                }
                div {
                    (permalink(&id, &format!("handshake {}", h.id)))
                    (scrolling(&format!("Waterfall of handshake {}", h.id), &waterfall::draw(&h.lanes, h.judged().or(h.edge_only.as_ref()).map(|j| &j.reading.ledger), Files(&[]))))
                    @if let Some(j) = h.judged() { p { (j.sentence) } (ledger(j, Files(&[]))) }
                    (handshake_ticket(h).render(&format!("t-{id}")))
                }
            }
        }
        @if of_cell.len() > drawn { p.soft { (of_cell.len() - drawn) " more in handshakes.ndjson." } }
    }
}

fn handshake_ticket(h: &HandshakeRecord) -> Ticket {
    let judged = h.judged();
    let verdict = judged.map_or("not judged".into(), |j| in_words(&j.judgement.verdict.label()));
    let took = judged.map_or(String::new(), |j| format!(", {}", j.reading.ledger.total));
    Ticket::new(format!("{} to {}, handshake {}: {verdict}{took}", h.vantage, h.target, h.id))
        .fact("Client", h.client.clone())
        .fact("Server", h.server.clone())
        .fact("Server name", h.server_name.clone())
        .fact("TLS", h.version.clone())
        .fact("What it says", judged.map(|j| j.sentence.clone()))
        .fact("Where the time went", judged.map(|j| shares(j, Files(&[]))))
}

/// "ClientHello to server flight 51.8 ms, edge app (packets 7, 9); …".
pub(crate) fn shares(judged: &Judged, files: Files<'_>) -> String {
    let each = judged.reading.ledger.entries.iter().map(|e| {
        let kind = e.kind.map_or(String::new(), |kind| format!(", {}", kind.words()));
        let packets = if e.packets.is_empty() { String::new() } else { format!(" (packets {})", files.packets(&e.packets)) };
        format!("{} {}, {}{kind}{packets}", e.phase.words(), e.span, e.owner.words())
    });
    each.collect::<Vec<_>>().join("; ")
}

pub(crate) fn ledger(judged: &Judged, files: Files<'_>) -> Markup {
    html! {
        (scrolling("Whose time it was, phase by phase", &html! { table {
            tr { th scope="col" { "phase" } th scope="col" { "owner" } th.n scope="col" { "time" } th.n scope="col" { "±" } th.n scope="col" { "healthy" } th scope="col" { "packets" } }
            @for e in &judged.reading.ledger.entries {
                tr {
                    td { (e.phase.words()) }
                    td { (e.owner.words()) @if let Some(k) = e.kind { span.soft { ", " (k.words()) } } }
                    td.n { (e.span) } td.n { (e.error) } td.n { (e.baseline) }
                    td { (files.packets(&e.packets)) }
                }
            }
            tr { td {} td { strong { "total" } } td.n { strong { (judged.reading.ledger.total) } } td {} td {} td {} }
        } }))
    }
}

fn distributions(run: &RunRecord) -> Markup {
    html! {
        h2 { "Phases" }
        p.soft { "A quantile that the number of handshakes cannot support is left out." }
        @for cell in &run.phases {
            @let longest = cell.phases.iter().map(|p| p.max).fold(0.001, f64::max);
            h3 { (cell.vantage) " → " (cell.target) }
            (scrolling(&format!("Phases from {} to {}", cell.vantage, cell.target), &html! { table {
                tr { th scope="col" { "phase" } th.n scope="col" { "n" } th.n scope="col" { "p50" } th.n scope="col" { "p90" } th.n scope="col" { "p99" } th.n scope="col" { "max" } th scope="col" style="width:30%" { "p50 of the longest" } }
                @for p in &cell.phases {
                    tr {
                        td { (p.phase.parse::<Phase>().map_or_else(|_| p.phase.replace('_', " "), |phase| phase.words().into())) }
                        td.n { (p.n) } td.n { (ms(p.p50)) }
                        td.n { (p.p90.map_or("–".into(), ms)) } td.n { (p.p99.map_or("–".into(), ms)) }
                        td.n { (ms(p.max)) }
                        td { div.bar style=(format!("width:{:.1}%", 100.0 * p.p50 / longest)) {} }
                    }
                }
            } }))
        }
    }
}

fn ms(ms: f64) -> String {
    Span::from_nanos((ms * 1e6) as i64).to_string()
}

fn edge_view(run: &RunRecord) -> Markup {
    html! {
        @if let Some(edge) = &run.edge_only {
            h2 { "What the edge alone could have said" }
            p { "The same run judged from the edge's captures and host only: " strong { (words(&edge.verdict)) } "." }
            @for (cell, sentence) in edge.cells.iter().zip(&run.edge_sentences) {
                p { strong { (cell.vantage) " → " (cell.target) ": " } (in_words(&cell.verdict.label())) ". " (sentence) }
            }
        }
    }
}

fn evidence(run: &RunRecord, injected: &[String]) -> Markup {
    let f = &run.footing;
    html! {
        h2 { "Evidence" }
        @if f.captured > 0 {
            p { "The packets are in " code { "evidence.pcapng" } " beside this page: one interface per host, comments at the milestones, the same packet at both ends joined by its packet id." }
            (commands("wireshark evidence.pcapng\ntshark -r evidence.pcapng -Y 'frame.comment' -T fields -e frame.number -e frame.interface_name -e frame.time_relative -e frame.comment\ntshark -r evidence.pcapng -Y tls.handshake -T fields -e frame.number -e frame.interface_name -e frame.packet_id"))
        }
        table {
            tr { td { "packets captured / lost" } td { (f.captured) " / " (f.capture_lost) } }
            @if f.wire_forwarded > 0 { tr { td { "wire: forwarded / over 2 ms late / worst" } td { (f.wire_forwarded) " / " (f.wire_late) " / " (format!("{:.2} ms", f.wire_worst_ms)) @if !f.wire_real_time { " (without real-time priority)" } } } }
            tr { td { "CPU time taken by the hypervisor" } td { (format!("{:.0} ms", f.stolen_ms)) } }
            tr { td { "clients launched / timed out" } td { (f.clients) " / " (f.clients_timed_out) } }
            @if let Some(starts) = &f.starts { tr { td { "start" } td { (together(starts)) } } }
            @for what in &f.gave_up { tr { td { "did without" } td { (what) } } }
            @for what in &f.missing { tr { td.bad { "missing" } td { (what) } } }
            @for what in injected { tr { td { "injected by the lab" } td { (what) } } }
        }
    }
}
