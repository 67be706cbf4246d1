//! Names: which check a round is of, and whether names can be shown and receivers take them.

use std::net::IpAddr;

use alerting::event::OURS;
use alerting::receiver::{Names, distinct};
use settings::Wrong;
use settings::words::plain;

use crate::checks::{Addresses, Check, CheckFile};

impl CheckFile {
    /// The check that a round is of. Its name is the check's; with `addresses = "each"`, the address stands behind it.
    pub fn check_of(&self, round: &str) -> Option<&Check> {
        let exact = self.checks.iter().find(|c| c.name == round);
        exact.or_else(|| {
            let (name, address) = round.rsplit_once(' ')?;
            address.parse::<IpAddr>().ok()?;
            self.checks.iter().find(|c| c.addresses == Addresses::Each && c.name == name)
        })
    }

    /// Where somebody looks at what an alert is of: at the check, or at all there is.
    pub(crate) fn link(&self, name: &str) -> String {
        match self.check_of(name) {
            Some(_) => self.watch.link(name),
            None => format!("{}/", self.watch.base()),
        }
    }

    /// Whether names can be shown, and receivers will take them.
    pub(crate) fn check_names(&self) -> Result<(), Wrong> {
        let watch = |key: &str, wrong: Wrong| wrong.within(key).within("watch");
        plain("vantage", &self.watch.vantage).map_err(|e| watch("vantage", Wrong::new(e)))?;
        for (n, check) in self.checks.iter().enumerate() {
            self.check_names_of(check).map_err(|wrong| wrong.within(n).within("check"))?;
        }
        for (n, receiver) in self.receivers.iter().enumerate() {
            receiver.check().map_err(|wrong| wrong.within(n).within("receiver"))?;
        }
        distinct(&self.receivers).map_err(|wrong| wrong.within("receiver"))?;
        for (n, window) in self.maintenance.iter().enumerate() {
            for (i, name) in window.checks.iter().enumerate() {
                let within = |e| Wrong::new(e).within(i).within("checks").within(n).within("maintenance");
                plain("maintenance of", name).map_err(within)?;
            }
        }
        Ok(())
    }

