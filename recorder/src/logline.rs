//! Lines of proxies' logs → the connection they speak of.
//!
//! Pure. HAProxy's formats, nginx's with `$remote_addr:$remote_port`, JSON with any of the usual names, and whatever else names an
//! address with its port. A duration of the handshake in the line (`Th=512`, `"handshake_ms": 512`) is compared with the threshold;
//! a line without one was logged because it was slow.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

/// Names of fields, as loggers write them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fields {
    /// The client's address, perhaps with its port.
    pub client: Vec<String>,
    /// The client's port.
    pub client_port: Vec<String>,
    /// The handshake's duration: milliseconds if the name says so or the number is whole, seconds otherwise.
    pub duration: Vec<String>,
}

impl Default for Fields {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Self {
            client: names(&[
                "client",
                "client_addr",
                "client_address",
                "client_ip",
                "remote_addr",
                "remote_address",
                "remote_ip",
                "remote",
                "peer",
                "src",
                "src_ip",
                "ci",
                "addr",
            ]),
            client_port: names(&["client_port", "remote_port", "peer_port", "src_port", "cp", "port"]),
            duration: names(&[
                "handshake_ms",
                "tls_handshake_ms",
                "th",
                "handshake",
                "handshake_time",
                "ssl_handshake_time",
                "tls_handshake_time",
                "tls_handshake_duration",
                "handshake_duration",
            ]),
        }
    }
}

/// What a line says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Said {
    /// The client's end.
    pub client: SocketAddr,
    /// How long the handshake took, if it says so.
    pub took: Option<Duration>,
}

/// Reads a line; absent if it names no client's address with a port.
pub fn read(line: &str, fields: &Fields) -> Option<Said> {
    let json = line.find('{').and_then(|at| serde_json::from_str::<Value>(&line[at..]).ok()).filter(Value::is_object);
    match json {
        Some(json) => read_fields(&|name| lookup(&json, name), fields),
        None => read_text(line),
    }
}

/// Reads named fields, as the journal has them.
pub fn read_fields(field: &dyn Fn(&str) -> Option<String>, fields: &Fields) -> Option<Said> {
    let first = |names: &[String]| names.iter().find_map(|name| Some((name.clone(), field(name)?)));
    let address = first(&fields.client)?.1;
    let client = endpoint(&address).or_else(|| {
        let port = first(&fields.client_port)?.1.trim().parse().ok()?;
        Some(SocketAddr::new(ip(&address)?, port))
    })?;
    let took = first(&fields.duration).and_then(|(name, value)| duration(&name, &value));
    Some(Said { client, took })
}

/// A field of a JSON object, whatever the case of its name; nested names by dots.
fn lookup(json: &Value, name: &str) -> Option<String> {
    let mut at = json;
    for part in name.split('.') {
        at = at.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(part))?.1;
    }
    match at {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[expect(clippy::unwrap_used, reason = "the patterns are fixed; a test compiles them")]
fn read_text(line: &str) -> Option<Said> {
    static ENDPOINT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\[[0-9a-fA-F:.]+\]:\d{1,5}\b|\b\d{1,3}(?:\.\d{1,3}){3}:\d{1,5}\b|(?:^|[\s=])[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,7}(?:\d{1,3}(?:\.\d{1,3}){3})?:\d{1,5}\b").unwrap()
    });
    static PAIR: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:client|remote)_(?:addr|address|ip)=(\S+).*?\b(?:client|remote)_port=(\d{1,5})\b").unwrap()
    });
    static DURATION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\b(th|(?:tls_|ssl_)?handshake(?:_(?:ms|time|duration))?)\s*[=:]\s*(\d+(?:\.\d+)?\s*(?:ms|s)?)(?:\s|,|;|$)",
        )
        .unwrap()
    });
    let pair = || {
        let found = PAIR.captures(line)?;
        Some(SocketAddr::new(ip(&found[1])?, found[2].parse().ok()?))
    };
    let client =
        pair().or_else(|| ENDPOINT.find_iter(line).find_map(|m| endpoint(m.as_str().trim_start_matches([' ', '\t', '=']))))?;
    let took = DURATION.captures(line).and_then(|found| duration(&found[1], &found[2]));
    Some(Said { client, took })
}

