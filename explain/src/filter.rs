//! Which handshakes a reader wants to see.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use analysis::clock::{Instant, Span, Unplaced};
use analysis::judging::verdict::Verdict;
use analysis::judging::vocabulary::Label as Known;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::judging::Finding;

/// A condition that means nothing: the user's, who is told what can be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// No server name.
    #[error("'{0}' is no server name; write example.com, or *.example.com for all names below it")]
    Name(String),
    /// No address.
    #[error("'{0}' is no address; write 192.0.2.7, 192.0.2.0/24, 2001:db8::/32, 192.0.2.7:443 or [2001:db8::1]:443")]
    Host(String),
    /// No verdict.
    #[error(
        "'{label}' is no verdict: {wrong}. There are slow, unjudged, healthy, inconclusive and aborted, too (docs/verdicts.md)"
    )]
    Label {
        /// What is written.
        label: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// No moment.
    #[error("'{0}' is no time; write 2026-11-25T04:00:00Z, or 10m for ten minutes ago")]
    Moment(String),
    /// No length of time.
    #[error("'{0}' is no length of time; write 200ms or 1.5s")]
    Span(String),
}

/// Conditions, all of which must hold; several of one sort are alternatives.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    /// It took at least so long, lookup included.
    pub slow: Option<Span>,
    /// Server names.
    pub names: Vec<Name>,
    /// Addresses of either end.
    pub hosts: Vec<Host>,
    /// Verdicts.
    pub verdicts: Vec<Label>,
    /// Begun at this time or later, on the clock of the capture or the program.
    pub since: Option<Instant<Unplaced>>,
}

impl Filter {
    /// Whether a handshake is wanted.
    pub fn admits(&self, finding: &Finding) -> bool {
        let h = &finding.placed.handshake;
        let opinion = finding.judged.as_ref().ok();
        self.admit(&Facts {
            started: Some(finding.started),
            total: opinion.map(|j| j.reading.ledger.total),
            ends: [h.endpoints.client, h.endpoints.server].map(|end| (Some(end.ip()), Some(end.port()))),
            name: h.dialogue.server_name.as_deref(),
            verdict: opinion.map(|j| &j.judgement.verdict),
        })
    }

    /// Whether somebody of whom this is known is wanted. What is not known meets no condition.
    pub(crate) fn admit(&self, facts: &Facts<'_>) -> bool {
        let any = |empty: bool, found: bool| empty || found;
        self.since.is_none_or(|since| facts.started.is_some_and(|started| started >= since))
            && self.slow.is_none_or(|slow| facts.total.is_some_and(|t| t >= slow))
            && any(self.hosts.is_empty(), self.hosts.iter().any(|w| facts.ends.iter().any(|end| w.is(*end))))
            && any(self.names.is_empty(), facts.name.is_some_and(|name| self.names.iter().any(|w| w.is(name))))
            && any(self.verdicts.is_empty(), self.verdicts.iter().any(|w| w.is(facts.verdict)))
    }
}

/// What conditions are about.
pub(crate) struct Facts<'a> {
    /// When it began.
    pub(crate) started: Option<Instant<Unplaced>>,
    /// How long it took.
    pub(crate) total: Option<Span>,
    /// Both ends, as far as they are known.
    pub(crate) ends: [(Option<IpAddr>, Option<u16>); 2],
    /// The server's name.
    pub(crate) name: Option<&'a str>,
    /// What was said of it.
    pub(crate) verdict: Option<&'a Verdict>,
}

/// A server name: `example.com`, or `*.example.com` for every name below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(String);

impl FromStr for Name {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.strip_prefix('*').unwrap_or(text);
        if plain.is_empty() || plain.contains('*') {
            return Err(Error::Name(text.to_owned()));
        }
        Ok(Self(text.trim_end_matches('.').to_ascii_lowercase()))
    }
}

impl Name {
    fn is(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.0.strip_prefix('*').map_or(self.0 == name, |suffix| name.ends_with(suffix))
    }
}

/// An address, a network, or an address with a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    network: IpNet,
    port: Option<u16>,
}

