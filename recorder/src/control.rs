//! The control socket: one line in, one line out, then bytes if there are any.
//!
//! | request | answer |
//! |---|---|
//! | `trigger FLOW` | `ok 0 PATH` once the evidence is on the disk |
//! | `flow FLOW` | `ok LENGTH`, then so many bytes: a pcapng with the verdict |
//! | `flows SECONDS KEY…` | `ok LENGTH`, then a pcapng of what these flows sent in the last so long, not judged |
//! | `last SECONDS` | `ok LENGTH`, then a pcapng of all flows |
//! | `status` | `ok LENGTH`, then JSON |
//!
//! A FLOW is `CLIENT [SERVER]`, addresses with ports, or ClientHello.random in hexadecimal digits; a KEY is one word of that
//! ([`analysis::key`]).
//! Anything that goes wrong is `error` and why.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use analysis::key::{Key, Keys};
use nix::sys::stat::{Mode, umask};

use crate::error::{ControlError, NotKept};
use crate::flow_report::{Provenance, bundle};
use crate::memory::Packet;
use crate::sources::{TriggerRequest, TriggerSender};
use crate::trigger::{Source, Trigger};
use crate::view::Shown;
use imports::logline::endpoint;

/// Patience with whoever asks, and with the recorder.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it is one's turn.
const AGAIN: Duration = Duration::from_millis(20);
/// Whoever asks waits longer than the recorder does, for its turn and for the packets.
const ANSWERED: Duration = Duration::from_secs(75);
/// Longest request: the keys of a run's clients, two for each.
const MOST_REQUEST: u64 = 256 << 10;

/// A request for packets.
pub enum Dump {
    /// The evidence on one flow.
    Flow(Trigger, SyncSender<Result<Vec<u8>, NotKept>>),
    /// The ends of the latest flow with this ClientHello.random, the client's first.
    Ends([u8; 32], SyncSender<Option<(SocketAddr, SocketAddr)>>),
    /// The packets of the flows that are named, of the last so long.
    Flows(Duration, Keys, SyncSender<(Vec<Packet>, Provenance)>),
    /// All packets of the last so long: whoever asks makes the file, the recorder has other things to do.
    Last(Duration, SyncSender<(Vec<Packet>, Provenance)>),
}

/// Begins to listen at `path`, for this user only.
///
/// # Errors
/// If the socket cannot be made, or somebody listens there already.
pub fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    let said = |source| ControlError::Socket { path: path.to_owned(), source };
    if UnixStream::connect(path).is_ok() {
        return Err(ControlError::Taken { path: path.to_owned() });
    }
    if std::fs::metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        std::fs::remove_file(path).map_err(said)?; // left by one that was killed
    }
    if let Some(folder) = path.parent() {
        crate::evidence_store::make_folder(folder).map_err(said)?;
    }
    // From the first moment on: what is bound has the rights that the mask leaves.
    let mask = umask(Mode::S_IRWXG | Mode::S_IRWXO | Mode::S_IXUSR);
    let bound = UnixListener::bind(path);
    umask(mask);
    bound.map_err(said)
}

/// Serves for ever.
pub fn serve(listener: &UnixListener, asked: &TriggerSender, dumps: &SyncSender<Dump>, shown: &Arc<Shown>) {
    let one = Arc::new(Mutex::new(()));
    for stream in listener.incoming().flatten() {
        let (asked, dumps, shown, one) = (asked.clone(), dumps.clone(), Arc::clone(shown), Arc::clone(&one));
        // One that cannot be had fails this request only.
        let _ = std::thread::Builder::new().name("control".into()).spawn(move || {
            let mut stream = stream;
            let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
            let mut alone = None;
            let answer = answer(&stream, &asked, &dumps, &shown, &one, &mut alone);
            // Whoever hung up does not want it.
            let _ = match answer {
                Ok((line, bytes)) => stream
                    .write_all(format!("ok {} {line}", bytes.len()).trim_end().as_bytes())
                    .and_then(|()| stream.write_all(b"\n"))
                    .and_then(|()| stream.write_all(&bytes)),
                Err(why) => stream.write_all(format!("error {why}\n").as_bytes()),
            };
        });
    }
}

