//! A recorder that watches at a real target already: here by its control socket, on the target's host over ssh, beside an agent of a fleet;
//! or a capture file that grows there.
//!
//! In: the moments between plan and collection, and the keys of the run's connections. Out: a bundle of what the recorder has of these since.
//! Joining decides what of it is the run's.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use agent::{Bundle, Clock, ClockError, Go, Hello, Losses, Pcapng, Permits, Plan, Ready, VERSION};
use analysis::clock::Instant as Stamp;
use analysis::key::Key;
use capture::evidence::Evidence;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vantage::{Error, Vantage, pause};

use super::AskRecorder;

/// The recorder's usual socket.
const SOCKET: &str = "whostalled-capture.sock";
/// Packets wait in the kernel's buffer before the recorder has them.
const SETTLE: Duration = Duration::from_millis(300);
/// `tcpdump` hears of a packet a second later, whether or not it writes each at once (`-U`).
const WRITTEN: Duration = Duration::from_millis(1_300);
/// A connection begins no earlier than so long before its plan is carried out.
const BEFORE: Duration = Duration::from_secs(1);
/// A capture file is read whole, and again for each batch.
const MOST_BYTES: u64 = 256 << 20;

/// Where a recorder answers: the path of its socket, `ssh:HOST[:PORT][:PATH]`, or `fleet:AGENT`; or the path of a capture file, which grows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RecorderAt(#[schemars(with = "String")] At);

#[derive(Clone, PartialEq, Eq, Debug)]
enum At {
    /// A socket, or a file: which, the system says when it is asked.
    Here(PathBuf),
    Ssh {
        host: String,
        socket: PathBuf,
    },
    Fleet(String),
}

/// What is no [`RecorderAt`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is no recorder: write the path of its control socket or of a capture file, ssh:HOST[:PORT][:PATH], or fleet:AGENT"
)]
pub struct NoRecorder(String);

impl FromStr for RecorderAt {
    type Err = NoRecorder;

    fn from_str(text: &str) -> Result<Self, NoRecorder> {
        let no = || NoRecorder(text.to_owned());
        if let Some(agent) = text.strip_prefix("fleet:") {
            return if agent.is_empty() { Err(no()) } else { Ok(Self(At::Fleet(agent.to_owned()))) };
        }
        let Some(there) = text.strip_prefix("ssh:") else {
            return if text.is_empty() { Err(no()) } else { Ok(Self(At::Here(text.into()))) };
        };
        let (host, socket) = host_and_path(there).ok_or_else(no)?;
        Ok(Self(At::Ssh { host, socket: socket.into() }))
    }
}

/// `[//][USER@]HOST[:PORT][:PATH]`, a host as ssh is given it: its path is what follows a colon and is no port.
fn host_and_path(text: &str) -> Option<(String, &str)> {
    let (scheme, there) = text.strip_prefix("//").map_or(("", text), |there| ("ssh://", there));
    // A path may hold all of these.
    let user = there.find(['@', ':', '[', '/']).filter(|at| there[*at..].starts_with('@')).map_or(0, |at| at + 1);
    let (user, at) = there.split_at(user);
    if there.starts_with('-') || at.is_empty() {
        return None;
    }
    if at.parse::<Ipv6Addr>().is_ok() {
        return Some((format!("{scheme}{user}[{at}]"), SOCKET));
    }
    let end = if at.starts_with('[') { at.find(']')? + 1 } else { at.find(':').unwrap_or(at.len()) };
    let (name, behind) = at.split_at(end);
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let Some(behind) = behind.strip_prefix(':') else {
        return behind.is_empty().then(|| (format!("{scheme}{there}"), SOCKET));
    };
    let (port, path) = behind.split_once(':').map_or((behind, None), |(port, path)| (port, Some(path)));
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let (host, path) = match is_port {
        true => (format!("{scheme}{user}{name}:{port}"), path.unwrap_or(SOCKET)),
        false => (format!("{scheme}{user}{name}"), behind),
    };
    (!path.is_empty()).then_some((host, path))
}

impl TryFrom<String> for RecorderAt {
    type Error = NoRecorder;

    fn try_from(text: String) -> Result<Self, NoRecorder> {
        text.parse()
    }
}

