//! What was seen of one handshake, by whatever saw it: packets, the socket of the client that made it, or that client's own clock.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use agent::ClientEnd;
use analysis::clock::{Client, Instant, Span};
use analysis::conversation::app::{self, AppTrace};
use analysis::conversation::handshake::Handshake;
use analysis::conversation::milestone::Milestone;
use analysis::conversation::socket::{self, SocketTrace};
use analysis::conversation::walk;
use analysis::doubt::one_way::{Bounds, OneWay, one_way};
use analysis::judging::sentence::explain;
use analysis::judging::verdict::{Circumstances, End, Ended, Judgement, Reading, Verdict, judge};
use prober::Reason;
use records::handshake::{Lane, Mark};
use records::lanes::{Stamped, comments, lanes};
use serde::Deserialize;

/// An end that is not known.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// One handshake.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Its packets, at one end or both.
    Packets(Box<Handshake>),
    /// The socket of the client that made it.
    Socket(Box<OwnSocket>),
    /// The clock of the program that made it.
    App(Box<OwnClock>),
}

/// What a program's own clock says of a handshake.
#[derive(Clone, Debug)]
pub struct OwnClock {
    client: SocketAddr,
    server: SocketAddr,
    name: Option<String>,
    trace: AppTrace,
}

/// What our own client's socket says of a handshake.
#[derive(Clone, Debug)]
pub struct OwnSocket {
    client: SocketAddr,
    server: SocketAddr,
    version: Option<String>,
    resumed: bool,
    /// Somebody set the clock meanwhile.
    stepped: bool,
    trace: SocketTrace,
}

/// What of our own client's words is needed here; it has more to say.
#[derive(Deserialize)]
struct Probed {
    local: Option<SocketAddr>,
    address: Option<SocketAddr>,
    version: Option<String>,
    #[serde(default)]
    resumed: bool,
    #[serde(default)]
    clock_stepped: bool,
    trace: SocketTrace,
}

impl Seen {
    /// What a client tells of its own handshake; absent if it tells no times.
    pub fn told_by(client: &ClientEnd) -> Option<Self> {
        let Ok(probed) = Probed::deserialize(&client.said) else { return Self::told_by_curl(client) };
        let Probed { local, address, version, resumed, clock_stepped, mut trace } = probed;
        if trace.host.is_none() && !client.trace.samples.is_empty() {
            trace.host = Some(client.trace.on::<Client>());
        }
        let (client, server) = (local.unwrap_or(NOWHERE), address.unwrap_or(NOWHERE));
        Some(Self::Socket(Box::new(OwnSocket { client, server, version, resumed, stepped: clock_stepped, trace })))
    }

    /// curl's times count from its own beginning, of which nobody knows when that was: they cannot be set beside what the scheduler did.
    fn told_by_curl(client: &ClientEnd) -> Option<Self> {
        let text = serde_json::to_vec(&client.said).ok()?;
        let mut told = None;
        imports::read(imports::Source::Curl, text.as_slice(), &mut |request| {
            told = Some(request);
            ControlFlow::Break(())
        });
        let request = told?;
        let (client, server) = (request.client.socket().unwrap_or(NOWHERE), request.server.socket().unwrap_or(NOWHERE));
        let imports::Seen::Client(trace) = request.seen else { return None };
        Some(Self::App(Box::new(OwnClock { client, server, name: request.host, trace })))
    }

    /// The client's end.
    pub fn client(&self) -> SocketAddr {
        match self {
            Self::Packets(handshake) => handshake.endpoints.client,
            Self::Socket(own) => own.client,
            Self::App(own) => own.client,
        }
    }

    /// The server's end.
    pub fn server(&self) -> SocketAddr {
        match self {
            Self::Packets(handshake) => handshake.endpoints.server,
            Self::Socket(own) => own.server,
            Self::App(own) => own.server,
        }
    }

    /// Whether the edge saw it too.
    pub fn is_seen_at_edge(&self) -> bool {
        match self {
            Self::Packets(handshake) => handshake.edge.is_some(),
            Self::Socket(_) | Self::App(_) => false,
        }
    }

    /// As the edge alone saw it; absent if it did not.
    pub fn at_edge(&self) -> Option<Self> {
        match self {
            Self::Packets(handshake) => handshake.edge.as_ref().map(|_| Self::Packets(Box::new(handshake.edge_side_only()))),
            Self::Socket(_) | Self::App(_) => None,
        }
    }

    /// Each way by itself, the edge's clock being ahead of the client's by `ahead`; absent where that cannot be said.
    pub fn one_way(&self, ahead: Bounds) -> Option<OneWay> {
        match self {
            Self::Packets(handshake) if !handshake.clock_in_doubt => {
                one_way(handshake.client.as_ref()?, handshake.edge.as_ref()?, ahead)
            }
            Self::Packets(_) | Self::Socket(_) | Self::App(_) => None,
        }
    }

    /// Where its time went.
    pub fn read(&self) -> Option<Reading> {
        match self {
            Self::Packets(handshake) => walk::read(handshake),
            Self::Socket(own) => Some(socket::read(&own.trace)),
            Self::App(own) => Some(app::read(&own.trace)),
        }
    }

    /// Judges a reading of it whose baselines are set; `failed`: why its client says that it failed.
    pub fn judge(&self, reading: &mut Reading, failed: Option<Reason>) -> Judgement {
        let mut judgement = self.judge_time(reading, failed);
        // What is no TLS keeps nobody waiting; but a client that wanted TLS says that it had none.
        if let (End::NotTls, Verdict::Healthy, Some(Ended { by, .. })) =
            (reading.end, &judgement.verdict, failed.and_then(Reason::ended))
        {
            judgement.verdict = Verdict::Aborted { by, after: Milestone::ClientHello };
        }
        judgement
    }

