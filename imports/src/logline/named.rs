//! Lines whose values have names: JSON, `name=value`, labelled lines, entries of the journal.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::place::tells_of_connecting;
use super::roles::{CLIENT, Client, LEAST, Role, Unit, role, words};
use super::text::{is_everyday, is_trouble, is_zero};
use super::{Fields, KEPT, ParsedLine, Unread, WELL_KNOWN, endpoint, ip};

/// Values that are looked at.
const MOST_VALUES: usize = 512;
/// How deep objects may lie within objects.
const MOST_DEPTH: usize = 8;

/// A handshake that took longer was given up by everybody: the number is of another unit.
const LONGEST: Duration = Duration::from_secs(600);
/// Levels of messages that may be about anything.
const USUAL_LEVELS: [&str; 7] = ["trace", "debug", "info", "i", "d", "notice", "30"];

/// How long a handshake took, if that is told; or why what is told cannot be read.
pub(super) type Took = Result<Option<Duration>, Unread>;

/// Whose an end may be by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// The client's only.
    Clients,
    /// A peer, or a remote end, is also whoever one connects to.
    Peers,
    /// A collector notes as the `source` whoever sent the line on.
    Senders,
}

/// A line's values by their names.
#[derive(Default)]
pub(super) struct Named(Vec<Field>);

struct Field {
    name: String,
    value: String,
    /// A number of JSON, which has lost whatever its logger knew of its unit.
    number: bool,
}

impl FromIterator<Field> for Named {
    fn from_iter<I: IntoIterator<Item = Field>>(values: I) -> Self {
        Self(values.into_iter().filter(|field| !matches!(field.value.as_str(), "" | "-")).take(MOST_VALUES).collect())
    }
}

impl FromIterator<(String, String)> for Named {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(values: I) -> Self {
        values.into_iter().map(|(name, value)| Field { name, value, number: false }).collect()
    }
}

impl Named {
    /// All texts and numbers of an object, those of objects in it by both names.
    pub fn of_json(json: &Value) -> Self {
        let mut values = Vec::new();
        flatten(json, String::new(), MOST_DEPTH, &mut values);
        values.into_iter().collect()
    }

    /// The value of that name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.field(name).map(|field| field.value.as_str())
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// What the line says, and whose its end may be.
    pub fn read(&self, fields: &Fields) -> Result<(ParsedLine, Whose), Unread> {
        let (client, rank) = self.client(fields)?;
        let whose = match rank {
            CLIENT => Whose::Clients,
            ..LEAST => Whose::Peers,
            _ => Whose::Senders,
        };
        let words = || KEPT.iter().chain(&["error", "err", "exception"]).filter_map(|name| self.get(name));
        if whose != Whose::Clients && words().any(tells_of_connecting) && !self.is_of_every_request() {
            return Err(Unread::OtherEnd);
        }
        let took = self.took(fields)?;
        let later = self.is_later() || is_zero(took);
        let every = !fields.own && (later || took.is_none() && self.is_of_every_request());
        Ok((ParsedLine { client, took, every }, whose))
    }

