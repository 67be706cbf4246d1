//! The thread that probes, and does nothing else.
//!
//! In: checks (replaced as a whole when the check file changes). Out: a [`RawRound`] for every round, in the order in which they end. One
//! thread, one clock that nobody can set; what judging, storing and serving cost is spent elsewhere.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime};

use analysis::clock::{Client, Instant, Span};
use futures_util::future::join_all;
use prober::{Lookup, Report, Target, probe};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::checks::{Addresses, CheckFile, Plan};
use crate::error::WatchError;
use crate::metrics::Metrics;
use crate::reference::Reference;
use crate::schedule::{Due, Schedule};

/// A check, ready to probe.
pub struct PreparedCheck {
    /// What it is.
    pub plan: Plan,
    /// How it is done.
    pub target: Target,
}

/// A round, not yet judged.
pub struct RawRound {
    /// The check.
    pub prepared: Arc<PreparedCheck>,
    /// The check's name, with its address if each is probed.
    pub name: String,
    /// When it should have begun.
    pub scheduled: Instant<Client>,
    /// When it began.
    pub started: Instant<Client>,
    /// How much later than it should that was by the prober's doing: not that a name was looked up before.
    pub late: Span,
    /// The latest handshake with ourselves.
    pub reference: Option<Span>,
    /// What was found.
    pub report: Report,
}

/// What the thread needs to know.
pub struct Settings {
    /// Name servers, if not the system's.
    pub resolvers: Vec<SocketAddr>,
    /// How often to measure ourselves.
    pub reference_interval: Duration,
    /// Probes under way at once.
    pub most_under_way: usize,
}

impl Settings {
    /// As a check file has them.
    pub fn of(file: &CheckFile) -> Self {
        Self {
            resolvers: file.watch.resolvers.clone(),
            reference_interval: file.gate.reference_interval.0,
            most_under_way: file.watch.most_under_way,
        }
    }
}

/// The checks of now.
pub type PreparedChecks = Arc<Vec<Arc<PreparedCheck>>>;

/// Probes until `checks` is closed.
///
/// # Errors
/// If there can be no runtime, no resolver, or no loopback.
pub fn run(
    mut checks: watch::Receiver<PreparedChecks>,
    settings: &Settings,
    clock: Steady,
    out: SyncSender<RawRound>,
    metrics: Arc<Metrics>,
) -> Result<(), WatchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WatchError::host("the runtime"))?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let shared = Rc::new(Shared::new(settings, out, metrics)?);
        shared.clock.set(clock);
        let reference = Reference::start().await?;
        let (every, of_reference) = (settings.reference_interval, Rc::clone(&shared));
        tokio::task::spawn_local(async move {
            loop {
                of_reference.measured(reference.measure().await);
                tokio::time::sleep(every).await;
            }
        });
        loop {
            let checks_now = PreparedChecks::clone(&checks.borrow_and_update());
            let named = checks_now.iter().map(|j| (j.plan.check.name.as_str(), Span::from_nanos(j.plan.interval.nanos())));
            let mut schedule = Schedule::new(named, shared.now());
            loop {
                let wait = schedule.next().map_or(Duration::from_secs(3_600), |at| shared.clock.get().until(at));
                tokio::select! {
                    changed = checks.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return Ok(()),
                    },
                    () = tokio::time::sleep(wait) => {
                        while let Some(due) = schedule.pop(shared.now()) {
                            shared.begin(&checks_now, due);
                        }
                    }
                }
            }
        }
    })
}

/// What lookups are configured by.
const CONFIGURED_BY: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

fn written(file: &str) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

/// What the rounds of one thread share.
pub(crate) struct Shared {
    lookup: RefCell<Lookup>,
    resolvers: Vec<SocketAddr>,
    /// When what [`Lookup`] read was last written.
    configured: Cell<[Option<SystemTime>; 2]>,
    reference: Cell<Option<Span>>,
    under_way: Cell<usize>,
    most_under_way: usize,
    clock: Cell<Steady>,
    out: SyncSender<RawRound>,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// With the time of now.
    ///
    /// # Errors
    /// If there can be no resolver.
    pub(crate) fn new(settings: &Settings, out: SyncSender<RawRound>, metrics: Arc<Metrics>) -> Result<Self, WatchError> {
        Ok(Self {
            lookup: RefCell::new(Lookup::new(&settings.resolvers).map_err(WatchError::host("name servers"))?),
            resolvers: settings.resolvers.clone(),
            configured: Cell::new(CONFIGURED_BY.map(written)),
            reference: Cell::new(None),
            under_way: Cell::new(0),
            most_under_way: settings.most_under_way,
            clock: Cell::new(Steady::start()),
            out,
            metrics,
        })
    }

    /// Looks names up as this host does now: its files change with a VPN, a lease, a container's network.
    fn lookup(&self) -> Lookup {
        let now = CONFIGURED_BY.map(written);
        if self.configured.replace(now) != now {
            match Lookup::new(&self.resolvers) {
                Ok(lookup) => *self.lookup.borrow_mut() = lookup,
                Err(error) => tracing::warn!(%error, "names are looked up as before"),
            }
        }
        self.lookup.borrow().clone()
    }

    /// What a handshake with ourselves took.
    pub(crate) fn measured(&self, reference: Option<Span>) {
        self.reference.set(reference);
        prober::host::refresh_steal();
    }

