//! The watcher: its threads, and the check file read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use alerting::outbox::Outbox;
use alerting::{Client, Receiver, Store};
use serving::otlp;
use serving::otlp::trace::Trace;
use tokio::sync::{mpsc, watch as latest};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::blackbox::Blackbox;
use crate::checks::CheckFile;
use crate::engine::Engine;
use crate::error::{FileError, Invalid, WatchError};
use crate::metrics::Metrics;
use crate::opened::Opened;
use crate::probing::{self, PreparedChecks, Settings};
use crate::server::{Served, router, serve};
use crate::status::Status;
use crate::store::History;
use crate::tls_cache::TlsCache;

/// Traces that wait for their collector.
const MOST_TRACES: usize = 1_024;
/// Rounds between prober and engine.
const MOST_ROUNDS: usize = 16_384;
/// Time between two looks at signals and the check file.
const LOOK: Duration = Duration::from_millis(200);

/// Watches until `stop` is set; reads the check file again when it changes or `reload` is set. `ready` is told where the page is.
///
/// # Errors
/// If it cannot begin, or a part of it broke: it says which, and why.
pub fn watch(path: &Path, stop: &AtomicBool, reload: &AtomicBool, ready: impl FnOnce(&CheckFile)) -> Result<(), WatchError> {
    let Opened { file, checks: first_checks, blackbox, guard, tls, .. } = Opened::open(path)?;
    file.never_reached().iter().for_each(|note| warn!("{note}"));
    allow_sockets();
    let (status, metrics) = (Arc::new(Status::default()), Arc::new(Metrics::default()));
    note_unsupported(&status, &blackbox);
    file.receivers.iter().for_each(|receiver| metrics.delivery.begin(&receiver.name()));
    let (direct, undelivered) = mpsc::unbounded_channel();
    let engine_store = History::open(&file.watch.store)?;
    let telemetry = telemetry(|name| std::env::var(name).ok())?;
    let (traces, traced) = mpsc::channel(MOST_TRACES);
    let engine = Engine::open(engine_store, Arc::clone(&file), Arc::clone(&status), Arc::clone(&metrics), direct)?;
    let engine = engine.traced(telemetry.as_ref().and_then(|to| to.traces.as_ref()).map(|_| traces.clone()));

    let (checks_out, checks_in) = latest::channel(first_checks);
    let (receivers_out, receivers) = latest::channel(Arc::new(file.receivers.clone()));
    let (blackbox_out, blackbox) = latest::channel(Arc::new(blackbox));
    let (config_out, configs) = channel();
    let (rounds_out, rounds) = sync_channel(MOST_ROUNDS);

    let served = Served {
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        store: std::sync::Mutex::new(History::open(&file.watch.store)?),
        vantage: file.watch.vantage.clone(),
        blackbox,
        tls: TlsCache::default(),
        guard,
        base: file.watch.base(),
    };
    let outbox = Outbox {
        store: Store::open(&file.watch.store)?,
        direct: undelivered,
        receivers,
        status: Arc::clone(&status.alerts),
        delivery: metrics.delivery.clone(),
        client: Client::default(),
    };
    let exported = telemetry.map(|environment| Exported { environment, traced, _traces: traces });
    web(&file, tls, served, outbox, exported)?;
    let settings = Settings::of(&file);
    let of_prober = Arc::clone(&metrics);
    let probing = named("prober", move || probing::run(checks_in, &settings, rounds_out, of_prober))?;
    let engine = named("engine", move || engine.run(&rounds, &configs))?;
    ready(&file);

    let mut reloading = Reloading {
        path: path.to_owned(),
        seen: changed(path),
        checks: checks_out,
        receivers: receivers_out,
        blackbox: blackbox_out,
        configs: config_out,
    };
    while !stop.load(Ordering::Relaxed) && !probing.is_finished() && !engine.is_finished() {
        std::thread::sleep(LOOK);
        reloading.look(reload.swap(false, Ordering::Relaxed), &status, &metrics);
    }
    drop(reloading); // nobody probes any more; the engine writes what it has
    let probed = probing.join().map_err(|_| WatchError::Broken("the prober's thread"))?;
    engine.join().map_err(|_| WatchError::Broken("the engine's thread"))?;
    probed
}