    /// The client's end, and how sure its name is ([`Client::rank`]).
    fn client(&self, fields: &Fields) -> Result<(SocketAddr, u8), Unread> {
        if let Some(client) = self.named_by_hand(fields) {
            return client.map(|client| (client, CLIENT));
        }
        let mut addresses: Vec<(Client, &str)> = Vec::new();
        let mut ports: Vec<(Client, u16)> = Vec::new();
        for Field { name, value, .. } in &self.0 {
            match role(name) {
                Role::Address(client) => addresses.push((client, value)),
                Role::Port(client) => ports.extend(value.trim().parse().ok().map(|port| (client, port))),
                Role::Handshake(_) | Role::Nothing => {}
            }
        }
        addresses.sort_by_key(|(client, _)| client.rank);
        let ends: Vec<(Client, End)> = addresses.into_iter().filter_map(|(client, value)| Some((client, end(value)?))).collect();
        let own = |client: &Client| ports.iter().find(|(port, _)| port.stem == client.stem).map(|(_, port)| *port);
        let whole = ends.iter().find_map(|(client, end)| {
            let end = match end {
                End::Whole(end) => *end,
                End::Address(address) => SocketAddr::new(*address, own(client)?),
            };
            let of_listener = client.rank >= LEAST && end.port() < WELL_KNOWN;
            // What Envoy takes from a header has port 0.
            (end.port() > 0 && !end.ip().is_unspecified() && !of_listener).then_some((end, client.rank))
        });
        // A header's end has taken the place of the connection's own, whose port is not there.
        let direct = ends.first().filter(|(client, _)| client.rank == 0).map(|(_, end)| end.ip());
        if let Some((client, _)) = whole
            && direct.is_some_and(|direct| direct != client.ip())
        {
            return Err(Unread::NoPort);
        }
        if let Some(client) = whole {
            return Ok(client);
        }
        match (&ends[..], &ports[..]) {
            // One address and one port belong together, whatever they are called, unless the port is a listener's.
            ([(client, End::Address(address))], [(_, port)]) if *port >= WELL_KNOWN => {
                Ok((SocketAddr::new(*address, *port), client.rank))
            }
            ([], _) => Err(Unread::NoAddress),
            _ => Err(Unread::NoPort),
        }
    }

    /// Whether it has the client under the name that a configuration has for it.
    pub fn is_named_by_hand(&self, fields: &Fields) -> bool {
        self.named_by_hand(fields).is_some()
    }

    /// The client as the configuration names its fields.
    fn named_by_hand(&self, fields: &Fields) -> Option<Result<SocketAddr, Unread>> {
        let value = end(self.get(fields.client.as_deref()?)?)?;
        let port = || self.get(fields.client_port.as_deref()?)?.trim().parse().ok();
        Some(match value {
            End::Whole(end) => Ok(end),
            End::Address(address) => port().map(|port| SocketAddr::new(address, port)).ok_or(Unread::NoPort),
        })
    }

    /// How long the handshake took, if a name says so.
    pub fn took(&self, fields: &Fields) -> Took {
        let by_hand = fields.duration.as_deref().and_then(|name| {
            let unit = if let Role::Handshake(unit) = role(name) { unit } else { Unit::Unsaid };
            duration(self.get(name)?, unit)
        });
        if by_hand.is_some() {
            return Ok(by_hand);
        }
        let mut unsaid = false;
        for Field { name, value, number } in &self.0 {
            let Role::Handshake(unit) = role(name) else { continue };
            let took = duration(value, unit);
            match (unit, took) {
                (_, None) => {}
                (Unit::Unsaid, Some(took)) if took > LONGEST || *number && !is_nginxs(name, value) => unsaid = true,
                _ => return Ok(took),
            }
        }
        let before = self.before_the_first_request();
        if unsaid && before.is_none() { Err(Unread::NoUnit) } else { Ok(before) }
    }

    /// Whether it is of a later request of a connection, whose first had the handshake.
    fn is_later(&self) -> bool {
        self.get("connection_requests").and_then(|n| n.trim().parse::<u64>().ok()).is_some_and(|n| n > 1)
    }

    /// nginx has no time of the handshake: a connection's before its first request is that, and how long the client then had nothing
    /// to ask.
    fn before_the_first_request(&self) -> Option<Duration> {
        let seconds = |name: &str| duration(self.get(name)?, Unit::Seconds);
        let first = self.get("connection_requests")?.trim() == "1";
        seconds("connection_time")?.checked_sub(seconds("request_time")?).filter(|_| first)
    }

    /// Whether only a log of all requests, or of all connections, has such values.
    pub fn is_of_every_request(&self) -> bool {
        self.is_of_every_connection() || self.is_of_a_request()
    }

