//! How close a run comes to what it is meant to reproduce.

use analysis::clock::Span;
use analysis::judging::verdict::Verdict;
use analysis::judging::vocabulary::{Owner, Phase};
use records::explained::ExplainedRecord;
use records::handshake::Judged;
use serde::Serialize;

use super::{Aim, Sketch, Stretch};

/// Within this share a time is close.
pub const SHARE: i64 = 10;
/// A round trip that differs by less is the same: two machines' own work.
const LEAST_ROUND: Span = Span::from_millis(2);

/// One quantity, there and here.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Compared {
    /// What it is.
    pub what: String,
    /// What was reported.
    pub reported: String,
    /// What the run shows.
    pub ran: String,
    /// Whether they are close.
    pub close: bool,
}

/// How close a run comes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Closeness {
    /// The verdict; absent where none was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Compared>,
    /// The slow stretch; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Compared>,
    /// The path's round trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<Compared>,
    /// By which share of it the slow stretch missed.
    pub missed_by: f64,
}

/// The handshake of a run that stands for it: of those with the faults, the one in the middle.
pub fn representative<'a>(sketch: &Sketch, records: &'a [ExplainedRecord]) -> Option<(&'a ExplainedRecord, &'a Judged)> {
    let mut in_order: Vec<&ExplainedRecord> = records.iter().filter(|r| !sketch.aim.resumed || r.resumed).collect();
    in_order.sort_by_key(|r| r.started_ns);
    let without = sketch.scenario.baseline_rounds as usize * sketch.scenario.client.concurrency;
    let mut with: Vec<(&ExplainedRecord, &Judged)> =
        in_order.into_iter().skip(without).filter_map(|r| Some((r, r.judged.as_ref()?))).collect();
    with.sort_by_key(|(_, judged)| judged.reading.ledger.total);
    let middle = with.len() / 2;
    (!with.is_empty()).then(|| with.swap_remove(middle))
}

impl Closeness {
    /// Of a handshake of a run to what was reported.
    pub fn of(aim: &Aim, record: &ExplainedRecord, ran: &Judged) -> Self {
        let time = |what: String, reported: Span, got: Option<Span>, least: Span| Compared {
            what,
            reported: reported.to_string(),
            ran: got.map_or_else(|| "not there".into(), |got| got.to_string()),
            close: got.is_some_and(|got| (got - reported).abs() <= reported.percent(SHARE).max(least)),
        };
        let verdict = aim.verdict.as_ref().map(|reported| {
            let got = &ran.judgement.verdict;
            Compared { what: "verdict".into(), reported: words(reported), ran: words(got), close: same(reported, got) }
        });
        let mut missed_by = 0.0;
        let slow = aim.slow.as_ref().map(|(stretch, reported)| {
            let got = match stretch {
                Stretch::Phase(phase) => of_phase(ran, *phase),
                Stretch::Between(from, to) => stretch_between(record, from, to),
            };
            missed_by = got.map_or(1.0, |got| (got - *reported).abs().fraction_of(*reported));
            time(stretch.to_string(), *reported, got, Span::ZERO)
        });
        let rounds = ran.reading.ledger.entries.iter().filter(|e| e.owner == Owner::Path && e.round_trip && !e.extra_round);
        let usual = rounds.map(|e| if e.baseline > Span::ZERO { e.baseline.min(e.span) } else { e.span }).min();
        let round_trip = aim.round_trip.map(|reported| time("round trip".into(), reported, usual, LEAST_ROUND));
        Self { verdict, slow, round_trip, missed_by }
    }

    /// All that was asked for is close.
    pub fn is_close(&self) -> bool {
        [&self.verdict, &self.slow, &self.round_trip].into_iter().flatten().all(|compared| compared.close)
    }

    /// The same verdict, and the slow stretch close.
    pub fn is_alike(&self) -> bool {
        [&self.verdict, &self.slow].into_iter().flatten().all(|compared| compared.close)
    }

    /// What was compared.
    pub fn rows(&self) -> impl Iterator<Item = &Compared> {
        [&self.verdict, &self.slow, &self.round_trip].into_iter().flatten()
    }
}

/// The same owners doing the same, the same end after the same message.
fn same(reported: &Verdict, got: &Verdict) -> bool {
    match (reported, got) {
        (Verdict::Aborted { .. }, _) => words(reported) == words(got),
        _ => reported.label() == got.label() || got.is(&reported.label()),
    }
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Aborted { after, .. } => format!("{} after {}", verdict.label(), after.name()),
        _ => verdict.label(),
    }
}

fn of_phase(judged: &Judged, phase: Phase) -> Option<Span> {
    let entries = judged.reading.ledger.entries.iter().filter(|e| e.phase == phase);
    Some(entries.map(|e| e.span).sum::<Span>()).filter(|span| *span > Span::ZERO)
}

/// Between two milestones as the edge saw them, or else the client.
fn stretch_between(record: &ExplainedRecord, from: &str, to: &str) -> Option<Span> {
    // What comes before ClientHello the edge hardly sees.
    let observer = if matches!(to, "syn_ack" | "dns_end") { "client wire" } else { "edge wire" };
    let lane = record.lanes.iter().find(|lane| lane.observer == observer);
    let of = |lane: &records::handshake::Lane, name: &str| lane.marks.iter().find(|mark| mark.name == name).map(|mark| mark.ms);
    let between = |lane| Some(of(lane, to)? - of(lane, from)?);
    let ms = lane.and_then(between).or_else(|| record.lanes.iter().find_map(between))?;
    Some(Span::from_nanos((ms * 1e6) as i64))
}
