//! An agent of a watch: probes what it was handed, judges its rounds, reports them.
//!
//! In: handouts, as they change. Out: reports, each to be kept until it is stored elsewhere. It needs nobody to go on.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use agent::Handout;
use tokio::sync::watch as latest;

use super::handout::{Followed, follow};
use super::report::Draft;
use crate::checks::{CheckFile, Gate};
use crate::error::WatchError;
use crate::judging::{Hours, Judging};
use crate::metrics::Metrics;
use crate::probing::{self, PreparedChecks, RawRound, Settings, Steady};
use crate::watching::{allow_sockets, most_under_way, named};

/// Between two looks at what is to be done.
const LOOK: Duration = Duration::from_millis(100);
/// What is not healthy is reported after this: others may come that go with it.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Between two times at which what is usual is kept for the next process.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Rounds between prober and judge.
const MOST_ROUNDS: usize = 16_384;
/// Probes under way at once: a vantage serves others too.
const MOST_UNDER_WAY: usize = 512;

/// Where an agent's reports go.
pub struct Outlet {
    /// Keeps a report until it is stored elsewhere; whether it is news goes before it.
    pub keep: Box<dyn FnMut(bool, Vec<u8>) + Send>,
    /// What is wrong with this agent, or nothing any longer.
    pub trouble: Box<dyn FnMut(Option<String>) + Send>,
    /// Controllers whose stores must have a report before it is forgotten.
    pub controllers: Box<dyn FnMut(Vec<String>) + Send>,
}

/// Probes what is handed out until `stop` is set. `folder`: where what is usual is kept for the next process. `clock` is that of the
/// rounds: whoever sends reports says by it when that was.
///
/// # Errors
/// If this host does not permit it, or a part of it broke.
pub fn probe(
    handouts: latest::Receiver<Option<Handout>>,
    mut outlet: Outlet,
    folder: Option<&Path>,
    clock: Steady,
    stop: &AtomicBool,
) -> Result<(), WatchError> {
    let sockets = allow_sockets();
    let metrics = Arc::new(Metrics::default());
    let (checks_out, checks_in) = latest::channel(PreparedChecks::default());
    let (rounds_out, rounds) = sync_channel(MOST_ROUNDS);
    let settings = Settings {
        resolvers: Vec::new(),
        reference_interval: Gate::default().reference_interval.0,
        most_under_way: MOST_UNDER_WAY.min(most_under_way(sockets)),
    };
    let of_prober = Arc::clone(&metrics);
    let probing = named("prober", move || probing::run(checks_in, &settings, clock, rounds_out, of_prober))?;
    let usual = folder.map(|folder| folder.join("usual.json"));
    let mut agent = Agent {
        judging: Judging::new(usual.as_deref().map(recalled).unwrap_or_default()),
        file: None,
        draft: Draft::default(),
        reported: Instant::now(),
        remembered: Instant::now(),
        missed: 0,
        usual,
    };
    agent.follow(handouts, &checks_out, &rounds, &mut outlet, &metrics, stop, || probing.is_finished());
    drop((checks_out, rounds));
    probing.join().map_err(|_| WatchError::Broken("the prober's thread"))?
}

struct Agent {
    judging: Judging,
    /// What is followed.
    file: Option<CheckFile>,
    draft: Draft,
    /// When the last report was made.
    reported: Instant,
    remembered: Instant,
    /// Rounds that were missed and reported.
    missed: u64,
    usual: Option<PathBuf>,
}

impl Agent {
    #[expect(clippy::too_many_arguments, reason = "it is the body of `probe`")]
    fn follow(
        &mut self,
        mut handouts: latest::Receiver<Option<Handout>>,
        checks: &latest::Sender<PreparedChecks>,
        rounds: &Receiver<RawRound>,
        outlet: &mut Outlet,
        metrics: &Metrics,
        stop: &AtomicBool,
        broken: impl Fn() -> bool,
    ) {
        handouts.mark_changed();
        while !stop.load(Ordering::Relaxed) && !broken() {
            if handouts.has_changed().unwrap_or(false)
                && let Some(handout) = handouts.borrow_and_update().clone()
            {
                match follow(&handout.bytes) {
                    Ok(Followed { file, checks: prepared }) => {
                        self.judging.retain(|name| file.check_of(name).is_some());
                        (outlet.controllers)(file.fleet.controllers.clone());
                        self.file = Some(file);
                        checks.send_replace(prepared);
                        (outlet.trouble)(None);
                    }
                    Err(error) => (outlet.trouble)(Some(format!("the checks cannot be followed, those before go on: {error}"))),
                }
            }
            match rounds.recv_timeout(LOOK) {
                Ok(raw) => self.take(&raw),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while !self.draft.is_full()
                && let Ok(raw) = rounds.try_recv()
            {
                self.take(&raw);
            }
            self.report(outlet, metrics, false);
        }
        self.report(outlet, metrics, true);
        self.remember();
    }

    fn take(&mut self, raw: &RawRound) {
        let Some(file) = &self.file else { return };
        self.draft.add(self.judging.judge(raw, &file.gate));
    }

    fn report(&mut self, outlet: &mut Outlet, metrics: &Metrics, last: bool) {
        let Some(file) = &self.file else { return };
        let since = self.reported.elapsed();
        let due = since >= file.fleet.report.0 || self.draft.is_full() || (since >= AT_ONCE && self.draft.is_news());
        if !due && !last {
            return;
        }
        self.reported = Instant::now();
        let missed = metrics.missed.get();
        let lately = missed - std::mem::replace(&mut self.missed, missed);
        if let Some((report, news)) = self.draft.take(lately) {
            // Names are strings, and what is no number is null.
            let bytes = serde_json::to_vec(&report).unwrap_or_default();
            (outlet.keep)(news, bytes);
        }
        if self.remembered.elapsed() >= REMEMBERED {
            self.remember();
        }
    }

    /// Keeps what is usual, so that a detour that lasts over a restart is still one. Without it a restart learns anew.
    fn remember(&mut self) {
        self.remembered = Instant::now();
        let Some(path) = &self.usual else { return };
        let write = || -> std::io::Result<()> {
            let new = path.with_extension("new");
            let mut file = std::fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec(self.judging.usual())?)?;
            file.sync_all()?;
            std::fs::rename(&new, path)
        };
        // A full disk is the spool's to tell of.
        let _ = write();
    }
}

fn recalled(path: &Path) -> HashMap<String, Hours> {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
