//! Where agents' rounds are kept and judged together: one thread, one writer of the store.
//!
//! In: what agents say, each batch as often as it is repeated. Out: history, states of cells, alerts ([`super::alerts`]); a batch is
//! acknowledged once it is in the store. A batch is taken after the one before it, so that a cell's rounds are judged in their order,
//! whatever any clock says; how old a round is, its agent's clock alone says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent::{BatchId, Delivered, RoundBatch, Stored};
use alerting::clock::UnixSeconds;
use alerting::states::{Rule, State};
use alerting::{Culprit, Event, Receiver};
use analysis::clock::{Client, Instant as Moment, Span};
use tokio::sync::mpsc::UnboundedSender;

use super::matrix::{Matrix, late_after, patience};
use super::metrics::{ByCell, ByCellAndCulprit, ByVantage, FleetMetrics, GATED, NOBODY};
use super::report::{Entry, Report};
use crate::checks::CheckFile;
use crate::clock::{UnixHour, second};
use crate::engine::{BATCH_TIME, PROBER_RULE};
use crate::error::Invalid;
use crate::journal::{Journal, MOST_PENDING};
use crate::status::{RoundSummary, Status};
use crate::store::{History, HistoryError, Reported, Times};

/// Between two looks at all cells.
const EVALUATED: Duration = Duration::from_secs(1);
/// A look takes a part of the time at most: with very many cells it comes less often.
const SHARE: u32 = 20;
/// Messages of agents that are taken before anything else is done.
const MOST_AT_ONCE: usize = 2_000;
/// A clock that is off by more is wrong; by less, it may be the time on the way.
const BELIEVED: Span = Span::from_millis(60_000);
/// Healthy rounds of one entry that a state is told of: more change nothing.
const MOST_GOOD: u32 = 1_000;

/// Judges what agents report.
pub(crate) struct Controller {
    pub(super) journal: Journal,
    pub(super) config: Arc<CheckFile>,
    pub(super) status: Arc<Status>,
    pub(super) metrics: Arc<FleetMetrics>,
    pub(super) matrix: Arc<Mutex<Matrix>>,
    /// By agent and its process.
    batches: HashMap<String, BTreeMap<String, Batches>>,
    /// Of these something is to be acknowledged.
    owed: BTreeSet<(String, String)>,
    /// Times of the batch, by what the histogram is of.
    times: HashMap<(String, UnixHour, String), Vec<f32>>,
    stored: UnboundedSender<Stored>,
    clock: Clock,
    /// The revision that agents should follow.
    handout: String,
}

/// Batches of one process of an agent.
#[derive(Clone, Copy, Default)]
struct Batches {
    taken: u64,
    stored: u64,
}

/// What a controller is made of.
pub(crate) struct Parts {
    pub(crate) store: History,
    pub(crate) config: Arc<CheckFile>,
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Arc<FleetMetrics>,
    pub(crate) matrix: Arc<Mutex<Matrix>>,
    pub(crate) direct: UnboundedSender<(String, Event)>,
    pub(crate) stored: UnboundedSender<Stored>,
    pub(crate) handout: String,
    pub(crate) clock: Clock,
}

/// A clock that nobody can set.
pub(crate) type Clock = Box<dyn Fn() -> Moment<Client> + Send>;

/// Another check file, and the revision of what agents get of it.
pub(crate) type Change = (Arc<CheckFile>, String);