impl From<RecorderAt> for String {
    fn from(at: RecorderAt) -> Self {
        match at.0 {
            At::Here(path) => path.display().to_string(),
            At::Ssh { host, socket } if host.starts_with("ssh://") => format!("{host}:{}", socket.display()),
            At::Ssh { host, socket } => format!("ssh:{host}:{}", socket.display()),
            At::Fleet(agent) => format!("fleet:{agent}"),
        }
    }
}

/// The recorder at one target.
pub(super) struct RecordedEdge<'a> {
    target: String,
    at: RecorderAt,
    fleet: Option<&'a AskRecorder<'a>>,
    batch: u64,
    begun: Instant,
    keys: Vec<Key>,
}

impl<'a> RecordedEdge<'a> {
    /// At `target`; it is asked once, so that one that is not there is known before the first client starts.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) fn ask(
        target: &str,
        at: RecorderAt,
        fleet: Option<&'a AskRecorder<'a>>,
        stop: &AtomicBool,
    ) -> Result<Self, Error> {
        let edge = Self { target: target.to_owned(), at, fleet, batch: 0, begun: Instant::now(), keys: Vec::new() };
        edge.packets(Duration::ZERO, &[], stop)?;
        Ok(edge)
    }

    fn gone(&self, what: String) -> Error {
        Error::Gone { vantage: format!("{} (its recorder)", self.target), what }
    }

    /// What it has of the connections that `keys` name, of the last so long, as a capture; without keys it only shows that it is there.
    fn packets(&self, last: Duration, keys: &[Key], stop: &AtomicBool) -> Result<Vec<u8>, Error> {
        let seconds = format!("{}ms", last.as_millis());
        let words = if keys.is_empty() { vec!["status".to_owned(), "--json".to_owned()] } else { dump(&seconds, keys) };
        let answer = match &self.at.0 {
            At::Here(path) if path.is_file() => return self.file(path),
            At::Here(socket) => {
                let mut command = Command::new(lab::exec::own_program()?);
                command.arg("capture").args(&words).arg("--control").arg(socket);
                self.run(command)?
            }
            At::Ssh { host, socket } => {
                let words = words.into_iter().chain(["--control".to_owned(), socket.display().to_string()]);
                let words: Vec<String> = words.collect();
                let quoted = shlex::try_join(words.iter().map(String::as_str));
                let quoted = quoted.map_err(|e| self.gone(format!("cannot be asked: {e}")))?;
                let mut command = vantage::ssh::command(host);
                command.arg(format!("whostalled capture {quoted}"));
                self.run(command)?
            }
            At::Fleet(agent) => {
                let no_server =
                    || self.gone("is beside an agent of a fleet, and its server was not named: --nats tls://HOST:4222".into());
                let ask = self.fleet.ok_or_else(no_server)?;
                ask(agent, &format!("{} (its recorder)", self.target), last, keys, stop)?
            }
        };
        if keys.is_empty() { nothing() } else { Ok(answer) }
    }

    /// A capture that somebody else makes: all of it.
    fn file(&self, path: &std::path::Path) -> Result<Vec<u8>, Error> {
        let failed = |e: std::io::Error| self.gone(format!("cannot be read: {}: {e}", path.display()));
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > MOST_BYTES {
            return Err(self.gone(format!(
                "is a capture file of {} MB, and is read again for each batch: {} MB at most; record with `whostalled capture`, or rotate it",
                bytes >> 20,
                MOST_BYTES >> 20
            )));
        }
        std::fs::read(path).map_err(failed)
    }

    fn run(&self, mut command: Command) -> Result<Vec<u8>, Error> {
        let output = command.stdin(Stdio::null()).output().map_err(|e| self.gone(format!("cannot be asked: {e}")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
        Err(self.gone(format!("does not answer ({}): {last}", output.status)))
    }
}

fn dump(last: &str, keys: &[Key]) -> Vec<String> {
    let head = ["dump", "--last", last, "-o", "-"].map(str::to_owned);
    head.into_iter().chain(keys.iter().map(|key| format!("--flow={key}"))).collect()
}

/// A capture of nothing.
fn nothing() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let made = Evidence::begin(&mut bytes, "").and_then(|file| file.finish(Stamp::from_nanos(0), &[]));
    made.map_err(lab::Error::system("making a capture of nothing"))?;
    Ok(bytes)
}

