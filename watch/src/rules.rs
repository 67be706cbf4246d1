//! What a check file may ask for: rules that no type knows, each with the place of what breaks it.

use alerting::states::KofN;
use axum::http::HeaderName;
use rustls_pki_types::ServerName;
use settings::{Time, Wrong};

use crate::checks::{Check, CheckFile, Maintenance, Thresholds};
use crate::target::ParsedTarget;

/// Phases that may have a threshold.
const PHASES: [&str; 7] = ["dns", "connect", "client_hello", "server_flight", "client_finished", "finish", "request"];
/// Bytes of a protocol's name (RFC 7301).
const MOST_PROTOCOL: usize = 255;
/// What is looked at more seldom is not watched: alerts count rounds.
const MOST_INTERVAL: Time = Time::secs(7 * 24 * 3_600);
/// A shorter interval would have the prober measure itself.
const LEAST_INTERVAL: Time = Time::millis(10);
/// Good rounds that an alert may wait for: with more it would be on for weeks.
const MOST_RESOLVE: u32 = 1_000;

impl CheckFile {
    /// Whether the watcher itself, the gate and the defaults can be as they are written.
    pub(crate) fn check_rules(&self) -> Result<(), Wrong> {
        let (watch, gate, defaults) = (&self.watch, &self.gate, &self.defaults);
        let of_watch = |key: &str, what: &str| Wrong::at(key, what).within("watch");
        if watch.most_under_way == 0 {
            return Err(of_watch("most_under_way", "with none under way, nothing is ever probed: 1 at least"));
        }
        if watch.retention < Time::secs(60) {
            return Err(of_watch("retention", "rounds are kept for a minute at least, as retention = \"14d\""));
        }
        if let Some(url) = &watch.external_url
            && !["http://", "https://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
        {
            return Err(of_watch("external_url", "links in alerts begin with it: write https://host/"));
        }
        if gate.reference_interval < Time::millis(100) {
            return Err(Wrong::at("reference_interval", "100ms at least: each is a handshake").within("gate"));
        }
        let own = check_times(Some(defaults.interval), Some(defaults.timeout))
            .and_then(|()| check_fire(defaults.fire))
            .and_then(|()| check_resolve(defaults.resolve_after))
            .and_then(|()| check_thresholds(&defaults.thresholds));
        own.map_err(|wrong| wrong.within("defaults"))
    }

    /// Whether a check's own fields can be as they are written.
    pub(crate) fn check_rules_of(&self, check: &Check) -> Result<(), Wrong> {
        check_times(check.interval, check.timeout)?;
        check.fire.map_or(Ok(()), check_fire)?;
        check.resolve_after.map_or(Ok(()), check_resolve)?;
        check_thresholds(&check.thresholds)?;
        let host = ParsedTarget::read(&check.target).map_err(|wrong| wrong.within("target"))?.host;
        let names = [("server_name", check.server_name.as_ref()), ("target", Some(&host))];
        for (key, name) in names.into_iter().filter_map(|(key, name)| Some((key, name?))) {
            if ServerName::try_from(name.as_str()).is_err() {
                return Err(Wrong::at(key, format!("{name:?} is no host's name and no address")));
            }
        }
        if let Some(name) = check.headers.keys().find(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            return Err(Wrong::at(name, format!("{name:?} is no header's name")).within("headers"));
        }
        if let Some(n) = check.alpn.iter().position(|p| p.is_empty() || p.len() > MOST_PROTOCOL) {
            return Err(Wrong::new(format!("a protocol's name has 1 to {MOST_PROTOCOL} bytes")).within(n).within("alpn"));
        }
        if let Some(n) = check.status.iter().position(|status| !(100..=599).contains(status)) {
            return Err(Wrong::new(format!("{} is no HTTP status", check.status[n])).within(n).within("status"));
        }
        Ok(())
    }

    /// Whether maintenance windows begin before they end, and are of checks that there are.
    pub(crate) fn check_windows(&self) -> Result<(), Wrong> {
        for (n, window) in self.maintenance.iter().enumerate() {
            self.check_window(window).map_err(|wrong| wrong.within(n).within("maintenance"))?;
        }
        Ok(())
    }

    fn check_window(&self, window: &Maintenance) -> Result<(), Wrong> {
        let (from, to) = (window.from, window.to);
        if to <= from {
            return Err(Wrong::at("to", format!("maintenance from {from} to {to}: it ends before it begins; exchange the two")));
        }
        let length = to.as_second() - from.as_second();
        match window.every.map(|every| i64::try_from(every.0.as_secs()).unwrap_or(i64::MAX)) {
            Some(0) => return Err(Wrong::at("every", "maintenance comes again after a second at least, as every = \"7d\"")),
            Some(every) if every <= length => {
                return Err(Wrong::at("every", "it comes again before it ends: it would never be over, and nobody alerted"));
            }
            Some(_) | None => {}
        }
        let means_one = |pattern: &String| self.checks.iter().any(|check| Maintenance::means(pattern, &check.name));
        match window.checks.iter().position(|pattern| !means_one(pattern)) {
            Some(i) => Err(Wrong::new(format!("no check is called {:?}", window.checks[i])).within(i).within("checks")),
            None => Ok(()),
        }
    }

    /// Thresholds that no round can reach, because it is given up before.
    pub(crate) fn never_reached(&self) -> Vec<String> {
        let each = self.checks.iter().filter_map(|check| {
            let timeout = check.timeout.unwrap_or(self.defaults.timeout);
            let thresholds = check.thresholds.over(&self.defaults.thresholds);
            let phases = thresholds.phase.iter().map(|(name, limit)| (format!("phase.{name}"), *limit));
            let (name, _) =
                phases.chain(thresholds.total.map(|limit| ("total".into(), limit))).find(|(_, limit)| *limit >= timeout)?;
            Some(format!("check {:?}: its threshold {name} is never reached: a round is given up after its timeout", check.name))
        });
        each.collect()
    }
}

fn check_times(interval: Option<Time>, timeout: Option<Time>) -> Result<(), Wrong> {
    if interval.is_some_and(|interval| interval < LEAST_INTERVAL) {
        return Err(Wrong::at("interval", "interval is at least 10ms"));
    }
    if interval.is_some_and(|interval| interval > MOST_INTERVAL) {
        return Err(Wrong::at("interval", "a check is made once a week at least (7d)"));
    }
    match timeout {
        Some(timeout) if timeout.0.is_zero() => Err(Wrong::at("timeout", "timeout is more than 0")),
        Some(_) | None => Ok(()),
    }
}

fn check_fire(fire: KofN) -> Result<(), Wrong> {
    if fire.k == 0 || fire.k > fire.n || fire.n > 100 {
        let what = format!("fire = {} of {}: k is at least 1, at most n, and n at most 100", fire.k, fire.n);
        return Err(Wrong::at("fire", what));
    }
    Ok(())
}

fn check_resolve(resolve_after: u32) -> Result<(), Wrong> {
    if resolve_after > MOST_RESOLVE {
        let what = format!("resolve_after = {resolve_after}: an alert is over after {MOST_RESOLVE} good rounds at most");
        return Err(Wrong::at("resolve_after", what));
    }
    Ok(())
}

fn check_thresholds(thresholds: &Thresholds) -> Result<(), Wrong> {
    let within = |wrong: Wrong| wrong.within("thresholds");
    if let Some(unknown) = thresholds.phase.keys().find(|phase| !PHASES.contains(&phase.as_str())) {
        let what = format!("thresholds.phase.{unknown}: phases are {}", PHASES.join(", "));
        return Err(within(Wrong::at(unknown, what).within("phase")));
    }
    let none = || "a threshold of 0 makes every round bad: write more, as \"100ms\"".to_owned();
    if let Some((phase, _)) = thresholds.phase.iter().find(|(_, limit)| limit.0.is_zero()) {
        return Err(within(Wrong::at(phase, none()).within("phase")));
    }
    let Thresholds { culprit, edge, path, loss, resolver, total, .. } = thresholds;
    let each =
        [("culprit", *culprit), ("edge", *edge), ("path", *path), ("loss", *loss), ("resolver", *resolver), ("total", *total)];
    match each.into_iter().find(|(_, limit)| limit.is_some_and(|limit| limit.0.is_zero())) {
        Some((key, _)) => Err(within(Wrong::at(key, none()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::checks::CheckFile;

    const CHECK: &str = "[[check]]\nname = \"log\"\ntarget = \"https://edge.test/\"\n";

    #[test]
    fn what_cannot_be_is_refused_with_its_line_and_column() {
        let window = |rest: &str| {
            format!("{CHECK}[[maintenance]]\nfrom = \"2026-12-01T02:00:00Z\"\nto = \"2026-12-01T04:00:00Z\"\n{rest}\n")
        };
        for (text, place, said) in [
            (window("checks = [\"login*\"]"), "line 7, column 11", "no check is called"),
            (window("every = \"2h\""), "line 7, column 1", "before it ends"),
            (window("every = \"0s\""), "line 7, column 1", "a second at least"),
            (format!("[watch]\nmost_under_way = 0\n{CHECK}"), "line 2, column 1", "nothing is ever probed"),
            (format!("[watch]\nexternal_url = \"page.test\"\n{CHECK}"), "line 2, column 1", "https://host/"),
            (format!("[gate]\nreference_interval = \"0s\"\n{CHECK}"), "line 2, column 1", "100ms"),
            (format!("[defaults]\nthresholds = {{ culprit = \"0s\" }}\n{CHECK}"), "line 2, column 16", "every round bad"),
            (
                format!("[defaults]\nthresholds = {{ phase = {{ tls = \"1s\" }} }}\n{CHECK}"),
                "line 2, column 26",
                "phases are dns",
            ),
            (format!("[defaults]\ninterval = \"1ms\"\n{CHECK}"), "line 2, column 1", "at least 10ms"),
            (format!("{CHECK}server_name = \"a b\"\n"), "line 4, column 1", "no host's name"),
            (format!("{CHECK}headers = {{ \"a b\" = \"c\" }}\n"), "line 4, column 13", "no header's name"),
            (format!("{CHECK}alpn = [\"\"]\n"), "line 4, column 9", "1 to 255"),
            (format!("{CHECK}status = [200, 20]\n"), "line 4, column 16", "no HTTP status"),
            (format!("{CHECK}timeout = \"0s\"\n"), "line 4, column 1", "more than 0"),
            (format!("{CHECK}resolve_after = 536870912\n"), "line 4, column 1", "1000 good rounds"),
            (format!("[defaults]\nresolve_after = 1001\n{CHECK}"), "line 2, column 1", "1000 good rounds"),
            (window("every = \"1d\"").replace("T04:00:00Z", "T04:00:00+01:00[Europe/Berlin]"), "line 6, column", "zone's name"),
        ] {
            let error = CheckFile::parse(&text).expect_err(&text).to_string();
            assert!(error.starts_with(place) && error.contains(said), "{text}: {error}");
        }
        assert!(CheckFile::parse(&window("checks = [\"lo*\"]\nevery = \"7d\"")).is_ok());
    }

    #[test]
    fn a_threshold_beyond_the_timeout_is_noted() {
        let file =
            CheckFile::parse(&format!("{CHECK}timeout = \"1s\"\nthresholds = {{ total = \"2s\" }}\n")).expect("it is valid");
        assert!(file.never_reached()[0].contains("total"));
        assert!(CheckFile::parse(CHECK).expect("it is valid").never_reached().is_empty());
    }
}