impl FromStr for Host {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self { network, port: None });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { network: address.into(), port: None });
        }
        let with_port = text.parse::<SocketAddr>();
        with_port.map(|a| Self { network: a.ip().into(), port: Some(a.port()) }).map_err(|_| Error::Host(text.to_owned()))
    }
}

impl Host {
    fn is(&self, (ip, port): (Option<IpAddr>, Option<u16>)) -> bool {
        ip.is_some_and(|ip| self.network.contains(&ip)) && self.port.is_none_or(|wanted| port == Some(wanted))
    }
}

/// A verdict's label, or `slow` (anything but healthy), or `unjudged`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label(String);

impl FromStr for Label {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if matches!(text, "slow" | "unjudged") {
            return Ok(Self(text.to_owned()));
        }
        match Known::check(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(wrong) => Err(Error::Label { label: text.to_owned(), wrong: wrong.to_string() }),
        }
    }
}

impl Label {
    fn is(&self, verdict: Option<&Verdict>) -> bool {
        match (verdict, self.0.as_str()) {
            (None, label) => label == "unjudged",
            (Some(_), "unjudged") => false,
            (Some(verdict), "slow") => verdict.label() != "healthy",
            (Some(verdict), label) => verdict.names(label),
        }
    }
}

/// Reads a moment: RFC 3339 (`2026-11-25T04:00:00Z`), or how long before `now` (`10m`, `2h 30m`).
///
/// # Errors
/// Says what can be written.
pub fn moment(text: &str, now: Timestamp) -> Result<Instant<Unplaced>, Error> {
    let at = text.parse::<Timestamp>().ok();
    let before = || text.parse::<SignedDuration>().ok().and_then(|ago| now.checked_sub(ago).ok());
    let nanos = at.or_else(before).and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    nanos.map(Instant::from_nanos).ok_or_else(|| Error::Moment(text.to_owned()))
}

/// Reads a length of time (`200ms`, `1.5s`).
///
/// # Errors
/// Says what can be written.
pub fn span(text: &str) -> Result<Span, Error> {
    let parsed = text.parse::<SignedDuration>().ok().filter(|d| !d.is_negative());
    let nanos = parsed.and_then(|d| i64::try_from(d.as_nanos()).ok());
    nanos.map(Span::from_nanos).ok_or_else(|| Error::Span(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_exactly_or_below() {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        assert!(name("Example.com").is("example.COM.") && !name("example.com").is("www.example.com"));
        assert!(name("*.example.com").is("www.example.com") && !name("*.example.com").is("example.com"));
        assert!("*".parse::<Name>().is_err() && "a.*.b".parse::<Name>().is_err());
    }

    #[test]
    fn hosts_are_addresses_networks_or_sockets() {
        let host = |text: &str| text.parse::<Host>().expect("a host");
        let end = |text: &str| {
            let end: SocketAddr = text.parse().expect("a socket address");
            (Some(end.ip()), Some(end.port()))
        };
        assert!(host("192.0.2.0/24").is(end("192.0.2.7:1")) && !host("192.0.2.0/24").is(end("192.0.3.7:1")));
        assert!(host("192.0.2.7:443").is(end("192.0.2.7:443")) && !host("192.0.2.7:443").is(end("192.0.2.7:80")));
        assert!(host("2001:db8::/32").is(end("[2001:db8::9]:443")));
        let no_port = (end("192.0.2.7:1").0, None);
        assert!(host("192.0.2.7").is(no_port) && !host("192.0.2.7:1").is(no_port) && !host("192.0.2.7").is((None, Some(1))));
        assert!("example.com".parse::<Host>().is_err());
    }

    #[test]
    fn times_and_spans() {
        let now = "2026-11-25T04:00:00Z".parse::<Timestamp>().expect("a timestamp");
        let at = |text: &str| moment(text, now).expect("a moment");
        assert_eq!(at("10m"), at("2026-11-25T03:50:00Z"));
        assert_eq!(at("2026-11-25T05:50:00+02:00"), at("10m"));
        assert_eq!(span("1.5s"), Ok(Span::from_millis(1_500)));
        assert!(span("fast").is_err() && span("-5ms").is_err() && moment("yesterday", now).is_err());
    }
}
