//! What `/metrics` shows: `whostalled_…`, base units, classic and native histograms.
//!
//! Phases that did not happen are absent. Culprits are a label of counters, never of alerts.

use std::sync::atomic::AtomicU64;

use alerting::clock::UnixSeconds;
use alerting::metrics::Delivery;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::CounterWithExemplar;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serving::exposition::{Exposition, Seconds};

/// A check.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ByCheck {
    /// Its name.
    pub check: String,
}

/// A check and one more word.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ByPhase {
    /// The check.
    pub check: String,
    /// The phase.
    pub phase: String,
}

/// A check and an owner of time.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ByOwner {
    /// The check.
    pub check: String,
    /// The owner.
    pub owner: String,
}

/// A check and a culprit.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ByCulprit {
    /// The check.
    pub check: String,
    /// `none` if nobody was blamed, `gated` if the prober was too sick.
    pub culprit: String,
}

/// What an exemplar of a bad round leads to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct RoundLabel {
    /// Its trace, where traces are sent.
    pub trace_id: String,
    /// When it began, in nanoseconds since the epoch: `#r…` on its check's page.
    pub round: String,
}

/// A check and why it failed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ByReason {
    /// The check.
    pub check: String,
    /// The reason.
    pub reason: String,
}

/// Makes histograms of seconds, classic and coarse: there are many, each native one takes kilobytes, and so does each line on the wire.
#[derive(Clone, Debug)]
pub struct ClassicSeconds;

impl MetricConstructor<Histogram> for ClassicSeconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 4.0, 8))
    }
}

type Real = Gauge<f64, AtomicU64>;
type Sum = Counter<f64, AtomicU64>;

/// All of them.
pub struct Metrics {
    /// How they are shown.
    pub exposition: Exposition,
    /// Rounds by culprit.
    pub rounds: Family<ByCulprit, CounterWithExemplar<RoundLabel>>,
    /// Failures by reason.
    pub failures: Family<ByReason, Counter>,
    /// Whether the last round succeeded.
    pub success: Family<ByCheck, Gauge>,
    /// Whole rounds.
    pub total: Family<ByCheck, Histogram, Seconds>,
    /// Phases of rounds.
    pub phases: Family<ByPhase, Histogram, ClassicSeconds>,
    /// Owners of time.
    pub owners: Family<ByOwner, Sum>,
    /// The TCP handshake's round trip.
    pub round_trip: Family<ByCheck, Real>,
    /// The end of the certificate chain that ends first.
    pub certificate_end: Family<ByCheck, Real>,
    /// How late rounds begin.
    pub lateness: Histogram,
    /// Rounds whose time passed without one.
    pub missed: Counter,
    /// Whether an alert is on.
    pub firing: Family<ByCheck, Gauge>,
    /// Whether the prober may judge others.
    pub healthy: Gauge,
    /// Time without a CPU in the last round.
    pub run_delay: Real,
    /// The latest handshake with ourselves.
    pub reference: Real,
    /// Probes under way.
    pub under_way: Gauge,
    /// How messages fare.
    pub delivery: Delivery,
    /// Whether the last reload of the check file worked.
    pub reload: Gauge,
    /// Batches that the store refused.
    pub store_errors: Counter,
    /// What watches a blackbox_exporter, by its names.
    pub blackbox: BlackboxMetrics,
}

/// What a blackbox_exporter says of itself, and rules and dashboards of its users ask for.
#[derive(Default)]
pub struct BlackboxMetrics {
    /// Whether the last reload of its configuration worked.
    pub reloaded: Gauge,
    /// When one last did, in seconds since the epoch.
    pub reloaded_at: Gauge,
    /// Probes that asked for a module that is not there.
    pub unknown_modules: Counter,
}

impl BlackboxMetrics {
    /// Notes how a reload went.
    pub fn reload(&self, now: UnixSeconds, worked: bool) {
        self.reloaded.set(i64::from(worked));
        if worked {
            self.reloaded_at.set(now.secs());
        }
    }

