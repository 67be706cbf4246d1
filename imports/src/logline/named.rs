//! Lines whose values have names: JSON, `name=value`, labelled lines, entries of the journal.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::roles::{Client, Role, Unit, role, words};
use super::{Fields, ParsedLine, Unread, endpoint, ip};

/// Values that are looked at.
const MOST_VALUES: usize = 512;
/// How deep objects may lie within objects.
const MOST_DEPTH: usize = 8;
/// A client's port is rarely below, a listener's often.
const WELL_KNOWN: u16 = 1024;
/// Names of this rank (`source`) may be a sender's of another kind.
const LEAST_SURE: u8 = 3;

/// A line's values by their names.
#[derive(Default)]
pub(super) struct Named(Vec<(String, String)>);

impl FromIterator<(String, String)> for Named {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(values: I) -> Self {
        Self(values.into_iter().filter(|(_, value)| !matches!(value.as_str(), "" | "-")).take(MOST_VALUES).collect())
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
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What the line says.
    pub fn read(&self, fields: &Fields) -> Result<ParsedLine, Unread> {
        let client = self.client(fields)?;
        let took = self.took(fields);
        Ok(ParsedLine { client, took, every: took.is_none() && !fields.own && self.is_of_every_request() })
    }

    fn client(&self, fields: &Fields) -> Result<SocketAddr, Unread> {
        if let Some(client) = self.named_by_hand(fields) {
            return client;
        }
        let mut addresses: Vec<(Client, &str)> = Vec::new();
        let mut ports: Vec<(Client, u16)> = Vec::new();
        for (name, value) in &self.0 {
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
            let of_listener = client.rank >= LEAST_SURE && end.port() < WELL_KNOWN;
            // What Envoy takes from a header has port 0.
            (end.port() > 0 && !end.ip().is_unspecified() && !of_listener).then_some(end)
        });
        if let Some(client) = whole {
            return Ok(client);
        }
        match (&ends[..], &ports[..]) {
            // One address and one port belong together, whatever they are called.
            ([(_, End::Address(address))], [(_, port)]) if *port > 0 => Ok(SocketAddr::new(*address, *port)),
            ([], _) => self.without_a_role().ok_or(Unread::NoAddress),
            _ => Err(Unread::NoPort),
        }
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

    /// `host` and `port`, `addr`: names that say nothing of whose they are, taken for the client's where they can be no listener's.
    fn without_a_role(&self) -> Option<SocketAddr> {
        let value = ["addr", "address", "ip", "host"].iter().find_map(|name| end(self.get(name)?))?;
        let client = match value {
            End::Whole(end) => end,
            End::Address(address) => SocketAddr::new(address, self.get("port")?.trim().parse().ok()?),
        };
        (client.port() >= WELL_KNOWN && !client.ip().is_unspecified()).then_some(client)
    }

    /// How long the handshake took, if a name says so.
    pub fn took(&self, fields: &Fields) -> Option<Duration> {
        let by_hand = fields.duration.as_deref().and_then(|name| {
            let unit = if let Role::Handshake(unit) = role(name) { unit } else { Unit::Unsaid };
            duration(self.get(name)?, unit)
        });
        let by_name = || {
            self.0
                .iter()
                .find_map(|(name, value)| if let Role::Handshake(unit) = role(name) { duration(value, unit) } else { None })
        };
        by_hand.or_else(by_name).or_else(|| self.before_the_first_request())
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
        self.0.iter().any(|(name, value)| {
            let words = words(name);
            let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
            let number = || value.trim().parse::<u32>().ok();
            (has(&["method"]) && is_method(value))
                || (has(&["status", "code"]) && number().is_some_and(|code| (100..=599).contains(&code)))
                || (has(&["bytes", "size"]) && number().is_some())
                || has(&["orig", "originator"])
                || ["response_flags", "connection_requests", "termination_state", "event_type", "request"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known))
                || (name.eq_ignore_ascii_case("req") && value.split(' ').next().is_some_and(is_method))
        })
    }
}

/// Whether a word is a method of HTTP.
pub(super) fn is_method(word: &str) -> bool {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI"].contains(&word)
}

fn flatten(json: &Value, name: String, deeper: usize, into: &mut Vec<(String, String)>) {
    match json {
        Value::Object(object) if deeper > 0 => {
            for (key, value) in object {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(value, name, deeper - 1, into);
            }
        }
        Value::String(text) => into.push((name, text.clone())),
        Value::Number(number) => into.push((name, number.to_string())),
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// What a value says of an end.
enum End {
    Whole(SocketAddr),
    Address(IpAddr),
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
