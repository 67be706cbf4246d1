//! The prober `dns`: its section of the configuration, how it asks, and whether the answer is a good one.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{DNSClass, RData, Record, RecordType};
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio_rustls::TlsConnector;

use super::expression::Expression;
use super::families::Families;
use super::modules::{Preferred, Rest, Section, nullable};
use super::tcp::source;
use super::tls::Tls;
use super::{ProbeError, Question, Shared, choose, dns_names, dns_text, family};
use crate::error::Invalid;
use crate::target::host_and_port;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dns {
    #[serde(deserialize_with = "nullable")]
    query_name: String,
    #[serde(deserialize_with = "nullable")]
    query_type: String,
    #[serde(deserialize_with = "nullable")]
    query_class: String,
    recursion_desired: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    transport_protocol: String,
    #[serde(deserialize_with = "nullable")]
    dns_over_tls: bool,
    #[serde(deserialize_with = "nullable")]
    tls_config: Tls,
    #[serde(deserialize_with = "nullable")]
    source_ip_address: String,
    valid_rcodes: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    validate_answer_rrs: Validator,
    #[serde(deserialize_with = "nullable")]
    validate_authority_rrs: Validator,
    #[serde(deserialize_with = "nullable")]
    validate_additional_rrs: Validator,
    preferred_ip_protocol: Option<Preferred>,
    ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    rest: Rest,
}

/// What records of a section must be like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Validator {
    #[serde(deserialize_with = "nullable")]
    fail_if_matches_regexp: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    fail_if_all_match_regexp: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    fail_if_not_matches_regexp: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    fail_if_none_matches_regexp: Vec<String>,
}

impl Validator {
    fn all(&self) -> impl Iterator<Item = &String> {
        let Self { fail_if_matches_regexp, fail_if_all_match_regexp, fail_if_not_matches_regexp, fail_if_none_matches_regexp } =
            self;
        [fail_if_matches_regexp, fail_if_all_match_regexp, fail_if_not_matches_regexp, fail_if_none_matches_regexp]
            .into_iter()
            .flatten()
    }

    /// What is wrong with these records, in words.
    fn finds(&self, section: &str, records: &[Record]) -> Option<String> {
        let lines: Vec<String> = records.iter().map(dns_text::line).collect();
        let compiled = |patterns: &[String]| -> Vec<Expression> {
            // A module with one that is none is refused.
            patterns.iter().filter_map(|pattern| Expression::new(pattern).ok()).collect()
        };
        let says = |expression: &Expression, line: &String| expression.regex().is_match(line);
        let none = compiled(&self.fail_if_none_matches_regexp);
        let not = compiled(&self.fail_if_not_matches_regexp);
        let any = compiled(&self.fail_if_matches_regexp);
        let all = compiled(&self.fail_if_all_match_regexp);
        if lines.is_empty() && !(not.is_empty() && none.is_empty()) {
            return Some(format!("there is no {section} record"));
        }
        for line in &lines {
            if let Some(expression) = any.iter().find(|e| says(e, line)) {
                return Some(format!("{section} record {line:?} matches {expression:?}"));
            }
            if let Some(expression) = not.iter().find(|e| !says(e, line)) {
                return Some(format!("{section} record {line:?} does not match {expression:?}"));
            }
        }
        // As the exporter's code has it, and not its name: it fails unless every record matches.
        if !all.is_empty() && !lines.iter().all(|line| all.iter().all(|e| says(e, line))) {
            return Some(format!("not every {section} record matches"));
        }
        if !none.is_empty() && !lines.iter().any(|line| none.iter().any(|e| says(e, line))) {
            return Some(format!("no {section} record matches"));
        }
        None
    }
}

impl Section for Dns {
    fn rest(&self) -> Vec<&Rest> {
        vec![&self.rest, &self.tls_config.rest]
    }

    fn refused(&self) -> Option<String> {
        let validators = [&self.validate_answer_rrs, &self.validate_authority_rrs, &self.validate_additional_rrs];
        if let Some(error) = validators.into_iter().flat_map(Validator::all).find_map(|text| Expression::new(text).err()) {
            return Some(error.to_string());
        }
        if let Some(unknown) = self.valid_rcodes.iter().flatten().find(|name| dns_names::code(name).is_none()) {
            return Some(format!("valid_rcodes: {unknown:?} is no response code"));
        }
        if dns_text::read(&self.query_name).is_none() {
            return Some(format!("query_name = {:?} is no name", self.query_name));
        }
        let transport = self.transport_protocol.as_str();
        if !matches!(transport, "" | "udp" | "tcp") {
            return Some(format!("transport_protocol = {transport:?}: it is udp or tcp"));
        }
        if self.dns_over_tls && transport != "tcp" {
            return Some("dns_over_tls wants transport_protocol: tcp".into());
        }
        source(&self.source_ip_address).err().map(|why| why.to_string()).or_else(|| self.tls_config.refused())
    }

