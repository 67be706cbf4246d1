//! What kind of trouble an alert is about: a closed vocabulary that routing can rely on.

use serde::{Deserialize, Serialize};

use crate::culprit::Culprit;

/// A family of alerts. Each has one `alertname`, which does not change with the culprit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Family {
    /// Handshakes or answers are slow.
    #[default]
    Slow,
    /// Handshakes or requests fail.
    Failing,
    /// A certificate ends soon.
    Certificate,
    /// The prober itself is too sick to judge others.
    Prober,
}

impl Family {
    /// All there are.
    pub const ALL: &[Family] = <Family as strum::VariantArray>::VARIANTS;

    /// Its name in files and messages.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// The `alertname` of its alerts.
    pub const fn alert_name(self) -> &'static str {
        match self {
            Family::Slow => "WhostalledSlowHandshake",
            Family::Failing => "WhostalledCheckFailing",
            Family::Certificate => "WhostalledCertificateEnds",
            Family::Prober => "WhostalledProberSick",
        }
    }

    /// How much it hurts, where somebody at `culprit` is to blame.
    pub const fn severity(self, culprit: Culprit) -> Severity {
        match (self, culprit) {
            (Family::Failing, Culprit::Access | Culprit::Prober) => Severity::Warning,
            (Family::Failing, _) => Severity::Critical,
            (Family::Slow | Family::Certificate | Family::Prober, _) => Severity::Warning,
        }
    }
}

/// How much an alert hurts, in the words that Alertmanager's and PagerDuty's users route by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Users are turned away: somebody should look now.
    Critical,
    /// Users wait, or will be turned away in days: somebody should look.
    Warning,
}

impl Severity {
    /// Its name in labels.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_family_has_an_alert_name_of_its_own() {
        let names: BTreeSet<&str> = Family::ALL.iter().map(|family| family.alert_name()).collect();
        assert_eq!(names.len(), Family::ALL.len());
    }
}
