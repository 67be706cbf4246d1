//! The recorder: its threads, and the loop that reads packets.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use alerting::Client;
use alerting::outbox::Outbox;
use alerting::status::AlertStatus;
use analysis::clock::Instant as Stamp;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytesize::ByteSize;
use capture::clock::Monotonic;
use capture::sockets::SocketEvents;
use capture::tap::{InterfaceEvent, Tap, TapConfig};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serving::exposition::Scrape;
use serving::otlp;
use serving::otlp::trace::Trace;
use tokio::sync::{mpsc, watch as latest};
use tracing::warn;

use crate::alerter::{self, Alerter};
use crate::config::{Config, Log};
use crate::control::{self, Dump};
use crate::engine::{Context, Engine};
use crate::error::Error;
use crate::evidence_store::{Writer, Written};
use crate::memory::Memory;
use crate::metrics::{ByFate, ByFilter, ByInterface, ByRing, ByTrigger, Metrics, set};
use crate::names::{Asker, Names};
use crate::origins::Origins;
use crate::privileges::{give_up, known};
use crate::sources::{SourceEvent, SourceOutput, TriggerRequest, TriggerSender, follow};
use crate::tally::KEPT;
use crate::view::{EVIDENCE, Shown, failing, page};

/// What wakes the recorder: somebody who asks, or much that waits to be read.
const ASKED: u64 = 0;
const PACKETS: u64 = 1;
/// Between two looks at interfaces and counters.
const TEND: Duration = Duration::from_secs(1);
/// Traces that wait for their collector.
const MOST_TRACES: usize = 256;
/// Triggers that wait.
const MOST_ASKED: usize = 1_024;
/// Triggers taken between two looks at packets.
const MOST_AT_ONCE: usize = 64;

/// What the recorder says once it runs.
pub struct Begun {
    /// How packets are filtered.
    pub filter_at: String,
    /// Why packets are not filtered earlier.
    pub notes: Vec<String>,
}

/// Opens what [`record`] opens of files (databases of origins, secrets of receivers), and begins nothing. Gives what is not there yet and
/// may come.
///
/// # Errors
/// As [`record`].
pub fn validate(config: &Config) -> Result<Vec<String>, Error> {
    config.check()?;
    fits(config)?;
    Origins::open(&config.origin.databases)?;
    unlock(config)?;
    config.capture.user.as_deref().map_or(Ok(()), known)?;
    let there = crate::init::interfaces();
    let missing = config.capture.interfaces.iter().filter(|name| !there.contains(name));
    Ok(missing.map(|name| format!("this host has no interface {name} now; there are {}", there.join(", "))).collect())
}

/// Whether this host has the memory: all of it is touched at the start.
fn fits(config: &Config) -> Result<(), Error> {
    let has = nix::sys::sysinfo::sysinfo().map_err(|e| Error::Own { what: "the host's memory", source: e.into() })?.ram_total();
    let wanted = config.capture.memory;
    if wanted.as_u64() >= has {
        return Err(Error::Memory { wanted, has: ByteSize::b(has) });
    }
    Ok(())
}

/// Whether receivers' secrets are where the configuration says.
fn unlock(config: &Config) -> Result<(), Error> {
    config
        .receivers
        .iter()
        .try_for_each(|receiver| receiver.unlock().map_err(|wrong| Error::Secret { receiver: receiver.name(), what: wrong.what }))
}

