//! One request as its source tells of it: who, when, by whose clock, and what the source cannot know.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use analysis::conversation::app::AppTrace;
use analysis::conversation::app::edge::EdgeTrace;
use enumset::{EnumSet, EnumSetType};

use crate::Source;
use crate::when::When;

/// The longest address (URL) that is kept.
const MOST_URL: usize = 2_048;

/// What files of a kind consist of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Lines.
    Line,
    /// Entries of a HAR.
    Entry,
    /// JSON objects.
    Object,
    /// Sockets of a NetLog, by its own number.
    Socket,
}

/// Where in its file something stands, from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Counted in what.
    pub unit: Unit,
    /// Its number.
    pub number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Line => "line",
            Unit::Entry => "entry",
            Unit::Object => "object",
            Unit::Socket => "socket",
        };
        write!(f, "{unit} {}", self.number)
    }
}

/// One end, as far as its source names it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct End {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
}

impl End {
    /// Both, if both are known.
    pub fn socket(self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip?, self.port?))
    }
}

impl From<SocketAddr> for End {
    fn from(address: SocketAddr) -> Self {
        Self { ip: Some(address.ip().to_canonical()), port: Some(address.port()) }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (Some(ip), Some(port)) => write!(f, "{}", SocketAddr::new(ip, port)),
            (Some(ip), None) => write!(f, "{ip}"),
            (None, Some(port)) => write!(f, "?:{port}"),
            (None, None) => f.write_str("?"),
        }
    }
}

/// By what an edge's recorder finds the flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The client's end, as the source saw it: behind address translation the edge sees another.
    pub client: SocketAddr,
    /// The server's end, if it is known.
    pub server: Option<SocketAddr>,
}

/// What was seen, by whose program.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// By the client's.
    Client(AppTrace),
    /// By the edge's: it knows only what came to it.
    Edge(EdgeTrace),
}

/// What a source cannot know.
#[derive(EnumSetType, Debug)]
pub enum Unknown {
    /// Kernel times.
    KernelTimes,
    /// Lost packets.
    Loss,
    /// The messages of the handshake.
    TlsMessages,
    /// Its version.
    TlsVersion,
    /// Its length.
    Handshake,
    /// The client before the edge.
    BeforeTheEdge,
    /// Other addresses tried.
    Attempts,
    /// What it stood in a queue for.
    Queue,
    /// The client's address.
    ClientAddress,
    /// The client's port.
    ClientPort,
    /// The server's address.
    ServerAddress,
    /// The name lookup.
    Lookup,
    /// ClientHello.random.
    Random,
    /// The clock's zone.
    Zone,
    /// The date.
    Date,
    /// How a request divides.
    Division,
    /// Where TCP ended and TLS began.
    Steps,
    /// What a proxy between does.
    Proxy,
    /// What QUIC does.
    Quic,
    /// Whether the connection was new.
    Reuse,
    /// The rest of a file that was cut.
    Rest,
}

impl Unknown {
    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Unknown::KernelTimes => "when anything reached or left the kernel: it tells when the program noted it",
            Unknown::Loss => "whether packets were lost",
            Unknown::TlsMessages => "when the messages of the handshake passed: to it the handshake is one stretch",
            Unknown::TlsVersion => "the TLS version, and so how many round trips it takes (two at most are taken for ordinary)",
            Unknown::Handshake => "how long the TLS handshake took",
            Unknown::BeforeTheEdge => {
                "what the client waited for before the edge's program had the connection: lookup, TCP, tries that never came"
            }
            Unknown::Attempts => "addresses tried in vain: they are within the time of TCP",
            Unknown::Queue => "what it waited for before it began: a free connection, one that was being made, a proxy",
            Unknown::ClientAddress => "the client's address and port, by which an edge's recorder would find the flow",
            Unknown::ClientPort => "the client's port, by which an edge's recorder would find the flow",
            Unknown::ServerAddress => "the server's address",
            Unknown::Lookup => "how long the name lookup took",
            Unknown::Random => "ClientHello.random",
            Unknown::Zone => "the time zone of its clock (UTC is assumed)",
            Unknown::Date => "when it happened",
            Unknown::Division => "how the request's time divides between client, way, edge and backend",
            Unknown::Steps => "where TCP ended and TLS began: of a handshake that failed curl tells neither",
            Unknown::Proxy => "what a proxy between took: its address is the one named",
            Unknown::Quic => "TCP: this is QUIC, whose handshake is one with TLS",
            Unknown::Reuse => "whether the connection was new",
            Unknown::Rest => "what came after the file breaks off",
        }
    }
}

