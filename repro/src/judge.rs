//! From handshakes to records: readings of both grades, baselines from the run, judgements, sentences.

use std::collections::BTreeMap;

use analysis::clock::Span;
use analysis::doubt::one_way::OneWay;
use analysis::judging::ledger::{Entry, Phase};
use analysis::judging::run::{Cell, CellVerdict, Compare, Role, RunVerdict, apply_baselines, judge_cell, judge_run};
use analysis::judging::verdict::{Judgement, Reading, Verdict};
use analysis::judging::vocabulary::Owner;
use analysis::key::Key;
use enumset::EnumSet;
use hdrhistogram::Histogram;
use prober::Reason;
use records::FORMAT;
use records::handshake::{HandshakeRecord, Judged};
use records::lanes::Stamped;
use records::run::{CellPhases, PhaseQuantiles};

use crate::failures::Failed;
use crate::scenario::Scenario;
use crate::seen::{NOWHERE, Seen};
use crate::targets::TargetSpec;

/// What is said of a cell whose handshakes were quick, and whose clients all failed.
const ALL_FAILED: &str = "Every client failed, for a reason that is not known; the handshakes themselves were quick.";

/// A handshake with its place in the run.
pub struct Measured {
    /// Number in the run.
    pub id: u64,
    /// Round.
    pub round: u32,
    /// Vantage.
    pub vantage: String,
    /// Target.
    pub target: String,
    /// What was seen.
    pub seen: Seen,
    /// Each way by itself, where both ends' clocks were compared.
    pub one_way: Option<OneWay>,
    /// Whether its client did what it was to do; absent if nobody knows which client that was.
    pub succeeded: Option<bool>,
    /// How the client says that it failed.
    pub failed: Option<Failed>,
    /// Milestones the client itself reported.
    pub client_app: Vec<Stamped>,
    /// Milestones the client's socket reported.
    pub client_kernel: Vec<Stamped>,
}

/// Which evidence to use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// All there is: the client's end, and the edge's where somebody watched there.
    All,
    /// The edge's capture and host.
    EdgeOnly,
}

/// The judgement of a run on one kind of evidence.
pub struct Judgements {
    /// The run.
    pub verdict: RunVerdict,
    /// One sentence per cell.
    pub sentences: Vec<String>,
    /// Per handshake of the input, what was read and judged.
    pub handshakes: Vec<Option<Judged>>,
    cells: Vec<(Cell, Vec<usize>)>,
}

