//! Other clients: they connect, ask and hang up, each at its own pace, and try again when it failed. They measure nothing.
//!
//! In: whom to call, how many clients, how often. Runs until killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prober::tls::{TlsOptions, config as tls};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::Error;

/// How far behind others they stand.
const NICE: i32 = 10;

/// Its configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StormConfig {
    /// Whom they call.
    pub to: SocketAddr,
    /// The name that they ask for.
    pub name: String,
    /// What they ask for.
    pub path: String,
    /// How many there are.
    pub clients: u32,
    /// Time between two tries of a client; the next begins later if the one before is not over.
    pub every_ms: f64,
    /// How long a client waits for its answer.
    pub timeout_ms: f64,
}

/// Storms until killed.
///
/// # Errors
/// If the name is none, or there can be no runtime.
pub fn run(config: &StormConfig) -> Result<(), Error> {
    let what = "the storm's clients";
    // They share the machine with what is measured; a kernel that refuses leaves them as they are.
    let _ = rustix::process::nice(NICE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::system(what))?;
    let name = ServerName::try_from(config.name.clone()).map_err(|e| Error::helper(what, e.to_string()))?;
    // They believe every certificate: what a storm costs its own host is to be little.
    let tls = tls(&TlsOptions { insecure: true, ..TlsOptions::default() }).map_err(Error::system(what))?;
    let client = Arc::new(Client {
        to: config.to,
        name,
        tls: TlsConnector::from(Arc::new(tls)),
        request: format!("GET {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", config.path, config.name),
    });
    let (every, patience) = (Duration::from_secs_f64(config.every_ms / 1e3), Duration::from_secs_f64(config.timeout_ms / 1e3));
    runtime.block_on(async {
        let begun = Instant::now();
        for n in 0..config.clients {
            let client = Arc::clone(&client);
            // Spread, so that they do not come as one.
            let mut due = begun + every * n / config.clients.max(1);
            tokio::spawn(async move {
                loop {
                    sleep_until(due).await;
                    // Whatever came of it: the next try is all that a client like this knows.
                    let _ = timeout(patience, client.call()).await;
                    due = (due + every).max(Instant::now());
                }
            });
        }
        std::future::pending::<()>().await;
    });
    Ok(())
}

struct Client {
    to: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    request: String,
}

impl Client {
    async fn call(&self) -> std::io::Result<()> {
        let stream = TcpStream::connect(self.to).await?;
        let mut stream = self.tls.connect(self.name.clone(), stream).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = [0; 4_096];
        while stream.read(&mut answer).await? > 0 {}
        Ok(())
    }
}
