//! A round, judged where it was made: with what is usual from there, and how the controls fare.
//!
//! In: [`RawRound`]s in the order in which they ended. Out: [`Judged`] ones. The host that probes judges: only it knows how it was itself.

use std::collections::{BTreeMap, HashMap, VecDeque};

use alerting::clock::UnixSeconds;
use alerting::states::Blame;
use alerting::{Culprit, Family};
use analysis::clock::{Client, Instant, Span};
use prober::reason::Reason;
use settings::words::visible;

use crate::blame::{Beside, Opinion, Usual, blame, judge_round};
use crate::certificate;
use crate::checks::{Gate, Role};
use crate::clock::{UnixHour, second};
use crate::pattern::{Found, How, Recent};
use crate::probing::RawRound;
use crate::store::RoundRecord;

/// The time in which the least round trip is looked for.
pub(crate) const USUAL_FOR: Span = Span::from_millis(24 * 3_600_000);
/// Rounds of controls that are older say nothing of now.
const FRESH: Span = Span::from_millis(5 * 60_000);

/// The least round trip of each hour, and behind how many rounds.
pub(crate) type Hours = VecDeque<(UnixHour, Span, u32)>;

/// What judging a round needs of the rounds before it.
#[derive(Default)]
pub(crate) struct Judging {
    usual: HashMap<String, Hours>,
    /// The last round of each control: when, and who was blamed.
    controls: BTreeMap<String, (Instant<Client>, Option<Culprit>)>,
    /// How the last rounds of each check went.
    recent: HashMap<String, Recent>,
}

/// A round and what is said of it.
pub(crate) struct Judged {
    /// As it is kept.
    pub(crate) record: RoundRecord,
    /// What is wrong with the target.
    pub(crate) found: Option<Blame>,
    /// It may not count against the target: the prober was too sick, or at fault.
    pub(crate) gated: bool,
    /// What is wrong with the prober.
    pub(crate) prober: Option<Blame>,
    /// How it came to that.
    pub(crate) opinion: Opinion,
    /// When the chain's first certificate ends.
    pub(crate) chain_end: Option<UnixSeconds>,
}

impl Judging {
    /// With what was usual before.
    pub(crate) fn new(usual: HashMap<String, Hours>) -> Self {
        Self { usual, ..Self::default() }
    }

    /// What is usual, to be kept.
    pub(crate) fn usual(&self) -> &HashMap<String, Hours> {
        &self.usual
    }