/// Judges every handshake of a run on one kind of evidence; `counts` says which cells there are, by vantage and target.
pub fn judge_all(
    scenario: &Scenario,
    measured: &[Measured],
    evidence: Evidence,
    counts: &dyn Fn(&str, &str) -> bool,
) -> Judgements {
    let seen: Vec<Option<Seen>> = measured
        .iter()
        .map(|m| match evidence {
            Evidence::All => Some(m.seen.clone()),
            Evidence::EdgeOnly => m.seen.at_edge(),
        })
        .collect();
    let mut cells: Vec<(Cell, Vec<usize>)> = Vec::new();
    for vantage in &scenario.vantages {
        for target in scenario.targets.iter().filter(|target| counts(&vantage.name, &target.name)) {
            cells.push(cell(&vantage.name, target, measured, &seen));
        }
    }
    let mut bare: Vec<Cell> = cells.iter().map(|(c, _)| c.clone()).collect();
    let compare = if evidence == Evidence::All { Compare::AcrossTargets } else { Compare::WithinTarget };
    apply_baselines(&mut bare, compare);
    for ((cell, _), judged) in cells.iter_mut().zip(bare) {
        *cell = judged;
    }
    let judgements: Vec<Vec<Judgement>> = cells
        .iter_mut()
        .map(|(cell, members)| {
            let of_cell = cell.readings.iter_mut().zip(members.iter());
            // An edge does not hear why its client gave up.
            let failed = |i: usize| measured[i].failed.as_ref().filter(|_| evidence == Evidence::All)?.reason;
            of_cell.filter_map(|(reading, i)| seen[*i].as_ref().map(|seen| seen.judge(reading, failed(*i)))).collect()
        })
        .collect();
    let mut verdicts = Vec::new();
    let mut sentences = Vec::new();
    let mut handshakes: Vec<Option<Judged>> = measured.iter().map(|_| None).collect();
    let known: Vec<Cell> = cells.iter().map(|(cell, _)| cell.clone()).collect();
    let mut bare: Vec<Cell> = Vec::new();
    for ((cell, members), judged) in cells.iter().zip(&judgements) {
        for ((i, reading), judgement) in members.iter().zip(&cell.readings).zip(judged) {
            let failed = measured[*i].failed.as_ref().filter(|_| evidence == Evidence::All);
            let sentence = seen[*i].as_ref().map(|seen| seen.sentence(reading, judgement, failed)).unwrap_or_default();
            handshakes[*i] = Some(Judged { reading: reading.clone(), judgement: judgement.clone(), sentence });
        }
        let controls: Vec<Span> = cells
            .iter()
            .filter(|(c, _)| c.vantage == cell.vantage && c.role == Role::Control && !c.is_accused_too(&known))
            .flat_map(|(c, _)| c.readings.iter().map(|r| r.ledger.total))
            .collect();
        // Rounds without faults have told what is usual; the verdict is of those with them.
        let counted = members.iter().zip(cell.readings.iter().zip(judged));
        let counted = counted.filter(|(i, _)| measured[**i].round > scenario.baseline_rounds);
        let (mut with_faults, mut theirs, mut numbers) = (Cell { readings: Vec::new(), ..cell.clone() }, Vec::new(), Vec::new());
        for (i, (reading, judgement)) in counted {
            with_faults.readings.push(reading.clone());
            theirs.push(judgement.clone());
            numbers.push(*i);
        }
        let mut verdict = judge_cell(&with_faults, &theirs, &controls);
        let in_vain = evidence == Evidence::All && !scenario.in_lab() && none_succeeded(numbers.iter().map(|i| &measured[*i]));
        let left_open = in_vain && leave_open(&mut verdict);
        let example = verdict.example.and_then(|i| handshakes[numbers[i]].as_ref());
        bare.push(with_faults);
        sentences.push(match example {
            _ if left_open => ALL_FAILED.to_owned(),
            Some(judged) => judged.sentence.clone(),
            None => "No handshake was seen.".to_owned(),
        });
        verdicts.push(verdict);
    }
    Judgements { verdict: judge_run(&bare, verdicts), sentences, handshakes, cells }
}

/// Whether every client of some handshakes failed, and not in the request behind the handshake.
fn none_succeeded<'a>(mut of_cell: impl Iterator<Item = &'a Measured>) -> bool {
    let mut failed = 0;
    of_cell.all(|m| {
        failed += u32::from(m.succeeded == Some(false));
        m.succeeded != Some(true) && m.failed.as_ref().and_then(|f| f.reason).is_none_or(|reason| !reason.is_of_request())
    }) && failed > 0
}

/// Quick handshakes of clients that all failed, for a reason that nobody here understands, are not healthy; whether it is one of these.
fn leave_open(verdict: &mut CellVerdict) -> bool {
    let quick = verdict.verdict == Verdict::Healthy;
    if quick {
        let candidates = Owner::Client | Owner::Edge;
        verdict.verdict = Verdict::Inconclusive { candidates, missing: EnumSet::empty(), excess: Span::ZERO };
    }
    quick
}

/// One client of a cell asks why it was turned away, for all of them: what it learned is told of the others that were turned away alike.
pub fn share_what_was_learned(measured: &mut [Measured]) {
    use Reason::{ClientCertificateDemanded, TlsAlert, TlsClosed, TlsIncompatible};
    let is = |m: &Measured, reasons: &[Reason]| m.failed.as_ref().and_then(|f| f.reason).is_some_and(|r| reasons.contains(&r));
    let mut learned: BTreeMap<(String, String), Failed> = BTreeMap::new();
    for m in measured.iter().filter(|m| is(m, &[TlsIncompatible, ClientCertificateDemanded])) {
        let cell = (m.vantage.clone(), m.target.clone());
        learned.extend(m.failed.clone().map(|failed| (cell, failed)));
    }
    if learned.is_empty() {
        return;
    }
    for m in measured.iter_mut().filter(|m| is(m, &[TlsAlert, TlsClosed])) {
        if let Some(failed) = learned.get(&(m.vantage.clone(), m.target.clone())) {
            m.failed = Some(failed.clone());
        }
    }
}

