//! What is done at a check's target, by how the target is written.
//!
//! `https://host:port/path`: the handshake and a request behind it; `host:port`: the handshake alone. Another kind is a variant of
//! [`TargetKind`]; the compiler names what it must say of itself.

use prober::HttpRequest;
use settings::Wrong;

/// What is done at a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetKind {
    /// The handshake alone.
    Handshake,
    /// A request behind it.
    Request {
        /// Path and query.
        path: String,
    },
}

/// A target, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParsedTarget {
    /// The name to look up, ask for and verify.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is done there.
    pub kind: TargetKind,
}

impl ParsedTarget {
    /// Reads a target as a check file has it.
    ///
    /// # Errors
    /// If it is none: says what to write.
    pub fn read(target: &str) -> Result<Self, Wrong> {
        if target.starts_with("http://") {
            return Err(Wrong::new("plain HTTP has no handshake: use https:// or host:port"));
        }
        let (authority, kind) = match target.strip_prefix("https://") {
            Some(rest) => {
                let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
                (authority, TargetKind::Request { path: path.to_owned() })
            }
            None => (target, TargetKind::Handshake),
        };
        if authority.contains('@') {
            return Err(Wrong::new("it has credentials in it, which would end on pages and in messages: leave them out"));
        }
        let (host, port) = host_and_port(authority, kind.usual_port()).map_err(|e| Wrong::new(e.to_string()))?;
        Ok(Self { host, port, kind })
    }
}

impl TargetKind {
    /// The port where none is named.
    fn usual_port(&self) -> Option<u16> {
        match self {
            TargetKind::Handshake => None,
            TargetKind::Request { .. } => Some(443),
        }
    }

    /// Protocols to offer (ALPN) where the check names none.
    pub fn usual_protocols(&self) -> Vec<String> {
        match self {
            TargetKind::Handshake => Vec::new(),
            TargetKind::Request { .. } => vec!["http/1.1".into()],
        }
    }

    /// Whether it can be done once one of these protocols was agreed on.
    ///
    /// # Errors
    /// Says why not.
    pub fn check_protocols(&self, protocols: &[String]) -> Result<(), Wrong> {
        match self {
            TargetKind::Request { .. } if protocols.iter().any(|p| p == "h2") => {
                Err(Wrong::new("a request is made in HTTP/1.1: with alpn h2, check the handshake alone (host:port)"))
            }
            TargetKind::Handshake | TargetKind::Request { .. } => Ok(()),
        }
    }

    /// The request behind the handshake.
    pub fn request(&self, headers: Vec<(String, String)>) -> Option<HttpRequest> {
        match self {
            TargetKind::Handshake => None,
            TargetKind::Request { path } => Some(HttpRequest { path: path.clone(), headers, ..HttpRequest::default() }),
        }
    }
}

/// An address that somebody wrote is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// No number behind the colon.
    #[error("{0:?}: no port behind the colon")]
    Port(String),
    /// 0 is none.
    #[error("{0:?}: 0 is no port")]
    PortZero(String),
    /// IPv6 without brackets: which of its colons is the port's?
    #[error("{0:?}: an IPv6 address stands in brackets: [::1]:443")]
    Bare(String),
    /// No host before it.
    #[error("{0:?} names no host")]
    Host(String),
    /// No port, and there is no usual one.
    #[error("{0:?}: write host:port, or https://host/")]
    NoPort(String),
}

/// Takes `host:port`, `[v6]:port` or, with a usual port, `host` apart.
///
/// # Errors
/// If there is no port and no usual one, or one that is none.
pub fn host_and_port(authority: &str, usual: Option<u16>) -> Result<(String, u16), AddressError> {
    if let (Ok(_), Some(port)) = (authority.parse::<std::net::Ipv6Addr>(), usual) {
        return Ok((authority.to_owned(), port));
    }
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[after_bracket..].rfind(':') {
        Some(at) => {
            let (host, port) = authority.split_at(after_bracket + at);
            match port[1..].parse::<u16>() {
                Ok(0) => return Err(AddressError::PortZero(authority.to_owned())),
                Ok(port) => (host, Some(port)),
                Err(_) => return Err(AddressError::Port(authority.to_owned())),
            }
        }
        None => (authority, usual),
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(AddressError::Bare(authority.to_owned()));
    }
    let host = host.trim_matches(['[', ']']);
    match port {
        _ if host.is_empty() => Err(AddressError::Host(authority.to_owned())),
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(AddressError::NoPort(authority.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_target_is_said_without_its_secrets() {
        let wrong = |text: &str| ParsedTarget::read(text).expect_err("it is none").what;
        for text in ["https://u:hunter2@a/", "u:hunter2@a:443"] {
            assert!(wrong(text).contains("credentials") && !wrong(text).contains("hunter2"), "{}", wrong(text));
        }
        assert!(wrong("a:0").contains("0 is no port"), "{}", wrong("a:0"));
        assert!(wrong("::1:443").contains("brackets"), "{}", wrong("::1:443"));
        assert_eq!(ParsedTarget::read("[::1]:443").map(|t| (t.host, t.port)), Ok(("::1".into(), 443)));
    }

    #[test]
    fn a_target_says_what_is_done_there() {
        let place = |host: &str, port, kind| ParsedTarget { host: host.into(), port, kind };
        let request = |path: &str| TargetKind::Request { path: path.into() };
        for (text, meant) in [
            ("https://a.test", place("a.test", 443, request("/"))),
            ("https://a.test:8443/b?c=d", place("a.test", 8443, request("/b?c=d"))),
            ("https://[2001:db8::1]/", place("2001:db8::1", 443, request("/"))),
            ("a.test:443", place("a.test", 443, TargetKind::Handshake)),
            ("[2001:db8::1]:853", place("2001:db8::1", 853, TargetKind::Handshake)),
        ] {
            assert_eq!(ParsedTarget::read(text), Ok(meant), "{text}");
        }
        for (text, said) in [
            ("http://a.test", "plain HTTP"),
            ("a.test", "\"a.test\": write host:port"),
            ("a.test:https", "no port behind the colon"),
            ("https://:443/", "names no host"),
            ("a.test:99999", "no port"),
        ] {
            let error = ParsedTarget::read(text).expect_err(text);
            assert!(error.what.contains(said), "{error:?}");
        }
    }

    #[test]
    fn a_request_cannot_be_made_in_http_2() {
        let request = TargetKind::Request { path: "/".into() };
        assert!(request.check_protocols(&["http/1.1".into(), "h2".into()]).is_err());
        assert!(
            TargetKind::Handshake.check_protocols(&["h2".into()]).is_ok()
                && request.check_protocols(&request.usual_protocols()).is_ok()
        );
    }
}
