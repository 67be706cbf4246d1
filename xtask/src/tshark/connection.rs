//! One TLS connection. In: the packets of a TCP stream. Out: a row: which version, resumed or not, and when each message was whole.

use std::collections::BTreeMap;

use super::pdml::{Message, Packet};

/// The row's columns of times.
pub(super) const TIMES: [&str; 18] = [
    "t_syn",
    "t_synack",
    "t_synack_last",
    "t_ack",
    "t_c_first",
    "t_s_first",
    "t_ch",
    "t_hrr",
    "t_ch2",
    "t_sh",
    "t_cert",
    "t_shd",
    "t_creq",
    "t_sflight_end",
    "t_cfin",
    "t_sfin",
    "t_c_app",
    "t_s_app",
];

/// A ServerHello with this random is a HelloRetryRequest.
const HELLO_RETRY: &str = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";
const CLIENT_HELLO: u64 = 1;
const SERVER_HELLO: u64 = 2;
const CERTIFICATE: u64 = 11;
const CERTIFICATE_REQUEST: u64 = 13;
const SERVER_HELLO_DONE: u64 = 14;
const CHANGE_CIPHER_SPEC: u64 = 20;
const APPLICATION_DATA: u64 = 23;
const PRE_SHARED_KEY: &str = "41";
const TLS13: &str = "TLS1.3";

pub(super) struct Connection {
    client: String,
    server: String,
    name: String,
    version: String,
    resumed: Option<bool>,
    start: f64,
    seen: Seen,
}

/// When each of [`TIMES`] was, as far as it was.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, f64>);

impl Seen {
    /// Notes the first packet's time; gives the packet.
    fn note<'a>(&mut self, name: &'static str, found: impl IntoIterator<Item = &'a Packet>) -> Option<&'a Packet> {
        let first = found.into_iter().next()?;
        self.0.insert(name, first.at);
        Some(first)
    }

    fn same(&mut self, name: &'static str, other: &'static str) {
        if let Some(&at) = self.0.get(other) {
            self.0.insert(name, at);
        }
    }
}

impl Connection {
    /// None if tshark saw no Hello in it.
    pub fn of(stream: &[Packet]) -> Option<Self> {
        let messages: Vec<(&Packet, &Message)> =
            stream.iter().flat_map(|p| p.records.iter().flat_map(move |r| r.messages.iter().map(move |m| (p, m)))).collect();
        let kind = |kind| messages.iter().filter(move |(_, m)| m.kind == kind).copied().collect::<Vec<_>>();
        let (hellos, answers) = (kind(CLIENT_HELLO), kind(SERVER_HELLO));
        let (client, server) = match (hellos.first(), answers.first()) {
            (Some((hello, _)), _) => (&hello.source, &hello.destination),
            (None, Some((answer, _))) => (&answer.destination, &answer.source),
            (None, None) => return None,
        };
        let of_client = || stream.iter().filter(|p| p.source == *client);
        let of_server = || stream.iter().filter(|p| p.source == *server);
        let syns = || of_client().filter(|p| p.syn && !p.ack);
        let syn_acks: Vec<&Packet> = of_server().filter(|p| p.syn && p.ack).collect();
        let start = syns().next().or(stream.first())?.at;

        let mut seen = Seen::default();
        seen.note("t_syn", syns());
        seen.note("t_synack", syn_acks.first().copied());
        seen.note("t_synack_last", syn_acks.last().copied());
        if let Some(first) = syn_acks.first() {
            seen.note("t_ack", of_client().filter(|p| p.ack && !p.syn && p.number > first.number));
        }
        seen.note("t_c_first", of_client().filter(|p| p.len > 0));
        seen.note("t_s_first", of_server().filter(|p| p.len > 0));
        let hellos_of_client = || hellos.iter().filter(|(p, _)| p.source == *client);
        seen.note("t_ch", hellos_of_client().map(|(p, _)| *p));
        let is_retry = |m: &Message| m.random == HELLO_RETRY;
        let retry = seen.note("t_hrr", answers.iter().filter(|(_, m)| is_retry(m)).map(|(p, _)| *p));
        if let Some(retry) = retry {
            seen.note("t_ch2", hellos_of_client().map(|(p, _)| *p).filter(|p| p.number > retry.number));
        }
        let hello = answers.iter().find(|(_, m)| !is_retry(m)).copied();
        seen.note("t_sh", hello.map(|(p, _)| p));
        let version = hello.map_or_else(|| if retry.is_some() { TLS13.into() } else { String::new() }, |(_, m)| version(m));
        let resumed = if version != TLS13 {
            let later = |kind| {
                let after = hello.map_or(u64::MAX, |(p, _)| p.number);
                messages.iter().filter(move |(p, m)| m.kind == kind && p.source == *server && p.number >= after).map(|(p, _)| *p)
            };
            seen.note("t_cert", later(CERTIFICATE));
            seen.note("t_shd", later(SERVER_HELLO_DONE));
            seen.note("t_creq", later(CERTIFICATE_REQUEST));
            older(&mut seen, hello.is_some(), &of_client, &of_server)
        } else {
            hello.map(|(p, m)| {
                newer(&mut seen, p, &of_client, &of_server);
                m.extensions.iter().any(|e| e == PRE_SHARED_KEY)
            })
        };
        let name = hellos_of_client().flat_map(|(_, m)| &m.names).next().cloned().unwrap_or_default();
        Some(Self { client: client.clone(), server: server.clone(), name, version, resumed, start, seen })
    }