/// Records until `stop` is set.
///
/// # Errors
/// If it cannot begin: what failed, and what to do.
pub fn record(config: Config, stop: &Arc<AtomicBool>, ready: impl FnOnce(&Begun)) -> Result<(), Error> {
    config.check()?;
    fits(&config)?;
    unlock(&config)?;
    let telemetry = otlp::Environment::read("whostalled-capture", &|name| std::env::var(name).ok())?;
    let config = Arc::new(config);
    let tap = TapConfig {
        interfaces: config.capture.interfaces.clone(),
        limits: config.limits(),
        filter_at: config.capture.filter_at.map(Into::into),
        snaplen: i32::from(config.capture.snaplen),
    };
    let origins = Origins::open(&config.origin.databases)?;
    let (names, asker) = if config.origin.reverse_dns {
        let (names, asker) = Names::asking(&config.origin.resolvers).map_err(Error::ReverseDns)?;
        (Some(names), Some(asker))
    } else {
        (None, None)
    };
    // All of its pages are touched: that takes a while, in which nothing should wait to be read.
    let memory = Memory::new(config.capture.memory.as_u64() as usize);
    let sockets = config.capture.kernel_view.then(|| SocketEvents::attach(&tap.limits));
    let (tap, notes) = Tap::open(tap)?;
    let mut notes: Vec<String> = notes.iter().map(|note| first_line(note)).collect();
    let sockets = match sockets {
        Some(Ok(sockets)) => Some(sockets),
        Some(Err(error)) => {
            let why = first_line(&error.to_string());
            notes.push(format!("no view of the server's threads, so an edge's time is not told apart as host or app: {why}"));
            None
        }
        None => None,
    };
    let filter_at = format!("{} on {}", tap.filter_at(), config.capture.interfaces.join(", "));
    let (metrics, shown, board) = (Arc::new(Metrics::default()), Arc::new(Shown::default()), Arc::new(AlertStatus::default()));
    shown.change(|status| {
        status.site.clone_from(&config.capture.site);
        (status.filter_at, status.notes) = (format!("Packets are filtered by {filter_at}"), notes.clone());
    });
    metrics.begin(&config);
    metrics.filter_at.get_or_create(&ByFilter { filter: tap.filter_at().to_string() }).set(1);

    let at = config.capture.listen;
    let listener = std::net::TcpListener::bind(at).map_err(|source| Error::Listen { at, source })?;
    let control = control::listen(&config.capture.control)?;
    let journal = config.logs.iter().any(|log| matches!(log, Log::Journal { .. }));
    give_up(config.capture.user.as_deref(), journal)?;
    let writer = evidence_writer(&config, &metrics, &shown)?;
    let (direct, undelivered) = mpsc::unbounded_channel();
    let alerter = Alerter::open(Arc::clone(&config), Arc::clone(&board), Arc::clone(&metrics), Arc::clone(&shown), direct)?;
    let (_receivers, receivers) = latest::channel(Arc::new(config.receivers.clone()));
    let outbox = Outbox {
        store: alerter::open(&config.alerts.store)?,
        direct: undelivered,
        receivers,
        status: board,
        delivery: metrics.delivery.clone(),
        client: Client::default(),
    };
    let (traces, traced) = mpsc::channel(MOST_TRACES);
    let wanted = telemetry.as_ref().is_some_and(|to| to.traces.is_some()).then(|| traces.clone());
    let exported = telemetry.map(|environment| Exported { environment, traced, _traces: traces });
    web(listener, Arc::clone(&metrics), Arc::clone(&shown), outbox, asker, exported)?;

    let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).map_err(Error::own("an eventfd"))?;
    let wake = Arc::new(wake);
    let (ask, asked) = sync_channel(MOST_ASKED);
    let ask = TriggerSender::new(ask, Arc::clone(&wake));
    let (dump, dumps) = sync_channel(4);
    let output = SourceOutput {
        name: "log".into(),
        source: "log",
        asked: ask.clone(),
        heard: heard(&metrics, &shown),
        stop: Arc::clone(stop),
    };
    for log in &config.logs {
        follow(log, output.clone(), config.alerts.store.parent().unwrap_or(Path::new(".")))?;
    }
    let of_control = Arc::clone(&shown);
    std::thread::Builder::new()
        .name("control".into())
        .spawn(move || control::serve(&control, &ask, &dump, &of_control))
        .map_err(Error::own("the thread of the control socket"))?;

    let context = Context { filter_at: filter_at.clone(), threads: sockets.is_some(), origins, names, traces: wanted };
    let engine = Engine::new(Arc::clone(&config), memory, context, writer, Arc::clone(&metrics), Arc::clone(&shown));
    ready(&Begun { filter_at, notes });
    let sleep = sleep(&tap, &wake).map_err(Error::own("epoll"))?;
    let mut recording = Recording { config, tap, sockets, engine, alerter, metrics, shown, asked, dumps, wake, sleep };
    recording.run(stop);
    let Recording { engine, config, .. } = recording;
    engine.finish();
    let _ = std::fs::remove_file(&config.capture.control); // the next one does not mind
    Ok(())
}

