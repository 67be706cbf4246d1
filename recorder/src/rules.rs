//! What a configuration may ask for: rules that no type knows, each with the place of what breaks it.

use std::collections::BTreeMap;

use alerting::receiver::{Names, distinct};
use bytesize::ByteSize;
use settings::words::{NotPlain, plain};
use settings::{Time, Wrong};

use crate::alerter::check_of;
use crate::config::{Config, Log};
use crate::tally::KEPT;

const PHASES: [&str; 5] = ["connect", "client_hello", "server_flight", "client_finished", "finish"];
const OWNERS: [&str; 6] = ["client", "path", "loss", "edge", "protocol", "unattributed"];
/// Headers of Ethernet, IPv6 and TCP with all of its options.
const LEAST_SNAPLEN: u16 = 128;
/// What a handshake of all bytes that the filter lets pass takes, and its repetitions.
const LEAST_QUOTA: ByteSize = ByteSize::mib(1);

impl Config {
    /// Whether names can be shown: on the page, in metrics, in alerts.
    pub(crate) fn check_names(&self) -> Result<(), Wrong> {
        let capture = |key: &str, refused: NotPlain| Wrong::at(key, refused).within("capture");
        plain("site", &self.capture.site).map_err(|e| capture("site", e))?;
        for (n, interface) in self.capture.interfaces.iter().enumerate() {
            plain("the interface", interface).map_err(|e| capture("interfaces", e))?;
            if self.capture.interfaces[..n].contains(interface) {
                let what = format!("{interface} is named twice: each of its packets would count twice");
                return Err(Wrong::new(what).within(n).within("interfaces").within("capture"));
            }
        }
        for (n, network) in self.networks.iter().enumerate() {
            plain("the network's name", &network.name).map_err(|e| Wrong::at("name", e).within(n).within("network"))?;
        }
        distinct(&self.receivers).map_err(|wrong| wrong.within("receiver"))?;
        let none = BTreeMap::new();
        for (n, receiver) in self.receivers.iter().enumerate() {
            receiver.check().map_err(|wrong| wrong.within(n).within("receiver"))?;
            for (i, network) in self.networks.iter().enumerate() {
                let alert = check_of(&format!("path {}", network.name));
                let names = Names { check: &alert, vantage: &self.capture.site, labels: &none };
                receiver.accepts(&names).map_err(|wrong| Wrong::at("name", wrong.what).within(i).within("network"))?;
            }
        }
        Ok(())
    }

    /// Whether numbers and lengths of time can be as they are written.
    pub(crate) fn check_rules(&self) -> Result<(), Wrong> {
        self.check_capture().map_err(|wrong| wrong.within("capture"))?;
        self.check_evidence().map_err(|wrong| wrong.within("evidence"))?;
        self.check_slow().map_err(|wrong| wrong.within("slow"))?;
        self.check_alerts().map_err(|wrong| wrong.within("alerts"))?;
        for (n, network) in self.networks.iter().enumerate() {
            if network.prefixes.is_empty() {
                let what = "a network has prefixes, as prefixes = [\"192.0.2.0/24\"]";
                return Err(Wrong::at("prefixes", what).within(n).within("network"));
            }
        }
        for (n, log) in self.logs.iter().enumerate() {
            if let Log::File { path, .. } = log
                && path.is_dir()
            {
                let what = format!("{} is a folder: name the file that grows", path.display());
                return Err(Wrong::at("path", what).within(n).within("log"));
            }
        }
        Ok(())
    }

    fn check_capture(&self) -> Result<(), Wrong> {
        let capture = &self.capture;
        if capture.control.as_os_str().is_empty() {
            return Err(Wrong::at("control", "name the control socket"));
        }
        if capture.memory < ByteSize::mib(1) {
            return Err(Wrong::at("memory", format!("memory = \"{}\": at least 1MiB", capture.memory)));
        }
        if let Some(n) = capture.ports.iter().position(|port| *port == 0) {
            return Err(Wrong::new("0 is no port").within(n).within("ports"));
        }
        if capture.snaplen < LEAST_SNAPLEN {
            return Err(Wrong::at("snaplen", format!("at least {LEAST_SNAPLEN} bytes of each packet: its headers")));
        }
        let tables = [("flows", capture.flows), ("half_open", capture.half_open)];
        match tables.into_iter().find(|(_, entries)| *entries == 0) {
            Some((key, _)) => Err(Wrong::at(key, "the filter remembers one connection at least")),
            None => Ok(()),
        }
    }

