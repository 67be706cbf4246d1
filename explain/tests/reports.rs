//! Handshakes rebuilt after people's public reports, and whose side may be named for each.
//!
//! The captures are no part of this repository: where their folder is not given ([`testing::captures`]), the test says that it was skipped.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use analysis::judging::verdict::{Judgement, Verdict};
use whostalled_explain::judging::Finding;
use whostalled_explain::{Options, Sink, explain};

/// Whom a handshake's time may be said to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Said {
    Edge,
    Client,
    Path,
    Resolver,
    /// Nobody's fault, or what the protocol makes wait.
    Healthy,
    /// Inconclusive, or nothing was judged.
    Open,
}
use Said::{Client as C, Edge as E, Healthy as H, Open as O, Path as P, Resolver as R};

/// A report: the name of its captures; what may be said from both ends, from the client's capture and from the edge's (nothing: not tried);
/// the milliseconds that a side named rightly must be given at least.
type Pair = (&'static str, [&'static [Said]; 3], i64);

const PAIRS: [Pair; 18] = [
    ("smtp", [&[E], &[E, O], &[E]], 3_000),
    ("ntlm", [&[E], &[E, O], &[E]], 1_500),
    ("hrrslow", [&[E], &[E, O], &[E]], 1_500),
    ("hrr", [&[P], &[P, O], &[P, O]], 0),
    ("late12", [&[E], &[E, O], &[E]], 1_000),
    ("mtls13", [&[E], &[E, O], &[E]], 2_000),
    ("snidrop", [&[P], &[P, O], &[P, O]], 0),
    ("snidrop4", [&[P], &[P, O], &[P, O]], 0),
    ("pqdrop", [&[P], &[P, O], &[P, O]], 0),
    ("synproxy", [&[E, P], &[E, P, O], &[E, P, O]], 0),
    ("chall", [&[E], &[E, O], &[E]], 0),
    ("depedge", [&[E], &[E, O], &[E]], 2_000),
    ("ptr", [&[], &[], &[E]], 2_000),
    ("icmp", [&[E, P], &[P, O], &[E]], 0),
    ("dns5", [&[R], &[R], &[]], 4_000),
    ("ndots", [&[R], &[R], &[]], 700),
    ("seq6", [&[P, E, O], &[P, E, O], &[]], 0),
    ("ackdrop", [&[P], &[P], &[P, O]], 0),
];

/// Captures that stand alone, and what may be said of each.
const SINGLE: [(&str, &[Said]); 20] = [
    ("merged_loss.pcap", &[P]),
    ("merged_dropped_hello.pcap", &[P]),
    ("docker_any_edge.pcap", &[E]),
    ("any_client_stall.s.pcap", &[C]),
    ("stirred_client_stall.pcap", &[C]),
    ("queues_mtu.pcap", &[P]),
    ("real_smtp-starttls.pcap", &[E, P, O, H]),
    ("real/imap-starttls.pcap", &[E, P, O, H]),
    ("real/rdp_over_tls.pcap", &[H, O, P]),
    ("real/https-to-http.pcap", &[H, O]),
    ("real/modbus-and-non-modbus-p502.pcap", &[H, O]),
    ("real/openvpn_tcp_single.pcap", &[H, O]),
    ("real/ja3_lots_of_cipher_suites_2_anon.pcap", &[H, O, P]),
    ("real/imap-ssl.pcapng", &[H, O]),
    ("real/mysql-ssl.pcapng", &[H, O]),
    ("real/tls13_draft14.pcap", &[H, O, P]),
    ("real/signed_certificate_timestamp_tls1_0.pcap", &[H, O, E]),
    ("real/x509-generalizedtime.pcap", &[H, O, P]),
    ("real/tls13draft16-ff52.a01.pcap", &[C]),
    ("real/issue_no_icmp.pcap", &[H, O, P, E]),
];

/// So many may be left open or be said to be healthy. None may be another side's.
const MOST_NOT_RIGHT: usize = 2;

/// Keeps the handshake that took longest.
#[derive(Default)]
struct Longest(Option<(Span, Finding)>);

