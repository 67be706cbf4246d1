//! What a controller's `/metrics` shows: as a watcher's, with a label `vantage`.

use std::sync::atomic::AtomicU64;

use alerting::Culprit;
use alerting::metrics::Delivery;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use serving::exposition::Exposition;

use crate::metrics::ByCheck;

/// A vantage.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ByVantage {
    pub(crate) vantage: String,
}

/// A check from a vantage.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ByCell {
    pub(crate) check: String,
    pub(crate) vantage: String,
}

/// The same, and who was blamed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ByCellAndCulprit {
    pub(crate) check: String,
    pub(crate) vantage: String,
    /// `none` if nobody was, `gated` if the prober was too sick.
    pub(crate) culprit: &'static str,
}

/// A check, and what vantages say of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ByWord {
    pub(crate) check: String,
    /// good, bad, gated, unheard, new.
    pub(crate) state: &'static str,
}

/// What stands for a culprit where nobody was blamed, and where the prober was too sick.
pub(crate) const NOBODY: &str = "none";
pub(crate) const GATED: &str = "gated";

/// All of them.
pub(crate) struct FleetMetrics {
    pub(crate) exposition: Exposition,
    pub(crate) rounds: Family<ByCellAndCulprit, Counter>,
    pub(crate) round_trip: Family<ByCell, Gauge<f64, AtomicU64>>,
    pub(crate) bad: Family<ByCell, Gauge>,
    pub(crate) vantages: Family<ByWord, Gauge>,
    pub(crate) firing: Family<ByCell, Gauge>,
    pub(crate) heard: Family<ByVantage, Gauge>,
    pub(crate) waiting: Family<ByVantage, Gauge>,
    pub(crate) dropped: Family<ByVantage, Gauge>,
    pub(crate) missed: Family<ByVantage, Counter>,
    pub(crate) known: Family<ByCheck, Gauge>,
    pub(crate) late: Counter,
    pub(crate) delivery: Delivery,
    pub(crate) reload: Gauge,
    pub(crate) store_errors: Counter,
}

impl Default for FleetMetrics {
    fn default() -> Self {
        let mut m = Self {
            exposition: Exposition::new(Vec::new()),
            rounds: Family::default(),
            round_trip: Family::default(),
            bad: Family::default(),
            vantages: Family::default(),
            firing: Family::default(),
            heard: Family::default(),
            waiting: Family::default(),
            dropped: Family::default(),
            missed: Family::default(),
            known: Family::default(),
            late: Counter::default(),
            delivery: Delivery::default(),
            reload: Gauge::default(),
            store_errors: Counter::default(),
        };
        m.reload.set(1);
        let mut registry = Registry::with_prefix("whostalled");
        let r = &mut registry;
        r.register("rounds", "Rounds by who was blamed (none: nobody; gated: the prober was too sick)", m.rounds.clone());
        let round_trip = "The least round trip that the kernel measured in the last round that travelled whole";
        r.register_with_unit("tcp_round_trip", round_trip, Unit::Seconds, m.round_trip.clone());
        r.register("vantage_bad", "Whether a vantage finds a check bad; absent while that is not known", m.bad.clone());
        r.register("vantages", "Vantages of a check by what they say of it", m.vantages.clone());
        r.register("alert_firing", "Whether an alert is on", m.firing.clone());
        r.register("agent_heard_timestamp_seconds", "When an agent was last heard", m.heard.clone());
        r.register("agent_waiting_reports", "Reports that wait at an agent for a controller's store", m.waiting.clone());
        r.register("agent_dropped_reports", "Reports that an agent had no room for, since its process began", m.dropped.clone());
        r.register("rounds_missed", "Rounds whose time passed without one", m.missed.clone());
        r.register("check_known", "Whether enough vantages are heard of a check to judge it", m.known.clone());
        r.register("rounds_late", "Reported rounds that came too late to change a state", m.late.clone());
        m.delivery.register(r);
        r.register("config_last_reload_successful", "Whether the last reload of the check file worked", m.reload.clone());
        r.register("store_errors", "Batches that the store refused", m.store_errors.clone());
        m.exposition = Exposition::new(vec![("fleet", registry)]);
        m
    }
}

impl FleetMetrics {
    /// Shows nothing of a check from a vantage any more.
    pub(crate) fn forget_cell(&self, check: &str, vantage: &str) {
        let cell = ByCell { check: check.to_owned(), vantage: vantage.to_owned() };
        self.bad.remove(&cell);
        self.round_trip.remove(&cell);
        for culprit in Culprit::ALL.iter().map(|culprit| culprit.label()).chain([NOBODY, GATED]) {
            self.rounds.remove(&ByCellAndCulprit { check: check.to_owned(), vantage: vantage.to_owned(), culprit });
        }
    }

    /// Nor of an agent.
    pub(crate) fn forget_agent(&self, vantage: &str) {
        let agent = ByVantage { vantage: vantage.to_owned() };
        self.heard.remove(&agent);
        self.waiting.remove(&agent);
        self.dropped.remove(&agent);
        self.missed.remove(&agent);
    }
}
