//! The watcher: its threads, and the check file read again when it changes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Inbox, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use alerting::clock::UnixSeconds;
use alerting::metrics::Delivery;
use alerting::outbox::Outbox;
use alerting::{Client, Event, Receiver, Store};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::{mpsc, watch as latest};
use tokio_rustls::TlsAcceptor;

use crate::blackbox::Blackbox;
use crate::checks::{CheckFile, ServerTls};
use crate::engine::Engine;
use crate::error::{FileError, Invalid, WatchError};
use crate::metrics::Metrics;
use crate::prepare::prepare;
use crate::probing::{self, PreparedChecks, Settings, Steady};
use crate::server::{Guard, Reload, Served, Shown, router, serve};
use crate::status::Status;
use crate::store::History;
use crate::tls_cache::TlsCache;

/// Rounds between prober and engine.
const MOST_ROUNDS: usize = 16_384;
/// Time between two looks at signals and the check file.
const LOOK: Duration = Duration::from_millis(200);

/// Watches until `stop` is set; reads the check file again when it changes or `reload` is set. `ready` is told where the page is.
///
/// # Errors
/// If it cannot begin, or a part of it broke: it says which, and why.
pub fn watch(path: &Path, stop: &AtomicBool, reload: &AtomicBool, ready: impl FnOnce(&CheckFile)) -> Result<(), WatchError> {
    let (file, first_checks) = load(path)?;
    allow_sockets();
    let (status, metrics) = (Arc::new(Status::default()), Arc::new(Metrics::default()));
    metrics.blackbox.reload(UnixSeconds::now(), true);
    let engine_store = History::open(&file.watch.store)?;
    let common = Common::begin(&file, &status, Shown::Watcher(Arc::clone(&metrics)), metrics.delivery.clone())?;
    let engine = Engine::open(engine_store, Arc::clone(&file), Arc::clone(&status), Arc::clone(&metrics), common.direct.clone())?;
    let (checks_out, checks_in) = latest::channel(first_checks);
    let (config_out, configs) = channel();
    let (rounds_out, rounds) = sync_channel(MOST_ROUNDS);
    let settings = Settings {
        resolvers: file.watch.resolvers.clone(),
        reference_interval: file.gate.reference_interval.0,
        most_under_way: file.watch.most_under_way,
    };
    let of_prober = Arc::clone(&metrics);
    let probing = named("prober", move || probing::run(checks_in, &settings, Steady::start(), rounds_out, of_prober))?;
    let engine = named("engine", move || engine.run(&rounds, &configs))?;
    ready(&file);

    let next = |file: Arc<CheckFile>, checks: PreparedChecks| {
        // A check that is no more is not shown; its alert, if one is on, is told to be over by nobody's rounds: it just ends.
        status.change(|checks| checks.by_name.retain(|name, _| file.check_of(name).is_some()));
        let _ = config_out.send(file);
        checks_out.send_replace(checks);
    };
    let told = |worked: bool| {
        metrics.reload.set(i64::from(worked));
        metrics.blackbox.reload(UnixSeconds::now(), worked);
    };
    Reloading { path, load, next, common: &common, status: &status, told: &told }
        .look_until(reload, || stop.load(Ordering::Relaxed) || probing.is_finished() || engine.is_finished());
    drop((checks_out, config_out)); // nobody probes any more; the engine writes what it has
    let probed = probing.join().map_err(|_| WatchError::Broken("the prober's thread"))?;
    engine.join().map_err(|_| WatchError::Broken("the engine's thread"))?;
    probed
}

fn load(path: &Path) -> Result<(Arc<CheckFile>, PreparedChecks), FileError> {
    let file = Arc::new(CheckFile::load(path)?);
    let checks = prepare(&file).map_err(|e| FileError::invalid(path, e))?;
    Ok((file, checks))
}

