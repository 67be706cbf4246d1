//! Lines of proxies' logs → the connection they speak of.
//!
//! Pure. JSON, labelled lines, `name=value` and entries of the journal are read by what their names say ([`roles`]); text by the formats of
//! the programs that write it ([`text`]). A duration of the handshake in the line (`Th=512`, `"handshake_ms": 512`) is compared with the
//! threshold. A line without one was logged because it was slow, unless its format is one in which every request is logged. A line that
//! does not say which end is the client's is unread, with a hint, rather than guessed at.

mod named;
pub(crate) mod own;
mod place;
mod roles;
pub(crate) mod text;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use named::{Named, Whose};

/// Names of fields as a configuration has them, which go before what names say by themselves.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fields {
    /// The client's address, perhaps with its port.
    pub client: Option<String>,
    /// The client's port.
    pub client_port: Option<String>,
    /// The handshake's duration: in the unit that the name says; else milliseconds if the number is whole, seconds otherwise.
    pub duration: Option<String>,
    /// Whether the configuration names some: its lines are then taken at their word.
    pub own: bool,
}

/// What a line says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ParsedLine {
    /// The client's end.
    pub client: SocketAddr,
    /// How long the handshake took, if it says so.
    pub took: Option<Duration>,
    /// Whether the line is of a log of all requests, and has no time of the handshake: it says nothing of how slow that was.
    pub every: bool,
}

/// Why a line cannot be followed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unread {
    /// No address is in it.
    NoAddress,
    /// The client's address has no port.
    NoPort,
    /// The ends in it are another's: the listener's, the upstream's.
    OtherEnd,
    /// Several ends are in it, and nothing says which is the client's.
    Several,
    /// Its time of the handshake has no unit.
    NoUnit,
}

impl Unread {
    /// What it lacks, and what to log instead.
    pub const fn hint(self) -> &'static str {
        match self {
            Unread::NoAddress => {
                "it names no address with a port: log the client's, as %ci:%cp (HAProxy) or $remote_addr:$remote_port (nginx), or name its field in `fields`"
            }
            Unread::NoPort => {
                "it names the client's address without its port: log that too, as %ci:%cp (HAProxy), $remote_addr:$remote_port (nginx) or %DOWNSTREAM_REMOTE_ADDRESS% in JSON (Envoy)"
            }
            Unread::OtherEnd => "it names the listener's or the upstream's end only: log the client's, as client=ADDRESS:PORT",
            Unread::Several => {
                "it names several ends and does not say which is the client's: log that as client=ADDRESS:PORT, or in JSON"
            }
            Unread::NoUnit => {
                "its time of the handshake has no unit: call it handshake_ms (or _us, _ns, _seconds), or name its field in `fields`"
            }
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hint())
    }
}

/// Logs within logs: docker's of the journal's of the proxy's.
const MOST_WITHIN: u32 = 3;
/// A client's port is rarely below, a listener's often.
const WELL_KNOWN: u16 = 1024;
/// Names under which a collector keeps another program's line, and a program its words.
pub(crate) const KEPT: [&str; 11] = [
    "log",
    "message",
    "msg",
    "short_message",
    "full_message",
    "event.original",
    "textPayload",
    "body",
    "event",
    "_raw",
    "@message",
];

/// Of these, names under which a server's record of a request has what its client sent.
const CLIENTS_WORDS: [&str; 2] = ["body", "event"];

/// Reads a line.
///
/// ```
/// use std::time::Duration;
/// use whostalled_imports::logline::{Fields, read};
///
/// let line = read("haproxy[1]: 192.0.2.7:40012 fe~ Th=512 Ti=0", &Fields::default()).expect("it names a client");
/// assert_eq!((line.client.to_string().as_str(), line.took), ("192.0.2.7:40012", Some(Duration::from_millis(512))));
/// ```
///
/// # Errors
/// If it does not say which end with its port is the client's: what it lacks.
pub fn read(line: &str, fields: &Fields) -> Result<ParsedLine, Unread> {
    within(line, fields, MOST_WITHIN)
}

