//! The watcher: its threads, and the check file read again when it changes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Inbox, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use alerting::clock::UnixSeconds;
use alerting::metrics::Delivery;
use alerting::outbox::Outbox;
use alerting::{Client, Event, Receiver, Store};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serving::otlp;
use serving::otlp::trace::Trace;
use tokio::sync::{mpsc, watch as latest};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::blackbox::Blackbox;
use crate::checks::{CheckFile, Watch};
use crate::engine::Engine;
use crate::error::{FileError, Invalid, WatchError};
use crate::listening::{most_connections, serve};
use crate::metrics::Metrics;
use crate::opened::{Face, Opened};
use crate::probing::{self, PreparedChecks, Settings, Steady};
use crate::server::{Guard, Reload, Served, Shown, router};
use crate::settling::{Settling, files};
use crate::status::Status;
use crate::store::History;
use crate::tls_cache::TlsCache;

/// Traces that wait for their collector.
const MOST_TRACES: usize = 1_024;
/// Rounds between prober and engine.
const MOST_ROUNDS: usize = 16_384;
/// Open files that are left for all but probes and the page's connections.
const RESERVE: u64 = 64;
/// So many probes at once are enough for any file that has fewer checks.
const MANY: usize = 256;
/// Time between two looks at signals and the check file.
const LOOK: Duration = Duration::from_millis(200);

/// Watches until `stop` is set; reads the check file again when it changes or `reload` is set. `ready` is told where the page is.
///
/// # Errors
/// If it cannot begin, or a part of it broke: it says which, and why.
pub fn watch(path: &Path, stop: &AtomicBool, reload: &AtomicBool, ready: impl FnOnce(&CheckFile)) -> Result<(), WatchError> {
    let (file, face, first_checks) = load(path)?;
    let sockets = allow_sockets();
    let (status, metrics) = (Arc::new(Status::default()), Arc::new(Metrics::default()));
    status.change(|checks| checks.none = file.checks.is_empty());
    metrics.blackbox.reload(UnixSeconds::now(), true);
    let engine_store = History::open(&file.watch.store)?;
    let common = Common::begin(&file, face, &status, Shown::Watcher(Arc::clone(&metrics)), &metrics.delivery)?;
    let engine = Engine::open(engine_store, Arc::clone(&file), Arc::clone(&status), Arc::clone(&metrics), common.direct.clone())?;
    let clock = Steady::start();
    let engine = engine.dated(move || clock.now()).traced(common.traces.clone());
    let (checks_out, checks_in) = latest::channel(first_checks);
    let (config_out, configs) = channel();
    let (rounds_out, rounds) = sync_channel(MOST_ROUNDS);
    let mut settings = Settings::of(&file);
    settings.most_under_way = settings.most_under_way.min(most_under_way(sockets));
    few_sockets(&file, sockets).iter().for_each(|note| warn!("{note}"));
    let of_prober = Arc::clone(&metrics);
    let probing = named("prober", move || probing::run(checks_in, &settings, clock, rounds_out, of_prober))?;
    let engine = named("engine", move || engine.run(&rounds, &configs))?;
    ready(&file);

    let next = |file: Arc<CheckFile>, checks: PreparedChecks| {
        // A check that is no more is not shown; its alert, if one is on, is told to be over by nobody's rounds: it just ends.
        status.change(|checks| {
            checks.none = file.checks.is_empty();
            checks.by_name.retain(|name, _| file.check_of(name).is_some());
        });
        let _ = config_out.send(file);
        checks_out.send_replace(checks);
    };
    let told = |worked: bool| {
        metrics.reload.set(i64::from(worked));
        metrics.blackbox.reload(UnixSeconds::now(), worked);
    };
    let start = Start::of(&file);
    Reloading { path, load, next, common: &common, status: &status, told: &told, start }
        .look_until(reload, || stop.load(Ordering::Relaxed) || probing.is_finished() || engine.is_finished());
    drop((checks_out, config_out)); // nobody probes any more; the engine writes what it has
    let probed = probing.join().map_err(|_| WatchError::Broken("the prober's thread"))?;
    engine.join().map_err(|_| WatchError::Broken("the engine's thread"))?;
    probed
}