/// The kernel's verifier explains itself at length.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What wakes the recorder. Of the filter's buffers only the edge counts: data that the filter did not call urgent waits for the next
/// look.
fn sleep(tap: &Tap, wake: &EventFd) -> nix::Result<Epoll> {
    let sleep = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    sleep.add(wake, EpollEvent::new(EpollFlags::EPOLLIN, ASKED))?;
    for fd in tap.fds() {
        sleep.add(fd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, PACKETS))?;
    }
    Ok(sleep)
}

fn evidence_writer(config: &Config, metrics: &Arc<Metrics>, shown: &Arc<Shown>) -> Result<Writer, Error> {
    let (metrics, shown) = (Arc::clone(metrics), Arc::clone(shown));
    let report = move |written, held: u64| {
        metrics.evidence_bytes.set(held.cast_signed());
        match written {
            Written::Opened => shown.trouble(EVIDENCE, None),
            Written::Durable(after) => {
                metrics.durable.observe(after.as_secs_f64());
                shown.trouble(EVIDENCE, None);
            }
            Written::Failed(why) => {
                metrics.evidence_failures.inc();
                shown.trouble(EVIDENCE, Some(why));
            }
        }
    };
    Writer::start(&config.evidence.folder, config.evidence.quota.as_u64(), report)
}

pub(crate) fn heard(metrics: &Arc<Metrics>, shown: &Arc<Shown>) -> Arc<dyn Fn(&'static str, SourceEvent) + Send + Sync> {
    let (metrics, shown) = (Arc::clone(metrics), Arc::clone(shown));
    Arc::new(move |source, heard| {
        let outcome = match heard {
            SourceEvent::Unread(log, why) => {
                if shown.unread(&log, why) {
                    warn!(log = %log, "a line cannot be followed: {}", why.hint());
                }
                "unread"
            }
            SourceEvent::NotSlow => "not_slow",
            SourceEvent::Shed => "shed",
            SourceEvent::Trouble(name, what) => return shown.trouble(&name, what),
        };
        metrics.triggers.get_or_create(&ByTrigger { source: source.into(), outcome: outcome.into() }).inc();
    })
}

fn web(
    listener: std::net::TcpListener,
    metrics: Arc<Metrics>,
    shown: Arc<Shown>,
    outbox: Outbox,
    asker: Option<Asker>,
    exported: Option<Exported>,
) -> Result<(), Error> {
    listener.set_nonblocking(true).map_err(Error::own("the web server"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::own("the runtime"))?;
    let (trouble, exposed) = (Arc::clone(&shown), Arc::clone(&metrics));
    let routes = Router::new()
        .route("/", get(|State((_, shown)): Served| async move { now(&shown) }))
        .route("/api/status", get(|State((_, shown)): Served| async move { status(&shown) }))
        .route(
            "/metrics",
            get(|State((metrics, _)): Served, Query(query): Query<Vec<(String, String)>>, headers: HeaderMap| async move {
                metrics.measure_self();
                metrics.exposition.response(&Scrape::of(query, &headers))
            }),
        )
        .route("/-/healthy", get(|State((_, shown)): Served| async move { healthy(&shown) }))
        .with_state((metrics, shown));
    let run = move || {
        runtime.block_on(async {
            let served = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, routes).await
            };
            let served = async {
                if let Err(error) = served.await {
                    trouble.trouble("server", Some(error.to_string()));
                }
            };
            let asked = async {
                if let Some(asker) = asker {
                    asker.run().await;
                }
            };
            let exported = async {
                let Some(Exported { environment, traced, _traces }) = exported else { return };
                let client = Client::default();
                let post = async |r: otlp::Request| client.post_json(&r.url, &r.headers, r.body).await;
                let text = || {
                    exposed.measure_self();
                    exposed.exposition.openmetrics()
                };
                otlp::export(environment, traced, text, post, |said| trouble.trouble("OpenTelemetry", said)).await;
            };
            tokio::join!(served, outbox.run(), asked, exported);
        });
    };
    std::thread::Builder::new().name("web".into()).spawn(run).map(drop).map_err(Error::own("the thread of the web server"))
}

