//! The NATS server: its address, our certificates, and a connection that comes back by itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Log, SILENCE};

/// How often the server is asked for a sign of life: half-open connections are noticed after two of these.
const PING: Duration = Duration::from_secs(5);
/// How long one try to connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two tries of whoever waits for it.
const AGAIN: Duration = Duration::from_millis(200);
/// Between two tries at most: a server that comes back is found soon, and is not overrun.
pub(crate) const RETRY: Duration = Duration::from_secs(2);

/// How a server is known, and how it knows us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Roots that its certificate is to come from, PEM; absent: this host's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, PEM: the server takes the name in it for who we are.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// A NATS server.
#[derive(Clone)]
pub struct Server {
    address: ServerAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Server {
    /// The server at `url` (`tls://HOST:PORT`, `nats://HOST:PORT`); nothing is reached yet.
    ///
    /// # Errors
    /// If that is no address, a file of certificates cannot be read, or the connection would be open to others.
    pub fn new(url: &str, tls: Option<&Tls>) -> Result<Self, Error> {
        let no_address = |what: String| Error::Address { url: url.to_owned(), what };
        let address: ServerAddr = url.parse().map_err(|e: std::io::Error| no_address(e.to_string()))?;
        if !matches!(address.scheme(), "nats" | "tls") || address.host().is_empty() {
            return Err(no_address("no host, or another scheme".into()));
        }
        let wanted = tls.cloned().or_else(|| address.tls_required().then_some(Tls { ca: None, own: None }));
        if wanted.is_none() && !is_here(address.host()) {
            return Err(Error::Open(shown(&address)));
        }
        Ok(Self { tls: wanted.map(|tls| tls.config().map(Arc::new)).transpose()?, address })
    }

    /// Its address, without a password.
    pub(crate) fn shown(&self) -> String {
        shown(&self.address)
    }

    /// Connects as `who`, as [`Server::connect`]. A server that says nothing, as one that is short of CPU, is asked again as long as one that
    /// is silent later is waited for; one that is not there, or goes away meanwhile, as long as its being started anew takes.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn connect_patiently(&self, who: &str, log: &Log) -> Result<Client, Error> {
        let begun = Instant::now();
        loop {
            let error = match self.options(who, Arc::clone(log)).connect(self.address.clone()).await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let patience = match error.kind() {
                ConnectErrorKind::TimedOut => SILENCE,
                ConnectErrorKind::Io => CONNECT,
                _ => Duration::ZERO,
            };
            if begun.elapsed() >= patience {
                return Err(self.failed(&error));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Connects as `who`. A connection that is lost later comes back by itself.
    ///
    /// # Errors
    /// If it cannot be reached or does not let us in.
    pub(crate) async fn connect(&self, who: &str, log: Log) -> Result<Client, Error> {
        self.options(who, log).connect(self.address.clone()).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &ConnectError) -> Error {
        let source = std::error::Error::source(error).map_or_else(String::new, |source| format!(" ({source})"));
        Error::Server { url: self.shown(), what: format!("cannot be reached: {}{source}", error.kind()) }
    }

    fn options(&self, who: &str, log: Log) -> ConnectOptions {
        let shown = self.shown();
        let mut options = ConnectOptions::new()
            .name(who)
            .ping_interval(PING)
            .connection_timeout(CONNECT)
            .no_echo()
            .reconnect_delay_callback(|tries| {
                RETRY.min(Duration::from_millis(50) * u32::try_from(tries).unwrap_or(u32::MAX).min(100))
            })
            .event_callback(move |event| {
                if let Some(words) = said(&event) {
                    log(&format!("{shown}: {words}"));
                }
                std::future::ready(())
            });
        if let Some(tls) = &self.tls {
            options = options.require_tls(true).tls_client_config((**tls).clone());
        }
        options
    }
}

/// What of an event somebody should hear.
fn said(event: &Event) -> Option<String> {
    Some(match event {
        Event::Connected => "connected".into(),
        Event::Disconnected => "disconnected; it is tried again".into(),
        Event::ServerError(error) => format!("it refuses: {error}"),
        Event::SlowConsumer(_) => "messages come faster than they are read; what is lost is asked for again".into(),
        // Each failed try to connect is one; the first disconnection has been said.
        Event::ClientError(_) | Event::LameDuckMode | Event::Draining | Event::Closed => return None,
    })
}

fn shown(address: &ServerAddr) -> String {
    format!("{}://{}:{}", address.scheme(), address.host(), address.port())
}

/// Whether nobody else is on the way there.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Tls {
    /// The provider is named, not whatever the process has: another crate may bring another.
    fn config(&self) -> Result<ClientConfig, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(Path::new("TLS"), e))?;
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for root in certificates(path)? {
                    roots.add(root).map_err(|e| bad(path, e))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let builder = builder.with_root_certificates(roots);
        let Some((chain, key)) = &self.own else { return Ok(builder.with_no_client_auth()) };
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, e))?;
        builder.with_client_auth_cert(certificates(chain)?, secret).map_err(|e| bad(chain, e))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| bad(path, e))?;
    if all.is_empty() { Err(bad(path, "there is no certificate in it")) } else { Ok(all) }
}

fn bad(path: &Path, what: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), source: std::io::Error::other(what.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_connection_stays_on_this_host() {
        for good in ["nats://127.0.0.1:4222", "nats://localhost", "nats://[::1]:4222", "tls://nats.example.com:4222"] {
            assert!(Server::new(good, None).is_ok(), "{good}");
        }
        assert!(matches!(Server::new("nats://nats.example.com:4222", None), Err(Error::Open(_))));
        for bad in ["", "https://nats.example.com/", "ws://127.0.0.1/", "nats://"] {
            assert!(matches!(Server::new(bad, None), Err(Error::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let server = Server::new("nats://me:secret@127.0.0.1:4222", None).expect("an address");
        assert_eq!(server.shown(), "nats://127.0.0.1:4222");
    }

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        for text in [None, Some("no certificate")] {
            text.map_or(Ok(()), |text| std::fs::write(&path, text)).expect("our own folder");
            let error =
                Server::new("tls://localhost", Some(&Tls { ca: Some(path.clone()), own: None })).err().expect("it is refused");
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
    }
}
