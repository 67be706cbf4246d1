//! Where rounds are judged, kept and turned into messages: one thread, one writer of the store.
//!
//! In: [`RawRound`]s. Out: one transaction a batch (rounds, states, incidents, messages together: [`Journal`]), the status and the metrics.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use alerting::clock::UnixSeconds;
use alerting::event::PROBER;
use alerting::states::{Active, Blame, KofN, Rule, State, Transition};
use alerting::{Culprit, Event, Receiver as Told};
use analysis::clock::{Client, Instant, Span};
use serving::otlp::trace::Trace;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tracing::warn;

use crate::addresses::Addresses;
use crate::checks::{Addresses as Probed, CheckFile};
use crate::clock::{UnixHour, now, second};
use crate::fleet::controller::is_of_a_fleet;
use crate::journal::{Journal, MOST_PENDING};
use crate::judging::{Judged, Judging, USUAL_FOR};
use crate::metrics::{ByCheck, ByCulprit, ByOwner, ByPhase, ByReason, Metrics, RoundLabel};
use crate::probing::RawRound;
use crate::series::Series;
use crate::status::Status;
use crate::store::{History, HistoryError};
use crate::telemetry::trace;
use crate::trends::Trends;

/// Rounds wait so long for others to be written with them.
pub(crate) const BATCH_TIME: Duration = Duration::from_millis(250);
/// Time between two additions to the hourly histograms: each costs as much as many rounds.
pub(crate) const MERGE_TIME: Duration = Duration::from_secs(60);
/// The wall clock may be off from the prober's by so much before its rounds are dated anew.
const STEP: Span = Span::from_millis(1_000);
/// Why a check's alert ends with the check.
pub(crate) const UNWRITTEN: &str = "no longer in the check file";
/// The prober is sick when half of its last rounds were.
pub(crate) const PROBER_RULE: Rule = Rule { fire: KofN { k: 5, n: 10 }, resolve_after: 10 };

