//! What `/metrics` shows of the recorder: `whostalled_capture_…`, base units.

use std::sync::atomic::{AtomicU64, Ordering};

use alerting::metrics::Delivery;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::CounterWithExemplar;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serving::exposition::{Exposition, Seconds};

use crate::alarm::Subject;
use crate::config::Config;
use crate::slow::Culprit;

/// Sets of labels, all of them words.
macro_rules! labels {
    ($(#[$doc:meta] $name:ident { $($field:ident),+ })+) => {$(
        #[$doc]
        #[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
        pub struct $name {
            $(#[doc = concat!("The ", stringify!($field), ".")] pub $field: String,)+
        }
    )+};
}

labels! {
    /// Packets by what became of them.
    ByFate { fate }
    /// A ring.
    ByRing { ring }
    /// Handshakes.
    ByCulprit { culprit }
    /// Slow handshakes.
    ByCulpritAndPlace { culprit, network }
    /// Triggers.
    ByTrigger { source, outcome }
    /// An interface.
    ByInterface { interface }
    /// An alert.
    ByAlert { alert }
    /// How packets are filtered.
    ByFilter { filter }
    /// What an exemplar of a slow handshake leads to: its file, and its trace, where traces are sent.
    EvidenceLabel { trace_id, evidence }
}

/// A file's name may have so many characters in an exemplar: OpenMetrics has room for 128 in all.
const MOST_NAME: usize = 70;

impl EvidenceLabel {
    /// Of a trace and a file.
    pub fn of(trace_id: String, file: &str) -> Self {
        Self { trace_id, evidence: file.chars().take(MOST_NAME).collect() }
    }
}

type Real = Gauge<f64, AtomicU64>;

/// Makes histograms of short times: 1 µs to 1 s.
#[derive(Clone, Debug)]
pub struct Short;

impl MetricConstructor<Histogram> for Short {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(1e-6, 2.0, 21))
    }
}

/// All of them.
pub struct Metrics {
    /// How they are shown.
    pub exposition: Exposition,
    /// Packets.
    pub packets: Family<ByFate, Counter>,
    /// Connections established.
    pub connections: Counter,
    /// Of these, those whose SYN was not known.
    pub late: Counter,
    /// Flows that lost their name in a ring to others before their packets were overwritten.
    pub crowded: Family<ByRing, Counter>,
    /// Connections followed now.
    pub under_way: Gauge,
    /// Memory of a ring.
    pub ring_bytes: Family<ByRing, Gauge>,
    /// Packets in a ring.
    pub ring_packets: Family<ByRing, Gauge>,
    /// Packets that left a ring.
    pub evicted: Family<ByRing, Counter>,
    /// How far back a ring reaches.
    pub reach: Family<ByRing, Real>,
    /// Handshakes by culprit.
    pub handshakes: Family<ByCulprit, Counter>,
    /// Slow ones by culprit and network.
    pub slow: Family<ByCulpritAndPlace, CounterWithExemplar<EvidenceLabel>>,
    /// How long handshakes took.
    pub durations: Histogram,
    /// Triggers by what became of them.
    pub triggers: Family<ByTrigger, Counter>,
    /// From a trigger to its flow's packets.
    pub extraction: Histogram,
    /// From a trigger to its file on the disk.
    pub durable: Histogram,
    /// Bytes of evidence on the disk.
    pub evidence_bytes: Gauge,
    /// Files that could not be written.
    pub evidence_failures: Counter,
    /// Whether an interface is there and seen.
    pub interfaces: Family<ByInterface, Gauge>,
    /// How packets are filtered.
    pub filter_at: Family<ByFilter, Gauge>,
    /// Whether an alert is on.
    pub firing: Family<ByAlert, Gauge>,
    /// How messages fare.
    pub delivery: Delivery,
    /// Processor time of this process.
    pub cpu: Counter<f64, AtomicU64>,
    /// Its memory.
    pub resident: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            exposition: Exposition::new(Vec::new()),
            packets: Family::default(),
            connections: Counter::default(),
            late: Counter::default(),
            crowded: Family::default(),
            under_way: Gauge::default(),
            ring_bytes: Family::default(),
            ring_packets: Family::default(),
            evicted: Family::default(),
            reach: Family::default(),
            handshakes: Family::default(),
            slow: Family::default(),
            durations: Seconds.new_metric(),
            triggers: Family::default(),
            extraction: Short.new_metric(),
            durable: Seconds.new_metric(),
            evidence_bytes: Gauge::default(),
            evidence_failures: Counter::default(),
            interfaces: Family::default(),
            filter_at: Family::default(),
            firing: Family::default(),
            delivery: Delivery::default(),
            cpu: Counter::default(),
            resident: Gauge::default(),
        };
        let mut registry = Registry::with_prefix("whostalled");
        let delivery = metrics.delivery.clone();
        delivery.register(&mut registry);
        let r = registry.sub_registry_with_prefix("capture");
        let m = &metrics;
        let (seconds, bytes) = (Unit::Seconds, Unit::Bytes);
        r.register("packets", "Packets by fate: seen (of wanted ports), passed, syn, lost, syn_lost", m.packets.clone());
        r.register("connections", "Connections established", m.connections.clone());
        r.register("connections_without_syn", "Connections whose SYN was not known", m.late.clone());
        r.register(
            "ring_crowded",
            "Flows that lost their name in a ring before their packets were overwritten",
            m.crowded.clone(),
        );
        r.register("connections_under_way", "Connections whose handshake is followed", m.under_way.clone());
        r.register_with_unit("ring", "Memory of a ring", bytes.clone(), m.ring_bytes.clone());
        r.register("ring_packets", "Packets in a ring", m.ring_packets.clone());
        r.register("ring_evicted", "Packets overwritten", m.evicted.clone());
        r.register_with_unit("ring_reach", "Age of the oldest packet in a ring", seconds.clone(), m.reach.clone());
        r.register("handshakes", "Handshakes by culprit; none: healthy", m.handshakes.clone());
        r.register("slow_handshakes", "Slow handshakes by culprit and named network", m.slow.clone());
        r.register_with_unit("handshake_duration", "Whole handshakes", seconds.clone(), m.durations.clone());
        r.register("triggers", "Triggers by source and outcome", m.triggers.clone());
        r.register_with_unit("trigger_extraction", "From a trigger to its flow's packets", seconds.clone(), m.extraction.clone());
        r.register_with_unit("evidence_durable", "From a trigger to its file on the disk", seconds.clone(), m.durable.clone());
        r.register_with_unit("evidence_held", "Evidence on the disk", bytes.clone(), m.evidence_bytes.clone());
        r.register("evidence_failures", "Files that could not be written", m.evidence_failures.clone());
        r.register("interface_up", "Whether an interface is there and seen", m.interfaces.clone());
        r.register("filter", "How packets are filtered", m.filter_at.clone());
        r.register("alert_firing", "Whether an alert is on", m.firing.clone());
        r.register_with_unit("process_cpu", "Processor time of this process", seconds, m.cpu.clone());
        r.register_with_unit("process_resident", "Memory of this process", bytes, m.resident.clone());
        Self { exposition: Exposition::new(vec![("capture", registry)]), ..metrics }
    }
}

