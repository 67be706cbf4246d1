//! Which handshakes a reader wants to see.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use analysis::clock::Span;
use analysis::judging::vocabulary::Label as Known;
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::judging::Finding;

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
    /// Begun at this time (nanoseconds since the epoch) or later.
    pub since: Option<i64>,
}

impl Filter {
    /// Whether a handshake is wanted.
    pub fn admits(&self, finding: &Finding) -> bool {
        let h = &finding.placed.handshake;
        let total = finding.judged.as_ref().ok().map(|j| j.reading.ledger.total);
        let any = |empty: bool, found: bool| empty || found;
        self.since.is_none_or(|since| finding.started >= since)
            && self.slow.is_none_or(|slow| total.is_some_and(|t| t >= slow))
            && any(self.hosts.is_empty(), self.hosts.iter().any(|w| w.is(h.endpoints.client) || w.is(h.endpoints.server)))
            && any(self.names.is_empty(), {
                let name = h.dialogue.server_name.as_deref();
                name.is_some_and(|name| self.names.iter().any(|w| w.is(name)))
            })
            && any(self.verdicts.is_empty(), self.verdicts.iter().any(|w| w.is(finding)))
    }
}

/// A server name: `example.com`, or `*.example.com` for every name below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(String);

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.strip_prefix('*').unwrap_or(text);
        if plain.is_empty() || plain.contains('*') {
            return Err(format!("'{text}' is no server name; write example.com, or *.example.com for all names below it"));
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
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self { network, port: None });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { network: address.into(), port: None });
        }
        let with_port = text.parse::<SocketAddr>();
        with_port.map(|a| Self { network: a.ip().into(), port: Some(a.port()) }).map_err(|_| {
            format!("'{text}' is no address; write 192.0.2.7, 192.0.2.0/24, 2001:db8::/32, 192.0.2.7:443 or [2001:db8::1]:443")
        })
    }
}

impl Host {
    fn is(&self, end: SocketAddr) -> bool {
        self.network.contains(&end.ip()) && self.port.is_none_or(|p| p == end.port())
    }
}

/// A verdict's label, or `slow` (anything but healthy), or `unjudged`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label(String);

impl FromStr for Label {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "slow" | "unjudged") {
            return Ok(Self(text.to_owned()));
        }
        Known::check(text).map(|()| Self(text.to_owned())).map_err(|wrong| {
            format!(
                "'{text}' is no verdict: {wrong}. There are slow, unjudged, healthy, inconclusive and aborted, too (docs/verdicts.md)"
            )
        })
    }
}

impl Label {
    fn is(&self, finding: &Finding) -> bool {
        match (&finding.judged, self.0.as_str()) {
            (Err(_), label) => label == "unjudged",
            (Ok(_), "unjudged") => false,
            (Ok(opinion), "slow") => opinion.judgement.verdict.label() != "healthy",
            (Ok(opinion), label) => opinion.judgement.verdict.names(label),
        }
    }
}

/// Reads a moment: RFC 3339 (`2026-11-25T04:00:00Z`), or how long before `now` (`10m`, `2h 30m`).
///
/// # Errors
/// Says what can be written.
pub fn moment(text: &str, now: Timestamp) -> Result<i64, String> {
    let at = text.parse::<Timestamp>().ok();
    let before = || text.parse::<SignedDuration>().ok().and_then(|ago| now.checked_sub(ago).ok());
    let nanos = at.or_else(before).and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    nanos.ok_or_else(|| format!("'{text}' is no time; write 2026-11-25T04:00:00Z, or 10m for ten minutes ago"))
}

/// Reads a length of time (`200ms`, `1.5s`).
///
/// # Errors
/// Says what can be written.
pub fn span(text: &str) -> Result<Span, String> {
    let parsed = text.parse::<SignedDuration>().ok().filter(|d| !d.is_negative());
    let nanos = parsed.and_then(|d| i64::try_from(d.as_nanos()).ok());
    nanos.map(Span::from_nanos).ok_or_else(|| format!("'{text}' is no length of time; write 200ms or 1.5s"))
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
        let end = |text: &str| text.parse::<SocketAddr>().expect("a socket address");
        assert!(host("192.0.2.0/24").is(end("192.0.2.7:1")) && !host("192.0.2.0/24").is(end("192.0.3.7:1")));
        assert!(host("192.0.2.7:443").is(end("192.0.2.7:443")) && !host("192.0.2.7:443").is(end("192.0.2.7:80")));
        assert!(host("2001:db8::/32").is(end("[2001:db8::9]:443")));
        assert!("example.com".parse::<Host>().is_err());
    }

    #[test]
    fn times_and_spans() {
        let now = "2026-11-25T04:00:00Z".parse::<Timestamp>().expect("a timestamp");
        let nanos = |text: &str| moment(text, now).expect("a moment");
        assert_eq!(nanos("10m"), nanos("2026-11-25T03:50:00Z"));
        assert_eq!(nanos("2026-11-25T05:50:00+02:00"), nanos("10m"));
        assert_eq!(span("1.5s"), Ok(Span::from_millis(1_500)));
        assert!(span("fast").is_err() && span("-5ms").is_err() && moment("yesterday", now).is_err());
    }
}