/// An answer; `alone` is held until it was handed out, if it takes much memory: `one` for one such answer at a time.
fn answer<'a>(
    stream: &UnixStream,
    asked: &TriggerSender,
    dumps: &SyncSender<Dump>,
    shown: &Shown,
    one: &'a Mutex<()>,
    alone: &mut Option<MutexGuard<'a, ()>>,
) -> Result<(String, Vec<u8>), String> {
    let mut line = String::new();
    BufReader::new(stream.take(MOST_REQUEST)).read_line(&mut line).map_err(|e| format!("the request: {e}"))?;
    if !line.ends_with('\n') {
        return Err(format!("the request is cut, or longer than {MOST_REQUEST} bytes"));
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let busy = || "the recorder is busy: try again".to_owned();
    if let ["flows" | "last", ..] = words[..] {
        // Runs ask for their flows, and do not ask twice.
        let patience = if words[0] == "flows" { PATIENCE } else { Duration::ZERO };
        *alone = Some(turn(one, patience).ok_or("another dump is being handed out: try again")?);
    }
    match words[..] {
        ["trigger", ref flow @ ..] => {
            let trigger = trigger(flow, asked, dumps)?;
            let (answer, answered) = sync_channel(1);
            let answer = Box::new(move |outcome| {
                let _ = answer.send(outcome);
            });
            if !asked.ask(TriggerRequest { trigger, at: Instant::now(), answer: Some(answer) }) {
                return Err(busy());
            }
            let kept = answered.recv_timeout(PATIENCE).map_err(|_| busy())?;
            let path = kept.map_err(|why: NotKept| why.to_string())?;
            Ok((path.display().to_string(), Vec::new()))
        }
        ["flow", ref flow @ ..] => {
            let trigger = trigger(flow, asked, dumps)?;
            let found = ask_engine(asked, dumps, |answer| Dump::Flow(trigger, answer))?;
            Ok((String::new(), found.map_err(|why| why.to_string())?))
        }
        ["flows", seconds, ref keys @ ..] => {
            let last = time(seconds).ok_or("flows SECONDS KEY…")?;
            let keys = keys.iter().map(|key| key.parse::<Key>()).collect::<Result<Keys, _>>().map_err(|e| e.to_string())?;
            let (packets, provenance) = ask_engine(asked, dumps, |answer| Dump::Flows(last, keys, answer))?;
            Ok((String::new(), bundle(packets, &provenance).map_err(|e| e.to_string())?))
        }
        ["last", seconds] => {
            let last = time(seconds).ok_or("last SECONDS")?;
            let (packets, provenance) = ask_engine(asked, dumps, |answer| Dump::Last(last, answer))?;
            Ok((String::new(), bundle(packets, &provenance).map_err(|e| e.to_string())?))
        }
        ["status"] => {
            let (status, slow) = shown.now();
            let json = serde_json::json!({ "status": status, "slow": slow });
            Ok((String::new(), format!("{json:#}\n").into_bytes()))
        }
        _ => Err("ask for: trigger FLOW, flow FLOW, flows SECONDS KEY…, last SECONDS, status".into()),
    }
}

/// Waits for a turn: there is no lock that gives up by itself, and this one is seldom taken.
fn turn(one: &Mutex<()>, patience: Duration) -> Option<MutexGuard<'_, ()>> {
    let begun = Instant::now();
    loop {
        match one.try_lock() {
            Ok(turn) => return Some(turn),
            // Nothing is behind it that could be half done.
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(AGAIN),
        }
    }
}

/// What the thread that has the packets answers.
fn ask_engine<T>(asked: &TriggerSender, dumps: &SyncSender<Dump>, dump: impl FnOnce(SyncSender<T>) -> Dump) -> Result<T, String> {
    let busy = || "the recorder is busy: try again".to_owned();
    let (answer, answered) = sync_channel(1);
    dumps.try_send(dump(answer)).map_err(|_| busy())?;
    asked.wake();
    answered.recv_timeout(PATIENCE).map_err(|_| busy())
}