fn within(line: &str, fields: &Fields, deeper: u32) -> Result<ParsedLine, Unread> {
    let Some(json) = object(line) else { return text::read(line, fields) };
    if let Some(line) = kept(&|name| lookup(&json, name)).filter(|_| deeper > 0) {
        return within(&line, fields, deeper - 1);
    }
    record(&Named::of_json(&json), fields, deeper)
}

/// Named values, of which one may be the line of another program: whose sender the others then tell of.
fn record(named: &Named, fields: &Fields, deeper: u32) -> Result<ParsedLine, Unread> {
    let by_names = || named.read(fields);
    if named.is_named_by_hand(fields) {
        return by_names().map(|(said, _)| said);
    }
    // A request's own record keeps no other program's line; its body is the client's to write.
    let is_request = named.is_of_a_request();
    let words = || KEPT.iter().filter(|name| !is_request || !CLIENTS_WORDS.contains(name)).filter_map(|name| named.get(name));
    let of_format = |words: &str| match object(words) {
        _ if is_request => None,
        Some(_) if deeper > 0 => Some(within(words, fields, deeper - 1)),
        _ => text::of_format(words, fields),
    };
    if let Some(said) = words().filter_map(of_format).find(Result::is_ok) {
        return said;
    }
    let said = match by_names() {
        Ok((said, Whose::Senders)) => Ok(said),
        Ok((said, _)) => return Ok(said),
        Err(why) => Err(why),
    };
    // Words about a connection, as Caddy's "TLS handshake error from 192.0.2.7:40012".
    let read: Vec<_> = words().map(|words| text::read(words, fields)).collect();
    let Some(line) = read.iter().find_map(|read| read.ok()) else {
        // What the words lack says more than that the fields say nothing.
        let why = || read.iter().copied().find(|read| *read != Err(Unread::NoAddress));
        return if said == Err(Unread::NoAddress) { why().unwrap_or(said) } else { said };
    };
    let took = match line.took {
        None => named.took(fields)?,
        said => said,
    };
    Ok(ParsedLine { took, every: line.every && took == line.took, ..line })
}

/// The JSON object in a line, unless it is empty, or stands where a client's words do.
pub(crate) fn object(line: &str) -> Option<Value> {
    let at = line.find('{').filter(|at| !own::is_others(line, *at))?;
    let first = |text: &str| serde_json::Deserializer::from_str(text).into_iter::<Value>().next().and_then(Result::ok);
    // nginx without `escape=json` writes `\x22`, which is no JSON.
    let object = first(&line[at..]).or_else(|| line.contains("\\x").then(|| first(&as_json(&line[at..])))?);
    object.filter(|object| object.as_object().is_some_and(|fields| !fields.is_empty()))
}

/// With `\x22` as JSON writes it.
fn as_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('x')) => {
                chars.next();
                out.push_str("\\u00");
            }
            ('\\', Some(escaped)) => {
                chars.next();
                out.extend([c, escaped]);
            }
            _ => out.push(c),
        }
    }
    out
}

/// Reads named values, as an entry of the journal has them, with its `MESSAGE`.
///
/// # Errors
/// As [`read`].
pub fn read_fields<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>, fields: &Fields) -> Result<ParsedLine, Unread> {
    let named: Named = values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    record(&named, fields, MOST_WITHIN)
}

/// Whether a record is a request's own.
pub(crate) fn is_of_a_request(json: &Value) -> bool {
    Named::of_json(json).is_of_a_request()
}

/// The line of another program, as docker and the journal keep it.
pub(crate) fn kept(field: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let dockers = field("stream").and_then(|_| field("log"));
    dockers.or_else(|| field("__REALTIME_TIMESTAMP").and_then(|_| field("MESSAGE")))
}

