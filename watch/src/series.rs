//! Which series of metrics a check has: those of a check that is no more go with it.
//!
//! A family of metrics cannot say which labels it has, so they are noted as they are made.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::{ByCheck, ByCulprit, ByOwner, ByPhase, ByReason, Metrics};

/// Series by check.
#[derive(Default)]
pub(crate) struct Series(BTreeMap<String, BTreeSet<Label>>);

/// A check's label beside its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Label {
    Culprit(String),
    Reason(String),
    Phase(String),
    Owner(String),
}

impl Series {
    pub(crate) fn culprit(&mut self, check: &str, culprit: &str) {
        self.note(check, Label::Culprit(culprit.to_owned()));
    }

    pub(crate) fn reason(&mut self, check: &str, reason: &str) {
        self.note(check, Label::Reason(reason.to_owned()));
    }

    pub(crate) fn phase(&mut self, check: &str, phase: &str) {
        self.note(check, Label::Phase(phase.to_owned()));
    }

    pub(crate) fn owner(&mut self, check: &str, owner: &str) {
        self.note(check, Label::Owner(owner.to_owned()));
    }

    fn note(&mut self, check: &str, label: Label) {
        match self.0.get_mut(check) {
            Some(labels) => drop(labels.insert(label)),
            None => drop(self.0.insert(check.to_owned(), [label].into())),
        }
    }

    /// Checks that have any.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Shows nothing of a check any more.
    pub(crate) fn forget(&mut self, check: &str, metrics: &Metrics) {
        let name = || check.to_owned();
        for label in self.0.remove(check).unwrap_or_default() {
            match label {
                Label::Culprit(culprit) => metrics.rounds.remove(&ByCulprit { check: name(), culprit }),
                Label::Reason(reason) => metrics.failures.remove(&ByReason { check: name(), reason }),
                Label::Phase(phase) => metrics.phases.remove(&ByPhase { check: name(), phase }),
                Label::Owner(owner) => metrics.owners.remove(&ByOwner { check: name(), owner }),
            };
        }
        let by_check = ByCheck { check: name() };
        metrics.success.remove(&by_check);
        metrics.firing.remove(&by_check);
        metrics.total.remove(&by_check);
        metrics.round_trip.remove(&by_check);
        metrics.certificate_end.remove(&by_check);
    }
}