    /// Forgets rounds of checks that are no more.
    pub(crate) fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.controls.retain(|name, _| stays(name));
        self.recent.retain(|name, _| stays(name));
    }

    /// Forgets how the last rounds of a check went: what comes is a pattern by itself, or none.
    pub(crate) fn forget_pattern(&mut self, name: &str) {
        self.recent.remove(name);
    }

    /// Judges a round.
    pub(crate) fn judge(&mut self, raw: &RawRound, gate: &Gate) -> Judged {
        let plan = &raw.prepared.plan;
        let timeout = Some(Span::from_nanos(plan.timeout.nanos()));
        let beside = Beside { late: raw.late, reference: raw.reference, timeout };
        let usual = self.usual_of(&raw.name, raw.started);
        let opinion = judge_round(&raw.report, usual, gate, beside);
        let bad_status = raw.report.response.as_ref().is_some_and(|r| match plan.check.status.as_slice() {
            [] => r.status >= 400,
            good => !good.contains(&r.status),
        });
        let mut found = blame(&raw.report, &opinion, &plan.thresholds, bad_status);
        let chain = &raw.report.certificates;
        // Where nothing was verified, no path is known.
        let chain_end = if plan.check.insecure { certificate::chain_end(chain) } else { certificate::path_end(chain) };
        if let (None, Some(end)) = (&found, chain_end) {
            found = certificate::ends_soon(end, second(raw.started), plan.thresholds.certificate_days());
        }
        if plan.check.role == Role::Edge
            && let Some(blame) = &mut found
        {
            self.compare_with_controls(blame, raw.started);
        }
        let own_fault = found.as_ref().is_some_and(|b| b.culprit == Culprit::Prober);
        let gated = opinion.health.sick.is_some() || own_fault;
        if plan.check.patterns {
            // A round that does not count takes its place among the others, and is told nothing.
            let pattern = self.find_pattern(raw, found.as_ref().filter(|_| !own_fault));
            if let (false, Some(blame), Some(Found { pattern, sentence })) = (gated, found.as_mut(), pattern) {
                blame.pattern = pattern;
                blame.sentence = format!("{sentence} {}", blame.sentence);
            }
        }
        let record = record(raw, &opinion, found.as_ref(), (gated, bad_status), chain_end);
        let prober = opinion.health.sick.clone().map(|why| Blame {
            culprit: Culprit::Prober,
            family: Family::Prober,
            phase: "host".into(),
            words: "its own host".into(),
            ms: opinion.health.run_delay_ms.max(opinion.health.data_waiting_ms),
            sentence: format!("Rounds do not count against targets: {why}."),
            pattern: None,
        });
        if !gated {
            self.learn(&raw.name, raw.started, &record);
        }
        if plan.check.role == Role::Control {
            self.controls.insert(raw.name.clone(), (raw.started, record.culprit));
        }
        Judged { record, found, gated, prober, opinion, chain_end }
    }

    /// What the round shows together with those before it, if it is bad.
    fn find_pattern(&mut self, raw: &RawRound, found: Option<&Blame>) -> Option<Found> {
        let header = raw.prepared.plan.check.backend.as_deref();
        let backend =
            header.and_then(|header| raw.report.response.as_ref()?.header(header)).map(|name| visible(name).into_owned());
        let bad = found.map(|blame| match (blame.family, raw.report.reason) {
            (Family::Failing, Some(reason)) if reason.edge_ended_it() && reason != Reason::TlsAlert => {
                How::Broke { refused: reason == Reason::ConnectRefused }
            }
            (Family::Failing, _) => How::Failed,
            _ => How::Slow,
        });
        let recent = self.recent.entry(raw.name.clone()).or_default();
        recent.note(bad, backend, raw.report.asked_again);
        let by_path = found.is_some_and(|blame| blame.culprit == Culprit::Path);
        recent.pattern().or_else(|| recent.elsewhere().filter(|_| by_path))
    }

    /// If the controls are slow too, it is our own access.
    fn compare_with_controls(&self, blame: &mut Blame, now: Instant<Client>) {
        if !matches!(blame.culprit, Culprit::Path | Culprit::Loss | Culprit::Inconclusive) {
            return;
        }
        let fresh = self.controls.values().filter(|(started, _)| now - *started < FRESH);
        let (all, bad) =
            fresh.fold((0, 0), |(all, bad), (_, culprit)| (all + 1, bad + i32::from(culprit.is_some_and(may_be_access))));
        if all > 0 && bad * 2 >= all {
            blame.sentence = format!("{bad} of {all} control targets are slow or unreachable too. {}", blame.sentence);
            blame.culprit = Culprit::Access;
        } else if all > 0 && blame.culprit == Culprit::Path {
            blame.sentence = format!("{} {} of {all} control targets are as usual.", blame.sentence, all - bad);
        }
    }

    fn usual_of(&mut self, name: &str, now: Instant<Client>) -> Usual {
        let Some(hours) = self.usual.get_mut(name) else { return Usual::default() };
        while hours.front().is_some_and(|(hour, ..)| UnixHour::of(now).since(*hour) > USUAL_FOR) {
            hours.pop_front();
        }
        Usual { round_trip: hours.iter().map(|(_, least, _)| *least).min(), rounds: hours.iter().map(|(_, _, n)| n).sum() }
    }

    fn learn(&mut self, name: &str, now: Instant<Client>, record: &RoundRecord) {
        let Some(ms) = record.rtt_ms else { return };
        let round_trip = Span::from_nanos((ms * 1e6) as i64);
        let hours = self.usual.entry(name.to_owned()).or_default();
        match hours.back_mut().filter(|(hour, ..)| *hour == UnixHour::of(now)) {
            Some((_, least, n)) => (*least, *n) = (round_trip.min(*least), *n + 1),
            None => hours.push_back((UnixHour::of(now), round_trip, 1)),
        }
    }
}

/// Whether what a control suffers from may be our own access to the network.
fn may_be_access(of_control: Culprit) -> bool {
    match of_control {
        Culprit::Path | Culprit::Loss | Culprit::Access | Culprit::Inconclusive => true,
        Culprit::Edge | Culprit::Resolver | Culprit::Protocol | Culprit::Certificate | Culprit::Prober => false,
    }
}

fn record(
    raw: &RawRound,
    opinion: &Opinion,
    found: Option<&Blame>,
    (gated, bad_status): (bool, bool),
    certificate_end: Option<UnixSeconds>,
) -> RoundRecord {
    let blame = found.filter(|_| !gated);
    let ledger = &opinion.reading.ledger;
    let part = |e: &analysis::judging::ledger::Entry| (e.phase.label().to_owned(), e.owner.label().to_owned(), e.span.millis());
    let rtt = raw.report.trace.connect.and_then(|c| c.round_trip).filter(|_| raw.report.reason != Some(Reason::Prober));
    RoundRecord {
        name: raw.name.clone(),
        address: raw.report.address.map(|a| a.to_string()),
        scheduled: raw.scheduled,
        started: raw.started,
        total_ms: ledger.total.millis(),
        success: raw.report.success && !bad_status,
        reason: raw.report.reason.or(bad_status.then_some(Reason::HttpStatus)).map(|r| r.name().to_owned()),
        local: raw.report.local.map(|a| a.to_string()),
        verdict: opinion.judgement.verdict.label(),
        target_verdict: opinion.target.verdict.label(),
        target_culprit: found.map(|b| b.culprit),
        culprit: blame.map(|b| b.culprit),
        sick: opinion.health.sick.clone(),
        rtt_ms: rtt.map(Span::millis),
        grade: opinion.reading.grade.to_string(),
        sentence: blame.map_or_else(|| opinion.sentence.clone(), |b| b.sentence.clone()),
        parts: ledger.entries.iter().map(part).collect(),
        certificate_end,
    }
}
