//! Where `/probe` asks, and where a redirect takes it: what may be said there depends on who listens.
//!
//! Pure. Another host, another port or a way without encryption hears no credentials, no cookies, no header whose value may be a secret
//! and no body, is shown no client certificate, and is not asked for the name of the host before it. Once dropped, they stay dropped.

use base64::Engine;

use super::ProbeError;
use super::credentials::authorization;
use super::http::Http;
use crate::error::Invalid;
use crate::target::host_and_port;

/// Headers that tell nothing about who asks: all others may be secrets.
const HARMLESS: [&str; 8] =
    ["accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection", "pragma", "user-agent"];

/// An address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Url {
    pub encrypted: bool,
    /// `name:password`, as it stands in the address.
    user: Option<String>,
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Url {
    /// Reads `http://…`, `https://…`, or, without either, the former.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Invalid("an address has no spaces and no control characters: write %20 and the like".into()));
        }
        let (encrypted, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                return Err(Invalid(format!("{scheme}://: only http and https")));
            }
            _ => (false, text),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let (user, authority) =
            authority.rsplit_once('@').map_or((None, authority), |(user, rest)| (Some(user.to_owned()), rest));
        let (host, port) =
            host_and_port(authority, Some(if encrypted { 443 } else { 80 })).map_err(|e| Invalid(e.to_string()))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { encrypted, user, host: host.to_ascii_lowercase(), port, path })
    }

    /// Where a redirect leads (RFC 3986, section 5.2, as far as servers use it).
    fn join(&self, to: &str) -> Result<Self, Invalid> {
        let to = to.split('#').next().unwrap_or(to);
        let scheme = if self.encrypted { "https" } else { "http" };
        let lower = to.to_ascii_lowercase();
        if lower.starts_with("http://") || lower.starts_with("https://") {
            return Self::parse(to);
        }
        if to.starts_with("//") {
            return Self::parse(&format!("{scheme}:{to}"));
        }
        let before_query = self.path.split('?').next().unwrap_or_default();
        let path = match to {
            "" => self.path.clone(),
            _ if to.starts_with('/') => to.to_owned(),
            _ if to.starts_with('?') => format!("{before_query}{to}"),
            _ => {
                // `a:b` names a scheme that is not ours; a colon behind a slash belongs to the path.
                if to.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
                    return Err(Invalid("only http and https".into()));
                }
                format!("{}{to}", before_query.rfind('/').map_or("/", |at| &before_query[..=at]))
            }
        };
        if path.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Invalid("an address has no spaces and no control characters".into()));
        }
        Ok(Self { path, user: None, ..self.clone() })
    }

    /// Whether what `self` was told may be told to `next`: the same host and port, and no less encrypted.
    fn may_tell(&self, next: &Self) -> bool {
        let ports = (self.port, next.port);
        let upgraded = !self.encrypted && next.encrypted && ports == (80, 443);
        let same = self.encrypted == next.encrypted && ports.0 == ports.1;
        self.host == next.host && (same || upgraded)
    }
}

/// A request.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Request {
    pub url: Url,
    pub method: String,
    pub body: String,
    pub headers: Vec<(String, String)>,
    /// The name to ask for and verify, if not the address's.
    pub server_name: Option<String>,
    /// Whether the client certificate may be shown.
    pub certificate: bool,
}

impl Request {
    /// The first request of a probe. `hostname` is what the question asks for instead of the target's name.
    pub fn first(module: &Http, target: &str, hostname: Option<&str>) -> Result<Self, ProbeError> {
        let wrong = |what: String| ProbeError::Question(Invalid(what));
        let url = Url::parse(target).map_err(ProbeError::Question)?;
        let mut headers: Vec<(String, String)> = module.headers.clone().into_iter().collect();
        let named = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, host)| host.clone());
        match (&named, hostname) {
            (Some(host), Some(wanted)) if host != wanted => {
                return Err(wrong(format!("hostname={wanted} and the module's header Host: {host}: name one of them")));
            }
            (None, Some(wanted)) if wanted.contains(|c: char| c.is_control() || c == ' ') => {
                return Err(wrong("hostname has spaces or control characters".into()));
            }
            (None, Some(wanted)) => headers.push(("Host".into(), wanted.into())),
            _ => {}
        }
        // Whoever is asked for another host is to prove to be that one.
        let host = named.as_deref().or(hostname).and_then(|host| host_and_port(host, Some(0)).ok()).map(|(host, _)| host);
        let credentials = authorization(module)?;
        headers.extend(credentials.or_else(|| url.user.as_deref().map(basic)));
        Ok(Self {
            url,
            method: if module.method.is_empty() { "GET".into() } else { module.method.clone() },
            body: module.body.clone(),
            headers,
            server_name: module.tls_config.server_name.clone().or(host),
            certificate: true,
        })
    }

    /// The request that an answer with `status` and `location` leads to; absent if it leads to none.
    pub fn redirected(&self, status: u16, location: &str) -> Option<Self> {
        let url = self.url.join(location).ok()?;
        let (method, body) = match status {
            307 | 308 => (self.method.clone(), self.body.clone()),
            303 if self.method != "HEAD" => ("GET".to_owned(), String::new()),
            301 | 302 if self.method == "POST" => ("GET".to_owned(), String::new()),
            301..=303 => (self.method.clone(), self.body.clone()),
            _ => return None,
        };
        let mut next = Self { method, body, ..self.clone() };
        if next.body.is_empty() && !self.body.is_empty() {
            next.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
        }
        if !self.url.may_tell(&url) {
            if !next.body.is_empty() {
                return None; // the body is for whom it was written for
            }
            next.headers.retain(|(name, _)| HARMLESS.contains(&name.to_ascii_lowercase().as_str()));
            next.certificate = false;
        }
        if self.url.host != url.host {
            next.server_name = None;
        }
        Some(Self { url, ..next })
    }
}

