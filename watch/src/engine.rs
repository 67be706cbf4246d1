//! Where rounds are judged, kept and turned into messages: one thread, one writer of the store.
//!
//! In: [`RawRound`]s. Out: one transaction a batch (rounds, states, incidents, messages together), the status and the metrics. If the
//! store refuses, the batch waits and its messages are handed over directly: a full disk must not silence an alert.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use alerting::clock::UnixSeconds;
use alerting::event::PROBER;
use alerting::states::{Active, Blame, KofN, Rule, State};
use alerting::{Culprit, Event, Family, Incident};
use analysis::clock::{Client, Instant, Span};
use prober::reason::Reason;
use serving::otlp::trace::Trace;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tracing::warn;

use crate::blame::{Opinion, Usual, blame, judge_round};
use crate::certificate;
use crate::checks::{CheckFile, Role};
use crate::clock::{UnixHour, now, second};
use crate::metrics::{ByCheck, ByCulprit, ByOwner, ByPhase, ByReason, Metrics, RoundLabel};
use crate::probing::RawRound;
use crate::status::Status;
use crate::store::{Batch, History, HistoryError, RoundRecord};
use crate::telemetry::trace;
use crate::trends::Trends;

/// Rounds wait so long for others to be written with them.
const BATCH_TIME: Duration = Duration::from_millis(250);
/// Time between two additions to the hourly histograms: each costs as much as many rounds.
const MERGE_TIME: Duration = Duration::from_secs(60);
/// Times that wait for a store that refuses them.
const MOST_TIMES: usize = 200_000;
/// Rounds that wait for a store that refuses them.
const MOST_PENDING: usize = 50_000;
/// Hours in which the least round trip is looked for.
const USUAL_HOURS: i64 = 24;
const HOUR: Span = Span::from_millis(3_600_000);
/// Rounds of controls that are older say nothing of now.
const FRESH: Span = Span::from_millis(5 * 60_000);
/// Time between two looks for what is too old to be kept.
const FORGET_TIME: Span = Span::from_millis(60_000);
/// The prober is sick when half of its last rounds were.
const PROBER_RULE: Rule = Rule { fire: KofN { k: 5, n: 10 }, resolve_after: 10 };

/// Judges rounds, and alerts.
pub struct Engine {
    store: History,
    config: Arc<CheckFile>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    states: HashMap<String, State>,
    usual: HashMap<String, VecDeque<(UnixHour, Span, u32)>>,
    batch: Batch,
    trends: Trends,
    /// Checks that are no more, whose states must go from the store.
    retired: Vec<String>,
    /// States that changed since the last batch.
    touched: Vec<String>,
    /// Messages for the time in which the store refuses.
    direct: UnboundedSender<(String, Event)>,
    /// Takes the traces of bad rounds, where somebody wants them.
    traces: Option<Sender<Trace>>,
    forgotten: Instant<Client>,
}