fn load(path: &Path) -> Result<(Arc<CheckFile>, Face, PreparedChecks), FileError> {
    let Opened { file, checks, face, .. } = Opened::open(path)?;
    Ok((file, face, checks))
}

/// What every watcher has: the page, the outbox, and receivers that may change.
pub(crate) struct Common {
    /// Locked as long as we live: the store is ours.
    _ours: File,
    receivers: latest::Sender<Arc<Vec<Receiver>>>,
    blackbox: latest::Sender<Arc<Blackbox>>,
    tls: latest::Sender<Option<TlsAcceptor>>,
    guard: latest::Sender<Option<Guard>>,
    /// Whoever asked over HTTP to have the files read again.
    requests: Inbox<Reload>,
    /// Messages for the time in which the store refuses.
    pub(crate) direct: mpsc::UnboundedSender<(String, Event)>,
    /// Takes the traces of bad rounds, where somebody wants them.
    pub(crate) traces: Option<mpsc::Sender<Trace>>,
}

impl Common {
    /// Starts the thread that serves, delivers and exports.
    pub(crate) fn begin(
        file: &CheckFile,
        face: Face,
        status: &Arc<Status>,
        shown: Shown,
        delivery: &Delivery,
    ) -> Result<Self, WatchError> {
        let listen = file.watch.listen;
        let ours = alone(&file.watch.store).map_err(|error| match std::net::TcpListener::bind(listen) {
            // The same file, begun twice: that the page is there already says more.
            Err(source) => WatchError::Listen { at: listen, source },
            Ok(_) => error,
        })?;
        let Face { blackbox, guard, tls } = face;
        file.never_reached().iter().for_each(|note| warn!("{note}"));
        note_unsupported(status, &blackbox);
        file.receivers.iter().for_each(|receiver| delivery.begin(&receiver.name()));
        let telemetry = telemetry(|name| std::env::var(name).ok())?;
        let (traces_out, traced) = mpsc::channel(MOST_TRACES);
        let traces = telemetry.as_ref().and_then(|to| to.traces.as_ref()).map(|_| traces_out.clone());
        let (direct, undelivered) = mpsc::unbounded_channel();
        let (receivers_out, receivers) = latest::channel(Arc::new(file.receivers.clone()));
        let (blackbox_out, blackbox) = latest::channel(Arc::new(blackbox));
        let (tls_out, tls) = latest::channel(tls);
        let (guard_out, guard) = latest::channel(guard);
        let (reload, requests) = channel();
        let served = Served {
            status: Arc::clone(status),
            shown,
            store: std::sync::Mutex::new(History::open(&file.watch.store)?),
            vantage: file.watch.vantage.clone(),
            blackbox,
            tls: TlsCache::default(),
            reload,
            guard,
            base: file.watch.base(),
        };
        let outbox = Outbox {
            store: Store::open(&file.watch.store)?,
            direct: undelivered,
            receivers,
            status: Arc::clone(&status.alerts),
            delivery: delivery.clone(),
            client: Client::default(),
        };
        let exported = telemetry.map(|environment| Exported { environment, traced, _traces: traces_out });
        web(file, tls, served, outbox, exported)?;
        let (receivers, blackbox, tls, guard) = (receivers_out, blackbox_out, tls_out, guard_out);
        Ok(Self { _ours: ours, receivers, blackbox, tls, guard, requests, direct, traces })
    }
}

/// Takes the store for ourselves, by a lock on a file beside it: closing another descriptor of the store's own would lift SQLite's locks.
fn alone(store: &Path) -> Result<File, WatchError> {
    let mut beside = store.as_os_str().to_owned();
    beside.push(".lock");
    let host = |source| WatchError::Host { what: beside.display().to_string(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&beside).map_err(host)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WatchError::Taken(store.to_owned())),
        Err(TryLockError::Error(source)) => Err(host(source)),
    }
}

