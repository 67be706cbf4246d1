//! What a vantage hands back: everything that was seen at its end, as bytes and numbers.
//!
//! Times are those of the wall clock of the vantage that sends them; who reads a bundle knows whose that is. In JSON they, and lengths,
//! are nanoseconds, as the names of their fields say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use analysis::clock::{Domain, Instant, Span, Unplaced};
use analysis::conversation::host::{HostTrace, Sample};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::hello::{Clock, Spin};

/// One end of one batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bundle {
    /// The batch.
    pub batch: u64,
    /// What this end had to do without, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gave_up: Vec<String>,
    /// How each client ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientEnd>,
    /// Frames captured since the plan came.
    pub frames: Pcapng,
    /// The server's process, where this is the edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Trace>,
    /// The server's own log of handshakes, where it writes one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// What the capture has lost so far.
    pub losses: Losses,
    /// How much later than told the first client started; absent where that was "at once".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ns: Option<Span>,
    /// The clock that all this is stamped by.
    pub clock: Clock,
    /// How long a piece of work of fixed size took behind the batch; absent where nobody timed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spin: Option<Spin>,
}

/// What one client said.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientEnd {
    /// Process id, at its vantage.
    pub pid: u32,
    /// Exit code; absent if a signal ended it.
    pub code: Option<i32>,
    /// Whether it had to be ended.
    pub timed_out: bool,
    /// Its standard output if that is JSON, else the end of it.
    pub said: serde_json::Value,
    /// The end of its standard error.
    pub complained: String,
    /// What its kernel said of its threads.
    pub trace: Trace,
}

impl ClientEnd {
    /// Whether one of its connections, or of its attempts at one, began at this local port, as its sockets showed or as it says itself:
    /// curl's `local_port`, or our own client's `local`.
    pub fn has_port(&self, port: u16) -> bool {
        let has = self.trace.ports.contains_key(&port) || self.trace.tried.contains(&port) || self.said_port() == Some(port);
        has || self.said_tried().any(|tried| tried == port)
    }

    /// The local ports of attempts that nobody answered, as our own client says.
    fn said_tried(&self) -> impl Iterator<Item = u16> {
        let tried = self.said.pointer("/trace/tried").and_then(serde_json::Value::as_array).into_iter().flatten();
        tried.filter_map(|attempt| attempt.get("local")?.as_str()?.parse().ok().map(|local: SocketAddr| local.port()))
    }

    /// The local port that it says it had.
    pub fn said_port(&self) -> Option<u16> {
        let curl = self.said.get("local_port").and_then(serde_json::Value::as_u64).and_then(|port| u16::try_from(port).ok());
        curl.or_else(|| self.said.get("local")?.as_str()?.parse().ok().map(|local: SocketAddr| local.port()))
    }
}

/// A capture: a whole pcapng file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pcapng(pub Vec<u8>);

impl Serialize for Pcapng {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Pcapng {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Pcapng).map_err(D::Error::custom)
    }
}

/// What a host's kernel said of one process and its children.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// Its threads, sampled.
    pub samples: Vec<Sampled>,
    /// Local ports of its TCP sockets, and whether each socket has `TCP_NODELAY` set.
    pub ports: BTreeMap<u16, bool>,
    /// Local ports of its TCP sockets at a time when nobody had answered them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tried: BTreeSet<u16>,
}

impl Trace {
    /// The samples, on the clock of domain `D`.
    pub fn on<D: Domain>(&self) -> HostTrace<D> {
        let samples = self.samples.iter().map(|s| Sample {
            at: Instant::from_nanos(s.at_ns.nanos()),
            tid: s.tid,
            cpu: s.cpu_ns.nanos().cast_unsigned(),
            run_delay: s.run_delay_ns.nanos().cast_unsigned(),
            state: s.state,
            steal: s.steal_ns.nanos().cast_unsigned(),
        });
        let nodelay = (!self.ports.is_empty()).then(|| self.ports.values().all(|nodelay| *nodelay));
        HostTrace { samples: samples.collect(), nodelay }
    }
}

/// One thread at one moment: cumulative counters, see [`Sample`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sampled {
    /// When.
    pub at_ns: Instant<Unplaced>,
    /// The thread.
    pub tid: u32,
    /// On a CPU since it began.
    pub cpu_ns: Span,
    /// Ready to run without a CPU since it began.
    pub run_delay_ns: Span,
    /// State letter (proc(5)).
    pub state: char,
    /// Kept from the machine by its hypervisor since boot.
    pub steal_ns: Span,
}

/// One line of the edge's log of handshakes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// The client's end of the connection.
    pub peer: SocketAddr,
    /// When the program accepted it.
    pub accepted_ns: Instant<Unplaced>,
    /// When the handshake was complete; absent if it failed.
    pub finished_ns: Option<Instant<Unplaced>>,
    /// From accept to complete or failed, in milliseconds.
    pub handshake_ms: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// What a capture lost since it began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Losses {
    /// Frames received.
    pub received: u64,
    /// Frames the kernel dropped for want of buffer.
    pub dropped: u64,
    /// Frames that left the buffer before anyone took them.
    pub evicted: u64,
}

impl Losses {
    /// Frames that nobody will ever see.
    pub fn lost(&self) -> u64 {
        self.dropped + self.evicted
    }
}

#[cfg(test)]
mod tests {
    use analysis::conversation::socket::Attempt;

    use super::*;

    #[test]
    fn a_client_has_the_ports_that_it_says_of_itself_and_of_what_it_tried_in_vain() {
        let attempt = |local: Option<&str>| Attempt {
            server: SocketAddr::from(([198, 51, 100, 1], 443)),
            local: local.map(|local| local.parse().expect("it is an address")),
            began: Instant::from_nanos(1),
            until: Instant::from_nanos(2),
        };
        let tried = [attempt(None), attempt(Some("192.0.2.7:40001")), attempt(Some("[2001:db8::7]:40002"))];
        let said = serde_json::json!({ "local": "192.0.2.7:40003", "trace": { "tried": tried } });
        let of = |said| ClientEnd {
            pid: 1,
            code: Some(0),
            timed_out: false,
            said,
            complained: String::new(),
            trace: Trace { ports: [(40_004, true)].into(), tried: [40_005].into(), ..Trace::default() },
        };
        let ours = of(said);
        let has = |client: &ClientEnd| (40_000..40_008).filter(|port| client.has_port(*port)).collect::<Vec<u16>>();
        assert_eq!(has(&ours), [40_001, 40_002, 40_003, 40_004, 40_005]);
        assert_eq!(has(&of(serde_json::json!({ "local_port": 40_006 }))), [40_004, 40_005, 40_006], "curl's");
    }
}