impl Controller {
    /// Takes up where the store left off.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn open(parts: Parts) -> Result<Self, HistoryError> {
        let Parts { store, config, status, metrics, matrix, direct, stored, handout, clock } = parts;
        store.sync()?;
        let mut batches: HashMap<String, BTreeMap<String, Batches>> = HashMap::new();
        let mut heard: BTreeMap<String, UnixSeconds> = BTreeMap::new();
        for Reported { agent, epoch, number, heard: at } in store.reported()? {
            let last = heard.entry(agent.clone()).or_default();
            *last = at.max(*last);
            batches.entry(agent).or_default().insert(epoch, Batches { taken: number, stored: number });
        }
        let states = store.alerts().states()?;
        let journal = Journal::new(store, Arc::clone(&status), direct, metrics.store_errors.clone());
        let mut controller = Self {
            journal,
            config,
            status,
            metrics,
            matrix,
            batches,
            owed: BTreeSet::new(),
            times: HashMap::new(),
            stored,
            clock,
            handout,
        };
        controller.recall(heard, states);
        controller.retire(&Arc::clone(&controller.config));
        controller.introduce(&controller.journal.receivers_before(&controller.config.receivers));
        Ok(controller)
    }

    /// Works until nobody delivers any more.
    pub(crate) fn run(mut self, delivered: &Inbox<Delivered>, changes: &Inbox<Change>) {
        let (mut written, mut evaluated, mut took) = (Instant::now(), Instant::now(), Duration::ZERO);
        loop {
            match delivered.recv_timeout(BATCH_TIME) {
                Ok(first) => {
                    self.take(first);
                    delivered.try_iter().take(MOST_AT_ONCE).for_each(|next| self.take(next));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some((config, handout)) = changes.try_iter().last() {
                self.handout = handout;
                self.change(config);
            }
            if evaluated.elapsed() >= EVALUATED.max(took * SHARE) {
                let begun = Instant::now();
                self.evaluate(self.now());
                evaluated = Instant::now();
                took = evaluated - begun;
            }
            if written.elapsed() >= BATCH_TIME {
                self.write();
                written = Instant::now();
            }
        }
        self.write();
    }

    pub(super) fn now(&self) -> UnixSeconds {
        second((self.clock)())
    }

    pub(super) fn change(&mut self, config: Arc<CheckFile>) {
        self.retire(&config);
        locked(&self.matrix).change(Arc::clone(&config));
        let before = std::mem::replace(&mut self.config, config);
        self.introduce(&before.receivers.iter().map(Receiver::name).collect::<Vec<_>>());
    }

    pub(super) fn take(&mut self, delivered: Delivered) {
        let Delivered { agent, sent, wellbeing, batch } = delivered;
        if agent == self.config.fleet.name {
            let what = format!(
                "an agent is named {agent:?}, as the fleet is: rename one of them ([fleet] name); its rounds are not taken"
            );
            return self.status.trouble("agents", Some(what));
        }
        let now = self.now();
        {
            let mut matrix = locked(&self.matrix);
            let vantage = matrix.vantages.entry(agent.clone()).or_default();
            vantage.heard = now;
            vantage.ahead = self.ahead(sent);
            let of = || ByVantage { vantage: agent.clone() };
            self.metrics.heard.get_or_create(&of()).set(now.secs());
            self.metrics.waiting.get_or_create(&of()).set(i64::try_from(wellbeing.waiting).unwrap_or(i64::MAX));
            self.metrics.dropped.get_or_create(&of()).set(wellbeing.dropped.cast_signed());
            vantage.wellbeing = wellbeing;
        }
        let Some(batch) = batch else { return };
        let RoundBatch { id, after, bytes } = batch;
        let known = self.known(&agent, &id.epoch);
        if id.number <= known.stored {
            // The acknowledgement was lost.
            self.owed.insert((agent, id.epoch));
            return;
        }
        let follows = after.is_none_or(|after| after.number <= self.known(&agent, &after.epoch).taken);
        // What does not follow, or finds no room, is said again.
        if id.number <= known.taken || !follows || self.journal.batch.rounds.len() > MOST_PENDING {
            return;
        }
        match read(&bytes) {
            Ok(report) => {
                self.rounds(&agent, sent, report, now);
                self.taken(agent, id, now);
            }
            Err(error) => {
                let what = format!("{agent}: {error}; it keeps them. Upgrade this controller before its agents");
                self.status.trouble("agents", Some(what));
            }
        }
    }

    fn known(&self, agent: &str, epoch: &str) -> Batches {
        self.batches.get(agent).and_then(|epochs| epochs.get(epoch)).copied().unwrap_or_default()
    }

    fn taken(&mut self, agent: String, BatchId { epoch, number }: BatchId, heard: UnixSeconds) {
        self.batches.entry(agent.clone()).or_default().entry(epoch.clone()).or_default().taken = number;
        self.owed.insert((agent.clone(), epoch.clone()));
        self.journal.batch.reported.retain(|reported| (&reported.agent, &reported.epoch) != (&agent, &epoch));
        self.journal.batch.reported.push(Reported { agent, epoch, number, heard });
    }

    fn rounds(&mut self, agent: &str, sent: Moment<Client>, report: Report, now: UnixSeconds) {
        self.metrics.missed.get_or_create(&ByVantage { vantage: agent.to_owned() }).inc_by(report.missed);
        let moved = self.moved(sent);
        for Times { name, hour, what, ms } in report.times {
            let hour = hour.moved(moved);
            // Each phase of a check from everywhere; the whole from each vantage too.
            if what == "total" {
                self.times.entry((cell_name(&name, agent), hour, what.clone())).or_default().extend(&ms);
            }
            self.times.entry((name, hour, what)).or_default().extend(ms);
        }
        let matrix = Arc::clone(&self.matrix);
        let mut matrix = locked(&matrix);
        for entry in report.entries {
            self.entry(&mut matrix, agent, sent, entry, now);
        }
    }

    fn entry(&mut self, matrix: &mut Matrix, agent: &str, sent: Moment<Client>, entry: Entry, now: UnixSeconds) {
        let name = entry.record().name.clone();
        let age = (sent - entry.record().started).at_least_zero();
        let at = second((self.clock)() - age);
        self.measure(agent, &entry);
        if let Some(plan) = matrix.plan(&name) {
            let rule = Rule { fire: plan.fire, resolve_after: plan.resolve_after };
            if now.since(at) <= late_after(plan, &self.config) {
                self.advance(matrix, agent, &name, rule, &entry, at);
            } else {
                self.metrics.late.inc();
            }
        }
        let mut record = match entry {
            Entry::Good { slowest, .. } => *slowest,
            Entry::Bad { record, .. } | Entry::Gated { record, .. } => *record,
        };
        record.name = cell_name(&name, agent);
        let moved = self.moved(sent);
        (record.scheduled, record.started) = (record.scheduled + moved, record.started + moved);
        self.journal.batch.rounds.push(record);
    }

    /// By how much an agent's times are moved in the history: not at all while its clock is about right, else onto ours.
    fn moved(&self, sent: Moment<Client>) -> Span {
        let ahead = self.ahead(sent);
        if ahead.abs() <= BELIEVED { Span::ZERO } else { -ahead }
    }

    /// By how much an agent's clock is ahead of ours, by a message that came just now: the time on the way is in it.
    fn ahead(&self, sent: Moment<Client>) -> Span {
        sent - (self.clock)()
    }

    fn advance(&mut self, matrix: &mut Matrix, agent: &str, name: &str, rule: Rule, entry: &Entry, at: UnixSeconds) {
        self.looked_up(matrix, agent, name, rule, entry, at);
        let resting = self.rests(name, at);
        let cell = matrix.checks.entry(name.to_owned()).or_default().entry(agent.to_owned()).or_default();
        cell.last = at.max(cell.last);
        let record = entry.record();
        cell.show(RoundSummary {
            started: record.started,
            total_ms: record.total_ms,
            success: record.success,
            sick: matches!(entry, Entry::Gated { .. }),
            culprit: record.culprit,
        });
        let was_quiet = cell.state.quiet();
        let (rounds, of_prober) = match entry {
            Entry::Good { rounds, .. } => (*rounds, None),
            Entry::Bad { .. } => (1, None),
            Entry::Gated { prober, .. } => (0, prober.clone()),
        };
        for _ in 0..rounds.min(MOST_GOOD) {
            // Who is told what is the check's matter; the cell knows whether it was bad in maintenance alone.
            let _ = cell.state.round(at, entry.blame(), rule, resting);
            cell.judged = true;
        }
        if !(was_quiet && cell.state.quiet()) {
            self.journal.touch(&format!("{CELL}{}", cell_name(name, agent)));
        }
        self.prober(matrix, agent, rounds.clamp(1, PROBER_RULE.fire.n.max(PROBER_RULE.resolve_after)), of_prober, at);
    }

    /// A round of an address says that its name was found, which no round of the name alone says again.
    fn looked_up(&mut self, matrix: &mut Matrix, agent: &str, name: &str, rule: Rule, entry: &Entry, at: UnixSeconds) {
        let Some(plan) = matrix.plan(name).filter(|plan| plan.check.name != name) else { return };
        let check = plan.check.name.clone();
        // Once a round, however many addresses there are: by the first of those that this agent probes now.
        let (fresh, of_it) = (patience(plan, &self.config), format!("{check} "));
        let others = matrix.checks.range(of_it.clone()..name.to_owned());
        let addresses = others.filter(|(other, _)| matrix.plan(other).is_some_and(|plan| plan.check.name == check));
        if addresses.filter_map(|(_, cells)| cells.get(agent)).any(|cell| at.since(cell.last) <= fresh) {
            return;
        }
        let resting = self.rests(&check, at);
        let cell = matrix.checks.get_mut(&check).and_then(|cells| cells.get_mut(agent));
        let Some(cell) = cell.filter(|cell| !cell.state.quiet()) else { return };
        let rounds = match entry {
            Entry::Good { rounds, .. } => (*rounds).min(MOST_GOOD),
            Entry::Bad { .. } => 1,
            Entry::Gated { .. } => 0,
        };
        (cell.last, cell.judged) = (at.max(cell.last), true);
        for _ in 0..rounds {
            let _ = cell.state.round(at, None, rule, resting);
        }
        self.journal.touch(&format!("{CELL}{}", cell_name(&check, agent)));
    }

    fn measure(&self, agent: &str, entry: &Entry) {
        let (m, record) = (&self.metrics, entry.record());
        let (culprit, rounds) = match entry {
            Entry::Good { rounds, .. } => (NOBODY, u64::from(*rounds)),
            Entry::Bad { .. } => (record.culprit.map_or(NOBODY, Culprit::label), 1),
            Entry::Gated { .. } => (GATED, 1),
        };
        let (check, vantage) = (record.name.clone(), agent.to_owned());
        m.rounds.get_or_create(&ByCellAndCulprit { check: check.clone(), vantage: vantage.clone(), culprit }).inc_by(rounds);
        if let Some(ms) = record.rtt_ms {
            m.round_trip.get_or_create(&ByCell { check, vantage }).set(ms / 1e3);
        }
    }

    pub(super) fn write(&mut self) {
        for ((name, hour, what), ms) in self.times.drain() {
            self.journal.batch.times.push(Times { name, hour, what, ms });
        }
        let retention = Span::from_nanos(self.config.watch.retention.nanos());
        let matrix = Arc::clone(&self.matrix);
        let written = self.journal.write(|name| state(&locked(&matrix), name), retention);
        if !written {
            return;
        }
        for (agent, epoch) in std::mem::take(&mut self.owed) {
            let Some(batches) = self.batches.get_mut(&agent).and_then(|epochs| epochs.get_mut(&epoch)) else { continue };
            batches.stored = batches.taken;
            let upto = BatchId { epoch, number: batches.stored };
            // If nobody carries it any more, we are ending; the agent says it again.
            let _ = self.stored.send(Stored { agent, upto });
        }
    }

    /// Agents that do not follow the checks of now, or cannot; in words.
    pub(super) fn astray(&self, matrix: &Matrix) -> Option<String> {
        let said = matrix.vantages.iter().filter_map(|(name, vantage)| {
            if let Some(trouble) = &vantage.wellbeing.trouble {
                return Some(format!("{name}: {trouble}"));
            }
            let follows = vantage.wellbeing.checks.as_ref()?;
            (*follows != self.handout)
                .then(|| format!("{name} follows other checks than these (those of another controller, or earlier ones)"))
        });
        let said: Vec<String> = said.take(5).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// What states of cells, of probers and of alerts are called in the store.
pub(super) const CELL: &str = "cell ";
pub(super) const OF_PROBER: &str = "prober ";
pub(super) const ALERT: &str = "alert ";

/// Whether a state is a controller's, not a watcher's.
pub(crate) fn is_of_a_fleet(name: &str) -> bool {
    name.contains('@') && [CELL, OF_PROBER, ALERT].iter().any(|what| name.starts_with(what))
}

/// The state that the store has under a name.
fn state(matrix: &Matrix, name: &str) -> Option<State> {
    if let Some(cell) = name.strip_prefix(CELL) {
        let (check, vantage) = cell.rsplit_once('@')?;
        return Some(matrix.checks.get(check)?.get(vantage)?.state.clone());
    }
    if let Some(vantage) = name.strip_prefix(OF_PROBER) {
        return Some(matrix.vantages.get(vantage)?.prober.clone());
    }
    let (check, vantage) = name.strip_prefix(ALERT)?.rsplit_once('@')?;
    let of = super::matrix::Of { check: check.to_owned(), vantage: vantage.to_owned() };
    let mut state = State::default();
    state.active = matrix.standing.get(&of).map(|standing| standing.active.clone());
    Some(state)
}

/// A cell as a name. A vantage has no `@` in it.
pub(crate) fn cell_name(check: &str, vantage: &str) -> String {
    format!("{check}@{vantage}")
}

pub(crate) fn locked(matrix: &Mutex<Matrix>) -> MutexGuard<'_, Matrix> {
    // A panic elsewhere while it was held leaves at worst an older view.
    matrix.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(bytes: &[u8]) -> Result<Report, Invalid> {
    serde_json::from_slice(bytes).map_err(|error| Invalid(format!("its reports are not of this release ({error})")))
}
