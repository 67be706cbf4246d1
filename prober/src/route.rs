//! How a connection is made where it is not made straight: from which address, to which of a name's, through which proxy.

use std::net::IpAddr;

use base64::Engine;

use crate::http::authority;
use crate::reason::{Failure, Reason};

/// More than this before the end of a head is no answer.
const MOST_HEAD: usize = 64 << 10;

/// How a connection is made; by default straight, from whatever address the system takes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Route {
    /// Try the first address of the name and no other.
    pub one_address: bool,
    /// Connect from this address.
    pub source: Option<IpAddr>,
    /// Connect to this proxy; what is timed and judged then is the proxy and the way to it.
    pub proxy: Option<Proxy>,
}

/// An HTTP proxy: TLS goes through a tunnel (CONNECT, RFC 9110, section 9.3.6), plain requests are passed on.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `name:password`, decoded.
    pub user: Option<String>,
    /// Headers of CONNECT.
    pub headers: Vec<(String, String)>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "proxy {}:{}", self.host, self.port) // the rest may be secret
    }
}

impl Proxy {
    /// The header that says who asks, if somebody is named.
    pub(crate) fn credentials(&self) -> Option<(String, String)> {
        let user = self.user.as_ref()?;
        Some(("Proxy-Authorization".into(), format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user))))
    }

    /// The request for a tunnel.
    pub(crate) fn connect(&self, host: &str, port: u16) -> String {
        // A scheme's own port is written here all the same.
        let target = authority(host, port, port != 443);
        let lines = self.credentials().into_iter().chain(self.headers.iter().cloned());
        let lines: String = lines.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n")
    }
}

/// Whether the proxy's answer, of which `head` is there, has opened the tunnel; false if more of it is to come.
///
/// # Errors
/// If the proxy refuses, or says something else.
pub(crate) fn opened(head: &[u8], over: bool) -> Result<bool, Failure> {
    let failed = |what: String| Err(Failure::new(Reason::ProxyFailed, what));
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => match response.code {
            Some(200..=299) => Ok(true),
            code => failed(format!("the proxy refuses: status {}", code.unwrap_or_default())),
        },
        Ok(httparse::Status::Partial) if over => failed("the proxy closed the connection".into()),
        Ok(httparse::Status::Partial) if head.len() > MOST_HEAD => failed("the proxy's answer does not end".into()),
        Ok(httparse::Status::Partial) => Ok(false),
        Err(error) => failed(format!("what the proxy says is no HTTP: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_asked_for_by_name_and_port() {
        let user = Some("me:p@ss".to_owned());
        let proxy = Proxy { host: "p.test".into(), port: 3128, user, headers: vec![("X-A".into(), "b".into())] };
        let said = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\nX-A: b\r\n\r\n";
        assert_eq!(proxy.connect("a.test", 443), said);
        assert!(proxy.connect("::1", 8443).starts_with("CONNECT [::1]:8443 "));
        assert!(!format!("{proxy:?}").contains("p@ss"));
    }

    #[test]
    fn a_tunnel_is_open_when_the_proxy_says_so() {
        let said = |head: &[u8], over| opened(head, over).map_err(|failure| failure.detail);
        assert_eq!(said(b"HTTP/1.1 200 Connection established\r\n\r\n", false), Ok(true));
        assert_eq!(said(b"HTTP/1.1 200 Connec", false), Ok(false));
        for (head, why) in [(&b"HTTP/1.1 407 No\r\n\r\n"[..], "407"), (b"HTTP/1.1 200", "closed"), (b"SSH-2.0\r\n", "no HTTP")] {
            assert!(said(head, true).expect_err("it is not open").contains(why));
        }
    }
}