    fn check(&self) -> Result<(), Invalid> {
        let wrong = |what: String| Err(Invalid(what));
        if self.query_name.is_empty() {
            return wrong("dns: query_name is missing".into());
        }
        if !self.query_class.is_empty() && dns_names::class(&self.query_class).is_none() {
            return wrong(format!("query_class = {:?} is none", self.query_class));
        }
        if !self.query_type.is_empty() && dns_names::record_type(&self.query_type).is_none() {
            return wrong(format!("query_type = {:?} is none", self.query_type));
        }
        Ok(())
    }
}

const DURATION: (&str, &str) = ("probe_dns_duration_seconds", "Duration of DNS request by phase");

impl Dns {
    /// Asks once; whether the answer was what the section wants.
    pub(super) async fn probe(
        &self,
        question: &Question<'_>,
        shared: &Shared<'_>,
        found: &mut Families,
    ) -> Result<bool, ProbeError> {
        for phase in ["resolve", "connect", "request"] {
            found.labelled(DURATION.0, DURATION.1, &[("phase", phase)], 0);
        }
        count(found, [0; 3]);
        let succeeded = ("probe_dns_query_succeeded", "Displays whether or not the query was executed successfully");
        found.gauge(succeeded.0, succeeded.1, 0);
        let usual = if self.dns_over_tls { 853 } else { 53 };
        // An IPv6 address without brackets has no port behind it.
        let bare = question.target.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match host_and_port(question.target, Some(usual)) {
            Ok(found) if !bare => found,
            _ => (question.target.to_owned(), usual),
        };
        let family = family(self.preferred_ip_protocol, self.ip_protocol_fallback);
        let Some((ip, took)) = choose(&host, family, question, shared, found).await else { return Ok(false) };
        found.labelled(DURATION.0, DURATION.1, &[("phase", "resolve")], took.as_secs_f64());
        let kind = dns_names::record_type(&self.query_type).unwrap_or(RecordType::ANY);
        let Some(message) = self.message(kind) else {
            found.note(format_args!("query_name = {:?} is no name", self.query_name));
            return Ok(false);
        };
        let left = question.timeout.saturating_sub(took);
        let exchange = self.exchange(&message, SocketAddr::new(ip, port), &host, shared, found);
        let answer = match tokio::time::timeout(left, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                found.note(error);
                return Ok(false);
            }
            Err(_) => {
                found.note("no answer in time");
                return Ok(false);
            }
        };
        // The pseudo-record of EDNS is an additional one there.
        let counts =
            [answer.answers.len(), answer.authorities.len(), answer.additionals.len() + usize::from(answer.edns.is_some())];
        count(found, counts);
        found.gauge(succeeded.0, succeeded.1, 1);
        if kind == RecordType::SOA {
            let serial = |record: &Record| match &record.data {
                RData::SOA(soa) => Some(soa.serial),
                _ => None,
            };
            let serial = answer.answers.iter().rev().find_map(serial).unwrap_or(0);
            found.gauge("probe_dns_serial", "Returns the serial number of the zone", serial);
        }
        let code = u16::from(answer.metadata.response_code);
        let valid = match &self.valid_rcodes {
            None => code == 0,
            Some(names) => names.iter().any(|name| dns_names::code(name) == Some(code)),
        };
        if !valid {
            found.note(format_args!("response code {code}"));
            return Ok(false);
        }
        let sections = [
            ("answer", &self.validate_answer_rrs, &answer.answers),
            ("authority", &self.validate_authority_rrs, &answer.authorities),
            ("additional", &self.validate_additional_rrs, &answer.additionals),
        ];
        let wrong = sections.into_iter().find_map(|(name, validator, records)| validator.finds(name, records));
        wrong.iter().for_each(|why| found.note(why));
        Ok(wrong.is_none())
    }

    fn message(&self, kind: RecordType) -> Option<Message> {
        let name = dns_text::read(&self.query_name)?;
        let mut query = Query::query(name, kind);
        query.set_query_class(dns_names::class(&self.query_class).unwrap_or(DNSClass::IN));
        let mut message = Message::query();
        message.metadata.recursion_desired = self.recursion_desired.unwrap_or(true);
        message.add_query(query);
        Some(message)
    }

    /// Asks a server, and times it.
    async fn exchange(
        &self,
        message: &Message,
        server: SocketAddr,
        host: &str,
        shared: &Shared<'_>,
        found: &mut Families,
    ) -> io::Result<Message> {
        let packet = message.to_vec().map_err(io::Error::other)?;
        let id = message.metadata.id;
        let from = source(&self.source_ip_address).ok().flatten();
        let begun = Instant::now();
        let mut took = |phase: &str, span: Duration| {
            found.labelled(DURATION.0, DURATION.1, &[("phase", phase)], span.as_secs_f64());
        };
        if self.transport_protocol != "tcp" {
            let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = match from {
                Some(from) => UdpSocket::bind(SocketAddr::new(from, 0)).await?,
                None => UdpSocket::bind(any).await?,
            };
            socket.connect(server).await?;
            took("connect", begun.elapsed());
            let asked = Instant::now();
            socket.send(&packet).await?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                let len = socket.recv(&mut buffer).await?;
                if buffer[..len].starts_with(&id.to_be_bytes()) {
                    took("request", asked.elapsed());
                    return read(&buffer[..len]);
                }
            }
        }
        let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let mut stream = socket.connect(server).await?;
        if !self.dns_over_tls {
            took("connect", begun.elapsed());
            let asked = Instant::now();
            let answer = over_stream(&mut stream, &packet, id).await?;
            took("request", asked.elapsed());
            return read(&answer);
        }
        let name = self.tls_config.server_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| host.to_owned());
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let config = shared.cache.get(self.tls_config.options(&[]))?;
        let mut stream = TlsConnector::from(config).connect(name, stream).await?;
        took("connect", begun.elapsed());
        let asked = Instant::now();
        let answer = over_stream(&mut stream, &packet, id).await?;
        took("request", asked.elapsed());
        read(&answer)
    }
}

