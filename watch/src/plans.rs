//! Checks with their defaults filled in, and what is wrong with them.

use std::collections::BTreeSet;

use alerting::states::KofN;
use prober::tls::Only;
use settings::{Time, Wrong};

use crate::checks::{Check, CheckFile, SeenFrom, Thresholds};
use crate::error::Invalid;
use crate::target::{ParsedTarget, TargetKind, host_and_port};

/// A check with everything it needs, defaults filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// As in the file.
    pub check: Check,
    /// The name to look up, ask for and verify.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is done there.
    pub kind: TargetKind,
    /// The version offered alone, if one is.
    pub only: Option<Only>,
    /// Time between rounds.
    pub interval: Time,
    /// Give up after so long.
    pub timeout: Time,
    /// Alert when.
    pub fire: KofN,
    /// Over when.
    pub resolve_after: u32,
    /// In a fleet: alert when so many vantages see it.
    pub from: SeenFrom,
    /// Bad when.
    pub thresholds: Thresholds,
}

impl CheckFile {
    /// Every check with its defaults.
    ///
    /// # Errors
    /// Names the check and what is wrong with it.
    pub fn plans(&self) -> Result<Vec<Plan>, Invalid> {
        self.planned().map_err(|wrong| Invalid(wrong.what))
    }

    pub(crate) fn planned(&self) -> Result<Vec<Plan>, Wrong> {
        if self.checks.is_empty() && self.watch.blackbox.is_none() {
            return Err(Wrong::new("there is no [[check]]: write one, or blackbox below [watch] for /probe alone"));
        }
        self.check_rules()?;
        let (mut names, mut plans) = (BTreeSet::new(), Vec::new());
        for (n, check) in self.checks.iter().enumerate() {
            if !names.insert(&check.name) {
                return Err(Wrong::at("name", format!("two checks are named {:?}", check.name)).within(n).within("check"));
            }
            let own = |wrong: Wrong| wrong.of(&format!("check {:?}", check.name)).within(n).within("check");
            self.check_rules_of(check).map_err(own)?;
            plans.push(self.plan(check).map_err(own)?);
        }
        Ok(plans)
    }

    fn plan(&self, check: &Check) -> Result<Plan, Wrong> {
        let d = &self.defaults;
        let ParsedTarget { host, port, kind } = ParsedTarget::read(&check.target).map_err(|wrong| wrong.within("target"))?;
        let only = check.tls.as_deref().map(only).transpose().map_err(|wrong| wrong.within("tls"))?;
        if check.certificate.is_some() != check.key.is_some() {
            let key = if check.key.is_some() { "key" } else { "certificate" };
            return Err(Wrong::at(key, "certificate and key come together"));
        }
        if let Some(to) = &check.connect_to {
            host_and_port(to, Some(port)).map_err(|e| Wrong::at("connect_to", e.to_string()))?;
        }
        kind.check_protocols(&check.alpn).map_err(|wrong| wrong.within("alpn"))?;
        let fire = check.fire.unwrap_or(d.fire);
        let thresholds = check.thresholds.over(&d.thresholds);
        let (interval, timeout) = (check.interval.unwrap_or(d.interval), check.timeout.unwrap_or(d.timeout));
        let resolve_after = check.resolve_after.unwrap_or(d.resolve_after).max(1);
        let from = check.from.as_ref().unwrap_or(&d.from).clone();
        from.check().map_err(|wrong| wrong.within("from"))?;
        Ok(Plan { check: check.clone(), host, port, kind, only, interval, timeout, fire, resolve_after, from, thresholds })
    }
}

/// The version that a check's `tls` names.
fn only(version: &str) -> Result<Only, Wrong> {
    match version {
        "1.2" => Ok(Only::Tls12),
        "1.3" => Ok(Only::Tls13),
        other => Err(Wrong::new(format!("tls = {other:?}: it is \"1.2\" or \"1.3\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_check_does_not_name_is_as_in_the_defaults() {
        let text = "[defaults]\nthresholds = { culprit = \"2s\", certificate_days = 30, phase = { dns = \"1s\", finish = \"3s\" } }\n\
                    [[check]]\nname = \"a\"\ntarget = \"https://a.test/\"\nthresholds = { edge = \"3s\", phase = { dns = \"5s\" } }\n";
        let plans = CheckFile::parse(text).expect("it is whole").plans().expect("it can be so");
        let thresholds = &plans[0].thresholds;
        assert_eq!(
            (thresholds.culprit(), thresholds.edge, thresholds.certificate_days()),
            (Time::secs(2), Some(Time::secs(3)), 30)
        );
        let phase = &thresholds.phase;
        assert_eq!((phase["dns"], phase["finish"]), (Time::secs(5), Time::secs(3)));
    }

    #[test]
    fn a_file_may_be_there_for_probes_alone() {
        for text in ["[watch]\nblackbox = \"bb.yml\"\n", "check = []\n[watch]\nblackbox = \"bb.yml\"\n"] {
            let file = CheckFile::parse(text).expect(text);
            assert_eq!(file.plans().map_err(|e| e.to_string()), Ok(vec![]));
        }
        for text in ["", "check = []\n", "[watch]\nvantage = \"a\"\n"] {
            let error = CheckFile::parse(text).expect_err(text).to_string();
            assert!(error.contains("there is no [[check]]") && error.contains("blackbox"), "{error}");
        }
    }
}
