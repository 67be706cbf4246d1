//! An agent's rounds, until the stores of controllers have them: in memory, and in a folder if there is one.
//!
//! In: batches in the order in which they were made; what controllers say that they have. Out: what to send now, in that order.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent::{BatchId, Handout, Wellbeing};
use analysis::clock::{Client, Instant as Stamp};
use tokio::sync::{Notify, watch};

use crate::kept::Kept;
use crate::message::KeptId;
use crate::parts::{Whole, sha256};
use crate::subject::unique;
use crate::{Error, Log};

/// With more than this waiting, the oldest batch is thrown away: days of rounds of a few dozen checks.
const MOST_BYTES: usize = 64 << 20;
/// Batches under way at once: a lost one holds up few.
const WINDOW: usize = 8;
/// A controller that is named and silent for so long is waited for no longer.
const GIVEN_UP: Duration = Duration::from_secs(24 * 3_600);
/// A controller that is heard at least so often is sent what it lacks.
const HEARD: Duration = Duration::from_secs(90);
/// What went wrong is said in so many characters at most: it goes with each message.
const MOST_WORDS: usize = 500;
/// The line before the bytes of a batch, in memory and in the folder: whether a round of it is worth more than the others.
const BAD: &[u8] = b"bad\n";
const GOOD: &[u8] = b"good\n";
/// The file of the checks that were followed last.
const CHECKS: &str = "checks";

/// What an agent of a watch has to say, shared by who probes and who sends.
pub struct Reports {
    inner: Mutex<Inner>,
    news: Notify,
    checks: watch::Sender<Option<Handout>>,
    /// The clock of the rounds: this host's wall clock.
    clock: Box<dyn Fn() -> Stamp<Client> + Send + Sync>,
    folder: Option<PathBuf>,
    log: Log,
}

struct Inner {
    waiting: Kept,
    epoch: String,
    last: u64,
    trouble: Option<String>,
    dropped: u64,
    /// Controllers whose stores must have a batch; none: any one.
    named: Vec<String>,
    /// By controller: when it was heard, and up to which number of each epoch it has.
    stores: BTreeMap<String, Store>,
    begun: Instant,
}

#[derive(Default)]
struct Store {
    heard: Option<Instant>,
    upto: BTreeMap<String, u64>,
}

impl Store {
    fn has(&self, id: &KeptId) -> bool {
        self.upto.get(&id.session).is_some_and(|upto| id.number <= *upto)
    }
}

/// A batch that is to be sent.
pub(crate) struct Due {
    pub(crate) id: KeptId,
    pub(crate) after: Option<KeptId>,
    whole: Arc<Whole>,
}

impl Due {
    pub(crate) fn bytes(&self) -> &[u8] {
        body(&self.whole.bytes)
    }
}