/// Opens all that [`watch`] would, and begins nothing: what is valid here will start. Gives the number of checks, and what will not be
/// done as it is written.
///
/// # Errors
/// As [`watch`].
pub fn validate(path: &Path) -> Result<(usize, Vec<String>), WatchError> {
    let mut opened = Opened::open(path)?;
    telemetry(|name| std::env::var(name).ok())?;
    opened.notes.extend(few_sockets(&opened.file, sockets()));
    if let Err(wrong) = opened.can_begin() {
        // Read again: its place is that of the words as they are now.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        return Err(FileError::invalid(path, Invalid(wrong.said(&text))).into());
    }
    Ok((opened.file.checks.len(), opened.notes))
}

/// As many sockets as we may have: thousands of probes may be under way. Gives how many that is.
pub(crate) fn allow_sockets() -> u64 {
    let most = sockets();
    let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    getrlimit(Resource::RLIMIT_NOFILE).map_or(most, |(now, _)| now)
}

/// How many sockets we may have.
fn sockets() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, most)| most)
}

/// Probes under way for which there are sockets: two each, as many take (a lookup, an attempt at another address), and some are left for
/// the page, the store and receivers. Beyond it targets that hang would make the prober sick, and its messages would not go out.
pub(crate) fn most_under_way(sockets: u64) -> usize {
    let left = sockets.saturating_sub(RESERVE).saturating_sub(most_connections(sockets) as u64);
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

/// That there are fewer sockets than a check file asks for, if it is so.
fn few_sockets(file: &CheckFile, sockets: u64) -> Option<String> {
    let (asked, most) = (file.watch.most_under_way, most_under_way(sockets));
    (most < asked && most < file.checks.len().max(MANY)).then(|| {
        format!("no more than {most} probes at once, not the {asked} of [watch] most_under_way: this host gives {sockets} open files (ulimit -n)")
    })
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
    tls: latest::Receiver<Option<TlsAcceptor>>,
    served: Served,
    outbox: Outbox,
    exported: Option<Exported>,
) -> Result<(), WatchError> {
    let listen = file.watch.listen;
    let unbound = |source| WatchError::Listen { at: listen, source };
    let listener = std::net::TcpListener::bind(listen).map_err(unbound)?;
    listener.set_nonblocking(true).map_err(unbound)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WatchError::host("the runtime"))?;
    let (status, shown) = (Arc::clone(&served.status), served.shown.clone());
    named("web", move || {
        runtime.block_on(async {
            let served = async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => match serve(listener, tls, router(Arc::new(served)), most_connections(sockets())).await {},
                    Err(error) => status.trouble("server", Some(error.to_string())),
                }
            };
            let exported = async {
                let Some(Exported { environment, traced, _traces }) = exported else { return };
                let client = Client::default();
                let post = async |r: otlp::Request| client.post_json(&r.url, &r.headers, r.body).await;
                let heard = |trouble| status.trouble("OpenTelemetry", trouble);
                otlp::export(environment, traced, || shown.exposition().openmetrics(), post, heard).await;
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

/// The check file, read again when it changes.
pub(crate) struct Reloading<'a, T, L: Fn(&Path) -> Result<(Arc<CheckFile>, Face, T), FileError>, N: Fn(Arc<CheckFile>, T)> {
    pub(crate) path: &'a Path,
    /// Reads it, and all that it names.
    pub(crate) load: L,
    /// Takes what was read.
    pub(crate) next: N,
    pub(crate) common: &'a Common,
    pub(crate) status: &'a Status,
    /// Is told whether it worked.
    pub(crate) told: &'a dyn Fn(bool),
    pub(crate) start: Start,
}

/// What of the check file holds until the next start, and what of it is known now.
pub(crate) struct Start {
    watch: Watch,
    /// Whether there are checks.
    had: Cell<bool>,
    /// Files that it names.
    files: RefCell<Vec<PathBuf>>,
}

impl Start {
    pub(crate) fn of(file: &CheckFile) -> Self {
        Self { watch: file.watch.clone(), had: Cell::new(!file.checks.is_empty()), files: RefCell::new(files(file)) }
    }
}

impl<T, L: Fn(&Path) -> Result<(Arc<CheckFile>, Face, T), FileError>, N: Fn(Arc<CheckFile>, T)> Reloading<'_, T, L, N> {
    /// Looks until `over`.
    pub(crate) fn look_until(&self, reload: &AtomicBool, over: impl Fn() -> bool) {
        let mut settling = Settling::new(self.written());
        while !over() {
            std::thread::sleep(LOOK);
            let requests: Vec<Reload> = self.common.requests.try_iter().collect();
            let settled = settling.look(self.written(), Instant::now());
            if !reload.swap(false, Ordering::Relaxed) && requests.is_empty() && !settled {
                continue;
            }
            // As they were before they are read: what is written meanwhile is read again.
            let before = self.written();
            let outcome = self.reload().map_err(Arc::new);
            (self.told)(outcome.is_ok());
            if let Ok(checks) = &outcome {
                info!(checks, file = %self.path.display(), "the check file was read again");
            }
            let mut taken = self.written();
            for (path, was) in before {
                taken.entry(path).and_modify(|now| *now = was);
            }
            settling = Settling::new(taken);
            let trouble = outcome.as_ref().err().map(|error| format!("{error}; the checks before it go on"));
            self.status.trouble("reload", trouble);
            for request in requests {
                // Whoever asked may be gone.
                let _ = request.send(outcome.clone().map(drop));
            }
        }
    }

    /// All of it, or nothing; gives the number of checks.
    fn reload(&self) -> Result<usize, FileError> {
        let (file, face, checks) = (self.load)(self.path)?;
        // A file that is being written may end before its first check.
        if self.start.had.get() && file.checks.is_empty() {
            return Err(FileError::invalid(self.path, Invalid("it has no [[check]] any more; start anew to do without".into())));
        }
        self.start.had.set(!file.checks.is_empty());
        self.start.files.replace(files(&file));
        file.never_reached().iter().for_each(|note| warn!("{note}"));
        note_unsupported(self.status, &face.blackbox);
        self.common.receivers.send_replace(Arc::new(file.receivers.clone()));
        self.common.blackbox.send_replace(Arc::new(face.blackbox));
        let n = file.checks.len();
        // Certificates and secrets are renewed where they are, whatever else of [watch] waits for the next start.
        if file.watch.tls == self.start.watch.tls {
            self.common.tls.send_replace(face.tls);
        }
        if file.watch.auth == self.start.watch.auth {
            self.common.guard.send_replace(face.guard);
        }
        let file = if file.watch == self.start.watch {
            file
        } else {
            warn!(file = %self.path.display(), "[watch] is not as it was at the start: that takes effect at the next one");
            Arc::new(CheckFile { watch: self.start.watch.clone(), ..CheckFile::clone(&file) })
        };
        (self.next)(file, checks);
        Ok(n)
    }

    /// When the check file, and the files that it names, were written.
    fn written(&self) -> BTreeMap<PathBuf, Option<(SystemTime, u64)>> {
        let written = |path: &Path| std::fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len()))).ok();
        let named = self.start.files.borrow();
        let files = std::iter::once(self.path).chain(named.iter().map(PathBuf::as_path));
        files.map(|file| (file.to_owned(), written(file))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_leave_open_files_for_all_else() {
        assert_eq!((most_under_way(1_024), most_under_way(256), most_under_way(10)), (352, 64, 1));
        let file = |n: usize| {
            let check = |i| format!("[[check]]\nname = \"{i}\"\ntarget = \"a.test:443\"\n");
            CheckFile::parse(&(0..n).map(check).collect::<String>()).expect("it is valid")
        };
        assert!(few_sockets(&file(1), 1_024).is_none() && few_sockets(&file(1), u64::MAX).is_none());
        assert!(few_sockets(&file(500), 1_024).is_some_and(|note| note.contains("352") && note.contains("4096")));
    }

    #[test]
    fn a_store_has_one_watcher() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = folder.path().join("store.db");
        let first = alone(&store).expect("nobody has it");
        assert!(matches!(alone(&store), Err(WatchError::Taken(path)) if path == store));
        drop(first);
        assert!(alone(&store).is_ok(), "whoever had it is gone");
    }

    /// What a watcher of a check file has, and nobody that serves.
    struct Unserved {
        common: Common,
        guard: latest::Receiver<Option<Guard>>,
        tls: latest::Receiver<Option<TlsAcceptor>>,
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    impl Unserved {
        fn of(text: &str) -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("checks.toml");
            std::fs::write(&path, text).expect("it is writable");
            let (tls_out, tls) = latest::channel(None);
            let (guard_out, guard) = latest::channel(None);
            let common = Common {
                _ours: alone(&folder.path().join("store.db")).expect("nobody has it"),
                receivers: latest::channel(Arc::default()).0,
                blackbox: latest::channel(Arc::new(
                    Face::open(&CheckFile::parse(text).expect("it is valid")).expect("no files").blackbox,
                ))
                .0,
                tls: tls_out,
                guard: guard_out,
                requests: channel().1,
                direct: mpsc::unbounded_channel().0,
                traces: None,
            };
            Self { common, guard, tls, _folder: folder, path }
        }

        /// Reads it anew once, and as often as `load` leaves another file behind; gives how often.
        fn read(&self, before: &str, load: impl Fn(usize, &Path)) -> usize {
            let reads = Cell::new(0);
            let load = |path: &Path| {
                let loaded = super::load(path)?;
                load(reads.get(), path);
                reads.set(reads.get() + 1);
                Ok(loaded)
            };
            let start = Start::of(&CheckFile::parse(before).expect("it is valid"));
            let (looks, status) = (Cell::new(0), Status::default());
            let (path, common, told) = (self.path.as_path(), &self.common, &|_: bool| {});
            let reloading = Reloading { path, load, next: |_, _| {}, common, status: &status, told, start };
            reloading.look_until(&AtomicBool::new(true), || looks.replace(looks.get() + 1) == 15);
            reads.get()
        }
    }

    const GUARDED: &str = "[watch]\nauth = { bearer = { env = \"PATH\" } }\n[[check]]\nname = \"a\"\ntarget = \"a.test:443\"\n";

    #[test]
    fn a_file_that_is_written_while_it_is_read_is_read_again() {
        let unserved = Unserved::of(GUARDED);
        let reads = unserved.read(GUARDED, |reads, path| {
            if reads == 0 {
                std::fs::write(path, format!("{GUARDED}\n")).expect("it is writable");
            }
        });
        assert_eq!(reads, 2);
    }

    #[test]
    fn secrets_of_the_page_are_renewed_whatever_else_waits_for_the_next_start() {
        let unserved = Unserved::of(GUARDED);
        let (mut guard, mut tls) = (unserved.guard.clone(), unserved.tls.clone());
        assert_eq!(unserved.read(&GUARDED.replace("[watch]", "[watch]\nvantage = \"b\""), |_, _| {}), 1);
        assert!(guard.borrow_and_update().is_some() && tls.has_changed().expect("it is there"));
        tls.mark_unchanged();
        assert_eq!(unserved.read(&GUARDED.replace("PATH", "HOME"), |_, _| {}), 1);
        assert!(!guard.has_changed().expect("it is there"), "who may look is said at the start");
        assert!(tls.has_changed().expect("it is there"));
    }
}