    /// It is `at` now.
    pub(crate) fn set_clock(&self, at: Instant<Client>) {
        self.clock.set(Steady { base: at, begun: std::time::Instant::now() });
    }

    pub(crate) fn now(&self) -> Instant<Client> {
        self.clock.get().now()
    }

    fn begin(self: &Rc<Self>, checks: &PreparedChecks, due: Due) {
        self.metrics.missed.inc_by(due.missed);
        if self.under_way.get() >= self.most_under_way {
            // Hung targets hold all there is: said by the metric, not by a round that never was.
            self.metrics.missed.inc();
            return;
        }
        self.count(1);
        let (shared, prepared) = (Rc::clone(self), Arc::clone(&checks[due.check]));
        tokio::task::spawn_local(async move {
            shared.round(prepared, due.scheduled).await;
            shared.count(-1);
        });
    }

    /// So many probes more are under way.
    fn count(&self, more: isize) {
        self.under_way.set(self.under_way.get().saturating_add_signed(more));
        self.metrics.under_way.set(self.under_way.get() as i64);
    }

    /// A round of a check, or one for each of its addresses.
    pub(crate) async fn round(&self, prepared: Arc<PreparedCheck>, scheduled: Instant<Client>) {
        let name = prepared.plan.check.name.clone();
        let late = self.now() - scheduled;
        if prepared.plan.check.addresses != Addresses::Each || prepared.target.address.is_some() {
            return self.one(prepared, name, (scheduled, late), None).await;
        }
        let (host, port) =
            prepared.target.connect_to.clone().unwrap_or_else(|| (prepared.target.host.clone(), prepared.target.port));
        match self.lookup().addresses(&host, prepared.target.family, prepared.target.timeout).await {
            // The probe will find the same and say it in a round.
            Err(_) => self.one(prepared, name, (scheduled, late), None).await,
            // Side by side: one that does not answer holds up no other.
            Ok(addresses) => {
                // A round has a place already: each address beyond its first has a socket, too.
                let more = addresses.len().saturating_sub(1).cast_signed();
                let each = addresses.into_iter().map(|ip| {
                    let address = SocketAddr::new(ip, port);
                    self.one(Arc::clone(&prepared), format!("{name} {ip}"), (scheduled, late), Some(address))
                });
                self.count(more);
                join_all(each).await;
                self.count(-more);
            }
        }
    }

    async fn one(
        &self,
        prepared: Arc<PreparedCheck>,
        name: String,
        (scheduled, late): (Instant<Client>, Span),
        address: Option<SocketAddr>,
    ) {
        let lookup = self.lookup();
        let started = self.now();
        let report = match address {
            None => probe(&prepared.target, &lookup).await,
            Some(_) => probe(&Target { address, ..prepared.target.clone() }, &lookup).await,
        };
        let round = RawRound { prepared, name, scheduled, started, late, reference: self.reference.get(), report };
        if let Err(TrySendError::Full(_)) = self.out.try_send(round) {
            self.metrics.missed.inc();
        }
    }
}

/// Wall time as it was at the start, and steady from there.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    base: Instant<Client>,
    begun: std::time::Instant,
}

impl Steady {
    /// It begins.
    pub fn start() -> Self {
        Self { base: crate::clock::now(), begun: std::time::Instant::now() }
    }

    /// What it says: nanoseconds since the Unix epoch.
    pub fn now(&self) -> Instant<Client> {
        self.base + Span::from_nanos(i64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    fn until(&self, at: Instant<Client>) -> Duration {
        Duration::from_nanos((at - self.now()).at_least_zero().nanos().unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::by_hand::name_server;
    use crate::prepare::prepare;

    #[tokio::test]
    async fn an_address_that_hangs_holds_up_no_other() {
        // Both take connections and say nothing.
        let listener = TcpListener::bind("0.0.0.0:0").expect("loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let text = format!(
            "[watch]\nresolvers = [\"{}\"]\n[[check]]\nname = \"a\"\ntarget = \"two.test:{port}\"\ninsecure = true\naddresses = \"each\"\ntimeout = \"2s\"\n",
            name_server(|_| &[2, 3], Arc::default())
        );
        let file = CheckFile::parse(&text).expect("it is whole");
        let check = Arc::clone(&prepare(&file).expect("nothing is read")[0]);
        let (out, rounds) = sync_channel(4);
        let shared = Shared::new(&Settings::of(&file), out, Arc::new(Metrics::default())).expect("a resolver");
        let most = Cell::new(0);
        let look = async {
            loop {
                most.set(most.get().max(shared.under_way.get()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = shared.round(check, shared.now()) => {}
            () = look => {}
        }
        let rounds: Vec<RawRound> = rounds.try_iter().collect();
        assert_eq!(rounds.len(), 2, "the name has two addresses");
        let timeout = Span::from_nanos(rounds[0].prepared.plan.timeout.nanos());
        assert!((rounds[1].started - rounds[0].started).abs() < timeout, "side by side: neither ended before the other began");
        assert_eq!(rounds[0].late, rounds[1].late, "nor is the other's wait its own");
        assert_eq!((most.get(), shared.under_way.get()), (1, 0), "the second has a socket of its own, and gives it back");
    }
}