impl Engine {
    /// Takes up where the store left off.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        store: History,
        config: Arc<CheckFile>,
        status: Arc<Status>,
        metrics: Arc<Metrics>,
        direct: UnboundedSender<(String, Event)>,
    ) -> Result<Self, HistoryError> {
        let now = now();
        let states: HashMap<String, State> = store.alerts().states()?.into_iter().collect();
        let known = store.round_trips(now - HOUR * USUAL_HOURS)?;
        let usual = known
            .into_iter()
            .map(|(name, ms, n)| (name, VecDeque::from([(UnixHour::of(now), Span::from_nanos((ms * 1e6) as i64), n)])))
            .collect();
        let engine = Self {
            store,
            config,
            status,
            metrics,
            states,
            usual,
            batch: Batch::default(),
            trends: Trends::default(),
            retired: Vec::new(),
            touched: Vec::new(),
            direct,
            traces: None,
            forgotten: Instant::from_nanos(0),
        };
        engine.recall();
        Ok(engine)
    }

    /// Has it hand out a trace of every bad round.
    #[must_use]
    pub fn traced(mut self, traces: Option<Sender<Trace>>) -> Self {
        self.traces = traces;
        self
    }

    /// Puts alerts that were on when we stopped into the status.
    fn recall(&self) {
        for (name, active) in self.states.iter().filter_map(|(name, s)| Some((name, s.active.as_ref().filter(|a| a.told)?))) {
            let target = self.config.check_of(name).map_or("", |c| &c.target);
            let event = self.event(name, target, active, None);
            self.status.alerts.note(&event);
        }
    }

    /// Works until nobody sends rounds any more.
    pub fn run(mut self, rounds: &Receiver<RawRound>, configs: &Receiver<Arc<CheckFile>>) {
        let (mut written, mut merged) = (std::time::Instant::now(), std::time::Instant::now());
        loop {
            match rounds.recv_timeout(BATCH_TIME) {
                Ok(round) => self.take(round),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(config) = configs.try_iter().last() {
                self.retire(&config);
                self.config = config;
            }
            if written.elapsed() >= BATCH_TIME {
                if merged.elapsed() >= MERGE_TIME {
                    self.merge();
                    merged = std::time::Instant::now();
                }
                self.write();
                written = std::time::Instant::now();
            }
        }
        self.merge();
        self.write();
    }

    /// Puts the times of the last minutes into the batch; while the store refuses, the oldest go first.
    fn merge(&mut self) {
        self.batch.times.extend(self.trends.take());
        let excess = self.batch.times.len().saturating_sub(MOST_TIMES);
        self.batch.times.drain(..excess);
    }

    /// Ends the alerts of checks that are no more: nobody's rounds would.
    fn retire(&mut self, next: &CheckFile) {
        let stays = |name: &str| name == PROBER || next.check_of(name).is_some();
        let gone: Vec<String> = self.states.keys().filter(|name| !stays(name)).cloned().collect();
        for name in gone {
            let Some(active) = self.states.remove(&name).and_then(|s| s.active) else { continue };
            let target = self.config.check_of(&name).map_or(String::new(), |c| c.target.clone());
            let ended = second(now());
            self.metrics.firing.remove(&ByCheck { check: name.clone() });
            self.incident(&name, &target, &active, Some(ended));
            if active.told {
                self.tell(self.event(&name, &target, &active, Some(ended)));
            }
            self.retired.push(name);
        }
    }

    fn tell(&mut self, event: Event) {
        self.status.alerts.note(&event);
        for receiver in &self.config.receivers {
            self.batch.alerts.messages.push((receiver.name(), event.clone()));
        }
    }

    /// Judges a round, and notes what comes of it.
    pub(crate) fn take(&mut self, raw: RawRound) {
        let plan = &raw.prepared.plan;
        let lateness = raw.started - raw.scheduled;
        let usual = self.usual(&raw.name, raw.started);
        let opinion = judge_round(&raw.report, usual, &self.config.gate, lateness, raw.reference);
        let bad_status = raw.report.response.as_ref().is_some_and(|r| match plan.check.status.as_slice() {
            [] => r.status >= 400,
            good => !good.contains(&r.status),
        });
        let mut found = blame(&raw.report, &opinion, &plan.thresholds, bad_status);
        let chain_end = certificate::chain_end(&raw.report.certificates);
        if let (None, Some(end)) = (&found, chain_end) {
            found = certificate::ends_soon(end, second(raw.started), plan.thresholds.certificate_days);
        }
        if plan.check.role == Role::Edge
            && let Some(blame) = &mut found
        {
            self.compare_with_controls(blame, raw.started);
        }
        let own_fault = found.as_ref().is_some_and(|b| b.culprit == Culprit::Prober);
        let gated = opinion.health.sick.is_some() || own_fault;
        let record = record(&raw, &opinion, found.as_ref(), gated, chain_end);
        self.measure(&raw, &opinion, &record, gated, chain_end);
        if let Some(traces) = self.traces.as_ref().filter(|_| record.culprit.is_some()) {
            // A collector that is away costs traces, nothing else.
            let _ = traces.try_send(trace(&record, &plan.check.target, &self.config.watch.vantage));
        }
        let at = second(raw.started);
        let prober_blame = opinion.health.sick.clone().map(|why| Blame {
            culprit: Culprit::Prober,
            family: Family::Prober,
            phase: "host".into(),
            words: "its own host".into(),
            ms: opinion.health.run_delay_ms.max(opinion.health.data_waiting_ms),
            sentence: format!("Rounds do not count against targets: {why}."),
        });
        let vantage = self.config.watch.vantage.clone();
        self.advance(PROBER, &vantage, at, prober_blame, PROBER_RULE);
        if !gated {
            let rule = Rule { fire: plan.fire, resolve_after: plan.resolve_after };
            self.advance(&raw.name, &plan.check.target, at, found, rule);
            self.learn(&raw.name, raw.started, &record);
        }
        let active = self.states.get(&raw.name).and_then(|s| s.active.as_ref());
        self.status.round(&record, &plan.check.target, plan.check.role, active);
        self.trends.note(&record);
        self.batch.rounds.push(record);
    }

    /// If the controls are slow too, it is our own access.
    fn compare_with_controls(&self, blame: &mut Blame, now: Instant<Client>) {
        if !matches!(blame.culprit, Culprit::Path | Culprit::Loss | Culprit::Inconclusive) {
            return;
        }
        let (all, bad) = self.status.change(|checks| {
            let latest = checks.by_name.values().filter(|c| c.role == Role::Control).filter_map(|c| c.recent.front());
            let fresh = latest.filter(|r| now - r.started < FRESH);
            fresh.fold((0, 0), |(all, bad), r| (all + 1, bad + i32::from(r.culprit.is_some_and(|c| c != Culprit::Edge))))
        });
        if all > 0 && bad * 2 >= all {
            blame.sentence = format!("{bad} of {all} control targets are slow or unreachable too. {}", blame.sentence);
            blame.culprit = Culprit::Access;
        } else if all > 0 && blame.culprit == Culprit::Path {
            blame.sentence = format!("{} {} of {all} control targets are as usual.", blame.sentence, all - bad);
        }
    }

    fn advance(&mut self, name: &str, target: &str, at: UnixSeconds, found: Option<Blame>, rule: Rule) {
        let check = self.config.check_of(name).map_or(name, |c| &c.name);
        let resting = self.config.maintenance.iter().any(|m| m.covers(name, at) || m.covers(check, at));
        let state = self.states.entry(name.to_owned()).or_default();
        let before = state.active.is_some();
        let transition = state.round(at, found, rule, resting);
        let active = state.active.clone();
        if before || active.is_some() || transition.is_some() || !self.touched.iter().any(|t| t == name) {
            self.touched.push(name.to_owned());
        }
        self.metrics.firing.get_or_create(&ByCheck { check: name.to_owned() }).set(i64::from(active.is_some()));
        if let Some(active) = &active {
            self.incident(name, target, active, None);
        }
        let Some(transition) = transition else { return };
        let (word, before) = (transition.word(), transition.before().cloned());
        let (active, ended) = transition.into_parts();
        let Blame { culprit, family, sentence, .. } = &active.blame;
        warn!(check = name, state = word, family = family.label(), culprit = culprit.label(), "{sentence}");
        self.incident(name, target, &active, ended);
        self.tell(Event { before, ..self.event(name, target, &active, ended) });
    }

    fn event(&self, name: &str, target: &str, active: &Active, ended: Option<UnixSeconds>) -> Event {
        let watch = &self.config.watch;
        let labels = self.config.check_of(name).map(|c| c.labels.clone()).unwrap_or_default();
        let base = watch.base();
        Event {
            key: format!("{name}@{}", watch.vantage),
            check: name.to_owned(),
            vantage: watch.vantage.clone(),
            target: target.to_owned(),
            resolved: ended.is_some(),
            since: active.since,
            ended,
            blame: active.blame.clone(),
            before: None,
            labels,
            link: Some(format!("{base}/check/{}", crate::page::escape_path(name))),
        }
    }

    fn incident(&mut self, name: &str, target: &str, active: &Active, ended: Option<UnixSeconds>) {
        let incident = Incident::of(&self.event(name, target, active, ended), active);
        self.batch.alerts.incidents.retain(|i| (&i.key, i.since) != (&incident.key, incident.since));
        self.batch.alerts.incidents.push(incident);
    }

    fn usual(&mut self, name: &str, now: Instant<Client>) -> Usual {
        let Some(hours) = self.usual.get_mut(name) else { return Usual::default() };
        while hours.front().is_some_and(|(hour, ..)| UnixHour::of(now).since(*hour) > USUAL_HOURS) {
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

    fn measure(&self, raw: &RawRound, opinion: &Opinion, record: &RoundRecord, gated: bool, chain_end: Option<UnixSeconds>) {
        let m = &self.metrics;
        let check = || record.name.clone();
        let culprit = if gated { "gated" } else { record.culprit.map_or("none", Culprit::label) };
        // What a graph of rounds leads to: the page of this one, and its trace if there is one.
        let exemplar = record
            .culprit
            .map(|_| RoundLabel { trace_id: trace(record, "", "").hex(), round: record.started.nanos().to_string() });
        let at = exemplar.is_some().then(SystemTime::now);
        m.rounds.get_or_create(&ByCulprit { check: check(), culprit: culprit.to_owned() }).inc_by(1, exemplar, at);
        if let Some(reason) = &record.reason {
            m.failures.get_or_create(&ByReason { check: check(), reason: reason.clone() }).inc();
        }
        m.success.get_or_create(&ByCheck { check: check() }).set(i64::from(record.success));
        m.total.get_or_create(&ByCheck { check: check() }).observe(record.total_ms / 1e3);
        let mut phases: Vec<(&str, f64)> = Vec::new();
        for (phase, owner, ms) in &record.parts {
            match phases.iter_mut().find(|(p, _)| p == phase) {
                Some((_, sum)) => *sum += ms,
                None => phases.push((phase, *ms)),
            }
            m.owners.get_or_create(&ByOwner { check: check(), owner: owner.clone() }).inc_by(ms / 1e3);
        }
        for (phase, ms) in phases {
            m.phases.get_or_create(&ByPhase { check: check(), phase: phase.into() }).observe(ms / 1e3);
        }
        if let Some(ms) = record.rtt_ms {
            m.round_trip.get_or_create(&ByCheck { check: check() }).set(ms / 1e3);
        }
        if let Some(end) = chain_end {
            m.certificate_end.get_or_create(&ByCheck { check: check() }).set(end.secs() as f64);
        }
        m.lateness.observe((raw.started - raw.scheduled).nanos() as f64 / 1e9);
        m.healthy.set(i64::from(opinion.health.sick.is_none()));
        m.run_delay.set(opinion.health.run_delay_ms / 1e3);
        if let Some(ms) = opinion.health.reference_ms {
            m.reference.set(ms / 1e3);
        }
    }

    /// Writes what was noted.
    pub(crate) fn write(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        let states = std::mem::take(&mut self.touched).into_iter();
        self.batch.alerts.retired.append(&mut self.retired);
        self.batch.alerts.states = states.filter_map(|name| Some((name.clone(), self.states.get(&name)?.clone()))).collect();
        let alerts = &self.batch.alerts;
        let no_alerts = alerts.states.is_empty() && alerts.messages.is_empty() && alerts.retired.is_empty();
        if no_alerts && self.batch.rounds.is_empty() && self.batch.times.is_empty() {
            return;
        }
        let messages = !alerts.messages.is_empty();
        let written = self.store.write(&self.batch);
        match written {
            Ok(()) => {
                self.batch = Batch::default();
                self.status.trouble("store", None);
                self.forget();
            }
            Err(error) => {
                self.metrics.store_errors.inc();
                self.status.trouble("store", Some(format!("{error}; rounds wait in memory, alerts go on")));
                // The next batch carries these again; messages cannot wait.
                for message in self.batch.alerts.messages.drain(..) {
                    let _ = self.direct.send(message);
                }
                self.touched = self.batch.alerts.states.drain(..).map(|(name, _)| name).collect();
                let excess = self.batch.rounds.len().saturating_sub(MOST_PENDING);
                self.batch.rounds.drain(..excess);
            }
        }
        if messages {
            self.status.alerts.messages_wait();
        }
    }

    fn forget(&mut self) {
        let now = now();
        if now - self.forgotten > FORGET_TIME {
            self.forgotten = now;
            let before = now - Span::from_nanos(self.config.watch.retention.nanos());
            if let Err(error) = self.store.forget(before) {
                self.status.trouble("store", Some(error.to_string()));
            }
        }
    }
}

fn record(
    raw: &RawRound,
    opinion: &Opinion,
    found: Option<&Blame>,
    gated: bool,
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
        success: raw.report.success,
        reason: raw.report.reason.map(|r| r.name().to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[[check]]\nname = \"log\"\ntarget = \"log.test:443\"\n";
    const LOGIN: &str = "[[check]]\nname = \"login\"\ntarget = \"login.test:443\"\nlabels = { team = \"a\" }\n";
    const HOOK: &str = "[watch]\nvantage = \"here\"\n[[receiver]]\nkind = \"webhook\"\nurl = \"http://h.test/\"\n";

    fn file(text: &str) -> Arc<CheckFile> {
        Arc::new(CheckFile::parse(text).expect("it is valid"))
    }

    /// An engine that takes up where another left off: with an alert of `login` on.
    fn engine(folder: &std::path::Path, checks: &str) -> (Engine, Arc<Status>) {
        let path = folder.join("store.db");
        let (family, phase, words) = (Family::Slow, "finish".into(), String::new());
        let blame = Blame { culprit: Culprit::Edge, family, phase, words, ms: 300.0, sentence: "Slow.".into() };
        let active = Active { since: UnixSeconds::from_secs(1), blame, told: true, rounds: 5, bad: 5 };
        let mut state = State::default();
        state.active = Some(active);
        let states = vec![("login".to_owned(), state)];
        let mut store = History::open(&path).expect("it opens");
        let alerts = alerting::store::Batch { states, ..Default::default() };
        store.write(&Batch { alerts, ..Batch::default() }).expect("it is written");
        let status = Arc::new(Status::default());
        let (direct, _) = tokio::sync::mpsc::unbounded_channel();
        let engine = Engine::open(store, file(checks), Arc::clone(&status), Arc::default(), direct).expect("it opens");
        (engine, status)
    }

    #[test]
    fn an_alert_has_its_own_checks_target_after_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (_engine, status) = engine(folder.path(), &format!("{HOOK}{LOG}{LOGIN}"));
        let alerts = status.alerts.snapshot();
        let event = alerts.firing.get("login@here").expect("the alert is on");
        assert_eq!((event.target.as_str(), event.labels.get("team").map(String::as_str)), ("login.test:443", Some("a")));
    }

    #[test]
    fn an_alert_ends_with_its_own_checks_target_when_the_check_goes_and_one_of_a_shorter_name_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut engine, _) = engine(folder.path(), &format!("{HOOK}{LOG}{LOGIN}"));
        engine.retire(&file(&format!("{HOOK}{LOG}")));
        let told: Vec<(&str, bool)> = engine.batch.alerts.messages.iter().map(|(_, e)| (e.target.as_str(), e.resolved)).collect();
        assert_eq!(told, [("login.test:443", true)]);
    }
}