fn time(seconds: &str) -> Option<Duration> {
    seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// The flow that is asked for; by ClientHello.random it has to be in memory.
fn trigger(flow: &[&str], asked: &TriggerSender, dumps: &SyncSender<Dump>) -> Result<Trigger, String> {
    let end = |text: &str| -> Result<SocketAddr, String> {
        endpoint(text).ok_or_else(|| format!("{text}: write an address with its port, as 192.0.2.7:40000"))
    };
    let (client, server) = match *flow {
        [key] => match key.parse() {
            Ok(Key::Random(random)) => {
                let found = ask_engine(asked, dumps, |answer| Dump::Ends(random, answer))?;
                let (client, server) = found.ok_or_else(|| NotKept::Gone.to_string())?;
                (client, Some(server))
            }
            Ok(Key::Ends { client, server }) => (client, server),
            // Logs have other ways to write an address.
            Err(_) => (end(key)?, None),
        },
        [client, server] => (end(client)?, Some(end(server)?)),
        _ => return Err("name the client's address and port, and the server's if you like; or ClientHello.random".into()),
    };
    Ok(Trigger { client, server, source: Source::Asked })
}

/// Asks a running recorder.
///
/// # Errors
/// If there is none, or it says no.
pub fn ask(path: &Path, request: &str) -> Result<(String, Vec<u8>), ControlError> {
    ask_for(ANSWERED, path, request)
}

fn ask_for(patience: Duration, path: &Path, request: &str) -> Result<(String, Vec<u8>), ControlError> {
    let said = |source: std::io::Error| match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ControlError::Silent { path: path.to_owned(), patience },
        _ => ControlError::NobodyThere { path: path.to_owned(), source },
    };
    let mut stream = UnixStream::connect(path).map_err(said)?;
    stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience))).map_err(said)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(said)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).map_err(said)?;
    let mut words = line.trim_end().splitn(3, ' ');
    match (words.next(), words.next()) {
        (Some("error"), _) => Err(ControlError::Refused(line.trim_end().trim_start_matches("error ").to_owned())),
        (Some("ok"), Some(length)) => {
            let of: u64 = length.parse().map_err(|_| ControlError::Ended)?;
            let mut bytes = Vec::new();
            // One byte more than it said would be wrong, too.
            let got = reader.take(of.saturating_add(1)).read_to_end(&mut bytes).map_err(said)? as u64;
            if got != of {
                return Err(ControlError::Cut { got, of });
            }
            Ok((words.next().unwrap_or_default().to_owned(), bytes))
        }
        _ => Err(ControlError::Ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Asks somebody who says this, and nothing more; `open`: who holds on.
    fn answered(says: &'static [u8], open: bool) -> Result<(String, Vec<u8>), ControlError> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("inside/it.sock");
        let listener = listen(&path).expect("it can be made");
        assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            stream.write_all(says).expect("whoever asks is there");
            // The request must have been read: else the answer is torn off.
            let _ = BufReader::new(&stream).read_line(&mut String::new());
            open.then_some((stream, listener))
        });
        let answer = ask_for(Duration::from_millis(if open { 50 } else { 10_000 }), &path, "status");
        drop(served.join().expect("it served"));
        answer
    }

    #[test]
    fn an_answer_is_whole_or_none() {
        let (line, bytes) = answered(b"ok 3 a path\nabc", false).expect("it is whole");
        assert_eq!((line.as_str(), bytes.as_slice()), ("a path", &b"abc"[..]));
        assert_eq!(answered(b"ok 0 path\n", false).expect("it is whole"), ("path".to_owned(), vec![]));
        assert!(matches!(answered(b"ok 3\nab", false), Err(ControlError::Cut { got: 2, of: 3 })));
        assert!(matches!(answered(b"ok 3\nabcd", false), Err(ControlError::Cut { got: 4, of: 3 })));
        assert!(matches!(answered(b"", false), Err(ControlError::Ended)));
        assert!(matches!(answered(b"error not so\n", false), Err(ControlError::Refused(why)) if why == "not so"));
    }

    #[test]
    fn a_turn_is_waited_for_as_long_as_somebody_has_patience() {
        let one = Mutex::new(());
        let held = one.lock().expect("nobody has it");
        assert!(turn(&one, Duration::ZERO).is_none());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turn(&one, PATIENCE).is_some());
            std::thread::sleep(3 * AGAIN);
            drop(held);
            assert!(waits.join().expect("it has its turn"));
        });
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for_for_ever() {
        assert!(matches!(answered(b"", true), Err(ControlError::Silent { .. })));
    }
}