    fn check_names_of(&self, check: &Check) -> Result<(), Wrong> {
        if check.name.trim().is_empty() {
            return Err(Wrong::at("name", "a check needs a name"));
        }
        if OURS.contains(&check.name.as_str()) {
            let what = format!("alerts about what checks are called {:?}: name the check otherwise", check.name);
            return Err(Wrong::at("name", what));
        }
        plain("the check's name", &check.name).map_err(|e| Wrong::at("name", e))?;
        plain("target", &check.target).map_err(|e| Wrong::at("target", e))?;
        for (label, value) in &check.labels {
            let wrong = |what: String| Wrong::at(label, what).within("labels").of(&format!("check {:?}", check.name));
            plain("the label", label).map_err(|e| wrong(e.into()))?;
            plain("the label's value", value).map_err(|e| wrong(e.into()))?;
        }
        let names = Names { check: &check.name, vantage: &self.watch.vantage, labels: &check.labels };
        self.receivers.iter().try_for_each(|receiver| receiver.accepts(&names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKS: &str = "[[check]]\nname = \"log\"\ntarget = \"log.test:443\"\naddresses = \"each\"\n\
        [[check]]\nname = \"login\"\ntarget = \"login.test:443\"\n[[check]]\nname = \"log in\"\ntarget = \"in.test:443\"\n";
    const ALERTMANAGER: &str = "[[receiver]]\nkind = \"alertmanager\"\nurl = \"http://am.test:9093\"\n";

    #[test]
    fn a_round_is_of_the_check_whose_name_it_has_and_of_no_shorter_one() {
        let file = CheckFile::parse(CHECKS).expect("it is valid");
        let of = |round: &str| file.check_of(round).map(|c| c.target.as_str());
        assert_eq!(of("log"), Some("log.test:443"));
        assert_eq!(of("login"), Some("login.test:443"));
        assert_eq!(of("log in"), Some("in.test:443"));
        assert_eq!(of("log 192.0.2.1"), Some("log.test:443"));
        assert_eq!(of("log 2001:db8::1"), Some("log.test:443"));
        assert_eq!(of("login 192.0.2.1"), None, "its addresses are not probed each");
        assert_eq!((of("log out"), of("logout"), of("lo")), (None, None, None));
    }

    #[test]
    fn labels_that_alertmanager_refuses_are_refused_with_their_line() {
        let with = |labels: &str, receiver: &str| {
            CheckFile::parse(&format!("[[check]]\nname = \"a\"\ntarget = \"a.test:443\"\nlabels = {labels}\n{receiver}"))
        };
        let error = with("{ \"my-team\" = \"x\" }", ALERTMANAGER).expect_err("a bad name").to_string();
        assert!(error.contains("line 4") && error.contains("my-team") && error.contains("my_team"), "{error}");
        let error = with("{ check = \"x\" }", ALERTMANAGER).expect_err("the alert's own").to_string();
        assert!(error.contains("line 4") && error.contains("\"check\""), "{error}");
        assert!(with("{ my_team = \"x\", _2 = \"y\" }", ALERTMANAGER).is_ok());
        assert!(with("{ \"my-team\" = \"x\" }", "[[receiver]]\nkind = \"webhook\"\nurl = \"http://h.test/\"\n").is_ok());
    }

    #[test]
    fn names_with_control_characters_are_refused_with_their_line() {
        for (text, line) in [
            ("[[check]]\nname = \"a\\u001b[31mb\"\ntarget = \"a.test:443\"\n", "line 2"),
            ("[[check]]\nname = \"a\\nb\"\ntarget = \"a.test:443\"\n", "line 2"),
            ("[[check]]\nname = \"a\"\ntarget = \"a\\u0007.test:443\"\n", "line 3"),
            ("[[check]]\nname = \"a\"\ntarget = \"a.test:443\"\nlabels = { x = \"\\u0085\" }\n", "line 4"),
            ("[watch]\nvantage = \"\\u001b\"\n[[check]]\nname = \"a\"\ntarget = \"a.test:443\"\n", "line 2"),
            ("[[check]]\nname = \"  \"\ntarget = \"a.test:443\"\n", "line 2"),
            (
                "[[check]]\nname = \"a\"\ntarget = \"a.test:443\"\n[[receiver]]\nkind = \"webhook\"\nurl = \"http://h\\u001b/\"\n",
                "line 6",
            ),
        ] {
            let error = CheckFile::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(line) && !error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn a_name_of_ours_and_a_receiver_that_is_there_twice_are_refused_with_their_line() {
        let check = |name: &str| format!("[[check]]\nname = \"{name}\"\ntarget = \"a.test:443\"\n");
        for name in ["prober", "agent", "agents", "access"] {
            let error = CheckFile::parse(&check(name)).expect_err(name).to_string();
            assert!(error.starts_with("line 2") && error.contains("otherwise"), "{error}");
        }
        assert!(CheckFile::parse(&check("prober 2")).is_ok());
        let text = format!("{}{ALERTMANAGER}{ALERTMANAGER}", check("a"));
        let error = CheckFile::parse(&text).expect_err("it is there twice").to_string();
        assert!(error.starts_with("line 9") && error.contains("another receiver"), "{error}");
    }

    #[test]
    fn names_too_long_for_pagerduty_are_refused() {
        let name = "n".repeat(250);
        let text = format!("[[check]]\nname = \"{name}\"\ntarget = \"a.test:443\"\n");
        assert!(CheckFile::parse(&text).is_ok());
        let pagerduty = "[[receiver]]\nkind = \"pagerduty\"\nrouting_key = { env = \"K\" }\n";
        let error = CheckFile::parse(&format!("{text}{pagerduty}")).expect_err("too long").to_string();
        assert!(error.contains("line 2") && error.contains("PagerDuty"), "{error}");
    }
}