/// One connection or request.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Where it stands.
    pub place: Place,
    /// What kind of file or line.
    pub source: Source,
    /// The address asked for, if it is known; without user, query and fragment.
    pub url: Option<String>,
    /// The server's name.
    pub host: Option<String>,
    /// The server's port as it was asked for.
    pub port: Option<u16>,
    /// Its path, without query.
    pub path: Option<String>,
    /// When it began, by a wall clock.
    pub when: Option<When>,
    /// The client's end.
    pub client: End,
    /// The server's end.
    pub server: End,
    /// ClientHello.random.
    pub random: Option<[u8; 32]>,
    /// TLS version agreed on.
    pub version: Option<String>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// What went wrong, in the source's words.
    pub error: Option<String>,
    /// What was seen of it.
    pub seen: Seen,
    /// What the source cannot know of it.
    pub unknown: EnumSet<Unknown>,
}

impl Request {
    /// One of which nothing is known but this.
    pub(crate) fn new(place: Place, source: Source, seen: Seen, unknown: EnumSet<Unknown>) -> Self {
        Self {
            place,
            source,
            url: None,
            host: None,
            port: None,
            path: None,
            when: None,
            client: End::default(),
            server: End::default(),
            random: None,
            version: None,
            status: None,
            error: None,
            seen,
            unknown: unknown | Unknown::KernelTimes | Unknown::Loss,
        }
    }

    /// By what an edge's recorder finds the flow; absent if the client's end is not known.
    pub fn key(&self) -> Option<Key> {
        Some(Key { client: self.client.socket()?, server: self.server.socket() })
    }

    /// Whether it used a connection that was there already.
    pub fn reused(&self) -> bool {
        match &self.seen {
            Seen::Client(trace) => trace.reused,
            Seen::Edge(trace) => trace.reused,
        }
    }

    /// Takes an address apart: `https://example.com:8443/path`. What is none is kept, but for what a query would be.
    pub(crate) fn asked_for(&mut self, url: &str) {
        // `user:password@host` is a URL, too, whose scheme is the user.
        if let Some(parsed) = url::Url::parse(url).ok().filter(url::Url::has_host) {
            self.host = parsed.host_str().filter(|host| !host.is_empty()).map(str::to_owned);
            self.port = parsed.port_or_known_default();
            self.path = Some(shortened(parsed.path()).to_owned());
            self.url = Some(shortened(bare(parsed).as_str()).to_owned());
        } else {
            self.url = Some(shortened(userless(queryless(url))).to_owned());
        }
    }

    /// Adds what follows from what is absent.
    pub(crate) fn say_what_is_absent(&mut self) {
        let mut say = |absent: bool, unknown: Unknown| {
            if absent {
                self.unknown.insert(unknown);
            }
        };
        say(self.client.ip.is_none(), Unknown::ClientAddress);
        say(self.client.ip.is_some() && self.client.port.is_none(), Unknown::ClientPort);
        say(self.server.ip.is_none(), Unknown::ServerAddress);
        say(self.random.is_none(), Unknown::Random);
        say(self.when.is_none(), Unknown::Date);
        say(self.when.is_some_and(|when| !when.zone_known), Unknown::Zone);
        let tls = match &self.seen {
            Seen::Client(trace) => trace.tls.is_some_and(|tls| tls.rounds.is_none()),
            Seen::Edge(_) => false,
        };
        say(tls && self.version.is_none(), Unknown::TlsVersion);
    }
}

/// The beginning of an address that is longer than is kept.
pub(crate) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MOST_URL);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// An address or a path up to its query: a query holds tokens and names of persons, and what is read here goes into reports.
pub(crate) fn queryless(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

/// What is no URL, without what stands before `@` where a URL has a user.
fn userless(text: &str) -> &str {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let end = text[begin..].find('/').map_or(text.len(), |at| begin + at);
    text[..end].rfind('@').map_or(text, |at| &text[at + 1..])
}

/// Without user, password, query and fragment, on which no handshake depends.
fn bare(mut url: url::Url) -> url::Url {
    // Refused only where there can be neither.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    #[test]
    fn secrets_of_an_address_are_not_taken_over() {
        let asked = |url: &str| {
            let text = format!("{{\"time_connect\":0.1,\"time_appconnect\":0.2,\"time_total\":0.3,\"url_effective\":{url:?}}}");
            let mut seen = None;
            crate::read(crate::Source::Curl, text.as_bytes(), &mut |request| {
                seen = Some((request.url.unwrap_or_default(), request.path.unwrap_or_default()));
                std::ops::ControlFlow::Break(())
            });
            seen.expect("it is a request")
        };
        let (url, path) = asked("https://u:hunter2@a.test:8443/log/in?token=hunter3#hunter4");
        assert_eq!((url.as_str(), path.as_str()), ("https://a.test:8443/log/in", "/log/in"));
        let (url, _) = asked("a.test/log/in?token=hunter3");
        assert_eq!(url, "a.test/log/in", "no address, and no token either");
        let without =
            ["u:hunter2@a.test/log/in", "u:hunter2@a.test:8443", "ftp://u:hunter2@/x@y", "/log@in"].map(super::userless);
        assert_eq!(without, ["a.test/log/in", "a.test:8443", "/x@y", "/log@in"]);
    }
}