/// Judges rounds, and alerts.
pub struct Engine {
    journal: Journal,
    config: Arc<CheckFile>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    states: HashMap<String, State>,
    judging: Judging,
    trends: Trends,
    addresses: Addresses,
    series: Series,
    /// What rounds are dated by: the wall clock of the start, and steady from there.
    clock: Option<Box<dyn Fn() -> Instant<Client> + Send>>,
    /// Takes the traces of bad rounds, where somebody wants them.
    traces: Option<Sender<Trace>>,
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
        // What a controller left in the same store is not ours to tell.
        let ours = |name: &str| config.check_of(name).is_some() || !is_of_a_fleet(name);
        let mut states: HashMap<String, State> = store.alerts().states()?.into_iter().filter(|(name, _)| ours(name)).collect();
        // Before it was kept, it was this.
        for state in states.values_mut().filter(|state| state.active.is_some() && state.vantage.is_none()) {
            state.vantage = Some(config.watch.vantage.clone());
        }
        let open = store.alerts().incidents(second(now))?.into_iter().filter(|incident| incident.ended.is_none());
        let targets: HashMap<String, String> = open.map(|incident| (incident.name, incident.target)).collect();
        let known = store.round_trips(now - USUAL_FOR)?;
        let usual =
            known.into_iter().map(|(name, round_trip, n)| (name, VecDeque::from([(UnixHour::of(now), round_trip, n)]))).collect();
        let journal = Journal::new(store, Arc::clone(&status), direct, metrics.store_errors.clone());
        let judging = Judging::new(usual);
        let (trends, addresses, series) = (Trends::default(), Addresses::default(), Series::default());
        let mut engine =
            Self { journal, config, status, metrics, states, judging, trends, addresses, series, clock: None, traces: None };
        engine.retire(&Arc::clone(&engine.config), |name| targets.get(name).cloned().unwrap_or_default());
        engine.recall();
        engine.introduce(&engine.journal.receivers_before(&engine.config.receivers));
        Ok(engine)
    }

    /// Dates rounds by the wall clock as it is when they end: it may have been set since `clock` began, or this machine have slept.
    #[must_use]
    pub fn dated(mut self, clock: impl Fn() -> Instant<Client> + Send + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Has it hand out a trace of every bad round.
    #[must_use]
    pub fn traced(mut self, traces: Option<Sender<Trace>>) -> Self {
        self.traces = traces;
        self
    }

    /// Puts alerts that were on when we stopped into the status.
    fn recall(&self) {
        for (name, active) in self.told() {
            self.status.alerts.note(&self.event(name, self.target_of(name), active, None));
        }
    }

    /// Alerts that receivers know of.
    fn told(&self) -> impl Iterator<Item = (&String, &Active)> {
        self.states.iter().filter_map(|(name, state)| Some((name, state.active.as_ref().filter(|active| active.told)?)))
    }

    fn target_of(&self, name: &str) -> &str {
        self.config.check_of(name).map_or(if name == PROBER { &self.config.watch.vantage } else { "" }, |check| &check.target)
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
                self.change(config);
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

    /// Puts the times of the last minutes into the batch.
    fn merge(&mut self) {
        self.journal.times(self.trends.take());
    }

    /// Ends the alerts of checks that are no more: nobody's rounds would. `target` knows what they were of.
    fn retire(&mut self, next: &CheckFile, target: impl Fn(&str) -> String) {
        let stays = |name: &str| name == PROBER || next.check_of(name).is_some();
        let gone: Vec<String> = self.states.keys().filter(|name| !stays(name)).cloned().collect();
        // Who is no more, or was not there, has nothing to hear.
        let both = |receiver: &&Told| next.receivers.iter().any(|other| other.name() == receiver.name());
        let told: Vec<Told> = self.config.receivers.iter().filter(both).cloned().collect();
        for name in gone {
            self.end(&name, &target(&name), UNWRITTEN, &told);
        }
    }

    /// Ends what is known of a check, or of an address of it: it is looked at no longer.
    fn end(&mut self, name: &str, target: &str, why: &str, told: &[Told]) {
        self.series.forget(name, &self.metrics);
        self.status.change(|checks| checks.by_name.remove(name));
        let Some(state) = self.states.get(name) else { return };
        if let Some(active) = state.active.clone() {
            let event = Event { unwatched: Some(why.to_owned()), ..self.event(name, target, &active, Some(second(now()))) };
            self.journal.incident(&event, &active);
            if active.told {
                self.journal.tell(told, &event);
            }
        }
        self.states.remove(name);
        self.journal.retire(name.to_owned());
    }

    /// Another check file.
    fn change(&mut self, config: Arc<CheckFile>) {
        let before = Arc::clone(&self.config);
        self.retire(&config, |name| before.check_of(name).map_or(String::new(), |check| check.target.clone()));
        self.judging.retain(|name| config.check_of(name).is_some());
        self.addresses.retain(|check| config.check_of(check).is_some_and(|check| check.addresses == Probed::Each));
        let gone: Vec<String> = self.series.checks().filter(|name| config.check_of(name).is_none()).cloned().collect();
        for name in gone {
            self.series.forget(&name, &self.metrics);
        }
        self.config = config;
        self.introduce(&before.receivers.iter().map(Told::name).collect::<Vec<_>>());
    }

    /// Receivers of now that were not there before hear of all that is on.
    fn introduce(&mut self, before: &[String]) {
        let on: Vec<Event> = self.told().map(|(name, active)| self.event(name, self.target_of(name), active, None)).collect();
        self.journal.introduce(before, &self.config.receivers, &on);
    }

    /// An address that lookups do not give any more; and that the name is looked up again, if it was not. `due` is by the clock that nobody
    /// sets: a step of the other is no time in which an address was missing.
    fn look_up(&mut self, raw: &RawRound, due: Instant<Client>, gated: bool) {
        let (plan, at) = (&raw.prepared.plan, second(raw.started));
        let check = plan.check.name.as_str();
        if plan.check.addresses != Probed::Each || raw.name == check {
            return;
        }
        let rule = Rule { fire: plan.fire, resolve_after: plan.resolve_after };
        if !gated && self.addresses.is_next(check, due) && self.states.get(check).is_some_and(|state| !state.quiet()) {
            self.advance(check, &plan.check.target, at, None, rule);
        }
        let rounds = plan.fire.n.max(plan.resolve_after);
        let patience =
            Span::from_nanos(plan.interval.nanos().saturating_mul(i64::from(rounds)).saturating_add(plan.timeout.nanos()));
        let config = Arc::clone(&self.config);
        let of_it = |name: &String| name != check && config.check_of(name).is_some_and(|found| found.name == check);
        let known = self.states.keys().filter(|name| of_it(name)).cloned();
        for gone in self.addresses.note(check, &raw.name, due, patience, known) {
            self.judging.retain(|name| name != gone);
            self.end(&gone, &plan.check.target, &format!("no longer an address of {}", plan.host), &config.receivers);
        }
    }

    /// By how much the wall clock is ahead of what rounds are dated by; not at all where that is little.
    fn off(&self) -> Span {
        let off = self.clock.as_ref().map_or(Span::ZERO, |clock| now() - clock());
        if off.abs() <= STEP { Span::ZERO } else { off }
    }

    /// Dates a round by the wall clock of now.
    fn date(&self, raw: RawRound) -> RawRound {
        let off = self.off();
        RawRound { scheduled: raw.scheduled + off, started: raw.started + off, ..raw }
    }

    /// Judges a round, and notes what comes of it.
    pub(crate) fn take(&mut self, raw: RawRound) {
        if self.config.check_of(&raw.name).is_none() {
            return; // it was under way when its check went
        }
        let due = raw.scheduled;
        let raw = self.date(raw);
        let plan = &raw.prepared.plan;
        let judged = self.judging.judge(&raw, &self.config.gate);
        self.measure(&raw, &judged);
        if let Some(traces) = self.traces.as_ref().filter(|_| judged.record.culprit.is_some()) {
            // A collector that is away costs traces, nothing else.
            let _ = traces.try_send(trace(&judged.record, &raw.prepared.plan.check.target, &self.config.watch.vantage));
        }
        let Judged { record, found, gated, prober, .. } = judged;
        let at = second(raw.started);
        let vantage = self.config.watch.vantage.clone();
        self.advance(PROBER, &vantage, at, prober, PROBER_RULE);
        if !gated {
            let rule = Rule { fire: plan.fire, resolve_after: plan.resolve_after };
            self.advance(&raw.name, &plan.check.target, at, found, rule);
        }
        if self.rests(&raw.name, at) {
            // Rounds of maintenance are no part of a pattern that is told behind it.
            self.judging.forget_pattern(&raw.name);
        }
        self.look_up(&raw, due, gated);
        let active = self.states.get(&raw.name).and_then(|s| s.active.as_ref());
        self.status.round(&record, &plan.check.target, plan.check.role, active);
        self.trends.note(&record);
        self.journal.batch.rounds.push(record);
    }

    /// Alerts that are on, by what they are about.
    pub(crate) fn active(&self) -> Vec<(String, Active)> {
        let on = self.states.iter().filter_map(|(name, state)| Some((name.clone(), state.active.clone()?)));
        let mut on: Vec<(String, Active)> = on.collect();
        on.sort_by(|a, b| a.0.cmp(&b.0));
        on
    }

    /// Whether it is in maintenance.
    fn rests(&self, name: &str, at: UnixSeconds) -> bool {
        let check = self.config.check_of(name).map_or(name, |c| &c.name);
        self.config.maintenance.iter().any(|m| m.covers(name, at) || m.covers(check, at))
    }

    fn advance(&mut self, name: &str, target: &str, at: UnixSeconds, found: Option<Blame>, rule: Rule) {
        let resting = self.rests(name, at);
        let here = &self.config.watch.vantage;
        let state = self.states.entry(name.to_owned()).or_default();
        let transition = state.round(at, found, rule, resting);
        let active = state.active.clone();
        if active.is_some() && state.vantage.is_none() {
            state.vantage = Some(here.clone());
        }
        self.journal.touch(name);
        self.metrics.firing.get_or_create(&ByCheck { check: name.to_owned() }).set(i64::from(active.is_some()));
        if let Some(active) = &active {
            self.incident(name, target, active, None);
        }
        if let Some(transition) = transition {
            self.tell(name, target, transition);
        }
        if let Some(state) = self.states.get_mut(name).filter(|state| state.active.is_none()) {
            state.vantage = None;
        }
    }

    fn tell(&mut self, name: &str, target: &str, transition: Transition) {
        let (word, before) = (transition.word(), transition.before().cloned());
        let (active, ended) = transition.into_parts();
        let Blame { culprit, family, sentence, .. } = &active.blame;
        warn!(check = name, state = word, family = family.label(), culprit = culprit.label(), "{sentence}");
        self.incident(name, target, &active, ended);
        let event = Event { before, ..self.event(name, target, &active, ended) };
        self.journal.tell(&self.config.receivers, &event);
    }

    fn event(&self, name: &str, target: &str, active: &Active, ended: Option<UnixSeconds>) -> Event {
        let watch = &self.config.watch;
        let vantage = self.states.get(name).and_then(|state| state.vantage.clone()).unwrap_or_else(|| watch.vantage.clone());
        Event {
            key: format!("{name}@{vantage}"),
            check: name.to_owned(),
            vantage,
            seen_from: Vec::new(),
            target: target.to_owned(),
            resolved: ended.is_some(),
            // A clock that was set back since leaves what lies ahead.
            since: active.since.min(ended.unwrap_or_else(|| second(now()))),
            ended,
            blame: active.blame.clone(),
            before: None,
            unwatched: None,
            labels: self.config.check_of(name).map(|c| c.labels.clone()).unwrap_or_default(),
            link: Some(self.config.link(name)),
        }
    }

    fn incident(&mut self, name: &str, target: &str, active: &Active, ended: Option<UnixSeconds>) {
        let event = self.event(name, target, active, ended);
        self.journal.incident(&event, active);
    }

    fn measure(&mut self, raw: &RawRound, judged: &Judged) {
        let (m, series) = (&self.metrics, &mut self.series);
        let Judged { record, opinion, gated, chain_end, .. } = judged;
        let check = || record.name.clone();
        let culprit = if *gated { "gated" } else { record.culprit.map_or("none", Culprit::label) };
        // What a graph of rounds leads to: the page of this one, and its trace if there is one.
        let exemplar = record
            .culprit
            .map(|_| RoundLabel { trace_id: trace(record, "", "").hex(), round: record.started.nanos().to_string() });
        let at = exemplar.is_some().then(SystemTime::now);
        series.culprit(&record.name, culprit);
        m.rounds.get_or_create(&ByCulprit { check: check(), culprit: culprit.to_owned() }).inc_by(1, exemplar, at);
        if let Some(reason) = &record.reason {
            series.reason(&record.name, reason);
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
            series.owner(&record.name, owner);
            m.owners.get_or_create(&ByOwner { check: check(), owner: owner.clone() }).inc_by(ms / 1e3);
        }
        for (phase, ms) in phases {
            series.phase(&record.name, phase);
            m.phases.get_or_create(&ByPhase { check: check(), phase: phase.into() }).observe(ms / 1e3);
        }
        if let Some(ms) = record.rtt_ms {
            m.round_trip.get_or_create(&ByCheck { check: check() }).set(ms / 1e3);
        }
        if let Some(end) = *chain_end {
            m.certificate_end.get_or_create(&ByCheck { check: check() }).set(end.secs() as f64);
        }
        m.lateness.observe(raw.late.nanos() as f64 / 1e9);
        m.healthy.set(i64::from(opinion.health.sick.is_none()));
        m.run_delay.set(opinion.health.run_delay_ms / 1e3);
        if let Some(ms) = opinion.health.reference_ms {
            m.reference.set(ms / 1e3);
        }
    }

    /// Writes what was noted.
    pub(crate) fn write(&mut self) {
        let written =
            self.journal.write(|name| self.states.get(name).cloned(), Span::from_nanos(self.config.watch.retention.nanos()));
        if !written {
            let excess = self.journal.batch.rounds.len().saturating_sub(MOST_PENDING);
            self.journal.batch.rounds.drain(..excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use alerting::Family;

    use super::*;
    use crate::store::Batch;

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
        let blame = Blame { culprit: Culprit::Edge, family, phase, words, ms: 300.0, sentence: "Slow.".into(), pattern: None };
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
        engine.change(file(&format!("{HOOK}{LOG}")));
        let told: Vec<(&str, bool)> =
            engine.journal.batch.alerts.messages.iter().map(|(_, e)| (e.target.as_str(), e.resolved)).collect();
        assert_eq!(told, [("login.test:443", true)]);
    }

    fn told(engine: &Engine) -> Vec<(String, String, bool)> {
        let of = |(receiver, e): &(String, Event)| {
            (receiver.split(' ').next().unwrap_or_default().to_owned(), e.key.clone(), e.resolved)
        };
        engine.journal.batch.alerts.messages.iter().map(of).collect()
    }

    fn message(key: &str, resolved: bool) -> (String, String, bool) {
        ("webhook".into(), key.into(), resolved)
    }

    #[test]
    fn a_check_that_is_gone_at_the_start_is_said_to_be_and_not_that_it_is_well() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (engine, status) = engine(folder.path(), &format!("{HOOK}{LOG}"));
        assert_eq!(told(&engine), [message("login@here", true)]);
        let summary = engine.journal.batch.alerts.messages[0].1.summary();
        assert!(summary.contains("no longer in the check file") && !summary.contains("over"), "{summary}");
        assert!(status.alerts.snapshot().firing.is_empty() && engine.states.is_empty());
    }

    #[test]
    fn an_alert_ends_under_the_key_that_it_began_with_whatever_the_place_is_called_by_now() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut engine, _) = engine(folder.path(), &format!("{HOOK}{LOG}{LOGIN}"));
        engine.journal.touch("login");
        engine.write();
        drop(engine);
        let store = History::open(&folder.path().join("store.db")).expect("it opens");
        let (direct, _) = tokio::sync::mpsc::unbounded_channel();
        let elsewhere = file(&format!("{HOOK}{LOGIN}").replace("\"here\"", "\"there\""));
        let mut engine = Engine::open(store, elsewhere, Arc::default(), Arc::default(), direct).expect("it opens");
        for at in 10..14 {
            engine.advance("login", "login.test:443", UnixSeconds::from_secs(at), None, TWO_OF_THREE);
        }
        assert_eq!(told(&engine), [message("login@here", true)]);
        // The next one is of the new place.
        for at in 20..24 {
            let blame = Blame {
                culprit: Culprit::Edge,
                family: Family::Slow,
                phase: String::new(),
                words: String::new(),
                ms: 1.0,
                sentence: String::new(),
                pattern: None,
            };
            engine.advance("login", "login.test:443", UnixSeconds::from_secs(at), Some(blame), TWO_OF_THREE);
        }
        assert_eq!(told(&engine).last(), Some(&message("login@there", false)));
    }

    const TWO_OF_THREE: Rule = Rule { fire: KofN { k: 2, n: 3 }, resolve_after: 2 };

    #[test]
    fn a_receiver_that_is_new_hears_of_all_that_is_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut engine, _) = engine(folder.path(), &format!("{HOOK}{LOG}{LOGIN}"));
        engine.change(file(&format!("{HOOK}{LOG}{LOGIN}").replace("http://h.test/", "http://corrected.test/")));
        let messages = &engine.journal.batch.alerts.messages;
        assert_eq!(told(&engine), [message("login@here", false)]);
        assert!(messages[0].0.contains("corrected.test"), "{messages:?}");
        engine.change(Arc::clone(&engine.config));
        assert_eq!(told(&engine).len(), 1, "once");
        // And of what is on when it is new at a start.
        engine.journal.touch("login");
        engine.write();
        drop(engine);
        let open = |url: &str| {
            let store = History::open(&folder.path().join("store.db")).expect("it opens");
            let (direct, _) = tokio::sync::mpsc::unbounded_channel();
            let config = file(&format!("{HOOK}{LOGIN}").replace("http://h.test/", url));
            Engine::open(store, config, Arc::default(), Arc::default(), direct).expect("it opens")
        };
        assert_eq!(told(&open("http://corrected.test/")), []);
        assert_eq!(told(&open("http://other.test/")), [message("login@here", false)]);
    }

    #[test]
    fn rounds_are_dated_by_the_wall_clock_of_now_if_it_was_set() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (engine, _) = engine(folder.path(), &format!("{HOOK}{LOGIN}"));
        let hours = Span::from_millis(2 * 3_600_000);
        assert_eq!(engine.off(), Span::ZERO, "it is dated already");
        let ahead = engine.dated(move || now() + hours);
        assert!((ahead.off() + hours).abs() < Span::from_millis(60_000), "it was ahead at the start");
        let blame = ahead.states.get("login").and_then(|state| state.active.as_ref()).map(|active| active.blame.clone());
        let active = Active { since: second(now() + hours), blame: blame.expect("it is on"), told: true, rounds: 1, bad: 1 };
        assert!(ahead.event("login", "", &active, None).since <= second(now()), "nor did anything begin after now");
        let slept = ahead.dated(move || now() - hours);
        assert!((slept.off() - hours).abs() < Span::from_millis(60_000));
        assert_eq!(slept.dated(now).off(), Span::ZERO, "as far as that can be told");
    }

    #[test]
    fn series_of_a_check_go_with_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut engine, _) = engine(folder.path(), &format!("{HOOK}{LOG}{LOGIN}"));
        engine.series.culprit("login", "edge");
        drop(engine.metrics.rounds.get_or_create(&ByCulprit { check: "login".into(), culprit: "edge".into() }));
        engine.metrics.success.get_or_create(&ByCheck { check: "login".into() }).set(0);
        let shown = |engine: &Engine| engine.metrics.exposition.openmetrics().concat().matches("check=\"login\"").count();
        assert_eq!(shown(&engine), 2);
        engine.change(file(&format!("{HOOK}{LOG}")));
        assert_eq!(shown(&engine), 0);
    }

    /// Rounds of a check at an address where nobody listens: bad ones, and the same as if all had been well.
    async fn rounds(config: Arc<CheckFile>) -> impl Fn(&str, Instant<Client>, bool) -> RawRound {
        let prepared = Arc::clone(&crate::prepare::prepare(&config).expect("nothing is read")[0]);
        let report = prober::probe(&prepared.target, &prober::Lookup::new(&[]).expect("a resolver")).await;
        move |name, scheduled, well| {
            let mut report = report.clone();
            if well {
                (report.success, report.reason, report.detail) = (true, None, None);
            }
            let (prepared, name) = (Arc::clone(&prepared), name.to_owned());
            RawRound { prepared, name, scheduled, started: scheduled, late: Span::ZERO, reference: None, report }
        }
    }

    /// However busy the machine is, its rounds count.
    const REFUSING: &str = "[gate]\nrun_delay = \"1h\"\ndata_waiting = \"1h\"\n\
        [[check]]\nname = \"login\"\ntarget = \"127.0.0.1:1\"\ninterval = \"10s\"\nfire = { k = 2, n = 3 }\nresolve_after = 2\n";

    #[tokio::test]
    async fn a_clock_that_is_set_is_no_time_in_which_an_address_was_missing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let each = format!("{HOOK}{REFUSING}addresses = \"each\"\n");
        let (engine, _) = engine(folder.path(), &each);
        let step = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let stepped = Arc::clone(&step);
        let begun = now();
        // The wall clock is two hours ahead of what rounds are dated by: it was set.
        let mut engine =
            engine.dated(move || now() - Span::from_millis(stepped.load(std::sync::atomic::Ordering::Relaxed) * 3_600_000));
        let round = rounds(file(&each)).await;
        let at = |second: i64| begun + Span::from_millis(second * 1_000);
        for second in [0, 10, 20] {
            engine.take(round("login 127.0.0.1", at(second), false));
            engine.take(round("login 127.0.0.2", at(second), true));
        }
        step.store(2, std::sync::atomic::Ordering::Relaxed);
        engine.take(round("login 127.0.0.2", at(30), true));
        let on: Vec<String> = engine.active().into_iter().map(|(name, _)| name).collect();
        assert!(on.contains(&"login 127.0.0.1".to_owned()), "{on:?}");
        for second in [40, 50, 60, 70] {
            engine.take(round("login 127.0.0.2", at(second), true));
        }
        assert!(!engine.states.contains_key("login 127.0.0.1"), "it was not looked up for long");
    }

    #[tokio::test]
    async fn a_pattern_of_maintenance_is_told_to_nobody_behind_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fourth = format!("{HOOK}{REFUSING}").replace("k = 2, n = 3", "k = 3, n = 5").replace("login", "pay");
        let begun = now();
        let (from, to) = (second(begun - Span::from_millis(60_000)), second(begun + Span::from_millis(155_000)));
        let resting = format!("{fourth}[[maintenance]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
        let (mut engine, _) = engine(folder.path(), &resting);
        let before = told(&engine).len();
        let round = rounds(file(&resting)).await;
        // Every fourth fails, of sixteen; the last of them is the first behind it.
        for n in 1..=16 {
            engine.take(round("pay", begun + Span::from_millis(n * 10_000), n % 4 != 0));
        }
        assert_eq!(told(&engine).len(), before, "{:?}", told(&engine));
        for n in 17..=32 {
            engine.take(round("pay", begun + Span::from_millis(n * 10_000), n % 4 != 0));
        }
        assert_eq!(told(&engine)[before..], [message("pay@here", false)]);
    }

    #[test]
    fn what_a_controller_left_in_the_store_is_not_a_watchers_to_tell() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (engine, _) = engine(folder.path(), &format!("{HOOK}{LOGIN}"));
        let left = engine.states["login"].clone();
        let names = ["cell login@fra", "prober fra@x", "alert login@fleet"];
        let states = names.map(|name| (name.to_owned(), left.clone())).to_vec();
        drop(engine);
        let path = folder.path().join("store.db");
        let mut store = History::open(&path).expect("it opens");
        let alerts = alerting::store::Batch { states, ..Default::default() };
        store.write(&Batch { alerts, ..Batch::default() }).expect("it is written");
        let status = Arc::new(Status::default());
        let (direct, _) = tokio::sync::mpsc::unbounded_channel();
        let config = file(&format!("{HOOK}{LOGIN}"));
        let mut engine = Engine::open(store, Arc::clone(&config), Arc::clone(&status), Arc::default(), direct).expect("it opens");
        let shown: Vec<String> = status.alerts.snapshot().firing.into_keys().collect();
        assert_eq!(shown, ["login@here"]);
        engine.change(file(&format!("{HOOK}{LOG}")));
        engine.write();
        let left: Vec<String> = History::open(&path)
            .expect("it opens")
            .alerts()
            .states()
            .expect("they are read")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(left, names, "it may be needed there again");
    }
}
