//! One batch: clients launched together in one cell, collected, joined into handshakes.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use analysis::clock::{Client, Edge, Instant as Stamp};
use analysis::conversation::handshake::{EdgeLog, Handshake, join};
use analysis::dns::Lookups;
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::Captured;
use lab::edge::LogLine;
use lab::sample::Observed;
use serde::Serialize;

use crate::Error;
use crate::client::{PORT, command_line};
use crate::scenario::{Scenario, TargetSpec};
use crate::stage::{Stage, host_name};

/// Room between the end of the last client and the end of listening: late acknowledgements and retransmissions.
const SETTLE: Duration = Duration::from_millis(120);

/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(20);

/// A frame with the host that captured it.
pub struct Frame {
    /// Which capture.
    pub host: String,
    /// The frame.
    pub captured: Captured,
}

/// What one client said.
#[derive(Clone, Debug, Serialize)]
pub struct ClientEnd {
    /// Process id.
    pub pid: u32,
    /// Exit code; absent if a signal ended it.
    pub code: Option<i32>,
    /// Whether it had to be ended.
    pub timed_out: bool,
    /// Its standard output, as JSON if it is that.
    pub said: serde_json::Value,
    /// The end of its standard error.
    pub complained: String,
}

/// What a batch yields.
pub struct Batch {
    /// Frames of both ends in order of time.
    pub frames: Vec<Frame>,
    /// The handshakes; their packet numbers count `frames` from `first_packet`.
    pub handshakes: Vec<Handshake>,
    /// What each client said.
    pub clients: Vec<ClientEnd>,
}

/// Runs one batch of `vantage` against `target`; `first_packet` is the number of its first frame.
///
/// # Errors
/// Harness failures; a client's failure is data.
pub fn run(
    stage: &Stage,
    scenario: &Scenario,
    vantage: &str,
    target: &TargetSpec,
    first_packet: u64,
    interrupted: &AtomicBool,
) -> Result<Batch, Error> {
    for host in [vantage, &target.name] {
        stage.captures[host].drain();
    }
    let server = stage.servers[&target.name];
    stage.sampler.take(server);
    let lost_before = lost(stage, [vantage, &target.name]);

    let mut launched = launch(stage, scenario, vantage, target, interrupted)?;
    stage.set_stops(vantage, launched.iter().map(|l| l.child.id()).collect());
    for (i, client) in launched.iter_mut().enumerate() {
        if i > 0 {
            pause(scenario.client.spread.0, interrupted)?;
        }
        drop(client.child.stdin.take()); // the barrier lifts
    }
    let (clients, observed) = collect(stage, scenario, vantage, launched, interrupted)?;
    pause(SETTLE + target.rtt.0, interrupted)?;

    if !std::path::Path::new(&format!("/proc/{server}")).exists() || stage.sampler.ended(server) {
        return Err(Error::Missing(format!("the server of target {} died during the run", target.name)));
    }
    let frames = frames(stage, [vantage, &target.name])?;
    let mut handshakes = analyse(&frames, vantage, first_packet);
    let edge_host = stage.sampler.take(server).trace::<Edge>();
    let log = edge_log(stage, &target.name);
    let capture_lost = lost(stage, [vantage, &target.name]) - lost_before;
    for handshake in &mut handshakes {
        let port = handshake.endpoints.client.port();
        let ours = observed.iter().zip(&clients).find(|(o, c)| o.ports.contains_key(&port) || says_port(&c.said, port));
        handshake.client_host = ours.map(|(o, _)| o.trace::<Client>());
        handshake.edge_host = Some(edge_host.clone());
        handshake.edge_log = log
            .iter()
            .rfind(|l| same(l.peer, handshake.endpoints.client))
            .map(|l| EdgeLog { accepted: Stamp::from_nanos(l.accepted_ns), finished: l.finished_ns.map(Stamp::from_nanos) });
        handshake.capture_lost = capture_lost;
    }
    Ok(Batch { frames, handshakes, clients })
}

/// Sleeps, and wakes when told to stop.
fn pause(length: Duration, interrupted: &AtomicBool) -> Result<(), Error> {
    let end = Instant::now() + length;
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return Ok(()),
            left => std::thread::sleep(left.min(LOOK)),
        }
    }
}

/// A client that runs, and ends with this.
struct Launched {
    child: Child,
    out: std::path::PathBuf,
    err: std::path::PathBuf,
}