    fn register(&self, registry: &mut Registry) {
        let exporter = registry.sub_registry_with_prefix("blackbox_exporter");
        exporter.register("config_last_reload_successful", "Blackbox exporter config loaded successfully", self.reloaded.clone());
        exporter.register(
            "config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload",
            self.reloaded_at.clone(),
        );
        registry.register(
            "blackbox_module_unknown",
            "Count of unknown modules requested by probes",
            self.unknown_modules.clone(),
        );
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            exposition: Exposition::new(Vec::new()),
            rounds: Family::default(),
            failures: Family::default(),
            success: Family::default(),
            total: Family::new_with_constructor(Seconds),
            phases: Family::new_with_constructor(ClassicSeconds),
            owners: Family::default(),
            round_trip: Family::default(),
            certificate_end: Family::default(),
            lateness: Seconds.new_metric(),
            missed: Counter::default(),
            firing: Family::default(),
            healthy: Gauge::default(),
            run_delay: Real::default(),
            reference: Real::default(),
            under_way: Gauge::default(),
            delivery: Delivery::default(),
            reload: Gauge::default(),
            store_errors: Counter::default(),
            blackbox: BlackboxMetrics::default(),
        };
        metrics.healthy.set(1);
        metrics.reload.set(1);
        metrics.exposition = Exposition::new(metrics.collections());
        metrics
    }
}

impl Metrics {
    /// Apart what grows with the checks: those who scrape thousands of them choose.
    fn collections(&self) -> Vec<(&'static str, Registry)> {
        vec![
            ("rounds", of(|r| self.rounds(r))),
            ("duration", of(|r| r.register_with_unit("round_duration", "Whole rounds", Unit::Seconds, self.total.clone()))),
            ("phases", of(|r| r.register_with_unit("phase_duration", "Phases of rounds", Unit::Seconds, self.phases.clone()))),
            (
                "owners",
                of(|r| r.register_with_unit("owner_time", "Time of rounds by whose it was", Unit::Seconds, self.owners.clone())),
            ),
            ("prober", of(|r| self.prober(r))),
            ("blackbox", {
                let mut registry = Registry::default();
                self.blackbox.register(&mut registry);
                registry
            }),
        ]
    }

    fn rounds(&self, r: &mut Registry) {
        r.register("rounds", "Rounds by who was blamed (none: nobody; gated: the prober was too sick)", self.rounds.clone());
        r.register("failures", "Failed rounds by reason", self.failures.clone());
        r.register("round_success", "Whether the last round succeeded", self.success.clone());
        r.register("alert_firing", "Whether an alert is on", self.firing.clone());
        r.register_with_unit(
            "tcp_round_trip",
            "The kernel's measure of the TCP handshake",
            Unit::Seconds,
            self.round_trip.clone(),
        );
        r.register(
            "certificate_not_after_timestamp_seconds",
            "When the chain's first certificate ends",
            self.certificate_end.clone(),
        );
    }

    fn prober(&self, r: &mut Registry) {
        let s = Unit::Seconds;
        r.register_with_unit("start_lateness", "How late rounds begin", s.clone(), self.lateness.clone());
        r.register("rounds_missed", "Rounds whose time passed without one", self.missed.clone());
        r.register("prober_healthy", "Whether the prober may judge others", self.healthy.clone());
        r.register_with_unit("prober_run_delay", "Time without a CPU in the last round", s.clone(), self.run_delay.clone());
        r.register_with_unit("prober_reference", "The latest handshake with ourselves over loopback", s, self.reference.clone());
        r.register("probes_under_way", "Probes under way", self.under_way.clone());
        self.delivery.register(r);
        r.register("config_last_reload_successful", "Whether the last reload of the check file worked", self.reload.clone());
        r.register("store_errors", "Batches that the store refused", self.store_errors.clone());
    }
}

fn of(register: impl FnOnce(&mut Registry)) -> Registry {
    let mut registry = Registry::with_prefix("whostalled");
    register(&mut registry);
    registry
}
