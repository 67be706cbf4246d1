//! Where `/probe` asks, and where a redirect takes it: what may be said there depends on who listens.
//!
//! Pure. Another host, another port or a way without encryption hears no credentials, no configured cookies, no header whose value may be
//! a secret and no body, is shown no client certificate, and is not asked for the name of the host before it. Once dropped, they stay
//! dropped.

use base64::Engine;
use percent_encoding::percent_decode_str;
use url::Url;

use super::ProbeError;
use super::credentials::{authorization, of_file};
use super::http::Http;
use crate::error::Invalid;
use crate::target::host_and_port;

/// Headers that tell nothing about who asks: all others may be secrets.
const HARMLESS: [&str; 8] =
    ["accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection", "pragma", "user-agent"];

/// A request.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Request {
    pub url: Url,
    pub method: String,
    pub body: Vec<u8>,
    pub headers: Vec<(String, String)>,
    /// The name to ask for and verify, if not the address's.
    pub server_name: Option<String>,
    /// Whether the client certificate may be shown.
    pub certificate: bool,
    /// The host that the target is asked for instead of its own.
    named: Option<String>,
}

/// Reads a target: `http://…`, `https://…`, or, without either, the former.
pub(super) fn target(text: &str) -> Result<Url, Invalid> {
    let schemed = text.starts_with("http://") || text.starts_with("https://");
    let text = if schemed { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&text).map_err(|e| Invalid(format!("{text:?} is no URL: {e}")))
}

impl Request {
    /// The first request of a probe. `hostname` is what the question asks for instead of the target's name.
    pub fn first(module: &Http, url: Url, hostname: Option<&str>) -> Result<Self, ProbeError> {
        let wrong = |what: String| ProbeError::Question(Invalid(what));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut headers: Vec<(String, String)> =
            module.headers.iter().map(|(name, value)| (name.clone(), text(&value.bytes))).collect();
        for (name, all) in module.http_headers.iter().filter_map(|(name, all)| Some((name, all.as_ref()?))) {
            let files = all.files.iter().map(|path| of_file(path)).collect::<Result<Vec<_>, _>>()?;
            let values = all.values.iter().chain(&all.secrets).cloned().chain(files);
            headers.extend(values.map(|value| (name.clone(), value)));
        }
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
        // What is written itself is said instead.
        if !headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("authorization") && !value.is_empty()) {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
            headers.extend(credentials.or_else(|| basic(&url)));
        }
        let body = match &module.body_file {
            Some(path) => std::fs::read(path).map_err(|e| std::io::Error::other(format!("{}: {e}", path.display())))?,
            None => module.body.bytes.clone(),
        };
        Ok(Self {
            url,
            method: if module.method.is_empty() { "GET".into() } else { module.method.clone() },
            body,
            headers,
            server_name: module.tls_config.server_name.clone().filter(|name| !name.is_empty()).or_else(|| host.clone()),
            certificate: true,
            named: host,
        })
    }

    /// Where an answer with `status` and `location` leads to; absent if it leads nowhere.
    ///
    /// # Errors
    /// If it leads somewhere, and nobody can go there.
    pub fn redirected(&self, status: u16, location: &str) -> Result<Option<Self>, Invalid> {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) || location.is_empty() {
            return Ok(None);
        }
        let url = self.url.join(location).map_err(|e| Invalid(format!("Location: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Invalid(format!("Location: {}:// is neither http nor https", url.scheme())));
        }
        let kept = matches!(status, 307 | 308) || matches!(self.method.as_str(), "GET" | "HEAD");
        let (method, body) = match status {
            307 | 308 => (self.method.clone(), self.body.clone()),
            _ => (if kept { self.method.clone() } else { "GET".to_owned() }, Vec::new()),
        };
        let mut next = Self { method, body, ..self.clone() };
        if next.body.is_empty() && !self.body.is_empty() {
            next.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
        }
        let host = url.host_str();
        if !self.may_tell(&url) {
            if !next.body.is_empty() {
                return Err(Invalid(format!("the body is not sent on to {}", host.unwrap_or_default())));
            }
            next.headers.retain(|(name, _)| HARMLESS.contains(&name.to_ascii_lowercase().as_str()));
            next.certificate = false;
        }
        if host != self.url.host_str() {
            // By its own name it needs no other.
            next.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
            next.server_name = None;
            next.named = None;
        }
        Ok(Some(Self { url, ..next }))
    }

    /// Whether what the request was told may be told there: to the same host and port, and no less encrypted.
    fn may_tell(&self, next: &Url) -> bool {
        let encrypted = (self.url.scheme() == "https", next.scheme() == "https");
        let ports = (self.url.port_or_known_default(), next.port_or_known_default());
        let upgraded = encrypted == (false, true) && ports == (Some(80), Some(443));
        let same = encrypted.0 == encrypted.1 && ports.0 == ports.1;
        let host = next.host_str();
        (host == self.url.host_str() || host.is_some() && host == self.named.as_deref()) && (same || upgraded)
    }
}