/// A field of a JSON object, whatever the case of its name; nested names by dots.
pub(crate) fn lookup(json: &Value, name: &str) -> Option<String> {
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

pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    text.trim().trim_matches(['[', ']', '"']).parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// `192.0.2.1:5000`, `[2001:db8::1]:5000`, and HAProxy's `2001:db8::1:5000`, whose last part is the port.
pub fn endpoint(text: &str) -> Option<SocketAddr> {
    let text = text.trim().trim_matches('"');
    // `[192.0.2.1:5000]`, `[[2001:db8::1]:5000]`
    let within = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|within| within.contains(['.', '[']));
    let text = within.unwrap_or(text);
    if let Ok(end) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(end.ip().to_canonical(), end.port()));
    }
    if text.parse::<IpAddr>().is_ok() && !text.starts_with("::ffff:") {
        return None; // an address without its port
    }
    let (address, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(ip(address)?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(line: &str) -> Option<(String, Option<u128>)> {
        read(line, &Fields::default()).ok().map(|s| (s.client.to_string(), s.took.map(|t| t.as_millis())))
    }

    /// Whether the page says that lines of this format are read.
    fn documented(format: &str) -> bool {
        let section = include_str!("../../docs/capture.md").split("\n- **Logs**").nth(1).expect("a paragraph on logs");
        section.split("\n- **").next().is_some_and(|logs| logs.contains(format))
    }

    #[test]
    fn lines_of_haproxy_nginx_and_json() {
        for format in ["HAProxy", "nginx", "JSON"] {
            assert!(documented(format), "docs/capture.md does not name {format}");
        }
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

    /// What a line says about how slow its handshake was.
    fn kind(line: &str) -> String {
        match read(line, &Fields::default()) {
            Err(_) => "unread".into(),
            Ok(ParsedLine { client, every: true, .. }) => format!("{client} every"),
            Ok(ParsedLine { client, took, .. }) => {
                format!("{client} {}", took.map_or("slow".into(), |t| t.as_millis().to_string()))
            }
        }
    }

    #[test]
    fn haproxys_own_formats_say_nothing_of_the_handshake() {
        let line = |rest: &str| format!("Nov 26 12:00:00 lb haproxy[9]: 198.51.100.4:5001 [26/Nov/2026:12:00:00.101] {rest}");
        let request = "200 99 - - ---- 2/2/0/0/0 0/0 {example.com} {} \"GET /a HTTP/1.1\"";
        assert_eq!(kind(&line(&format!("fe~ be/s2 3/0/0/7/900 {request}"))), "198.51.100.4:5001 every", "httplog");
        assert_eq!(
            kind(&line(&format!("fe~ be/s2 3/0/0/7/900 {request} 0/0/0/0/0 a.test/TLSv1.3/x"))),
            "198.51.100.4:5001 every"
        );
        assert_eq!(kind(&line("fe be/s2 0/0/4000 312 -- 0/0/0/0/3 0/0")), "198.51.100.4:5001 every", "tcplog");
        assert_eq!(kind(&line("fe be/<NOSRV> -1/-1/0 0 SC 0/0/0/0/3 0/0")), "198.51.100.4:5001 every");
        assert_eq!(kind(&line(&format!("fe~ be/s2 640/0/3/0/0/7/900 {request}"))), "198.51.100.4:5001 640", "%Th in its place");
        assert_eq!(kind(&line(&format!("fe~ be/s2 2/0/3/0/0/7/900 {request}"))), "198.51.100.4:5001 2");
        assert_eq!(kind(&line("fe~ be/s2 Th=640 3/0/0/7/900 200 99")), "198.51.100.4:5001 640", "by name it counts");
        assert_eq!(kind(&line("fe~/2: SSL handshake failure")), "198.51.100.4:5001 slow");
    }

    #[test]
    fn another_ends_address_is_not_the_clients() {
        for unread in [
            r#"[2026-11-26T12:00:00.310Z] "GET /x HTTP/2" 200 - 15 0 22 10 "198.51.100.4" "ua" "id" "host.test" "tcp://10.1.0.9:80""#,
            r#"[2026-11-26T12:00:00.3Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 1 3 1 "-" "ua" "id" "svc:80" "127.0.0.1:80" in|80|| 127.0.0.1:41000 10.1.0.1:8443 198.51.100.4:5001 out default"#,
            "2026/11/26 12:00:00 [info] 8#8: *3 SSL_do_handshake() failed (SSL: error:0A00006C) while SSL handshaking, client: 198.51.100.4, server: 0.0.0.0:443",
            r#"198.51.100.4 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/2.0" 200 52 "-" "ua" 35 0.001 [app] [] 10.1.0.9:8080 52 0.001 200 id"#,
            r#"2001:db8::4 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/2.0" 200 52 "-" "-" 1 "app" "http://10.1.0.9:80" 3ms"#,
            "edge: listening on 10.1.0.1:443",
            "edge: forwarding to 10.1.0.9:8080",
            r#"{"upstream_host":"10.1.0.9:80","response_code":200}"#,
        ] {
            assert_eq!(kind(unread), "unread", "{unread}");
        }
        for read in [
            "10.0.0.5 edge[3]: connection from 198.51.100.4:5001 to 10.1.0.1:443 was slow",
            "Nov 26 12:00:00 10.0.0.5 edge[3]: 198.51.100.4:5001 was slow",
            "<134>1 2026-11-26T12:00:00Z 10.0.0.5 edge 3 - - 198.51.100.4:5001 was slow",
            "server=10.1.0.1:443 client=198.51.100.4:5001",
            "local 10.1.0.1:443, peer: 198.51.100.4:5001",
        ] {
            assert_eq!(kind(read), "198.51.100.4:5001 slow", "{read}");
        }
    }

    #[test]
    fn proxies_json_docker_the_journal_and_labelled_lines_are_followed() {
        for (format, line, said) in [
            (
                "Envoy",
                r#"{"downstream_local_address":"10.1.0.1:443","downstream_remote_address":"198.51.100.4:5001","duration":"9","method":"GET","response_code":"200","upstream_host":"127.0.0.1:80"}"#,
                "every",
            ),
            (
                "Envoy",
                r#"{"downstream_remote_address":"198.51.100.4:5001","downstream_handshake_duration":640,"duration":900,"response_code":200}"#,
                "640",
            ),
            (
                "Caddy",
                r#"{"level":"info","ts":1.5,"logger":"http.log.access","request":{"remote_ip":"198.51.100.4","remote_port":"5001","client_ip":"198.51.100.4","method":"GET","tls":{"version":772}},"duration":0.9,"status":200}"#,
                "every",
            ),
            (
                "Caddy",
                r#"{"level":"debug","ts":1.5,"logger":"http.stdlib","msg":"http: TLS handshake error from 198.51.100.4:5001: EOF"}"#,
                "slow",
            ),
            (
                "Traefik",
                r#"{"ClientAddr":"198.51.100.4:5001","ClientHost":"198.51.100.4","ClientPort":"5001","DownstreamStatus":404,"Duration":17,"RequestMethod":"GET","entryPointName":"websecure"}"#,
                "every",
            ),
            (
                "the journal",
                r#"{"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"haproxy","MESSAGE":"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=640 0/0/0/1/12 200 9"}"#,
                "640",
            ),
            (
                "docker",
                r#"{"log":"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 0/0/0/1/12 200 9\n","stream":"stdout","time":"2026-11-26T12:00:00Z"}"#,
                "every",
            ),
            (
                "docker",
                r#"{"log":"{\"client\":\"198.51.100.4:5001\",\"handshake_ms\":640}\n","stream":"stderr","time":"2026-11-26T12:00:00Z"}"#,
                "640",
            ),
            ("LTSV", "time:26/Nov/2026:12:00:00 +0000\thost:198.51.100.4\tport:5001\treq:GET / HTTP/1.1\treqtime:0.9", "every"),
            ("LTSV", "time:1\tclient:198.51.100.4:5001\thandshake_time:0.64\tstatus:200", "640"),
        ] {
            assert_eq!(kind(line), format!("198.51.100.4:5001 {said}"), "{line}");
            assert!(documented(format), "docs/capture.md does not name {format}");
        }
        let own = Fields { own: true, ..Fields::default() };
        let envoy = r#"{"downstream_remote_address":"198.51.100.4:5001","response_code":200}"#;
        assert!(read(envoy, &own).is_ok_and(|said| !said.every), "whoever names fields says what is logged");
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
        // A port below is a listener's, unless words or its place say otherwise.
        fn every_address_is_found(a in 1_u32.., port in 1_024_u16.., before in "[q-z ]{0,20}", after in "[a-z ]{0,20}") {
            let client = SocketAddr::from((std::net::Ipv4Addr::from(a), port));
            prop_assert_eq!(said(&format!("{before} {client} {after}")).map(|s| s.0), Some(client.to_string()));
        }
    }
}