/// Sets a counter that somebody else counts.
pub fn set(counter: &Counter, value: u64) {
    counter.inner().fetch_max(value, Ordering::Relaxed);
}

impl Metrics {
    /// Makes what was never counted 0, so that it is shown: a healthy recorder has figures too.
    pub fn begin(&self, config: &Config) {
        let named = config.networks.iter().map(|network| network.name.as_str());
        let networks: Vec<&str> = named.chain(["other"]).collect();
        drop(self.handshakes.get_or_create(&ByCulprit { culprit: "unread".into() }));
        for culprit in Culprit::ALL {
            let label = culprit.label().to_owned();
            drop(self.handshakes.get_or_create(&ByCulprit { culprit: label.clone() }));
            if culprit != Culprit::LongPath {
                for network in &networks {
                    drop(self.slow.get_or_create(&ByCulpritAndPlace { culprit: label.clone(), network: (*network).to_owned() }));
                }
            }
        }
        let of_logs = ["journal", "log"].into_iter().filter(|source| config.logs.iter().any(|log| log.source() == *source));
        let outcome = |source: &str, outcomes: &[&str]| {
            for outcome in outcomes {
                drop(self.triggers.get_or_create(&ByTrigger { source: source.into(), outcome: (*outcome).into() }));
            }
        };
        for source in ["detector", "asked"].into_iter().chain(of_logs.clone()) {
            outcome(source, &["kept", "failed", "duplicate", "network_share", "rate", "gone", "shed"]);
        }
        for source in of_logs {
            outcome(source, &["unread", "not_slow"]);
        }
        drop(self.firing.get_or_create(&ByAlert { alert: Subject::Edge.to_string() }));
        for receiver in &config.receivers {
            self.delivery.begin(&receiver.name());
        }
    }

    /// Notes what this process takes.
    pub fn measure_self(&self) {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let seconds = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|s| s.split(' ').nth(1)?.parse::<i64>().ok());
        if let Some(pages) = pages {
            self.resident.set(pages * 4_096);
        }
    }
}