impl Reports {
    /// What an earlier process left in `folder`, and room for more. `clock` is that by which rounds are timed, this
    /// host's wall clock: by it the receiver knows how old they are.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(
        folder: Option<PathBuf>,
        clock: impl Fn() -> Stamp<Client> + Send + Sync + 'static,
        log: &Log,
    ) -> Result<Self, Error> {
        let waiting = Kept::open(folder.as_ref().map(|folder| folder.join("rounds")), log)?;
        let left = folder.as_ref().and_then(|folder| std::fs::read(folder.join(CHECKS)).ok());
        let checks = left.map(|bytes| Handout { sha256: sha256(&bytes), bytes });
        // Later processes have greater names, so that their rounds are taken after those that were left.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let inner = Inner {
            waiting,
            epoch: format!("{since:012x}-{}", unique()),
            last: 0,
            trouble: None,
            dropped: 0,
            named: Vec::new(),
            stores: BTreeMap::new(),
            begun: Instant::now(),
        };
        let (checks, _) = watch::channel(checks);
        Ok(Self { inner: Mutex::new(inner), news: Notify::new(), checks, clock: Box::new(clock), folder, log: Arc::clone(log) })
    }

    /// The checks to follow, as they change; none: no controller was heard yet.
    pub fn checks(&self) -> watch::Receiver<Option<Handout>> {
        self.checks.subscribe()
    }

    /// Keeps a batch until it is stored elsewhere; when this returns, it survives what the folder survives. `bad`: it is thrown away after
    /// all others, if there is no room.
    ///
    /// # Errors
    /// If it cannot be written; it is kept in memory then.
    pub fn keep(&self, bad: bool, bytes: &[u8]) -> Result<(), Error> {
        let whole = Whole::of([if bad { BAD } else { GOOD }, bytes].concat());
        let mut inner = self.inner();
        inner.last += 1;
        let id = KeptId { session: inner.epoch.clone(), number: inner.last };
        let kept = inner.waiting.keep(id, Arc::new(whole));
        inner.make_room(MOST_BYTES);
        drop(inner);
        self.news.notify_one();
        kept
    }

    /// What is wrong with this agent, or nothing any longer.
    pub fn trouble(&self, what: Option<String>) {
        let what = what.map(|what| what.chars().take(MOST_WORDS).collect::<String>());
        let mut inner = self.inner();
        if inner.trouble != what {
            if let Some(what) = &what {
                (self.log)(what);
            }
            inner.trouble = what;
            drop(inner);
            self.news.notify_one();
        }
    }

    /// Whose stores must have a batch before it is forgotten; none: any one.
    pub fn wait_for(&self, controllers: Vec<String>) {
        self.inner().named = controllers;
    }

    /// Checks that have come. They are kept for the next process.
    pub(crate) fn follow(&self, checks: Handout) {
        (self.log)(&format!("checks {} are followed", &checks.sha256[..12.min(checks.sha256.len())]));
        if let Some(folder) = &self.folder {
            let (new, path) = (folder.join("checks.new"), folder.join(CHECKS));
            let write = || -> std::io::Result<()> {
                let mut file = std::fs::File::create(&new)?;
                file.write_all(&checks.bytes)?;
                file.sync_all()?;
                std::fs::rename(&new, &path)
            };
            if let Err(error) = write() {
                (self.log)(&format!(
                    "{}: {error}; the checks are followed, but a restart would ask for them again",
                    path.display()
                ));
            }
        }
        self.checks.send_replace(Some(checks));
    }

    /// The revision of the checks that are followed.
    pub(crate) fn revision(&self) -> Option<String> {
        self.checks.borrow().as_ref().map(|checks| checks.sha256.clone())
    }

    /// A controller was heard.
    pub(crate) fn heard(&self, controller: &str, now: Instant) {
        self.inner().stores.entry(controller.to_owned()).or_default().heard = Some(now);
    }

    /// A controller's store has all up to this one.
    pub(crate) fn stored(&self, controller: &str, upto: &BatchId, now: Instant) {
        let mut inner = self.inner();
        let store = inner.stores.entry(controller.to_owned()).or_default();
        store.heard = Some(now);
        let number = store.upto.entry(upto.epoch.clone()).or_default();
        *number = upto.number.max(*number);
        inner.forget(now);
    }

    /// What to send, oldest first.
    pub(crate) fn due(&self, now: Instant) -> Vec<Due> {
        self.inner().due(now)
    }

    /// How the agent fares.
    pub(crate) fn wellbeing(&self, groups: &[String]) -> Wellbeing {
        let checks = self.revision();
        let inner = self.inner();
        let (trouble, waiting, dropped) = (inner.trouble.clone(), inner.waiting.len(), inner.dropped);
        Wellbeing { groups: groups.to_vec(), checks, trouble, waiting, dropped }
    }

    /// What the clock of the rounds says.
    pub(crate) fn now(&self) -> Stamp<Client> {
        (self.clock)()
    }

    /// Waits until there is something new to say.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The oldest healthy ones go first, the bad ones last, the newest stays.
    fn make_room(&mut self, most: usize) {
        while self.waiting.bytes() > most && self.waiting.len() > 1 {
            let old = || self.waiting.all().rev().skip(1).collect::<Vec<_>>().into_iter().rev();
            let healthy = old().find(|(_, whole)| whole.bytes.starts_with(GOOD));
            let Some(id) = healthy.or_else(|| old().next()).map(|(id, _)| id.clone()) else { return };
            self.waiting.forget(&id);
            self.dropped += 1;
        }
    }

    fn due(&self, now: Instant) -> Vec<Due> {
        let here: Vec<&Store> =
            self.named().filter(|(store, _)| store.heard.is_some_and(|at| now - at < HEARD)).map(|(store, _)| store).collect();
        let wanted = |id: &KeptId| {
            self.named.is_empty() || here.iter().any(|store| !store.has(id)) || !self.stores.values().any(|store| store.has(id))
        };
        let mut due = Vec::new();
        let mut after = None;
        for (id, whole) in self.waiting.all() {
            if wanted(id) {
                due.push(Due { id: id.clone(), after: after.clone(), whole: Arc::clone(whole) });
                if due.len() == WINDOW {
                    break;
                }
            }
            after = Some(id.clone());
        }
        due
    }

    /// What every store has that must have it.
    fn forget(&mut self, now: Instant) {
        let waited_for: Vec<&Store> = self
            .named()
            .filter(|(store, since)| now - store.heard.unwrap_or(*since) < GIVEN_UP)
            .map(|(store, _)| store)
            .collect();
        let stored =
            |id: &KeptId| self.stores.values().any(|store| store.has(id)) && waited_for.iter().all(|store| store.has(id));
        let gone: Vec<KeptId> = self.waiting.all().map(|(id, _)| id).filter(|id| stored(id)).cloned().collect();
        for id in gone {
            self.waiting.forget(&id);
        }
    }

    /// The stores of those that are named, and since when each is waited for if it was never heard.
    fn named(&self) -> impl Iterator<Item = (&Store, Instant)> {
        const NOTHING: &Store = &Store { heard: None, upto: BTreeMap::new() };
        self.named.iter().map(|name| (self.stores.get(name).unwrap_or(NOTHING), self.begun))
    }
}

