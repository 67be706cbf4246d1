//! The scenario library: every scenario with what a run of it came to, and a picture of one handshake; incidents as a diagram.
//!
//! In: runs. Out: one page that needs nothing else.

use analysis::judging::verdict::Verdict;
use analysis::judging::vocabulary::in_words;
use maud::{Markup, html};
use pages::{commands, permalink, scrolling};
use records::handshake::HandshakeRecord;
use records::run::RunRecord;

use crate::citing::Files;
use crate::html::{either, legend, styled, tone};
use crate::terminal::{scope, words};
use crate::waterfall;

/// A scenario, and what a run of it came to.
pub struct Shown {
    /// Its file, as somebody would type it.
    pub file: String,
    /// The run.
    pub run: RunRecord,
    /// The run's handshakes.
    pub handshakes: Vec<HandshakeRecord>,
}

/// A scenario that could not be run here.
pub struct Skipped {
    /// Its file.
    pub file: String,
    /// Why.
    pub why: String,
}

/// Incidents, as whoever played them draws them.
pub struct Incidents<'a> {
    /// Their files, as somebody would type them.
    pub files: &'a [String],
    /// What came of them.
    pub drawn: &'a Markup,
    /// Styles of that.
    pub styles: &'a str,
}

/// Renders the page; `made` says when and on what, `again` is the command that makes it anew.
pub fn page(shown: &[Shown], incidents: Option<&Incidents<'_>>, skipped: &[Skipped], made: &str, again: &str) -> String {
    let held = shown.iter().filter(|s| s.run.held()).count();
    let body = html! {
        h1 { "Scenario library" }
        p.soft { "Each scenario is a fault and the verdict that it must lead to. All of them were run for this page: " (made) ". "
            (held) " of " (shown.len()) " came out as their files expect. Made by " code { (again) } "." }
        (scrolling("Scenarios and their verdicts", &table(shown)))
        @if !skipped.is_empty() {
            h2 { "Not run here" }
            ul { @for s in skipped { li { code { (s.file) } ": " (s.why) } } }
        }
        @if let Some(incidents) = incidents {
            h2 { "Incidents: would a scheduled check have caught them?" }
            (incidents.drawn)
            (commands(&incidents.files.iter().map(|file| format!("whostalled run {file}\n")).collect::<String>()))
        }
        h2 { "One handshake of each" }
        p { "The handshake in the middle of those that came out as the run did. One lane per observer, each on its own clock; the bar divides its time among owners." }
        (legend())
        @for s in shown { (section(s)) }
    };
    styled("scenario library", incidents.map_or("", |incidents| incidents.styles), &body)
}

fn table(shown: &[Shown]) -> Markup {
    html! {
        table.matrix {
            thead { tr { th scope="col" { "scenario" } th scope="col" { "what happens" } th scope="col" { "verdict" } th scope="col" { "from the edge alone" } th scope="col" { "as expected" } } }
            tbody { @for s in shown {
                tr {
                    th scope="row" { a href=(format!("#{}", id(s))) { (s.run.scenario) } }
                    td data-to="what happens" { span { (s.run.description) } }
                    td data-to="verdict" { span class=(tone(&s.run.verdict().verdict)) { (words(&s.run.verdict().verdict)) } }
                    td data-to="edge alone" { span { @match &s.run.edge_only { Some(edge) => (words(&edge.verdict)), None => "–" } } }
                    td data-to="as expected" { (outcome(s)) }
                }
            } }
        }
    }
}

fn outcome(s: &Shown) -> Markup {
    html! {
        @if s.run.expectations.is_empty() { span.soft { "nothing stated" } }
        @else if s.run.held() { span.ok { "yes" } }
        @else { span.bad { "no" } }
    }
}

fn id(s: &Shown) -> String {
    s.file.trim_end_matches(".toml").replace(['/', '.', ' '], "-")
}

fn section(s: &Shown) -> Markup {
    let (id, verdict) = (id(s), &s.run.verdict().verdict);
    html! {
        section id=(id) {
            h3 { (s.run.scenario) ": " span class=(tone(verdict)) { (words(verdict)) } (scope(&s.run.verdict().scope)) (permalink(&id, &s.run.scenario)) }
            p { (s.run.description) }
            @for e in s.run.expectations.iter().filter(|e| !e.held) {
                p.bad { (e.evidence) ": expected " (either(&e.expected)) ", seen " (in_words(&e.seen)) "." }
            }
            @if let Some(h) = middle(s) {
                @let judged = h.judged();
                (scrolling(&format!("Waterfall of a handshake of {}", s.run.scenario), &waterfall::draw(&h.lanes, judged.map(|j| &j.reading.ledger), Files(&[]))))
                @if let Some(j) = judged { p { (h.vantage) " → " (h.target) ": " (j.sentence) } }
            } @else {
                p.soft { "No handshake of it was seen." }
            }
            (commands(&format!("whostalled run {}", s.file)))
        }
    }
}

/// Of the handshakes with the run's verdict (or else of all) the one whose time is in the middle.
fn middle(s: &Shown) -> Option<&HandshakeRecord> {
    let verdict = &s.run.verdict().verdict;
    let alike = |h: &&HandshakeRecord| h.judged().is_some_and(|j| same(&j.judgement.verdict, verdict));
    let mut of_run: Vec<&HandshakeRecord> = s.handshakes.iter().filter(alike).collect();
    if of_run.is_empty() {
        of_run = s.handshakes.iter().filter(|h| h.judged().is_some()).collect();
    }
    of_run.sort_by_key(|h| h.judged().map(|j| j.reading.ledger.total));
    of_run.get(of_run.len() / 2).copied()
}

fn same(one: &Verdict, run: &Verdict) -> bool {
    in_words(&one.label()) == in_words(&run.label())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_stand_on_the_page_with_their_styles_and_what_to_type() {
        let files = ["scenarios/incidents/1-a.toml".to_owned(), "scenarios/incidents/2-b&c.toml".to_owned()];
        let drawn = html! { svg {} };
        let incidents = Incidents { files: &files, drawn: &drawn, styles: ".weeks rect { fill: red; }" };
        let page = page(&[], Some(&incidents), &[], "today", "make library");
        let (head, body) = page.split_once("</head>").expect("it has a head");
        assert!(head.contains(".weeks rect"), "styles belong there");
        assert!(body.contains("<svg></svg>"), "{body}");
        assert!(body.contains("whostalled run scenarios/incidents/1-a.toml\nwhostalled run scenarios/incidents/2-b&amp;c.toml"));
        let without = super::page(&[], None, &[], "today", "make library");
        assert!(!without.contains("Incidents"), "{without}");
    }
}