    /// Whether only a record of a request, or of a connection that is over, has such values.
    pub fn is_of_a_request(&self) -> bool {
        self.0.iter().any(|Field { name, value, .. }| {
            let words = words(name);
            let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
            let number = || value.trim().parse::<u32>().ok();
            // `TRACE` is a level, too.
            (has(&["method", "verb", "hm"]) && is_method(value))
                || (has(&["status", "code", "st"]) && number().is_some_and(|code| (100..=599).contains(&code)))
                || (has(&["bytes", "size"]) && number().is_some())
                || has(&["orig", "originator"])
                || ["response_flags", "connection_requests", "termination_state", "event_type", "request"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known))
                || (name.eq_ignore_ascii_case("req") && value.split(' ').next().is_some_and(is_method))
        })
    }

    /// Whether its message is of what happens all the time: a connection that came, or anything that is said below a warning without a
    /// word of trouble.
    fn is_of_every_connection(&self) -> bool {
        let Some(message) = KEPT.iter().find_map(|name| self.get(name)) else { return false };
        let level = ["level", "severity", "s", "loglevel", "log.level"].iter().find_map(|name| self.get(name));
        let usual = level.is_some_and(|level| USUAL_LEVELS.iter().any(|usual| level.eq_ignore_ascii_case(usual)));
        is_everyday(message) || usual && !is_trouble(message)
    }
}

/// Whether a word is a method of HTTP.
pub(super) fn is_method(word: &str) -> bool {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI"].contains(&word)
}

/// Whether it is one of nginx's seconds, of whose three decimals JSON keeps one at least.
fn is_nginxs(name: &str, value: &str) -> bool {
    ["ssl_handshake_time", "handshake_time"].iter().any(|known| name.eq_ignore_ascii_case(known)) && value.contains('.')
}

fn flatten(json: &Value, name: String, deeper: usize, into: &mut Vec<Field>) {
    match json {
        Value::Object(object) if deeper > 0 => {
            for (key, value) in object {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(value, name, deeper - 1, into);
            }
        }
        Value::String(text) => into.push(Field { name, value: text.clone(), number: false }),
        Value::Number(number) => into.push(Field { name, value: number.to_string(), number: true }),
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// What a value says of an end.
enum End {
    Whole(SocketAddr),
    Address(IpAddr),
}

impl End {
    fn ip(&self) -> IpAddr {
        match self {
            End::Whole(end) => end.ip(),
            End::Address(ip) => *ip,
        }
    }
}

/// `192.0.2.7:5`, `192.0.2.7`; also as Java (`/192.0.2.7:5`), gRPC (`ipv4:192.0.2.7:5`) and others (`tcp://192.0.2.7:5`) write it.
fn end(value: &str) -> Option<End> {
    let value = value.trim().trim_matches('"');
    let value = value.split_once("://").map_or(value, |(_, rest)| rest);
    let value = ["ipv4:", "ipv6:", "tcp:"].iter().find_map(|scheme| value.strip_prefix(scheme)).unwrap_or(value);
    let value = value.rsplit_once('/').map_or(value, |(_, rest)| rest);
    endpoint(value).map(End::Whole).or_else(|| ip(value).map(End::Address))
}

/// `512 ms`, `0.512s`, `512`; a unit that stands there counts more than the name's.
pub(super) fn duration(value: &str, unit: Unit) -> Option<Duration> {
    let value = value.trim().trim_matches('"');
    let (number, said) = value.find(|c: char| c != '.' && !c.is_ascii_digit()).map_or((value, ""), |at| value.split_at(at));
    let whole = !number.contains('.');
    let number: f64 = number.parse().ok()?;
    let seconds = match (said.trim(), unit) {
        ("ms", _) | ("", Unit::Millis) => number / 1e3,
        ("s", _) | ("", Unit::Seconds) => number,
        ("us" | "µs" | "μs", _) | ("", Unit::Micros) => number / 1e6,
        ("ns", _) | ("", Unit::Nanos) => number / 1e9,
        ("", Unit::Unsaid) => {
            if whole {
                number / 1e3
            } else {
                number
            }
        }
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}