impl Drop for Launched {
    fn drop(&mut self) {
        // One that was waited for is left alone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(
    stage: &Stage,
    scenario: &Scenario,
    vantage: &str,
    target: &TargetSpec,
    interrupted: &AtomicBool,
) -> Result<Vec<Launched>, Error> {
    let host = stage.lab.host(vantage).expect("every vantage has a host");
    let address = stage.lab.host(&target.name).expect("every target has a host").address(scenario.client.ipv6);
    let line = command_line(scenario, vantage, &host_name(&target.name), address, &stage.certificates.bundle)?;
    let mut placement = host.placement();
    placement.barrier = true;
    let mut launched = Vec::new();
    for i in 0..scenario.client.concurrency {
        pause(Duration::ZERO, interrupted)?;
        let (out, err) = (stage.scratch(&format!("client-{i}.out")), stage.scratch(&format!("client-{i}.err")));
        let create = |path: &std::path::Path| {
            File::create(path).map_err(|source| Error::Write { path: path.display().to_string(), source })
        };
        let child = placement
            .command(&line.program, &line.args)?
            .stdin(Stdio::piped())
            .stdout(create(&out)?)
            .stderr(create(&err)?)
            .spawn()
            .map_err(lab::Error::system(format!("starting {}", line.program)))?;
        stage.sampler.watch(child.id(), true);
        launched.push(Launched { child, out, err });
    }
    // Let every child reach the barrier, so that starting them is no part of what is measured.
    pause(Duration::from_millis(60 + 15 * scenario.client.concurrency as u64), interrupted)?;
    Ok(launched)
}

/// Waits for the clients, ends those that outstay their timeout, and reaps them.
fn collect(
    stage: &Stage,
    scenario: &Scenario,
    vantage: &str,
    mut launched: Vec<Launched>,
    interrupted: &AtomicBool,
) -> Result<(Vec<ClientEnd>, Vec<Observed>), Error> {
    let deadline = Instant::now() + scenario.client.timeout.0 + Duration::from_secs(2);
    let mut late = false;
    while !launched.iter().all(|l| stage.sampler.ended(l.child.id())) {
        if interrupted.load(Ordering::Relaxed) || Instant::now() > deadline {
            late = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    stage.set_stops(vantage, Vec::new());
    let (mut ends, mut observed) = (Vec::new(), Vec::new());
    for client in &mut launched {
        let pid = client.child.id();
        let timed_out = late && !stage.sampler.ended(pid);
        if timed_out {
            let _ = client.child.kill();
        }
        observed.push(stage.sampler.take(pid));
        stage.sampler.forget(pid);
        let status = client.child.wait().map_err(lab::Error::system("waiting for a client"))?;
        let said = std::fs::read_to_string(&client.out).unwrap_or_default();
        let complained = std::fs::read_to_string(&client.err).unwrap_or_default();
        ends.push(ClientEnd {
            pid,
            code: status.code(),
            timed_out,
            said: serde_json::from_str(&said).unwrap_or(serde_json::Value::String(tail(&said))),
            complained: tail(&complained),
        });
    }
    if interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok((ends, observed)) }
}

fn tail(text: &str) -> String {
    let text = text.trim();
    text.chars().skip(text.chars().count().saturating_sub(400)).collect()
}

fn frames(stage: &Stage, hosts: [&str; 2]) -> Result<Vec<Frame>, Error> {
    let mut frames = Vec::new();
    for host in hosts {
        let live = &stage.captures[host];
        if let Some(why) = live.failure() {
            return Err(Error::Missing(format!("the capture on {host} ended by itself: {why}")));
        }
        frames.extend(live.drain().into_iter().map(|captured| Frame { host: host.to_owned(), captured }));
    }
    frames.sort_by_key(|f| f.captured.at);
    Ok(frames)
}

fn lost(stage: &Stage, hosts: [&str; 2]) -> u64 {
    hosts.iter().map(|h| stage.captures[*h].losses()).map(|l| l.dropped + l.evicted).sum()
}

/// Frames → views of both ends → joined handshakes, each with the lookup before it.
fn analyse(frames: &[Frame], vantage: &str, first_packet: u64) -> Vec<Handshake> {
    let mut client: FlowTable<Client> = FlowTable::default();
    let mut edge: FlowTable<Edge> = FlowTable::default();
    let mut lookups = Lookups::default();
    for (number, frame) in (first_packet..).zip(frames) {
        let at = frame.captured.at;
        match decode(LinkType::Ethernet, &frame.captured.bytes) {
            Ok(Transport::Tcp(s)) if s.source().port() != PORT && s.destination().port() != PORT => {}
            Ok(Transport::Tcp(s)) if frame.host == vantage => drop(client.push(Stamp::from_nanos(at), number, &s)),
            Ok(Transport::Tcp(s)) => drop(edge.push(Stamp::from_nanos(at), number, &s)),
            Ok(Transport::Udp(d)) if frame.host == vantage => {
                lookups.push(Stamp::from_nanos(at), number, d.source, d.destination, d.payload);
            }
            _ => {}
        }
    }
    let mut handshakes = join(client.into_views(), edge.into_views());
    handshakes.retain(|h| h.client.is_some() || h.dialogue.is_tls());
    handshakes.sort_by_key(|h| h.client.as_ref().and_then(|v| v.packets.first()).map(|p| p.at));
    for handshake in &mut handshakes {
        if let Some(first) = handshake.client.as_ref().and_then(|v| v.packets.first()) {
            handshake.lookup = lookups.take_for(handshake.endpoints.server.ip(), first.at).map(Box::new);
        }
    }
    handshakes
}

fn edge_log(stage: &Stage, target: &str) -> Vec<LogLine> {
    let text = std::fs::read_to_string(stage.scratch(&format!("{target}-log.ndjson"))).unwrap_or_default();
    text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

/// curl's `local_port`, or our own client's `local`.
fn says_port(said: &serde_json::Value, port: u16) -> bool {
    said.get("local_port").and_then(serde_json::Value::as_u64) == Some(u64::from(port))
        || said.get("local").and_then(|l| l.as_str()?.parse::<SocketAddr>().ok()).is_some_and(|l| l.port() == port)
}

/// The same end, whether or not IPv4 came mapped into IPv6.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

/// Nanoseconds since the epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_months_ends_when_told_to_stop() {
        let (told, begun) = (AtomicBool::new(false), Instant::now());
        let paused = std::thread::scope(|scope| {
            let paused = scope.spawn(|| pause(Duration::from_secs(9_999_999), &told));
            std::thread::sleep(LOOK);
            told.store(true, Ordering::Relaxed);
            paused.join().expect("it does not panic")
        });
        assert!(matches!(paused, Err(Error::Interrupted)) && begun.elapsed() < Duration::from_secs(60));
        assert!(pause(Duration::from_millis(1), &AtomicBool::new(false)).is_ok());
    }
}