    pub fn times_known(&self) -> usize {
        self.seen.0.len()
    }

    /// The row's columns behind file and stream.
    pub fn record(&self) -> impl Iterator<Item = String> {
        let resumed = match self.resumed {
            Some(true) => "True",
            Some(false) => "False",
            None => "",
        };
        let head = [
            self.client.clone(),
            self.server.clone(),
            self.name.clone(),
            self.version.clone(),
            resumed.to_owned(),
            format!("{:?}", self.start),
        ];
        let time = |name| self.seen.0.get(name).map_or_else(String::new, |at| format!("{:.9}", at - self.start));
        head.into_iter().chain(TIMES.map(time))
    }
}

/// The version of a ServerHello. Drafts of TLS 1.3, Facebook's too, are TLS 1.3.
fn version(hello: &Message) -> String {
    let said = hello.supported_versions.first().or(hello.versions.first()).map_or("", String::as_str);
    match said {
        "0x0300" => "SSL3.0",
        "0x0301" => "TLS1.0",
        "0x0302" => "TLS1.1",
        "0x0303" => "TLS1.2",
        _ if ["0x03", "0x7f", "0xfb"].iter().any(|start| said.starts_with(start)) => TLS13,
        _ => said,
    }
    .to_owned()
}

/// Packets with records of a kind; one packet once for each such record.
fn with_kind<'a>(packets: impl Iterator<Item = &'a Packet>, kind: u64) -> impl Iterator<Item = &'a Packet> {
    packets.flat_map(move |p| p.records.iter().filter(move |r| r.kinds.contains(&kind)).map(move |_| p))
}

/// Up to TLS 1.2: the flight ends with ServerHelloDone, resumed with Finished, and both are known by what is not encrypted.
fn older<'a, C, S>(seen: &mut Seen, answered: bool, of_client: &impl Fn() -> C, of_server: &impl Fn() -> S) -> Option<bool>
where
    C: Iterator<Item = &'a Packet>,
    S: Iterator<Item = &'a Packet>,
{
    let client = seen.note("t_cfin", with_kind(of_client(), CHANGE_CIPHER_SPEC));
    let server = seen.note("t_sfin", with_kind(of_server(), CHANGE_CIPHER_SPEC));
    let client_first = client.zip(server).is_some_and(|(client, server)| client.number < server.number);
    let resumed = if answered && seen.0.contains_key("t_shd") {
        seen.same("t_sflight_end", "t_shd");
        Some(false)
    } else if answered && server.is_some() && !seen.0.contains_key("t_cert") && !client_first {
        seen.same("t_sflight_end", "t_sfin");
        Some(true)
    } else {
        None
    };
    seen.note("t_c_app", with_kind(of_client(), APPLICATION_DATA));
    seen.note("t_s_app", with_kind(of_server(), APPLICATION_DATA));
    resumed
}

/// TLS 1.3: the client's first protected record is its Finished; the server's flight is all that it sent before.
fn newer<'a, C, S>(seen: &mut Seen, hello: &Packet, of_client: &impl Fn() -> C, of_server: &impl Fn() -> S)
where
    C: Iterator<Item = &'a Packet>,
    S: Iterator<Item = &'a Packet>,
{
    let protected = || with_kind(of_client(), APPLICATION_DATA).filter(|p| p.number > hello.number);
    let finished = seen.note("t_cfin", protected());
    seen.note("t_c_app", protected().skip(1));
    let Some(finished) = finished else { return };
    seen.note("t_s_app", with_kind(of_server(), APPLICATION_DATA).filter(|p| p.number > finished.number));
    let mut reached = None;
    for packet in of_server().filter(|p| p.len > 0 && p.number <= finished.number) {
        if reached.is_none_or(|end| packet.seq + packet.len > end) {
            reached = Some(packet.seq + packet.len);
            seen.0.insert("t_sflight_end", packet.at);
        }
    }
}
