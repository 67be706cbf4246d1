//! A recorder that watches at a real target already: here by its control socket, or on the target's host over ssh.
//!
//! In: the moments between plan and collection. Out: a bundle of the handshakes that it has in memory since. What of it belongs to the run's
//! clients is found by joining; the rest is not kept.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use agent::{Bundle, Clock, ClockError, Go, Hello, Losses, Pcapng, Permits, Plan, Ready, VERSION};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vantage::{Error, Vantage, pause};

/// The recorder's usual socket.
const SOCKET: &str = "whostalled-capture.sock";
/// Packets wait in the kernel's buffer before the recorder has them.
const SETTLE: Duration = Duration::from_millis(300);
/// A connection begins no earlier than so long before its plan is carried out.
const BEFORE: Duration = Duration::from_secs(1);

/// Where a recorder answers: the path of its socket, or `ssh:HOST[:PATH]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RecorderAt {
    #[schemars(skip)]
    host: Option<String>,
    #[schemars(skip)]
    socket: PathBuf,
}

/// What is no [`RecorderAt`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no recorder: write the path of its control socket, or ssh:HOST[:PATH]")]
pub struct NoRecorder(String);

impl FromStr for RecorderAt {
    type Err = NoRecorder;

    fn from_str(text: &str) -> Result<Self, NoRecorder> {
        let Some(there) = text.strip_prefix("ssh:") else {
            return if text.is_empty() { Err(NoRecorder(text.into())) } else { Ok(Self { host: None, socket: text.into() }) };
        };
        let (host, socket) = there.split_once(':').unwrap_or((there, SOCKET));
        if host.is_empty() || host.starts_with('-') || socket.is_empty() {
            return Err(NoRecorder(text.into()));
        }
        Ok(Self { host: Some(host.to_owned()), socket: socket.into() })
    }
}

impl TryFrom<String> for RecorderAt {
    type Error = NoRecorder;

    fn try_from(text: String) -> Result<Self, NoRecorder> {
        text.parse()
    }
}

impl From<RecorderAt> for String {
    fn from(at: RecorderAt) -> Self {
        let socket = at.socket.display();
        at.host.map_or_else(|| socket.to_string(), |host| format!("ssh:{host}:{socket}"))
    }
}

/// The recorder at one target.
pub(super) struct RecordedEdge {
    target: String,
    at: RecorderAt,
    batch: u64,
    begun: Instant,
}

impl RecordedEdge {
    /// At `target`; it is asked once, so that one that is not there is known before the first client starts.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) fn ask(target: &str, at: RecorderAt) -> Result<Self, Error> {
        let edge = Self { target: target.to_owned(), at, batch: 0, begun: Instant::now() };
        edge.capture(&["status", "--json"])?;
        Ok(edge)
    }

    /// Runs `whostalled capture …` where the recorder is.
    fn capture(&self, arguments: &[&str]) -> Result<Vec<u8>, Error> {
        let gone = |what: String| Error::Gone { vantage: format!("{} (its recorder)", self.target), what };
        let socket = self.at.socket.display().to_string();
        let words = ["capture"].into_iter().chain(arguments.iter().copied()).chain(["--control", &socket]);
        let mut command = match &self.at.host {
            None => {
                let mut command = Command::new(std::env::current_exe().map_err(lab::Error::system("finding our own binary"))?);
                command.args(words);
                command
            }
            Some(host) => {
                let quoted: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
                let mut command = Command::new("ssh");
                command.args(["-T", "--", host, &format!("whostalled {}", quoted.join(" "))]);
                command
            }
        };
        let output = command.stdin(Stdio::null()).output().map_err(|e| gone(format!("cannot be asked: {e}")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
        Err(gone(format!("does not answer ({}): {last}", output.status)))
    }
}

fn clock() -> Clock {
    Clock { source: String::new(), error: ClockError::Unknown }
}

impl Vantage for RecordedEdge {
    fn hello(&self) -> Hello {
        // Of its host a recorder says nothing.
        Hello {
            version: VERSION,
            name: self.target.clone(),
            software: env!("CARGO_PKG_VERSION").into(),
            kernel: String::new(),
            cpus: 0,
            clock: clock(),
            permits: Permits { quotas: false, real_time: false, no_packets: None },
        }
    }

    fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, Error> {
        if plan.clients.is_some() {
            return Err(Error::Refused { host: self.target.clone(), what: "no clients run at a target".into() });
        }
        (self.batch, self.begun) = (plan.batch, Instant::now());
        Ok(Ready { batch: plan.batch, clients: 0, losses: Losses::default() })
    }

    fn go(&mut self, _: Go, _: &AtomicBool) -> Result<(), Error> {
        Ok(())
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        pause(SETTLE, stop)?;
        let last = format!("{}ms", (self.begun.elapsed() + BEFORE).as_millis());
        let frames = self.capture(&["dump", "--last", &last, "-o", "-"])?;
        Ok(Bundle {
            batch: self.batch,
            gave_up: Vec::new(),
            clients: Vec::new(),
            frames: Pcapng(frames),
            server: None,
            log: Vec::new(),
            losses: Losses::default(),
            late_ns: None,
            clock: clock(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_is_a_socket_here_or_elsewhere() {
        let read = |text: &str| text.parse::<RecorderAt>().map(String::from);
        assert_eq!(read("/run/whostalled/capture.sock").as_deref(), Ok("/run/whostalled/capture.sock"));
        assert_eq!(read("ssh:edge-7:/run/c.sock").as_deref(), Ok("ssh:edge-7:/run/c.sock"));
        assert_eq!(read("ssh:edge-7").as_deref(), Ok("ssh:edge-7:whostalled-capture.sock"));
        for none in ["", "ssh:", "ssh:-oProxyCommand=x", "ssh:host:"] {
            assert!(read(none).is_err(), "{none}");
        }
    }
}