/// What is exported to OpenTelemetry, and where to.
struct Exported {
    environment: otlp::Environment,
    traced: mpsc::Receiver<Trace>,
    /// While it is there, somebody may still send one.
    _traces: mpsc::Sender<Trace>,
}

type Served = State<(Arc<Metrics>, Arc<Shown>)>;

fn now(shown: &Shown) -> Html<String> {
    let (status, slow) = shown.now();
    Html(page(&status, &slow))
}

/// Whether it does what it is for.
fn healthy(shown: &Shown) -> (StatusCode, String) {
    match failing(&shown.now().0) {
        None => (StatusCode::OK, "ok\n".into()),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")),
    }
}

fn status(shown: &Shown) -> Response {
    let (status, slow) = shown.now();
    axum::Json(serde_json::json!({ "status": status, "slow": slow })).into_response()
}

struct Recording {
    config: Arc<Config>,
    tap: Tap,
    sockets: Option<SocketEvents>,
    engine: Engine,
    alerter: Alerter,
    metrics: Arc<Metrics>,
    shown: Arc<Shown>,
    asked: Receiver<TriggerRequest>,
    dumps: Receiver<Dump>,
    wake: Arc<EventFd>,
    sleep: Epoll,
}

impl Recording {
    fn run(&mut self, stop: &AtomicBool) {
        for interface in &self.config.capture.interfaces {
            let absent = self.tap.absent().any(|name| name == interface);
            self.interface(interface, absent.then(|| "it is not there, or not up: nothing is seen there yet".to_owned()));
        }
        self.tend();
        let (mut tended, mut judged) = (Instant::now(), Instant::now());
        while !stop.load(Ordering::Relaxed) {
            self.wait();
            let read_until = self.read(false);
            for asked in self.asked.try_iter().take(MOST_AT_ONCE) {
                self.engine.asked(asked);
            }
            while let Ok(dump) = self.dumps.try_recv() {
                // Whoever asked may be gone.
                match dump {
                    Dump::Flow(trigger, answer) => drop(answer.send(self.engine.evidence(&trigger))),
                    Dump::Ends(random, answer) => drop(answer.send(self.engine.ends_of(random))),
                    Dump::Flows(last, keys, answer) => drop(answer.send(self.engine.flows(last, &keys))),
                    Dump::Last(last, answer) => drop(answer.send(self.engine.last(last))),
                }
            }
            self.engine.tick(read_until);
            if tended.elapsed() >= TEND {
                tended = Instant::now();
                self.tend();
            }
            if judged.elapsed() >= self.config.alerts.every.0 {
                judged = Instant::now();
                self.alerter.judge(&self.engine.sums(self.config.alerts.window.0));
                self.shown.trouble("origin", self.engine.refresh().err().map(|e| e.to_string()));
            }
        }
        let read_until = self.read(true);
        self.engine.tick(read_until);
        self.engine.close();
    }

    fn read(&mut self, last: bool) -> Stamp<Monotonic> {
        let Self { tap, sockets, engine, .. } = self;
        // First what the threads did: a packet may make somebody ask for it.
        if let Some(sockets) = sockets {
            sockets.read(&mut |event| engine.event(event));
        }
        tap.read(last, &mut |seen| engine.packet(&seen))
    }

    /// Sleeps until much waits to be read, or somebody asks, or for a while.
    fn wait(&mut self) {
        let patience = self.tap.patience();
        let look = self.engine.due().unwrap_or(patience).min(patience);
        let look = EpollTimeout::try_from(look + Duration::from_millis(1)).unwrap_or(EpollTimeout::ZERO); // rounded up
        let mut events = [EpollEvent::empty(); 4];
        let woken = self.sleep.wait(&mut events, look).unwrap_or(0); // a signal wakes it too
        if events[..woken].iter().any(|event| event.data() == ASKED) {
            let _ = self.wake.read();
        }
    }

    /// An interface is in trouble, or is not.
    fn interface(&self, name: &str, trouble: Option<String>) {
        let label = ByInterface { interface: name.to_owned() };
        self.metrics.interfaces.get_or_create(&label).set(i64::from(trouble.is_none()));
        self.shown.trouble(name, trouble);
    }