fn read(packet: &[u8]) -> io::Result<Message> {
    Message::from_vec(packet).map_err(|e| io::Error::other(format!("the answer is no DNS message: {e}")))
}

/// A message and its answer, each behind its length (RFC 1035, section 4.2.2).
async fn over_stream(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), packet: &[u8], id: u16) -> io::Result<Vec<u8>> {
    let len = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes()[..], packet].concat()).await?;
    stream.flush().await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    match answer.starts_with(&id.to_be_bytes()) {
        true => Ok(answer),
        false => Err(io::Error::other("the answer is to another question")),
    }
}

fn count(found: &mut Families, [answers, authorities, additionals]: [usize; 3]) {
    found.gauge("probe_dns_answer_rrs", "Returns number of entries in the answer resource record list", answers);
    found.gauge("probe_dns_authority_rrs", "Returns number of entries in the authority resource record list", authorities);
    found.gauge("probe_dns_additional_rrs", "Returns number of entries in the additional resource record list", additionals);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::proto::rr::Name;
    use hickory_resolver::proto::rr::rdata::A;

    use super::*;

    #[test]
    fn a_name_is_asked_for_as_it_is_written() {
        for (written, labels) in [
            ("a.test", &[&b"a"[..], b"test"][..]),
            ("a.test.", &[b"a", b"test"]),
            (".", &[]),
            ("my_svc.a-_b.test", &[b"my_svc", b"a-_b", b"test"]),
            ("0/25.2.0.192.in-addr.arpa", &[b"0/25", b"2", b"0", b"192", b"in-addr", b"arpa"]),
            ("-a.b c.me@d", &[b"-a", b"b c", b"me@d"]),
            (r"first\.last.a\255\032.test", &[b"first.last", b"a\xff ", b"test"]),
            ("*.test", &[b"*", b"test"]),
            ("ü.test", &[b"\xc3\xbc", b"test"]),
        ] {
            let section: Dns = serde_saphyr::from_str(&format!("query_name: '{written}'")).expect(written);
            assert_eq!(section.check().map_err(|e| e.to_string()), Ok(()), "{written}");
            let message = section.message(RecordType::A).expect(written);
            assert_eq!(message.queries[0].name().iter().collect::<Vec<_>>(), labels, "{written}");
        }
    }

    #[test]
    fn records_are_judged_as_the_exporter_judges_them() {
        let record = |last| {
            let name = Name::from_ascii("a.test.").expect("a name");
            Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
        };
        let both = [record(1), record(2)];
        for (rules, records, good) in [
            ("{}", &[][..], true),
            ("{ fail_if_matches_regexp: [\"2\\\\.2$\"] }", &both, false),
            ("{ fail_if_matches_regexp: [\"2\\\\.3$\"] }", &both, true),
            ("{ fail_if_not_matches_regexp: [\"a\\\\.test\\\\.\\t60\\tIN\\tA\\t\"] }", &both, true),
            ("{ fail_if_not_matches_regexp: [\"2\\\\.2$\"] }", &both, false),
            ("{ fail_if_not_matches_regexp: [x] }", &[], false),
            ("{ fail_if_none_matches_regexp: [\"2\\\\.2$\"] }", &both, true),
            ("{ fail_if_none_matches_regexp: [\"2\\\\.3$\"] }", &both, false),
            ("{ fail_if_none_matches_regexp: [x] }", &[], false),
            ("{ fail_if_all_match_regexp: [\"192\"] }", &both, true),
            ("{ fail_if_all_match_regexp: [\"2\\\\.2$\"] }", &both, false),
            ("{ fail_if_all_match_regexp: [x] }", &[], true),
        ] {
            let rules: Validator = serde_saphyr::from_str(rules).expect(rules);
            assert_eq!(rules.finds("answer", records).is_none(), good, "{rules:?}");
        }
    }
}