/// The header of a name and a password in an address.
fn basic(url: &Url) -> Option<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let pair = [decoded(url.username()), decoded(url.password().unwrap_or_default())].join(&b':');
    Some(("Authorization".into(), format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        let headers =
            [("Authorization", "Basic x"), ("Cookie", "a=b"), ("X-Api-Key", "k"), ("Host", "v.test"), ("Accept", "*/*")];
        Request {
            url: target(url).expect("it is one"),
            method: "GET".into(),
            body: vec![],
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            server_name: Some("override.test".into()),
            certificate: true,
            named: Some("v.test".into()),
        }
    }

    fn next(request: &Request, status: u16, location: &str) -> Request {
        request.redirected(status, location).expect("it leads somewhere").expect("it is a redirect")
    }

    #[test]
    fn redirects_lead_where_browsers_go() {
        for (from, to, meant) in [
            ("https://a.test/b/c?d", "/e", "https://a.test/e"),
            ("https://a.test/b/c?d", "e", "https://a.test/b/e"),
            ("https://a.test/b/c?d", "../e", "https://a.test/e"),
            ("https://a.test/b/c?d", "?x=1", "https://a.test/b/c?x=1"),
            ("https://a.test", "e", "https://a.test/e"),
            ("https://a.test/b", "//c.test/d", "https://c.test/d"),
            ("http://a.test/b", "HTTPS://C.test", "https://c.test/"),
            ("a.test/b", "/x:y", "http://a.test/x:y"),
            ("http://[::1]:8443/b", "c", "http://[::1]:8443/c"),
        ] {
            assert_eq!(next(&request(from), 302, to).url.as_str(), meant, "{from} {to}");
        }
        for nowhere in ["ftp://b.test/", "mailto:x@y", "gopher://b.test/", "http://[::1"] {
            assert!(request("http://a.test/").redirected(302, nowhere).is_err(), "{nowhere}");
        }
        let smuggled = target("http://a.test/ HTTP/1.1\r\nX: y").expect("spaces are escaped");
        assert_eq!(smuggled.path(), "/%20HTTP/1.1X:%20y", "nothing is smuggled into a request");
    }

    #[test]
    fn who_is_not_the_same_host_or_hears_in_the_clear_hears_no_secret() {
        let names = |a: &Request| a.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>().join(" ");
        let all = "Authorization Cookie X-Api-Key Host Accept";
        for (from, to, kept, certificate, name_kept) in [
            ("https://a.test/", "/b", all, true, true),
            ("https://a.test/", "https://A.test/b", all, true, true),
            ("http://a.test/", "https://a.test/b", all, true, true),
            ("https://a.test/", "https://v.test/b", "Authorization Cookie X-Api-Key Accept", true, false),
            ("https://a.test/", "http://a.test/b", "Accept", false, true),
            ("https://a.test/", "https://a.test:8443/b", "Accept", false, true),
            ("https://a.test/", "https://b.test/", "Accept", false, false),
            ("https://a.test/", "//a.test.evil.test/", "Accept", false, false),
            ("https://a.test/", "https://a.test@evil.test/", "Accept", false, false),
        ] {
            let next = next(&request(from), 302, to);
            assert_eq!((names(&next).as_str(), next.certificate), (kept, certificate), "{from} → {to}");
            assert_eq!(next.server_name.is_some(), name_kept, "{from} → {to}");
        }
        let away = next(&request("https://a.test/"), 302, "https://b.test/");
        let back = next(&away, 302, "https://a.test/");
        assert_eq!((names(&back).as_str(), back.server_name), ("Accept", None), "what was dropped stays dropped");
    }

    #[test]
    fn a_body_goes_nowhere_else_and_methods_change_as_browsers_change_them() {
        let post = Request { method: "POST".into(), body: b"password=x".into(), ..request("https://a.test/") };
        assert!(post.redirected(307, "https://b.test/").is_err());
        let same = next(&post, 308, "/b");
        assert_eq!((same.method.as_str(), same.body.as_slice()), ("POST", &b"password=x"[..]));
        for (method, after) in [("POST", "GET"), ("PUT", "GET"), ("HEAD", "HEAD"), ("GET", "GET")] {
            for status in [301, 302, 303] {
                let asked = Request { method: method.into(), ..post.clone() };
                let next = next(&asked, status, "https://b.test/");
                assert_eq!((next.method.as_str(), next.body.as_slice()), (after, &b""[..]));
            }
        }
        assert_eq!(post.redirected(304, "/b"), Ok(None));
        assert_eq!(post.redirected(302, ""), Ok(None));
    }

    #[test]
    fn whoever_is_asked_for_another_host_is_to_prove_to_be_that_one() {
        let module: Http = serde_saphyr::from_str("{ headers: { host: \"v.test:8443\" } }").expect("it is read");
        let name = |module: &Http, hostname| {
            let url = target("https://192.0.2.1/").expect("it is one");
            Request::first(module, url, hostname).map(|a| a.server_name).map_err(|e| e.to_string())
        };
        assert_eq!(name(&module, None), Ok(Some("v.test".into())));
        assert_eq!(name(&Http::default(), Some("w.test")), Ok(Some("w.test".into())));
        assert_eq!(name(&Http::default(), None), Ok(None));
        assert!(name(&module, Some("w.test")).is_err() && name(&Http::default(), Some("a\r\nb")).is_err());
    }

    #[test]
    fn a_name_and_password_in_the_address_are_credentials_and_a_header_may_be_repeated() {
        let module: Http = serde_saphyr::from_str("{ http_headers: { X-A: { values: [b, c] } } }").expect("it is read");
        let first = Request::first(&module, target("http://me:p%40ss@a.test/").expect("it is one"), None).expect("an address");
        let said: Vec<(&str, &str)> = first.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(said, [("X-A", "b"), ("X-A", "c"), ("Authorization", "Basic bWU6cEBzcw==")]);
    }

    #[test]
    fn a_header_that_is_written_is_said_instead_of_credentials() {
        for (module, address, said) in [
            ("{ headers: { authorization: Token t }, basic_auth: { username: a, password: b } }", "http://a.test/", "Token t"),
            ("{ headers: { Authorization: Token t } }", "http://me:pw@a.test/", "Token t"),
            ("{ http_headers: { Authorization: { values: [Token t] } }, bearer_token: b }", "http://a.test/", "Token t"),
            ("{ headers: { Authorization: \"\" }, bearer_token: b }", "http://a.test/", "Bearer b"),
            ("{ bearer_token: b }", "http://me:pw@a.test/", "Bearer b"),
        ] {
            let read: Http = serde_saphyr::from_str(module).expect("it is read");
            let first = Request::first(&read, target(address).expect("it is one"), None).expect("an address");
            let all = first.headers.iter().filter(|(n, v)| n.eq_ignore_ascii_case("authorization") && !v.is_empty());
            assert_eq!(all.map(|(_, v)| v.as_str()).collect::<Vec<_>>(), [said], "{module} {address}");
        }
    }
}