impl Sink for Longest {
    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        let took = finding.judged.as_ref().map_or(Span::ZERO, |o| o.reading.ledger.total);
        if self.0.as_ref().is_none_or(|(most, _)| took >= *most) {
            self.0 = Some((took, finding));
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: u64) {}
}

/// The handshake that took longest, as it was judged.
fn judged(captures: Vec<PathBuf>) -> Option<Judgement> {
    let mut longest = Longest::default();
    let outcome = explain(&Options { captures, ..Options::default() }, &mut longest);
    assert_eq!(outcome.unreadable, 0, "{:?}", outcome.files);
    longest.0.and_then(|(_, finding)| finding.judged.ok()).map(|opinion| opinion.judgement)
}

fn side(owner: Owner) -> Said {
    match owner {
        Owner::ClientApp | Owner::ClientHost | Owner::Client => C,
        Owner::EdgeApp | Owner::EdgeHost | Owner::Edge => E,
        Owner::Path | Owner::Loss => P,
        Owner::Resolver => R,
        Owner::Protocol => H,
        Owner::Unattributed => O,
    }
}

fn said(judgement: Option<&Judgement>) -> BTreeSet<Said> {
    match judgement.map(|j| &j.verdict) {
        None | Some(Verdict::Inconclusive { .. }) => [O].into(),
        Some(Verdict::Healthy) => [H].into(),
        Some(Verdict::Aborted { by, .. }) => [side(*by)].into(),
        Some(Verdict::Culprit { primary, second, .. }) => {
            [Some(primary), second.as_ref()].into_iter().flatten().map(|c| side(c.owner)).collect()
        }
    }
}

/// Readings that were tried, and in words those that were not right.
#[derive(Default)]
struct Marks {
    tried: usize,
    short_of_right: Vec<String>,
    wrong: Vec<String>,
}

impl Marks {
    fn mark(&mut self, what: &str, captures: Vec<PathBuf>, may_be: &[Said], least_ms: i64) {
        self.tried += 1;
        let judgement = judged(captures);
        let said = said(judgement.as_ref());
        let excess = judgement.map_or(Span::ZERO, |j| j.excess);
        let named = !said.contains(&O) && !said.contains(&H);
        let allowed = said.iter().all(|s| may_be.contains(s));
        let words = format!("{what}: {said:?}, {excess:?}; may be {may_be:?}, at least {least_ms} ms where a side is named");
        match (allowed, named) {
            (true, true) if excess < Span::from_millis(least_ms) => self.short_of_right.push(words),
            (true, _) => {}
            (false, _) if said == [O].into() || said == [H].into() => self.short_of_right.push(words),
            (false, _) => self.wrong.push(words),
        }
    }
}

#[test]
fn nobody_is_named_wrongly_in_handshakes_that_people_reported() {
    let Some(folder) = testing::captures(testing::Need::Reports) else { return };
    let capture = |name: &str| -> PathBuf { Path::new(&folder).join(name) };
    let mut marks = Marks::default();
    for (name, [both, client, edge], least_ms) in PAIRS {
        let (c, s) = (capture(&format!("{name}.c.pcap")), capture(&format!("{name}.s.pcap")));
        let modes =
            [("both ends", both, vec![c.clone(), s.clone()]), ("the client's", client, vec![c]), ("the edge's", edge, vec![s])];
        for (mode, may_be, captures) in modes.into_iter().filter(|(_, may_be, _)| !may_be.is_empty()) {
            marks.mark(&format!("{name}, {mode}"), captures, may_be, least_ms);
        }
    }
    for (name, may_be) in SINGLE {
        marks.mark(name, vec![capture(name)], may_be, 0);
    }
    println!("{} readings, {} short of right, {} wrong", marks.tried, marks.short_of_right.len(), marks.wrong.len());
    assert_eq!(marks.wrong, Vec::<String>::new());
    assert!(marks.short_of_right.len() <= MOST_NOT_RIGHT, "{:#?}", marks.short_of_right);
}