fn cell(vantage: &str, target: &TargetSpec, measured: &[Measured], seen: &[Option<Seen>]) -> (Cell, Vec<usize>) {
    let (mut readings, mut members): (Vec<Reading>, Vec<usize>) = (Vec::new(), Vec::new());
    for (i, _) in measured.iter().enumerate().filter(|(_, m)| m.vantage == vantage && m.target == target.name) {
        if let Some(reading) = seen[i].as_ref().and_then(Seen::read) {
            readings.push(reading);
            members.push(i);
        }
    }
    let stated_rtt = target.baseline_rtt.map(|l| Span::from_nanos(l.0.as_nanos() as i64));
    // The lab makes its paths as long as the scenario says; how far away a real host is, nobody knows.
    let distance = target.url.is_none().then_some(target.rtt).map(|l| Span::from_nanos(l.0.as_nanos() as i64));
    let servers =
        members.iter().filter_map(|i| seen[*i].as_ref()).map(Seen::server).filter(|server| *server != NOWHERE).collect();
    let (vantage, name, role) = (vantage.to_owned(), target.name.clone(), target.role);
    (Cell { vantage, target: name, role, stated_rtt, distance, servers, readings }, members)
}

/// Distributions per cell and phase, and the histograms themselves for `histograms.hdr`.
pub fn distributions(judgements: &Judgements) -> (Vec<CellPhases>, Vec<(String, Histogram<u64>)>) {
    let (mut cells, mut histograms) = (Vec::new(), Vec::new());
    for (cell, _) in &judgements.cells {
        let mut phases = Vec::new();
        for phase in [Phase::Dns, Phase::Connect, Phase::ClientHello, Phase::ServerFlight, Phase::ClientFinished, Phase::Finish] {
            // One microsecond to ten minutes, three digits.
            let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3) else { continue };
            for reading in &cell.readings {
                let of_phase: Vec<&Entry> = reading.ledger.entries.iter().filter(|e| e.phase == phase).collect();
                let span: Span = of_phase.iter().map(|e| e.span).sum();
                if !of_phase.is_empty() {
                    histogram.saturating_record(u64::try_from(span.nanos() / 1_000).unwrap_or(0).max(1));
                }
            }
            if !histogram.is_empty() {
                let n = histogram.len();
                let at = |q: f64| histogram.value_at_quantile(q) as f64 / 1e3;
                phases.push(PhaseQuantiles {
                    phase: phase.words().into(),
                    n,
                    p50: at(0.5),
                    // A quantile needs about 1/(1-q) values before it differs from the maximum.
                    p90: (n >= 10).then(|| at(0.9)),
                    p99: (n >= 100).then(|| at(0.99)),
                    max: histogram.max() as f64 / 1e3,
                });
                histograms.push((format!("{} {} {}", cell.vantage, cell.target, phase.words().replace(' ', "_")), histogram));
            }
        }
        cells.push(CellPhases { vantage: cell.vantage.clone(), target: cell.target.clone(), phases });
    }
    (cells, histograms)
}

/// One handshake as a record, judged by all there is and, where somebody watched there, from the edge alone.
pub fn record(measured: &Measured, all: Option<Judged>, edge: Option<Judged>, watched: bool) -> HandshakeRecord {
    let h = &measured.seen;
    let path = all.as_ref().and_then(|judged| judged.reading.ledger.min_path());
    let (both, client) = if watched { (all, None) } else { (None, all) };
    let reported = [("client app", &measured.client_app[..]), ("client kernel", &measured.client_kernel[..])];
    HandshakeRecord {
        format: FORMAT,
        id: measured.id,
        round: measured.round,
        vantage: measured.vantage.clone(),
        target: measured.target.clone(),
        client: h.client().to_string(),
        server: h.server().to_string(),
        lookup: h.lookup().map(|client| client.to_string()),
        server_name: h.server_name(),
        random: h.random().map(|random| Key::Random(random).to_string()),
        version: h.version(),
        resumed: h.resumed(),
        lanes: h.lanes(&reported, path),
        one_way: measured.one_way,
        both_ends: both,
        client_only: client,
        edge_only: edge,
    }
}

#[cfg(test)]
mod tests {
    use agent::{ClientEnd, ClientKind, ClientSpec};

