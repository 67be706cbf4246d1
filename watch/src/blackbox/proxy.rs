//! Proxies of the prober `http`: which one a request goes through, if any.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use prober::Proxy;
use serde::Deserialize;
use url::Url;

use super::modules::{Rest, nullable};
use crate::error::Invalid;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Proxies {
    #[serde(deserialize_with = "nullable")]
    proxy_url: String,
    #[serde(deserialize_with = "nullable")]
    no_proxy: String,
    #[serde(deserialize_with = "nullable")]
    proxy_from_environment: bool,
    #[serde(deserialize_with = "nullable")]
    proxy_connect_header: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    skip_resolve_phase_with_proxy: bool,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl Proxies {
    /// Why the proxy cannot be used.
    pub(super) fn refused(&self) -> Option<String> {
        let url = Url::parse(&self.proxy_url).ok()?;
        (url.scheme() != "http").then(|| format!("proxy_url: {}:// is not spoken here, http:// is", url.scheme()))
    }

    /// Whether the exporter says nothing of addresses, as it looks none up.
    pub(super) fn skips_lookup(&self) -> bool {
        self.skip_resolve_phase_with_proxy && !self.proxy_url.is_empty()
    }

    /// As the exporter checks it.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let wrong = |what: &str| Err(Invalid(what.to_owned()));
        let (url, environment) = (!self.proxy_url.is_empty(), self.proxy_from_environment);
        match () {
            () if url && Url::parse(&self.proxy_url).is_err() => wrong("proxy_url is no URL"),
            () if environment && url => wrong("proxy_from_environment and proxy_url: write one of them"),
            () if environment && !self.no_proxy.is_empty() => wrong("proxy_from_environment and no_proxy: write one of them"),
            () if !self.no_proxy.is_empty() && !url => wrong("no_proxy without proxy_url"),
            () if !self.proxy_connect_header.is_empty() && !url && !environment => wrong("proxy_connect_header without a proxy"),
            () => Ok(()),
        }
    }

    /// The proxy for `url`; `environment` tells what a variable says.
    pub(super) fn proxy(&self, url: &Url, environment: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, Invalid> {
        let either = |name: &str| environment(name).or_else(|| environment(&name.to_ascii_lowercase()));
        let (proxy, none, asked) = if self.proxy_from_environment {
            let name = if url.scheme() == "https" { "HTTPS_PROXY" } else { "HTTP_PROXY" };
            (either(name).unwrap_or_default(), either("NO_PROXY").unwrap_or_default(), true)
        } else {
            (self.proxy_url.clone(), self.no_proxy.clone(), !self.no_proxy.is_empty())
        };
        if proxy.is_empty() || asked && is_direct(url, &none) {
            return Ok(None);
        }
        let text = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
        let found = Url::parse(&text).ok().filter(|url| url.scheme() == "http");
        let found = found.ok_or_else(|| Invalid("the proxy is no http:// URL".into()))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (!found.username().is_empty())
            .then(|| format!("{}:{}", decoded(found.username()), decoded(found.password().unwrap_or_default())));
        let headers = self.proxy_connect_header.iter();
        let headers = headers.flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())));
        Ok(Some(Proxy {
            host: found.host_str().unwrap_or_default().to_owned(),
            port: found.port_or_known_default().unwrap_or(80),
            user,
            headers: headers.collect(),
        }))
    }
}

/// Whether a list of exceptions has this host: names with all below them, addresses, networks, each with a port or without; `*` is all.
/// Loopback is always among them.
fn is_direct(url: &Url, list: &str) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let port = url.port_or_known_default();
    let ip: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    list.split(',').map(|one| one.trim().to_ascii_lowercase()).filter(|one| !one.is_empty()).any(|one| {
        if one == "*" || ip.zip(one.parse::<IpNet>().ok()).is_some_and(|(ip, net)| net.contains(&ip)) {
            return true;
        }
        let (name, its_port) = match one.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?))) {
            // An IPv6 address has colons of its own.
            Some((name, its_port)) if !name.contains(':') || name.ends_with(']') => (name.to_owned(), Some(its_port)),
            _ => (one, None),
        };
        let name = name.trim_matches(['[', ']']);
        let below = name.trim_start_matches('*').trim_start_matches('.');
        let own = !name.starts_with('.') && !name.starts_with("*.") && host == name;
        (own || host.ends_with(&format!(".{below}")) && ip.is_none()) && its_port.is_none_or(|its_port| Some(its_port) == port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        let direct = |url: &str, list: &str| is_direct(&Url::parse(url).expect("it is one"), list);
        for (url, list) in [
            ("http://a.test/", "a.test"),
            ("http://b.a.test/", "a.test"),
            ("http://b.a.test/", " x, .a.test"),
            ("http://192.0.2.7/", "192.0.2.0/24"),
            ("http://192.0.2.7/", "192.0.2.7"),
            ("http://a.test:8080/", "a.test:8080"),
            ("http://[2001:db8::1]/", "2001:db8::1"),
            ("http://c.test/", "*"),
            ("http://127.0.0.1/", ""),
            ("http://localhost/", ""),
        ] {
            assert!(direct(url, list), "{url} {list}");
        }
        for (url, list) in [
            ("http://aa.test/", "a.test"),
            ("http://a.test/", ".a.test"),
            ("http://a.test:8080/", "a.test:80"),
            ("http://192.0.3.7/", "192.0.2.0/24"),
            ("http://a.test/", ""),
        ] {
            assert!(!direct(url, list), "{url} {list}");
        }
    }

    #[test]
    fn a_proxy_comes_from_the_file_or_from_the_environment() {
        let url = Url::parse("https://a.test/").expect("it is one");
        let section: Proxies =
            serde_saphyr::from_str("{ proxy_url: \"http://me:p%40@p.test:3128\", no_proxy: b.test }").expect("it is read");
        let found = section.proxy(&url, |_| None).expect("it is one").expect("it is used");
        assert_eq!((found.host.as_str(), found.port, found.user.as_deref()), ("p.test", 3128, Some("me:p@")));
        let section: Proxies = serde_saphyr::from_str("{ proxy_from_environment: true }").expect("it is read");
        let of = |name: &str| (name == "https_proxy").then(|| "q.test:1".to_owned());
        assert_eq!(section.proxy(&url, of).expect("it is one").map(|p| (p.host, p.port)), Some(("q.test".into(), 1)));
        assert!(section.proxy(&url, |_| None).expect("none is set").is_none());
    }
}
