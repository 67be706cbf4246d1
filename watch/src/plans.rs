//! Checks with their defaults filled in, and what is wrong with them.

use std::collections::BTreeSet;

use settings::Wrong;

use crate::checks::{Check, CheckFile, KofN, Thresholds};
use crate::duration::Time;

/// A check with everything it needs, defaults filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// As in the file.
    pub check: Check,
    /// The name to look up, ask for and verify.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path to ask for, if any.
    pub path: Option<String>,
    /// Time between rounds.
    pub interval: Time,
    /// Give up after so long.
    pub timeout: Time,
    /// Alert when.
    pub fire: KofN,
    /// Over when.
    pub resolve_after: u32,
    /// Bad when.
    pub thresholds: Thresholds,
}

impl CheckFile {
    /// Every check with its defaults.
    ///
    /// # Errors
    /// Names the check and what is wrong with it.
    pub fn plans(&self) -> Result<Vec<Plan>, String> {
        self.planned().map_err(|wrong| wrong.what)
    }

    pub(crate) fn planned(&self) -> Result<Vec<Plan>, Wrong> {
        if self.checks.is_empty() {
            return Err(Wrong::new("there is no [[check]]"));
        }
        let (mut names, mut plans) = (BTreeSet::new(), Vec::new());
        for (n, check) in self.checks.iter().enumerate() {
            let plan = match names.insert(&check.name) {
                true => self.plan(check).map_err(|wrong| wrong.of(&format!("check {:?}", check.name))),
                false => Err(Wrong::at("name", format!("two checks are named {:?}", check.name))),
            };
            plans.push(plan.map_err(|wrong| wrong.within(n).within("check"))?);
        }
        Ok(plans)
    }

    fn plan(&self, check: &Check) -> Result<Plan, Wrong> {
        let d = &self.defaults;
        if check.target.starts_with("http://") {
            return Err(Wrong::at("target", "plain HTTP has no handshake: use https:// or host:port"));
        }
        let (authority, path) = match check.target.strip_prefix("https://") {
            Some(rest) => match rest.find('/') {
                Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
                None => (rest, Some("/".into())),
            },
            None => (check.target.as_str(), None),
        };
        let (host, port) = host_and_port(authority, path.is_some().then_some(443)).map_err(|e| Wrong::at("target", e))?;
        if let Some(tls) = check.tls.as_deref().filter(|t| !matches!(*t, "1.2" | "1.3")) {
            return Err(Wrong::at("tls", format!("tls = {tls:?}: it is \"1.2\" or \"1.3\"")));
        }
        if check.certificate.is_some() != check.key.is_some() {
            let key = if check.key.is_some() { "key" } else { "certificate" };
            return Err(Wrong::at(key, "certificate and key come together"));
        }
        if let Some(to) = &check.connect_to {
            host_and_port(to, Some(port)).map_err(|e| Wrong::at("connect_to", e))?;
        }
        if path.is_some() && check.alpn.iter().any(|p| p == "h2") {
            return Err(Wrong::at("alpn", "a request is made in HTTP/1.1: with alpn h2, check the handshake alone (host:port)"));
        }
        let fire = check.fire.unwrap_or(d.fire);
        if fire.k == 0 || fire.k > fire.n || fire.n > 100 {
            let what = format!("fire = {} of {}: k is at least 1, at most n, and n at most 100", fire.k, fire.n);
            return Err(Wrong::at("fire", what));
        }
        let thresholds = check.thresholds.clone().unwrap_or_else(|| d.thresholds.clone());
        let phases = ["dns", "connect", "client_hello", "server_flight", "client_finished", "finish", "request"];
        if let Some(unknown) = thresholds.phase.keys().find(|p| !phases.contains(&p.as_str())) {
            let what = format!("thresholds.phase.{unknown}: phases are {}", phases.join(", "));
            return Err(Wrong::at(unknown, what).within("phase").within("thresholds"));
        }
        let (interval, timeout) = (check.interval.unwrap_or(d.interval), check.timeout.unwrap_or(d.timeout));
        if interval.0.as_millis() < 10 || timeout.0.is_zero() {
            let key = if timeout.0.is_zero() { "timeout" } else { "interval" };
            return Err(Wrong::at(key, "interval is at least 10ms, timeout more than 0"));
        }
        let resolve_after = check.resolve_after.unwrap_or(d.resolve_after).max(1);
        Ok(Plan { check: check.clone(), host, port, path, interval, timeout, fire, resolve_after, thresholds })
    }
}

/// Takes `host:port`, `[v6]:port` or, with a default port, `host` apart.
///
/// # Errors
/// If there is no port and no default, or one that is none.
pub fn host_and_port(authority: &str, default: Option<u16>) -> Result<(String, u16), String> {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[after_bracket..].rfind(':') {
        Some(at) => {
            let (host, port) = authority.split_at(after_bracket + at);
            (host, Some(port[1..].parse::<u16>().map_err(|_| format!("{authority:?}: no port behind the colon"))?))
        }
        None => (authority, default),
    };
    let host = host.trim_matches(['[', ']']);
    match port {
        _ if host.is_empty() => Err(format!("{authority:?} names no host")),
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(format!("{authority:?}: write host:port, or https://host/")),
    }
}