/// Opens all that [`watch`] would, and begins nothing: what is valid here will start. Gives the number of checks, and what will not be
/// done as it is written.
///
/// # Errors
/// As [`watch`].
pub fn validate(path: &Path) -> Result<(usize, Vec<String>), WatchError> {
    let opened = Opened::open(path)?;
    if let Err(wrong) = opened.can_begin() {
        // Read again: its place is that of the words as they are now.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        return Err(FileError::invalid(path, Invalid(wrong.said(&text))).into());
    }
    Ok((opened.file.checks.len(), opened.notes))
}

/// As many sockets as we may have: thousands of probes may be under way. What cannot be had shows as failures of the prober.
pub(crate) fn allow_sockets() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

pub(crate) fn named<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, WatchError> {
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(WatchError::host(format!("the thread {name}")))
}

/// Starts the thread that serves and delivers.
fn web(
    file: &CheckFile,
    tls: Option<TlsAcceptor>,
    served: Served,
    outbox: Outbox,
    exported: Option<Exported>,
) -> Result<(), WatchError> {
    let listen = file.watch.listen;
    let unbound = |source| WatchError::Listen { at: listen, source };
    let listener = std::net::TcpListener::bind(listen).map_err(unbound)?;
    listener.set_nonblocking(true).map_err(unbound)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WatchError::host("the runtime"))?;
    let (status, metrics) = (Arc::clone(&served.status), Arc::clone(&served.metrics));
    named("web", move || {
        runtime.block_on(async {
            let served = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                serve(listener, tls, router(Arc::new(served))).await
            };
            let served = async {
                if let Err(error) = served.await {
                    status.trouble("server", Some(error.to_string()));
                }
            };
            let exported = async {
                let Some(Exported { environment, traced, _traces }) = exported else { return };
                let client = Client::default();
                let post = async |r: otlp::Request| client.post_json(&r.url, &r.headers, r.body).await;
                let heard = |trouble| status.trouble("OpenTelemetry", trouble);
                otlp::export(environment, traced, || metrics.exposition.text(), post, heard).await;
            };
            tokio::join!(served, outbox.run(), exported);
        });
    })
    .map(drop)
}

/// Where OpenTelemetry's variables say that metrics and traces go.
fn telemetry(get: impl Fn(&str) -> Option<String>) -> Result<Option<otlp::Environment>, Invalid> {
    otlp::Environment::read("whostalled-watch", &get).map_err(|refused| Invalid(refused.to_string()))
}

/// What is exported, and where to.
struct Exported {
    environment: otlp::Environment,
    traced: mpsc::Receiver<Trace>,
    /// While it is there, somebody may still send one.
    _traces: mpsc::Sender<Trace>,
}

fn note_unsupported(status: &Status, blackbox: &Blackbox) {
    let said = blackbox.unsupported();
    status.trouble("blackbox", (!said.is_empty()).then(|| said.join("; ")));
}

struct Reloading {
    path: PathBuf,
    seen: Option<SystemTime>,
    checks: latest::Sender<PreparedChecks>,
    receivers: latest::Sender<Arc<Vec<Receiver>>>,
    blackbox: latest::Sender<Arc<Blackbox>>,
    configs: Sender<Arc<CheckFile>>,
}

impl Reloading {
    fn look(&mut self, asked: bool, status: &Status, metrics: &Metrics) {
        let now = changed(&self.path);
        if !asked && now == self.seen {
            return;
        }
        self.seen = now;
        let outcome = self.reload(status);
        metrics.reload.set(i64::from(outcome.is_ok()));
        if let Ok(checks) = &outcome {
            info!(checks, file = %self.path.display(), "the check file was read again");
        }
        status.trouble("reload", outcome.err().map(|error| format!("{error}; the checks before it go on")));
    }

    /// All of it, or nothing; gives the number of checks.
    fn reload(&self, status: &Status) -> Result<usize, FileError> {
        let Opened { file, checks, blackbox, .. } = Opened::open(&self.path)?;
        file.never_reached().iter().for_each(|note| warn!("{note}"));
        note_unsupported(status, &blackbox);
        // A check that is no more is not shown; its alert, if one is on, is told to be over by nobody's rounds: it just ends.
        status.change(|checks| checks.by_name.retain(|name, _| file.check_of(name).is_some()));
        self.receivers.send_replace(Arc::new(file.receivers.clone()));
        self.blackbox.send_replace(Arc::new(blackbox));
        let n = file.checks.len();
        let _ = self.configs.send(file);
        self.checks.send_replace(checks);
        Ok(n)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}
