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
use analysis::judging::vocabulary::Owner;
use enumset::EnumSet;
use prober::Reason;
use records::handshake::{Lane, Mark};
use records::lanes::{Stamped, comments, lanes};
use serde::Deserialize;

use crate::failures::Failed;

/// An end that is not known.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

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
    pid: u32,
    client: SocketAddr,
    server: SocketAddr,
    name: Option<String>,
    trace: AppTrace,
}

/// What our own client's socket says of a handshake.
#[derive(Clone, Debug)]
pub struct OwnSocket {
    pid: u32,
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
    pub fn told_by(client_end: &ClientEnd) -> Option<Self> {
        let Ok(probed) = Probed::deserialize(&client_end.said) else { return Self::told_by_curl(client_end) };
        let Probed { local, address, version, resumed, clock_stepped, mut trace } = probed;
        if trace.host.is_none() && !client_end.trace.samples.is_empty() {
            trace.host = Some(client_end.trace.on::<Client>());
        }
        let (client, server) = (local.unwrap_or(NOWHERE), address.unwrap_or(NOWHERE));
        Some(Self::Socket(Box::new(OwnSocket {
            pid: client_end.pid,
            client,
            server,
            version,
            resumed,
            stepped: clock_stepped,
            trace,
        })))
    }

    /// curl's times count from its own beginning, of which nobody knows when that was: they cannot be set beside what the scheduler did.
    fn told_by_curl(client_end: &ClientEnd) -> Option<Self> {
        let text = serde_json::to_vec(&client_end.said).ok()?;
        let mut told = None;
        imports::read(imports::Source::Curl, text.as_slice(), &mut |request| {
            told = Some(request);
            ControlFlow::Break(())
        });
        let request = told?;
        let (client, server) = (request.client.socket().unwrap_or(NOWHERE), request.server.socket().unwrap_or(NOWHERE));
        let imports::Seen::Client(trace) = request.seen else { return None };
        Some(Self::App(Box::new(OwnClock { pid: client_end.pid, client, server, name: request.host, trace })))
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

    /// Whether this client made it, as far as its ports tell: one that did not come so far as to have a port tells of no other's.
    pub fn is_of(&self, client: &ClientEnd) -> bool {
        match self {
            Self::Packets(handshake) => {
                let port = handshake.endpoints.client.port();
                client.said_port().map_or_else(|| client.has_port(port), |said| said == port)
            }
            Self::Socket(own) => own.pid == client.pid,
            Self::App(own) => own.pid == client.pid,
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
        // What was said of the handshake goes before how quick it was: no client that failed in it was well.
        let Some(reason) = failed.filter(|reason| !reason.is_of_request() && !reason.is_timeout()) else { return judgement };
        if !matches!(judgement.verdict, Verdict::Healthy | Verdict::Inconclusive { .. }) {
            return judgement;
        }
        let after = match (reading.end, reason) {
            (End::Stopped { after }, _) => after,
            (End::NotTls, _) => Milestone::ClientHello,
            (End::Complete, _) => Milestone::ServerFlightEnd,
        };
        match reason.ended() {
            Some(Ended { by, .. }) => judgement.verdict = Verdict::Aborted { by, after },
            // Nobody's in particular; time has nothing to say of it.
            None => {
                let candidates = match reason {
                    Reason::ConnectUnreachable => Owner::ClientHost | Owner::Path,
                    Reason::DnsFailed => Owner::Resolver | Owner::Path,
                    Reason::Prober => Owner::Client.into(),
                    _ => Owner::Client | Owner::Edge,
                };
                let (missing, excess) = (EnumSet::empty(), Span::ZERO);
                judgement.verdict = Verdict::Inconclusive { candidates, missing, excess };
                (judgement.candidates, judgement.missing) = (candidates, missing);
            }
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

    /// Its verdict in a sentence; `failed`: how its client says that it failed.
    pub fn sentence(&self, reading: &Reading, judgement: &Judgement, failed: Option<&Failed>) -> String {
        let told = failed
            .and_then(Failed::said)
            .filter(|_| matches!(judgement.verdict, Verdict::Aborted { .. } | Verdict::Inconclusive { .. }));
        match (told, self) {
            (None, _) => self.sentence_of_time(reading, judgement),
            // What packets show stands beside it.
            (Some(told), Self::Packets(_)) if matches!(judgement.verdict, Verdict::Aborted { .. }) => {
                format!("{told} {}", self.sentence_of_time(reading, judgement))
            }
            (Some(told), _) => told,
        }
    }

    fn sentence_of_time(&self, reading: &Reading, judgement: &Judgement) -> String {
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

    /// What is said of a curl's handshake of 10 ms that ended so.
    fn said_of_curl(exitcode: u64, errormsg: &str, appconnect: f64) -> (String, String) {
        let said = serde_json::json!({
            "exitcode": exitcode, "errormsg": errormsg, "time_namelookup": 0.001, "time_connect": 0.005,
            "time_appconnect": appconnect, "time_pretransfer": appconnect, "time_starttransfer": 0.0, "time_total": appconnect.max(0.01),
            "num_connects": 1, "scheme": "https", "url": "https://edge/", "local_port": 40_000, "remote_port": 443,
            "local_ip": "192.0.2.1", "remote_ip": "192.0.2.5", "http_code": 0,
        });
        let (complained, trace) = (String::new(), agent::Trace::default());
        let client = ClientEnd { pid: 1, code: i32::try_from(exitcode).ok(), timed_out: false, said, complained, trace };
        let seen = Seen::told_by(&client).expect("it tells times");
        assert!(seen.is_of(&client));
        let (mut reading, failed) = (seen.read().expect("they can be read"), Failed::of(&client));
        let judgement = seen.judge(&mut reading, failed.as_ref().and_then(|failed| failed.reason));
        (judgement.verdict.label(), seen.sentence(&reading, &judgement, failed.as_ref()))
    }

    #[test]
    fn what_a_client_was_told_goes_before_how_quick_it_was() {
        let name = "SSL: no alternative certificate subject name matches target host name 'edge'";
        let (verdict, sentence) = said_of_curl(60, name, 0.0);
        assert!(verdict == "aborted/client" && sentence.contains(name), "{verdict}: {sentence}");
        let (verdict, sentence) = said_of_curl(35, "error:0A00010B:SSL routines::wrong version number", 0.0);
        assert!(verdict == "aborted/edge" && sentence.contains("no TLS"), "{verdict}: {sentence}");
        let (verdict, sentence) = said_of_curl(7, "Failed to connect: Network is unreachable", 0.0);
        assert!(verdict == "inconclusive" && !sentence.contains("syn"), "{verdict}: {sentence}");
        let reset = "Recv failure: Connection reset by peer";
        let (verdict, _) = said_of_curl(56, reset, 0.009);
        assert!(!verdict.starts_with("aborted"), "{verdict}: the handshake was over");
        let (verdict, sentence) = said_of_curl(56, reset, 2.0);
        assert!(verdict == "inconclusive" && !sentence.contains(reset), "{verdict}: {sentence}: it was slow before the request");
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
        assert_eq!(said_of(port), "aborted/edge", "there is no TLS to go on with");
        // Its client ends the connection as it likes.
        let _ = plain.join().expect("the server does not panic");
        assert_eq!(said_of(port), "aborted/edge", "nobody listens there any more");
    }
}