    fn check_evidence(&self) -> Result<(), Wrong> {
        let e = &self.evidence;
        if e.folder.as_os_str().is_empty() {
            return Err(Wrong::at("folder", "name the folder for evidence"));
        }
        if e.quota < LEAST_QUOTA {
            return Err(Wrong::at(
                "quota",
                format!("quota = \"{}\": at least {LEAST_QUOTA}, what the largest handshakes take", e.quota),
            ));
        }
        let rates = [
            ("per_second", e.per_second, 0.0),
            ("burst", e.burst, 1.0),
            ("network_per_second", e.network_per_second, 0.0),
            ("network_burst", e.network_burst, 1.0),
        ];
        match rates.into_iter().find(|(_, rate, least)| !(rate.is_finite() && rate >= least)) {
            Some((key, _, least)) => Err(Wrong::at(key, format!("at least {least}"))),
            None => Ok(()),
        }
    }

    fn check_slow(&self) -> Result<(), Wrong> {
        let slow = &self.slow;
        for (table, named, known) in [("phases", &slow.phases, &PHASES[..]), ("owners", &slow.owners, &OWNERS[..])] {
            for (name, least) in named {
                let wrong = |what: String| Wrong::at(name, what).within(table);
                if !known.contains(&name.as_str()) {
                    return Err(wrong(format!("[slow.{table}] {name}: there are {}", known.join(", "))));
                }
                if least.0.is_zero() {
                    return Err(wrong("a threshold of 0 makes every handshake slow".into()));
                }
            }
        }
        match [("excess", Some(slow.excess)), ("total", slow.total)].into_iter().find(|(_, t)| t.is_some_and(|t| t.0.is_zero())) {
            Some((key, _)) => Err(Wrong::at(key, "a threshold of 0 makes every handshake slow")),
            None => Ok(()),
        }
    }

    fn check_alerts(&self) -> Result<(), Wrong> {
        let alerts = &self.alerts;
        let kept = Time::secs(KEPT.as_secs());
        if alerts.window < Time::secs(1) || alerts.window > kept {
            return Err(Wrong::at("window", format!("from 1s to {}s: counts are kept no longer", KEPT.as_secs())));
        }
        if alerts.every < Time::secs(1) {
            return Err(Wrong::at("every", "at least 1s"));
        }
        if !(0.0..=1.0).contains(&alerts.share) {
            return Err(Wrong::at("share", "a share of all handshakes, from 0 to 1"));
        }
        if alerts.least == 0 {
            return Err(Wrong::at("least", "at least 1: with 0, no handshake at all would alert"));
        }
        let fire = alerts.fire;
        if fire.k == 0 || fire.k > fire.n {
            return Err(Wrong::at("fire", format!("fire = {{ k = {}, n = {} }}: k is from 1 to n", fire.k, fire.n)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_cannot_be_is_refused_with_its_line_and_column() {
        for (text, place, said) in [
            ("[capture]\nmemory = \"1KiB\"\n", "line 2, column 1", "1MiB"),
            ("[capture]\nports = [443, 0]\n", "line 2, column 15", "no port"),
            ("[capture]\nflows = 0\n", "line 2, column 1", "one connection"),
            ("[capture]\ninterfaces = [\"lo\", \"eth0\", \"lo\"]\n", "line 2, column 29", "named twice"),
            ("[capture]\ncontrol = \"\"\n", "line 2, column 1", "control socket"),
            ("[evidence]\nfolder = \"\"\n", "line 2, column 1", "the folder"),
            ("[evidence]\nquota = \"0B\"\n", "line 2, column 1", "at least 1"),
            ("[evidence]\nburst = 0.5\n", "line 2, column 1", "at least 1"),
            ("[evidence]\nper_second = -1.0\n", "line 2, column 1", "at least 0"),
            ("[slow]\nowners.proxy = \"1s\"\n", "line 2, column 8", "there are client"),
            ("[slow]\nexcess = \"0s\"\n", "line 2, column 1", "every handshake"),
            ("[alerts]\nwindow = \"1h\"\n", "line 2, column 1", "600s"),
            ("[alerts]\nshare = 5.0\n", "line 2, column 1", "from 0 to 1"),
            ("[alerts]\nfire = { k = 3, n = 2 }\n", "line 2, column 1", "k is from 1"),
            ("[[network]]\nname = \"a\"\nprefixes = []\n", "line 3, column 1", "192.0.2.0/24"),
            ("[[log]]\nkind = \"file\"\npath = \"/tmp\"\n", "line 3, column 1", "is a folder"),
            ("[[receiver]]\nkind = \"webhook\"\nurl = \"nowhere\"\n", "line 3, column 1", "http://"),
        ] {
            let error = Config::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(place) && error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_network_whose_alert_is_too_long_for_a_receiver_is_refused() {
        let name = "n".repeat(250);
        let network = format!("[capture]\nsite = \"s\"\n[[network]]\nname = \"{name}\"\nprefixes = [\"192.0.2.0/24\"]\n");
        assert!(Config::parse(&network).is_ok());
        let pagerduty = format!("{network}[[receiver]]\nkind = \"pagerduty\"\nrouting_key = {{ env = \"K\" }}\n");
        let error = Config::parse(&pagerduty).expect_err("too long").to_string();
        assert!(error.starts_with("line 4, column 1") && error.contains("PagerDuty"), "{error}");
    }
}