fn body(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BAD).or_else(|| bytes.strip_prefix(GOOD)).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: Option<PathBuf>) -> Reports {
        let log: Log = Arc::new(|_| {});
        Reports::open(folder, Stamp::default, &log).expect("it opens")
    }

    fn said(reports: &Reports, now: Instant) -> Vec<(String, bool)> {
        let due = reports.due(now);
        due.iter().map(|due| (String::from_utf8_lossy(due.bytes()).into_owned(), due.after.is_some())).collect()
    }

    fn upto(reports: &Reports, number: u64) -> BatchId {
        BatchId { epoch: reports.inner().epoch.clone(), number }
    }

    #[test]
    fn a_batch_is_sent_until_it_is_stored_and_outlives_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Instant::now();
        let first = open(Some(folder.path().to_owned()));
        for text in ["1", "2", "3"] {
            first.keep(false, text.as_bytes()).expect("it is written");
        }
        first.stored("ops", &upto(&first, 1), now);
        // The clock of epochs ticks in milliseconds.
        std::thread::sleep(Duration::from_millis(2));
        let second = open(Some(folder.path().to_owned()));
        second.keep(true, b"4").expect("it is written");
        let left = [("2".to_owned(), false), ("3".into(), true), ("4".into(), true)];
        assert_eq!(said(&second, now), left, "those of the earlier process first");
        second.stored("ops", &upto(&first, 3), now);
        assert_eq!(said(&second, now), [("4".to_owned(), false)]);
        second.stored("ops", &upto(&second, 1), now);
        assert!(said(&open(Some(folder.path().to_owned())), now).is_empty());
    }

    #[test]
    fn each_controller_that_is_named_must_have_it_unless_it_is_silent_for_a_day() {
        let (reports, now) = (open(None), Instant::now());
        reports.wait_for(vec!["a".into(), "b".into()]);
        reports.heard("a", now);
        reports.keep(false, b"1").expect("memory");
        reports.stored("a", &upto(&reports, 1), now);
        assert!(said(&reports, now).is_empty(), "who is away is sent nothing");
        assert_eq!(reports.wellbeing(&[]).waiting, 1, "and it is kept for him");
        reports.heard("b", now);
        assert_eq!(said(&reports, now).len(), 1);
        reports.stored("b", &upto(&reports, 1), now);
        assert_eq!(reports.wellbeing(&[]).waiting, 0);
        reports.keep(false, b"2").expect("memory");
        let later = now + GIVEN_UP;
        reports.stored("a", &upto(&reports, 2), later);
        assert_eq!(reports.wellbeing(&[]).waiting, 0, "a day has passed");
    }

    #[test]
    fn where_there_is_no_room_healthy_rounds_go_first_and_it_is_counted() {
        let (reports, now) = (open(None), Instant::now());
        for (bad, text) in [(true, "b1"), (false, "g2"), (true, "b3"), (false, "g4"), (false, "g5")] {
            reports.keep(bad, text.as_bytes()).expect("memory");
        }
        let left = |most| {
            reports.inner().make_room(most);
            said(&reports, now).into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left(28), "b1 b3 g4 g5");
        assert_eq!(left(20), "b1 b3 g5", "the newest stays");
        assert_eq!(left(13), "b3 g5");
        assert_eq!(reports.wellbeing(&[]).dropped, 3);
    }

    #[test]
    fn checks_outlive_their_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let reports = open(Some(folder.path().to_owned()));
        assert_eq!(*reports.checks().borrow(), None);
        let checks = Handout { sha256: sha256(b"checks"), bytes: b"checks".to_vec() };
        reports.follow(checks.clone());
        assert_eq!(*open(Some(folder.path().to_owned())).checks().borrow(), Some(checks));
    }

    #[test]
    fn what_is_wrong_is_cut() {
        let reports = open(None);
        reports.trouble(Some("é".repeat(4_000)));
        let trouble = reports.wellbeing(&[]).trouble.expect("it is said");
        assert_eq!(trouble.chars().count(), MOST_WORDS);
    }
}
