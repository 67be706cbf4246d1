//! Rounds when they are asked for: the prober, the judge and the states of `watch`, with each round's time as an argument.
//!
//! In: a check file, then times. Out: after each round, every check's round and the alerts that are on. What is measured within a round is
//! real; only the time between rounds is the caller's. Kept nowhere.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use alerting::states::Active;
use analysis::clock::{Client, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::LocalSet;

use crate::checks::CheckFile;
use crate::engine::Engine;
use crate::error::{Invalid, WatchError};
use crate::metrics::Metrics;
use crate::opened::Opened;
use crate::probing::{PreparedChecks, RawRound, Settings, Shared};
use crate::reference::Reference;
use crate::status::Status;
use crate::store::{History, IN_MEMORY, RoundRecord};

/// Rounds of one pace, at most: a check per address has several.
const MOST_ROUNDS: usize = 16_384;

/// A watcher that waits to be asked. It stays on the thread that made it.
pub struct Paced {
    engine: Engine,
    status: Arc<Status>,
    checks: PreparedChecks,
    shared: Rc<Shared>,
    reference: Reference,
    ended: Receiver<RawRound>,
    // Fields drop in this order: what lives on the runtime before it.
    local: LocalSet,
    runtime: Runtime,
}

/// What is known after a round.
#[derive(Clone, Default, Debug)]
pub struct Known {
    /// The round of each check.
    pub rounds: Vec<RoundRecord>,
    /// Alerts that are on, by what they are about: a check, or the prober itself.
    pub alerts: Vec<(String, Active)>,
}

impl Paced {
    /// Opens what the file names.
    ///
    /// # Errors
    /// If a check cannot be made, or this host does not let us.
    pub fn open(file: CheckFile) -> Result<Self, WatchError> {
        let Opened { file, checks, .. } = Opened::of(file).map_err(|wrong| Invalid(wrong.what))?;
        let (status, metrics) = (Arc::new(Status::default()), Arc::new(Metrics::default()));
        let (direct, _nobody) = unbounded_channel();
        let store = History::open(Path::new(IN_MEMORY))?;
        let engine = Engine::open(store, Arc::clone(&file), Arc::clone(&status), Arc::clone(&metrics), direct)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WatchError::host("the runtime"))?;
        let local = LocalSet::new();
        let (out, ended) = sync_channel(MOST_ROUNDS);
        let (shared, reference) = local.block_on(&runtime, async {
            let shared = Rc::new(Shared::new(&Settings::of(&file), out, metrics)?);
            Ok::<_, WatchError>((shared, Reference::start().await?))
        })?;
        Ok(Self { engine, status, checks, shared, reference, ended, local, runtime })
    }

    /// One round of each check, one after another, as if the first were due at `at`.
    pub fn round(&mut self, at: Instant<Client>) -> Known {
        self.local.block_on(&self.runtime, async {
            self.shared.measured(self.reference.measure().await);
            self.shared.set_clock(at);
            for check in self.checks.iter() {
                self.shared.round(Arc::clone(check), self.shared.now()).await;
            }
        });
        let mut rounds = Vec::new();
        for raw in self.ended.try_iter() {
            let name = raw.name.clone();
            self.engine.take(raw);
            rounds.extend(self.status.change(|checks| checks.by_name.get(&name).and_then(|check| check.last.clone())));
        }
        self.engine.write();
        Known { rounds, alerts: self.engine.active() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use alerting::{Culprit, PatternKind};
    use analysis::clock::Span;

    use crate::by_hand::name_server;

    #[test]
    fn an_address_that_left_dns_has_no_alert_and_a_name_that_is_found_again_neither() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = taken.local_addr().expect("it is bound").port();
        drop(taken);
        let turn = Arc::new(AtomicUsize::new(0));
        let has: fn(usize) -> &'static [u8] = |turn| match turn {
            0..3 => &[],
            3..6 => &[2, 3],
            _ => &[2],
        };
        let text = format!(
            "[watch]\nresolvers = [\"{}\"]\n[[check]]\nname = \"a\"\ntarget = \"two.test:{port}\"\ninsecure = true\naddresses = \"each\"\n\
             [defaults]\nfire = {{ k = 2, n = 3 }}\ntimeout = \"5s\"\n\
             [gate]\nlateness = \"60s\"\nrun_delay = \"60s\"\ndata_waiting = \"60s\"\nreference = \"60s\"\n",
            name_server(has, Arc::clone(&turn))
        );
        let mut paced = Paced::open(CheckFile::parse(&text).expect("it is valid")).expect("it opens");
        let mut begin = Instant::from_nanos(1_800_000_000_000_000_000);
        let on: Vec<String> = (0..12)
            .map(|n| {
                turn.store(n, Ordering::Relaxed);
                begin = begin + Span::from_millis(30_000);
                let names: Vec<String> = paced.round(begin).alerts.into_iter().map(|(name, _)| name).collect();
                names.join(", ")
            })
            .collect();
        assert_eq!(on[2], "a", "no name server knows it: {on:?}");
        assert_eq!(on[5], "a 127.0.0.2, a 127.0.0.3", "and now one does: {on:?}");
        assert_eq!((on[7].as_str(), on[11].as_str()), ("a 127.0.0.2, a 127.0.0.3", "a 127.0.0.2"), "it may come again: {on:?}");
    }

    /// Nobody listens there any more.
    #[test]
    fn minutes_between_rounds_pass_without_waiting_and_alerts_know_them() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = taken.local_addr().expect("it is bound").port();
        drop(taken);
        let text = format!(
            "[[check]]\nname = \"edge\"\ntarget = \"127.0.0.1:{port}\"\ninsecure = true\n[defaults]\nfire = {{ k = 2, n = 2 }}\n"
        );
        let mut paced = Paced::open(CheckFile::parse(&text).expect("it is valid")).expect("it opens");
        let begin = Instant::from_nanos(1_800_000_000_000_000_000);
        assert!(paced.round(begin).alerts.is_empty(), "one of two");
        let known = paced.round(begin + Span::from_millis(30_000));
        let [(name, active)] = &known.alerts[..] else { panic!("{known:?}") };
        assert_eq!(
            (name.as_str(), active.blame.culprit, active.blame.phase.as_str()),
            ("edge", Culprit::Edge, "connect_refused")
        );
        assert_eq!((active.since.secs(), known.rounds.len()), (1_800_000_000, 1));
        assert_eq!(active.blame.pattern.map(|p| p.kind), None::<PatternKind>);
    }
}