    fn judge_time(&self, reading: &mut Reading, failed: Option<Reason>) -> Judgement {
        match self {
            Self::Packets(handshake) => judge(reading, Circumstances::of(handshake)),
            // There are no packets that tell who ended it: its own word counts, as in `watch`.
            Self::Socket(own) => {
                let ended_by = failed.and_then(Reason::ended);
                judge(reading, Circumstances { clock_in_doubt: own.stepped, ended_by, ..Circumstances::default() })
            }
            Self::App(own) => {
                let usual = reading.ledger.entries.iter().find(|entry| entry.round_trip).map(|entry| entry.baseline);
                app::judge(&own.trace, reading, usual)
            }
        }
    }

    /// Its verdict in a sentence.
    pub fn sentence(&self, reading: &Reading, judgement: &Judgement) -> String {
        match self {
            Self::Packets(handshake) => explain(handshake, reading, judgement, &|packet| packet.into()),
            Self::Socket(own) => socket::sentence(&own.trace, reading, judgement),
            Self::App(own) => app::sentence(&own.trace, reading, judgement),
        }
    }

    /// The client's socket of the lookup before it.
    pub fn lookup(&self) -> Option<SocketAddr> {
        match self {
            Self::Packets(handshake) => handshake.lookup.as_ref().map(|lookup| lookup.client),
            Self::Socket(_) | Self::App(_) => None,
        }
    }

    /// The name asked for, as packets show it.
    pub fn server_name(&self) -> Option<String> {
        match self {
            Self::Packets(handshake) => handshake.dialogue.server_name.clone(),
            Self::Socket(_) => None,
            Self::App(own) => own.name.clone(),
        }
    }

    /// ClientHello.random, as packets show it.
    pub fn random(&self) -> Option<[u8; 32]> {
        match self {
            Self::Packets(handshake) => handshake.dialogue.client_random,
            Self::Socket(_) | Self::App(_) => None,
        }
    }

    /// The TLS version agreed on.
    pub fn version(&self) -> Option<String> {
        match self {
            Self::Packets(handshake) => handshake.dialogue.version.map(|version| version.name().to_owned()),
            Self::Socket(own) => own.version.clone(),
            Self::App(_) => None,
        }
    }

    /// Whether a session was resumed.
    pub fn resumed(&self) -> bool {
        match self {
            Self::Packets(handshake) => handshake.dialogue.resumed,
            Self::Socket(own) => own.resumed,
            Self::App(_) => false,
        }
    }

    /// What each observer saw; `reported` are further observers on the client's clock, `path` the least round trip.
    pub fn lanes(&self, reported: &[(&str, &[Stamped])], path: Option<Span>) -> Vec<Lane> {
        match self {
            Self::Packets(handshake) => lanes(handshake, reported, path),
            Self::Socket(own) => told(reported, own.trace.started),
            Self::App(own) => told(reported, own.trace.started),
        }
    }

    /// Comments for the evidence file, by frame number.
    pub fn comments(&self) -> Vec<(u64, String)> {
        match self {
            Self::Packets(handshake) => comments(handshake),
            Self::Socket(_) | Self::App(_) => Vec::new(),
        }
    }
}

/// Lanes of what was reported alone.
fn told(reported: &[(&str, &[Stamped])], start: Instant<Client>) -> Vec<Lane> {
    let mark = |(name, at): &Stamped| Mark { name: name.clone(), ms: (*at - start).millis(), packet: None };
    let lane = |(observer, marks): &(&str, &[Stamped])| Lane {
        observer: (*observer).to_owned(),
        offset_ms: 0.0,
        marks: marks.iter().map(mark).collect(),
    };
    reported.iter().filter(|(_, marks)| !marks.is_empty()).map(lane).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use prober::tls::{TlsOptions, config};
    use prober::{Family, Pauses, Route, Target, probe_now};

    use super::*;
    use crate::failures::reason;

    /// What is said of our own client's handshake with whatever is at this port, by what the client itself says.
    fn said_of(port: u16) -> String {
        let target = Target {
            host: "127.0.0.1".into(),
            port,
            connect_to: None,
            address: None,
            server_name: None,
            family: Family::Any,
            tls: Some(Arc::new(config(&TlsOptions { insecure: true, ..TlsOptions::default() }).expect("nothing is read"))),
            request: None,
            timeout: Duration::from_secs(5),
            pauses: Pauses::default(),
            route: Route::default(),
        };
        let report = probe_now(&target, &[]).expect("it can begin");
        let said = serde_json::to_value(&report).expect("JSON");
        let failed = reason(&said);
        assert!(failed.is_some(), "{said}");
        let (complained, trace) = (String::new(), agent::Trace::default());
        let client = ClientEnd { pid: 1, code: Some(1), timed_out: false, said, complained, trace };
        let seen = Seen::told_by(&client).expect("it tells times");
        let mut reading = seen.read().expect("they can be read");
        seen.judge(&mut reading, failed).verdict.label()
    }

    #[test]
    fn a_client_that_failed_was_not_healthy_and_says_who_ended_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let plain = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
            std::io::Read::read_to_end(&mut stream, &mut Vec::new())
        });
        assert_eq!(said_of(port), "aborted/client", "it would not go on with what is no TLS");
        // Its client ends the connection as it likes.
        let _ = plain.join().expect("the server does not panic");
        assert_eq!(said_of(port), "aborted/edge", "nobody listens there any more");
    }
}