/// What every watcher has: the page, the outbox, and receivers that may change.
pub(crate) struct Common {
    receivers: latest::Sender<Arc<Vec<Receiver>>>,
    blackbox: latest::Sender<Arc<Blackbox>>,
    /// Whoever asked over HTTP to have the files read again.
    wishes: Inbox<Reload>,
    /// Messages for the time in which the store refuses.
    pub(crate) direct: mpsc::UnboundedSender<(String, Event)>,
}

impl Common {
    /// Starts the thread that serves and delivers.
    pub(crate) fn begin(file: &CheckFile, status: &Arc<Status>, shown: Shown, delivery: Delivery) -> Result<Self, WatchError> {
        let blackbox = load_blackbox(file)?;
        note_unsupported(status, &blackbox);
        let (direct, undelivered) = mpsc::unbounded_channel();
        let (receivers_out, receivers) = latest::channel(Arc::new(file.receivers.clone()));
        let (blackbox_out, blackbox) = latest::channel(Arc::new(blackbox));
        let (reload, wishes) = channel();
        let served = Served {
            status: Arc::clone(status),
            shown,
            store: std::sync::Mutex::new(History::open(&file.watch.store)?),
            vantage: file.watch.vantage.clone(),
            blackbox,
            tls: TlsCache::default(),
            reload,
            guard: file.watch.auth.as_ref().map(Guard::of).transpose()?,
        };
        let outbox = Outbox {
            store: Store::open(&file.watch.store)?,
            direct: undelivered,
            receivers,
            status: Arc::clone(&status.alerts),
            delivery,
            client: Client::default(),
        };
        web(file, served, outbox)?;
        Ok(Self { receivers: receivers_out, blackbox: blackbox_out, wishes, direct })
    }
}

/// Reads all that [`watch`] would, and begins nothing: what is valid here will start. Gives the number of checks, and what will not be
/// done as it is written.
///
/// # Errors
/// As [`watch`].
pub fn validate(path: &Path) -> Result<(usize, Vec<String>), WatchError> {
    let file = CheckFile::load(path)?;
    prepare(&file).map_err(|e| FileError::invalid(path, e))?;
    let blackbox = load_blackbox(&file)?;
    file.watch.tls.as_ref().map(acceptor).transpose()?;
    file.watch.auth.as_ref().map(Guard::of).transpose()?;
    let store = &file.watch.store;
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Invalid(format!("{} ([watch] store): there is no folder {}", store.display(), folder.display())).into());
    }
    Ok((file.checks.len(), blackbox.unsupported()))
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
fn web(file: &CheckFile, served: Served, outbox: Outbox) -> Result<(), WatchError> {
    let listen = file.watch.listen;
    let unbound = |source| WatchError::Listen { at: listen, source };
    let listener = std::net::TcpListener::bind(listen).map_err(unbound)?;
    listener.set_nonblocking(true).map_err(unbound)?;
    let tls = file.watch.tls.as_ref().map(acceptor).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WatchError::host("the runtime"))?;
    let status = Arc::clone(&served.status);
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
            tokio::join!(served, outbox.run());
        });
    })
    .map(drop)
}

