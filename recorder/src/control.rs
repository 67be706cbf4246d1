//! The control socket: one line in, one line out, then bytes if there are any.
//!
//! | request | answer |
//! |---|---|
//! | `trigger FLOW` | `ok PATH` once the evidence is on the disk |
//! | `flow FLOW` | `ok`, then a pcapng with the verdict |
//! | `flows SECONDS KEY…` | `ok`, then a pcapng of what these flows sent in the last so long, not judged |
//! | `last SECONDS` | `ok`, then a pcapng of all flows |
//! | `status` | `ok`, then JSON |
//!
//! A FLOW is `CLIENT [SERVER]`, addresses with ports, or ClientHello.random in hexadecimal digits; a KEY is one word of that
//! ([`analysis::key`]).
//! Anything that goes wrong is `error` and why.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use analysis::key::{Key, Keys};

use crate::error::{ControlError, NotKept};
use crate::flow_report::{Provenance, bundle};
use crate::memory::Packet;
use crate::sources::{TriggerRequest, TriggerSender};
use crate::trigger::{Source, Trigger};
use crate::view::Shown;
use imports::logline::endpoint;

/// Patience with whoever asks, and with the recorder.
const PATIENCE: Duration = Duration::from_secs(30);
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
    let listener = UnixListener::bind(path).map_err(said)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(said)?;
    Ok(listener)
}

/// Serves for ever.
pub fn serve(listener: &UnixListener, asked: &TriggerSender, dumps: &SyncSender<Dump>, shown: &Arc<Shown>) {
    for stream in listener.incoming().flatten() {
        let (asked, dumps, shown) = (asked.clone(), dumps.clone(), Arc::clone(shown));
        // One that cannot be had fails this request only.
        let _ = std::thread::Builder::new().name("control".into()).spawn(move || {
            let mut stream = stream;
            let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
            let answer = answer(&stream, &asked, &dumps, &shown);
            // Whoever hung up does not want it.
            let _ = match answer {
                Ok((line, bytes)) => stream
                    .write_all(format!("ok {line}").trim_end().as_bytes())
                    .and_then(|()| stream.write_all(b"\n"))
                    .and_then(|()| stream.write_all(&bytes)),
                Err(why) => stream.write_all(format!("error {why}\n").as_bytes()),
            };
        });
    }
}

fn answer(
    stream: &UnixStream,
    asked: &TriggerSender,
    dumps: &SyncSender<Dump>,
    shown: &Shown,
) -> Result<(String, Vec<u8>), String> {
    let mut line = String::new();
    BufReader::new(stream.take(MOST_REQUEST)).read_line(&mut line).map_err(|e| format!("the request: {e}"))?;
    if !line.ends_with('\n') {
        return Err(format!("the request is cut, or longer than {MOST_REQUEST} bytes"));
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let busy = || "the recorder is busy: try again".to_owned();
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
    let said = |source| ControlError::NobodyThere { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).map_err(said)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(said)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).map_err(said)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(said)?;
    match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
        ("ok", rest) => Ok((rest.to_owned(), bytes)),
        ("error", why) => Err(ControlError::Refused(why.to_owned())),
        _ => Err(ControlError::Ended),
    }
}