/// The header of a name and a password in an address.
fn basic(user: &str) -> (String, String) {
    let pair = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
    ("Authorization".into(), format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decoded(&pair))))
}

/// `%40` is `@`.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(b) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *b == b'%').and_then(|h| std::str::from_utf8(h).ok());
        let value = hex.and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(value.unwrap_or(*b));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(from: &str, to: &str) -> Result<String, Invalid> {
        let url = Url::parse(from)?.join(to)?;
        let scheme = if url.encrypted { "https" } else { "http" };
        Ok(format!("{scheme}://{}:{}{}", url.host, url.port, url.path))
    }

    #[test]
    fn redirects_lead_where_browsers_go() {
        for (from, to, meant) in [
            ("https://a.test/b/c?d", "/e", "https://a.test:443/e"),
            ("https://a.test/b/c?d", "e", "https://a.test:443/b/e"),
            ("https://a.test/b/c?d", "?x=1", "https://a.test:443/b/c?x=1"),
            ("https://a.test", "e", "https://a.test:443/e"),
            ("https://a.test/b", "//c.test/d", "https://c.test:443/d"),
            ("http://a.test/b", "HTTPS://C.test", "https://c.test:443/"),
            ("http://a.test/b", "/x:y#z", "http://a.test:80/x:y"),
            ("http://[::1]:8443/b", "c", "http://::1:8443/c"),
        ] {
            assert_eq!(join(from, to).expect("it leads somewhere"), meant, "{from} {to}");
        }
        assert!(join("http://a.test/", "ftp://b.test/").is_err() && join("http://a.test/", "mailto:x@y").is_err());
        assert!(Url::parse("http://a.test/ HTTP/1.1\r\nX: y").is_err(), "nothing is smuggled into a request");
    }

    fn request(url: &str) -> Request {
        let headers =
            [("Authorization", "Basic x"), ("Cookie", "a=b"), ("X-Api-Key", "k"), ("Host", "v.test"), ("Accept", "*/*")];
        Request {
            url: Url::parse(url).expect("it is one"),
            method: "GET".into(),
            body: String::new(),
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            server_name: Some("override.test".into()),
            certificate: true,
        }
    }

    #[test]
    fn who_is_not_the_same_host_or_hears_in_the_clear_hears_no_secret() {
        let names = |a: &Request| a.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>().join(" ");
        for (from, to, kept, name_kept) in [
            ("https://a.test/", "/b", true, true),
            ("https://a.test/", "https://A.test/b", true, true),
            ("http://a.test/", "https://a.test/b", true, true),
            ("https://a.test/", "http://a.test/b", false, true),
            ("https://a.test/", "https://a.test:8443/b", false, true),
            ("https://a.test/", "https://b.test/", false, false),
            ("https://a.test/", "//a.test.evil.test/", false, false),
            ("https://a.test/", "https://a.test@evil.test/", false, false),
        ] {
            let next = request(from).redirected(302, to).expect("it is followed");
            let wanted = if kept { "Authorization Cookie X-Api-Key Host Accept" } else { "Accept" };
            assert_eq!((names(&next).as_str(), next.certificate), (wanted, kept), "{from} → {to}");
            assert_eq!(next.server_name.is_some(), name_kept, "{from} → {to}");
        }
        let away = request("https://a.test/").redirected(302, "https://b.test/").expect("it is followed");
        let back = away.redirected(302, "https://a.test/").expect("it is followed");
        assert_eq!((names(&back).as_str(), back.server_name), ("Accept", None), "what was dropped stays dropped");
    }

    #[test]
    fn a_body_goes_nowhere_else_and_methods_change_as_browsers_change_them() {
        let post = Request { method: "POST".into(), body: "password=x".into(), ..request("https://a.test/") };
        assert_eq!(post.redirected(307, "https://b.test/"), None);
        let same = post.redirected(308, "/b").expect("the same host");
        assert_eq!((same.method.as_str(), same.body.as_str()), ("POST", "password=x"));
        for status in [301, 302, 303] {
            let next = post.redirected(status, "https://b.test/").expect("it is followed, without the body");
            assert_eq!((next.method.as_str(), next.body.as_str()), ("GET", ""));
        }
        assert_eq!(post.redirected(304, "/b"), None);
        assert_eq!(post.redirected(302, "gopher://b.test/"), None);
    }

    #[test]
    fn whoever_is_asked_for_another_host_is_to_prove_to_be_that_one() {
        let module = Http { headers: [("host".to_owned(), "v.test:8443".to_owned())].into(), ..Http::default() };
        let name = |module: &Http, hostname| {
            Request::first(module, "https://192.0.2.1/", hostname).map(|a| a.server_name).map_err(|e| e.to_string())
        };
        assert_eq!(name(&module, None), Ok(Some("v.test".into())));
        assert_eq!(name(&Http::default(), Some("w.test")), Ok(Some("w.test".into())));
        assert_eq!(name(&Http::default(), None), Ok(None));
        assert!(name(&module, Some("w.test")).is_err() && name(&Http::default(), Some("a\r\nb")).is_err());
    }

    #[test]
    fn a_name_and_password_in_the_address_are_credentials() {
        let first = Request::first(&Http::default(), "http://me:p%40ss@a.test/", None).expect("it is an address");
        assert_eq!(first.headers, [("Authorization".to_owned(), "Basic bWU6cEBzcw==".to_owned())]);
        assert_eq!(first.url.host, "a.test");
    }
}