    fn tend(&mut self) {
        for event in self.tap.tend() {
            let (interface, trouble) = match event {
                InterfaceEvent::Back(name) => (name, None),
                InterfaceEvent::Gone(name) => {
                    self.shown.called(&name, None);
                    (name, Some("it is gone: nothing is seen there".to_owned()))
                }
                InterfaceEvent::Down(name) => (name, Some("it is down, or has no carrier: nothing passes there".to_owned())),
                InterfaceEvent::Refused(name, why) => (name, Some(why)),
                InterfaceEvent::Renamed(name, now) => {
                    self.shown.called(&name, Some(&now).filter(|now| **now != name));
                    continue; // whether it is in trouble does not depend on its name
                }
                InterfaceEvent::Reopened(name, why) => {
                    self.shown.note(format!("{name}: {why}; it was opened again, what passed meanwhile was not seen"));
                    (name, None)
                }
                InterfaceEvent::Reattached(name) => {
                    let said = "somebody took the filter off; it hangs there again, what passed meanwhile was not seen";
                    self.shown.note(format!("{name}: {said}"));
                    (name, None)
                }
            };
            self.interface(&interface, trouble);
        }
        match self.tap.counters() {
            Ok(counters) => {
                let m = &self.metrics.packets;
                let fates = [
                    ("seen", counters.seen),
                    ("passed", counters.passed),
                    ("syn", counters.syns),
                    ("lost", counters.lost),
                    ("syn_lost", counters.syns_lost),
                ];
                for (fate, n) in fates {
                    set(&m.get_or_create(&ByFate { fate: fate.into() }), n);
                }
                set(&self.metrics.connections, counters.connections);
                set(&self.metrics.late, counters.late);
                self.engine.note(counters);
                self.shown.change(|status| {
                    (status.seen, status.passed) = (counters.seen, counters.passed + counters.syns);
                    (status.lost, status.connections) = (counters.lost + counters.syns_lost, counters.connections);
                });
            }
            Err(error) => self.shown.trouble("counters", Some(error.to_string())),
        }
        self.show();
    }

    fn show(&self) {
        for (first, second) in self.engine.copies() {
            self.shown.note(format!("{first} and {second} show the same packets: these count once"));
        }
        let interfaces = &self.config.capture.interfaces;
        self.shown.change(|status| status.blind = interfaces.iter().all(|name| status.trouble.contains_key(name)));
        let now = capture::clock::monotonic();
        let m = &self.metrics;
        for (name, ring) in self.engine.memory().rings() {
            let label = ByRing { ring: name.into() };
            m.ring_bytes.get_or_create(&label).set(ring.memory() as i64);
            m.ring_packets.get_or_create(&label).set(ring.len().cast_signed());
            set(&m.evicted.get_or_create(&label), ring.evicted());
            set(&m.crowded.get_or_create(&label), ring.crowded());
            if let Some(oldest) = ring.oldest_at() {
                m.reach.get_or_create(&label).set((now - oldest).seconds());
            }
        }
        m.under_way.set(self.engine.under_way() as i64);
        let reach = self.engine.memory().oldest_at().map(|oldest| (now - oldest).seconds());
        let sums = self.engine.sums(KEPT);
        let mut networks: Vec<(String, u64, u64)> =
            sums.places.iter().map(|(place, counts)| (sums.say(place), counts.all, counts.slow_ones())).collect();
        networks.sort_by_key(|(_, all, slow)| std::cmp::Reverse((*slow, *all)));
        networks.truncate(50);
        let slow = sums.everywhere.slow.iter().map(|(culprit, n)| (culprit.label().to_owned(), *n)).collect();
        self.shown.change(|status| {
            (status.reach_seconds, status.sentence) = (reach, sums.sentence(KEPT));
            (status.handshakes, status.networks, status.slow) = (sums.everywhere.all, networks, slow);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_the_host_has_is_refused_before_it_is_touched() {
        let mut config = Config::default();
        assert!(fits(&config).is_ok());
        config.capture.memory = ByteSize::tib(99_999);
        assert!(matches!(fits(&config), Err(Error::Memory { wanted, .. }) if wanted == ByteSize::tib(99_999)));
    }
}