fn ip(text: &str) -> Option<IpAddr> {
    text.trim().trim_matches(['[', ']', '"']).parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// `192.0.2.1:5000`, `[2001:db8::1]:5000`, and HAProxy's `2001:db8::1:5000`, whose last part is the port.
pub fn endpoint(text: &str) -> Option<SocketAddr> {
    let text = text.trim().trim_matches('"');
    if let Ok(end) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(end.ip().to_canonical(), end.port()));
    }
    if text.parse::<IpAddr>().is_ok() && !text.starts_with("::ffff:") {
        return None; // an address without its port
    }
    let (address, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip(address)?, port.parse().ok()?))
}

/// `512 ms`, `0.512s`; without a unit, `Th` and names in `_ms` and whole numbers are milliseconds, others seconds.
fn duration(name: &str, value: &str) -> Option<Duration> {
    let value = value.trim();
    let (number, unit) = value.find(|c: char| c != '.' && !c.is_ascii_digit()).map_or((value, ""), |at| value.split_at(at));
    let number: f64 = number.parse().ok()?;
    let name = name.to_ascii_lowercase();
    let seconds = match unit.trim() {
        "ms" => number / 1e3,
        "s" => number,
        "" if name == "th" || name.ends_with("_ms") || !value.contains('.') => number / 1e3,
        "" => number,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(line: &str) -> Option<(String, Option<u128>)> {
        read(line, &Fields::default()).map(|s| (s.client.to_string(), s.took.map(|t| t.as_millis())))
    }

    #[test]
    fn lines_of_haproxy_nginx_and_json() {
        let haproxy = "Nov 25 13:00:00 edge haproxy[712]: 192.0.2.7:40012 [25/Nov/2026:13:00:00.123] fe~ be/s1 0/0/0/1/512 200 321 - - ---- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"";
        assert_eq!(said(haproxy), Some(("192.0.2.7:40012".into(), None)));
        assert_eq!(said("haproxy[1]: 192.0.2.7:40012 fe~ Th=512 Ti=0"), Some(("192.0.2.7:40012".into(), Some(512))));
        assert_eq!(said("haproxy[1]: ::ffff:192.0.2.7:40012 fe~ Th=512"), Some(("192.0.2.7:40012".into(), Some(512))));
        assert_eq!(said("haproxy[1]: 2001:db8::7:40012 fe~ Th=7"), Some(("[2001:db8::7]:40012".into(), Some(7))));
        assert_eq!(said("[2001:db8::7]:40012 - handshake=0.512"), Some(("[2001:db8::7]:40012".into(), Some(512))));
        assert_eq!(said("remote_addr=192.0.2.7 remote_port=9 handshake_time=0.2s"), Some(("192.0.2.7:9".into(), Some(200))));
        assert_eq!(
            said(r#"{"remote_addr":"192.0.2.7","remote_port":"40012","handshake_ms":512.5}"#),
            Some(("192.0.2.7:40012".into(), Some(512)))
        );
        assert_eq!(said(r#"level=warn {"client":"[2001:db8::7]:5"}"#), Some(("[2001:db8::7]:5".into(), None)));
        assert_eq!(said("192.0.2.7:40012"), Some(("192.0.2.7:40012".into(), None)), "a bare address is enough");
    }

    #[test]
    fn lines_without_a_port_say_nothing() {
        assert_eq!(said(r#"192.0.2.7 - - [25/Nov/2026:13:00:00 +0000] "GET / HTTP/1.1" 200 612"#), None);
        assert_eq!(said("Started HAProxy Load Balancer at 13:00:00."), None);
        assert_eq!(said(r#"{"client":"192.0.2.7"}"#), None);
        assert_eq!(said(""), None);
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in ".{0,300}") {
            let _ = read(&line, &Fields::default());
        }

        #[test]
        fn every_address_is_found(a in any::<u32>(), port in 1_u16.., before in "[a-z ]{0,20}", after in "[a-z ]{0,20}") {
            let client = SocketAddr::from((std::net::Ipv4Addr::from(a), port));
            prop_assert_eq!(said(&format!("{before} {client} {after}")).map(|s| s.0), Some(client.to_string()));
        }
    }
}
