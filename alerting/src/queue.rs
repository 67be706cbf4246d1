//! What waits for one receiver beside the store, and when it is tried.
//!
//! Time here is monotonic: a clock that is set neither holds a message back nor hurries one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::Event;

/// Messages kept in memory for a receiver while the store refuses them.
const MOST_DIRECT: usize = 10_000;
/// The longest wait before another attempt, in seconds.
const MOST_WAIT: u64 = 60;
/// The longest that a receiver may ask for: Alertmanager takes for over what it is not told for five minutes.
const MOST_ASKED: Duration = Duration::from_secs(120);

/// A receiver's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Messages that the store refused.
    direct: VecDeque<Direct>,
    /// Numbers of messages that are done, and that the store could not be told of.
    pub(crate) done: Vec<i64>,
    /// Something is on its way to it.
    pub(crate) busy: bool,
    /// Nothing is tried before.
    pub(crate) retry_at: Option<Instant>,
    /// Attempts that failed, in a row.
    failures: u32,
    /// When it was last told of all that is on.
    pub(crate) repeated: Instant,
    /// Why it was not told.
    pub(crate) trouble: Option<String>,
}

/// A message that the store refused.
#[derive(Debug)]
struct Direct {
    event: Event,
    /// The number of the last message in the store that comes before it.
    behind: Option<i64>,
}

impl Queue {
    pub(crate) fn new(now: Instant) -> Self {
        let (direct, done, busy, retry_at, failures, trouble) = (VecDeque::new(), Vec::new(), false, None, 0, None);
        Self { direct, done, busy, retry_at, failures, repeated: now, trouble }
    }

    /// Whether something may be tried.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        !self.busy && self.retry_at.is_none_or(|at| now >= at)
    }

    /// Takes a message that the store refused, behind the store's message of the number `behind`; gives the oldest where there are too many.
    pub(crate) fn push(&mut self, event: Event, behind: Option<i64>) -> Option<Event> {
        self.direct.push_back(Direct { event, behind });
        (self.direct.len() > MOST_DIRECT).then(|| self.direct.pop_front()).flatten().map(|direct| direct.event)
    }

    /// The next message that the store refused, where it comes before the store's message of the number `stored`.
    pub(crate) fn next(&mut self, stored: Option<i64>) -> Option<Event> {
        let comes_first = |direct: &Direct| stored.is_none_or(|stored| direct.behind.is_none_or(|behind| behind < stored));
        if self.direct.front().is_some_and(comes_first) { self.direct.pop_front().map(|direct| direct.event) } else { None }
    }

    /// A message that the store refused is to be tried again.
    pub(crate) fn put_back(&mut self, event: Event) {
        self.direct.push_front(Direct { event, behind: None });
    }

    /// All messages that the store refused.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Event> {
        self.direct.drain(..).map(|direct| direct.event)
    }

    /// Whether messages wait in memory.
    pub(crate) fn waits(&self) -> bool {
        !self.direct.is_empty()
    }

    /// The store's message of that number is done: numbers are used again, so nobody waits for this one any more.
    pub(crate) fn passed(&mut self, id: i64) {
        self.direct.iter_mut().filter(|direct| direct.behind == Some(id)).for_each(|direct| direct.behind = None);
    }

    /// It took something, or refused it for good: it is there.
    pub(crate) fn reached(&mut self) {
        (self.retry_at, self.failures, self.trouble) = (None, 0, None);
    }

    /// It was not reached, or wants to be left alone for `asked`; `attempts`: how often that was so before, as far as the store knows.
    pub(crate) fn missed(&mut self, now: Instant, attempts: u32, why: String, asked: Option<Duration>) {
        let failures = self.failures.max(attempts);
        let wait = backoff(failures).max(asked.unwrap_or_default().min(MOST_ASKED));
        (self.retry_at, self.failures, self.trouble) = (Some(now + wait), failures.saturating_add(1), Some(why));
    }
}

fn backoff(attempts: u32) -> Duration {
    let wait = 1_u64.checked_shl(attempts).unwrap_or(MOST_WAIT).min(MOST_WAIT);
    Duration::from_secs(wait + fastrand::u64(0..=wait / 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::tests::keyed as event;

    #[test]
    fn waits_grow_to_a_minute_and_no_further() {
        for (attempts, least) in [(0, 1), (1, 2), (3, 8), (5, 32), (6, 60), (63, 60), (64, 60), (u32::MAX, 60)] {
            let wait = backoff(attempts).as_secs();
            assert!(wait >= least && wait <= least + least / 4, "{attempts}: {wait} s");
        }
    }

    #[test]
    fn what_the_store_refused_keeps_its_place_among_what_it_has() {
        let mut queue = Queue::new(Instant::now());
        for (key, behind) in [("a", Some(7)), ("b", Some(7))] {
            assert_eq!(queue.push(event(key), behind), None);
        }
        let mut key = |stored| queue.next(stored).map(|e| e.key);
        assert_eq!(key(Some(6)), None, "the store's sixth and seventh come before");
        assert_eq!((key(Some(8)).as_deref(), key(None).as_deref()), (Some("a"), Some("b")));
        assert_eq!(queue.push(event("c"), Some(7)), None);
        queue.passed(7);
        assert_eq!(queue.next(Some(3)).map(|e| e.key).as_deref(), Some("c"), "the store begins its numbers anew");
    }

    #[test]
    fn of_too_many_the_oldest_goes() {
        let mut queue = Queue::new(Instant::now());
        let gone: Vec<String> =
            (0..=MOST_DIRECT).filter_map(|n| queue.push(event(&n.to_string()), None)).map(|e| e.key).collect();
        assert_eq!(gone, ["0"]);
    }

    #[test]
    fn who_was_missed_is_left_alone_for_a_while_and_not_once_it_was_reached() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        assert!(queue.is_free(now));
        queue.missed(now, 3, "away".into(), None);
        assert!(!queue.is_free(now + Duration::from_secs(7)) && queue.is_free(now + Duration::from_secs(11)));
        queue.reached();
        assert!(queue.is_free(now) && queue.trouble.is_none());
        let after = |asked| {
            let mut queue = Queue::new(now);
            queue.missed(now, 0, "too many".into(), Some(Duration::from_secs(asked)));
            [5, 40, 130].map(|seconds| queue.is_free(now + Duration::from_secs(seconds)))
        };
        assert_eq!((after(0), after(30), after(9_999)), ([true, true, true], [false, true, true], [false, false, true]));
    }
}