fn clock() -> Clock {
    Clock { source: String::new(), error: ClockError::Unknown }
}

impl Vantage for RecordedEdge<'_> {
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
            spin: None,
        }
    }

    fn shares_clock(&self) -> bool {
        matches!(&self.at.0, At::Here(path) if !path.is_file())
    }

    fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, Error> {
        if plan.clients.is_some() {
            return Err(Error::Refused { host: self.target.clone(), what: "no clients run at a target".into() });
        }
        (self.batch, self.begun, self.keys) = (plan.batch, Instant::now(), Vec::new());
        Ok(Ready { batch: plan.batch, clients: 0, losses: Losses::default() })
    }

    fn go(&mut self, _: Go, _: &AtomicBool) -> Result<(), Error> {
        Ok(())
    }

    fn look_for(&mut self, keys: Vec<Key>) {
        self.keys = keys;
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        let grows = matches!(&self.at.0, At::Here(path) if path.is_file());
        pause(if grows { WRITTEN } else { SETTLE }, stop)?;
        // Where the clients' end showed no connection, there is nothing that its packets could be joined with.
        let frames =
            if self.keys.is_empty() { nothing()? } else { self.packets(self.begun.elapsed() + BEFORE, &self.keys, stop)? };
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
            spin: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorders_host_is_written_as_a_vantages() {
        for (written, host, path) in [
            ("ssh:me@box:2223", "me@box:2223", SOCKET),
            ("ssh:me@box:2223:/run/c.sock", "me@box:2223", "/run/c.sock"),
            ("ssh://me@box:2223", "ssh://me@box:2223", SOCKET),
            ("ssh://box:/run/c.sock", "ssh://box", "/run/c.sock"),
            ("ssh:[fd77::2]", "[fd77::2]", SOCKET),
            ("ssh:me@[fd77::2]:2223:c.sock", "me@[fd77::2]:2223", "c.sock"),
            ("ssh:[fd77::2]:c.sock", "[fd77::2]", "c.sock"),
            ("ssh:me@fd77::2", "me@[fd77::2]", SOCKET),
            // What is no port is a path, whatever is in it.
            ("ssh:box:./2223", "box", "./2223"),
            ("ssh:box:0", "box", "0"),
            ("ssh:box:/run/a@b:c].sock", "box", "/run/a@b:c].sock"),
        ] {
            let read = |text: &str| text.parse::<RecorderAt>();
            let at = read(written).unwrap_or_else(|e| panic!("{e}"));
            let meant = RecorderAt(At::Ssh { host: host.into(), socket: path.into() });
            assert_eq!(at, meant, "{written}");
            assert_eq!(read(&String::from(at)), Ok(meant), "{written}: written down and read again");
        }
        for none in [
            "ssh://",
            "ssh::c.sock",
            "ssh:me@",
            "ssh:me@:c.sock",
            "ssh:[fd77::2",
            "ssh:[fd77::2]x",
            "ssh:box:22:",
            "ssh://box/c.sock",
        ] {
            assert!(none.parse::<RecorderAt>().is_err(), "{none}");
        }
    }

    #[test]
    fn a_recorder_is_a_socket_here_or_elsewhere() {
        let read = |text: &str| text.parse::<RecorderAt>().map(String::from);
        assert_eq!(read("/run/whostalled/capture.sock").as_deref(), Ok("/run/whostalled/capture.sock"));
        assert_eq!(read("ssh:edge-7:/run/c.sock").as_deref(), Ok("ssh:edge-7:/run/c.sock"));
        assert_eq!(read("ssh:edge-7").as_deref(), Ok("ssh:edge-7:whostalled-capture.sock"));
        assert_eq!(read("fleet:edge-7").as_deref(), Ok("fleet:edge-7"));
        for none in ["", "ssh:", "fleet:", "ssh:-oProxyCommand=x", "ssh:host:"] {
            assert!(read(none).is_err(), "{none}");
        }
    }
}
