//! The watcher at a vantage: a process of that host, which runs a round when it is asked to.
//!
//! In: its configuration as an argument, a line for each round (its time, nanoseconds since the Unix epoch). Out: a line of JSON for each,
//! [`Said`]. It ends when nobody asks any more.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use analysis::clock::Instant;
use serde::{Deserialize, Serialize};
use watch::paced::Paced;

use crate::Incident;
use crate::course::Said;
use crate::error::WatcherError;

/// By which the binary starts itself as one.
pub const SUBCOMMAND: &str = "incident-watcher";

/// Its configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WatcherConfig {
    /// The incident, as its file has it.
    pub text: String,
    /// Where it watches from.
    pub vantage: String,
    /// Root certificates that it trusts.
    pub ca: PathBuf,
    /// The name server that it asks.
    pub resolver: Option<SocketAddr>,
}

/// Watches until standard input ends.
///
/// # Errors
/// If the checks cannot be made, or nobody listens.
pub fn serve(config: &WatcherConfig) -> Result<(), WatcherError> {
    let mut file = Incident::parse(&config.vantage, &config.text)?.checks;
    file.watch.vantage.clone_from(&config.vantage);
    file.watch.resolvers = config.resolver.into_iter().collect();
    file.defaults.ca = Some(config.ca.clone());
    let mut paced = Paced::open(file)?;
    let (mut asked, mut out) = (std::io::stdin().lock().lines(), std::io::stdout().lock());
    // That it is ready, so that its own start is in nobody's round.
    writeln!(out, "{}", serde_json::to_string(&Said::default())?)?;
    while let Some(line) = asked.next().transpose()? {
        let at = line.trim().parse().map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))?;
        let said = Said::of(paced.round(Instant::from_nanos(at)));
        writeln!(out, "{}", serde_json::to_string(&said)?)?;
        out.flush()?;
    }
    Ok(())
}