fn acceptor(tls: &ServerTls) -> Result<TlsAcceptor, Invalid> {
    let said = |e: &dyn std::fmt::Display| Invalid(format!("[watch.tls]: {e}"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&tls.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| said(&format!("{}: {e}", tls.certificate.display())))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|e| said(&format!("{}: {e}", tls.key.display())))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| said(&e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| said(&e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn load_blackbox(file: &CheckFile) -> Result<Blackbox, FileError> {
    let Some(path) = &file.watch.blackbox else { return Ok(Blackbox::default()) };
    FileError::read(path, Blackbox::parse)
}

fn note_unsupported(status: &Status, blackbox: &Blackbox) {
    let said = blackbox.unsupported();
    status.trouble("blackbox", (!said.is_empty()).then(|| said.join("; ")));
}

/// The check file, read again when it changes.
pub(crate) struct Reloading<'a, T, L: Fn(&Path) -> Result<(Arc<CheckFile>, T), FileError>, N: Fn(Arc<CheckFile>, T)> {
    pub(crate) path: &'a Path,
    /// Reads it, and all that it names.
    pub(crate) load: L,
    /// Takes what was read.
    pub(crate) next: N,
    pub(crate) common: &'a Common,
    pub(crate) status: &'a Status,
    /// Is told whether it worked.
    pub(crate) told: &'a dyn Fn(bool),
}

impl<T, L: Fn(&Path) -> Result<(Arc<CheckFile>, T), FileError>, N: Fn(Arc<CheckFile>, T)> Reloading<'_, T, L, N> {
    /// Looks until `over`.
    pub(crate) fn look_until(&self, reload: &AtomicBool, over: impl Fn() -> bool) {
        let mut seen = changed(self.path);
        while !over() {
            std::thread::sleep(LOOK);
            let wishes: Vec<Reload> = self.common.wishes.try_iter().collect();
            let (asked, now) = (reload.swap(false, Ordering::Relaxed), changed(self.path));
            if !asked && wishes.is_empty() && now == seen {
                continue;
            }
            seen = now;
            let outcome = self.reload().map_err(Arc::new);
            (self.told)(outcome.is_ok());
            let trouble = outcome.as_ref().err().map(|error| format!("{error}; the checks before it go on"));
            self.status.trouble("reload", trouble);
            for wish in wishes {
                // Whoever asked may be gone.
                let _ = wish.send(outcome.clone());
            }
        }
    }

    /// All of it, or nothing.
    fn reload(&self) -> Result<(), FileError> {
        let (file, checks) = (self.load)(self.path)?;
        let blackbox = load_blackbox(&file)?;
        note_unsupported(self.status, &blackbox);
        self.common.receivers.send_replace(Arc::new(file.receivers.clone()));
        self.common.blackbox.send_replace(Arc::new(blackbox));
        (self.next)(file, checks);
        Ok(())
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = "[[check]]\nname = \"a\"\ntarget = \"https://a.test/\"\ninsecure = true\n";

    #[test]
    fn what_is_valid_will_start() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("checks.toml");
        let said = |text: &str| {
            std::fs::write(&path, text).expect("it is writable");
            validate(&path)
        };
        assert_eq!(said(CHECK).expect("it is valid"), (1, vec![]));
        let broken = folder.path().join("bb.yml");
        std::fs::write(&broken, "modules: [").expect("it is writable");
        for (text, missed) in [
            (format!("{CHECK}ca = \"/no/such/ca.pem\"\n").replace("insecure = true\n", ""), "/no/such/ca.pem"),
            (format!("{CHECK}certificate = \"/no/such/c.pem\"\nkey = \"/no/such/k.pem\"\n"), "/no/such/c.pem"),
            (format!("{CHECK}headers = {{ A = {{ file = \"/no/such/token\" }} }}\n"), "/no/such/token"),
            (format!("[watch]\nblackbox = \"/no/such/bb.yml\"\n{CHECK}"), "/no/such/bb.yml"),
            (format!("[watch]\nblackbox = \"{}\"\n{CHECK}", broken.display()), "bb.yml"),
            (format!("[watch]\nstore = \"/no/such/folder/a.db\"\n{CHECK}"), "/no/such/folder"),
            (format!("[watch]\nauth = {{ bearer = {{ file = \"/no/such/secret\" }} }}\n{CHECK}"), "/no/such/secret"),
            (
                format!("[watch]\ntls = {{ certificate = \"/no/such/s.pem\", key = \"/no/such/k.pem\" }}\n{CHECK}"),
                "/no/such/s.pem",
            ),
        ] {
            let error = said(&text).expect_err(&text).to_string();
            assert!(error.contains(missed), "{text}: {error}");
        }
    }
}