    use super::*;
    use crate::places::Wanted;
    use crate::scenario::Bearable;

    /// A client of the one cell, whose handshake took 9 ms, or ended behind TCP.
    fn client(shaken: bool, failed: Option<Option<Reason>>) -> Measured {
        let (appconnect, answered) = if shaken { (0.009, 0.0095) } else { (0.0, 0.0) };
        let said = serde_json::json!({
            "time_namelookup": 0.001, "time_connect": 0.005, "time_appconnect": appconnect, "time_pretransfer": appconnect,
            "time_starttransfer": answered, "time_total": 0.01, "num_connects": 1, "scheme": "https", "url": "https://edge/",
            "local_port": 40_000, "remote_port": 443, "local_ip": "192.0.2.1", "remote_ip": "192.0.2.5", "http_code": 0,
        });
        let (complained, trace) = (String::new(), agent::Trace::default());
        let end = ClientEnd { pid: 1, code: Some(1), timed_out: false, said, complained, trace };
        Measured {
            id: 1,
            round: 1,
            vantage: "here".into(),
            target: "edge".into(),
            seen: Seen::told_by(&end).expect("it tells times"),
            one_way: None,
            succeeded: Some(failed.is_none()),
            failed: failed.map(|reason| Failed { reason, words: format!("{reason:?}") }),
            client_app: Vec::new(),
            client_kernel: Vec::new(),
        }
    }

    /// What is said of the cell: its verdict, its sentence.
    fn said_of(clients: &[Measured]) -> (String, String) {
        let wanted = Wanted {
            targets: vec!["https://edge/".parse().expect("it is a target")],
            controls: Vec::new(),
            vantages: Vec::new(),
            client: ClientSpec::new(ClientKind::Probe),
            cpus: None,
            ca: None,
            recorders: Vec::new(),
            bearable: Bearable::default(),
        };
        let scenario = Scenario::of_urls(wanted).expect("it is one");
        let judged = judge_all(&scenario, clients, Evidence::All, &|_, _| true);
        (judged.verdict.cells[0].verdict.label(), judged.sentences[0].clone())
    }

    #[test]
    fn what_one_client_learned_is_told_of_those_that_were_turned_away_alike() {
        let of = |reasons: &[Reason]| -> Vec<Measured> { reasons.iter().map(|r| client(false, Some(Some(*r)))).collect() };
        let mut both = of(&[Reason::TlsIncompatible, Reason::TlsAlert, Reason::TlsAlert]);
        assert_eq!(said_of(&both).0, "aborted/edge", "the others would outvote it");
        share_what_was_learned(&mut both);
        let (verdict, sentence) = said_of(&both);
        assert!(verdict == "inconclusive" && sentence.contains("TlsIncompatible"), "{verdict}: {sentence}");
        // Whatever came before, and no other's, and no other failures.
        let mut mixed = of(&[Reason::TlsClosed, Reason::TlsIncompatible, Reason::TlsAlert, Reason::ConnectRefused]);
        mixed[2].target = "other".into();
        share_what_was_learned(&mut mixed);
        let reasons: Vec<Reason> = mixed.iter().filter_map(|m| m.failed.as_ref()?.reason).collect();
        assert_eq!(reasons, [Reason::TlsIncompatible, Reason::TlsIncompatible, Reason::TlsAlert, Reason::ConnectRefused]);
    }

    #[test]
    fn quick_handshakes_of_clients_that_all_failed_are_left_open_and_said_to_be_that() {
        let unknown = || client(true, Some(None));
        let (verdict, sentence) = said_of(&[unknown(), unknown()]);
        assert_eq!((verdict.as_str(), sentence.as_str()), ("inconclusive", ALL_FAILED));
        for other in [client(true, None), client(true, Some(Some(Reason::HttpStatus)))] {
            let (verdict, sentence) = said_of(&[unknown(), unknown(), other]);
            assert!(verdict == "healthy" && sentence != ALL_FAILED, "{verdict}: {sentence}");
        }
    }

    #[test]
    fn only_what_would_be_healthy_is_left_open() {
        let refused = client(false, Some(Some(Reason::ConnectRefused)));
        let (verdict, sentence) = said_of(&[refused]);
        assert!(verdict == "aborted/edge" && sentence != ALL_FAILED, "{verdict}: {sentence}");
    }
}
