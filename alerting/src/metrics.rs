//! How messages to receivers fare, as metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A receiver.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ByReceiver {
    /// Its name.
    pub receiver: String,
}

/// How messages to receivers fare.
#[derive(Clone, Default, Debug)]
pub struct Delivery {
    /// Messages that wait.
    pub waiting: Gauge,
    /// Messages delivered.
    pub delivered: Family<ByReceiver, Counter>,
    /// Attempts that failed.
    pub failed: Family<ByReceiver, Counter>,
    /// Messages refused for good.
    pub refused: Family<ByReceiver, Counter>,
    /// Those of them that are kept.
    pub refused_now: Gauge,
    /// Rows of the store that cannot be read, and are kept aside.
    pub unreadable: Gauge,
    /// Messages that nobody is left to tell, or that there was no room for.
    pub dropped: Family<ByReceiver, Counter>,
}

impl Delivery {
    /// Shows 0 for a receiver that nothing was said to yet.
    pub fn begin(&self, receiver: &str) {
        for family in [&self.delivered, &self.failed, &self.refused, &self.dropped] {
            drop(family.get_or_create(&ByReceiver { receiver: receiver.to_owned() }));
        }
    }

    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("outbox_messages", "Messages that wait for their receivers", self.waiting.clone());
        registry.register("alerts_delivered", "Messages delivered", self.delivered.clone());
        registry.register("alerts_delivery_failures", "Attempts to deliver that failed", self.failed.clone());
        registry.register("alerts_refused", "Messages that their receiver refused for good", self.refused.clone());
        registry.register(
            "outbox_refused_messages",
            "Messages refused for good whose alert was not told since",
            self.refused_now.clone(),
        );
        registry.register("store_unreadable_rows", "Rows of the store that cannot be read: set aside", self.unreadable.clone());
        registry.register("alerts_dropped", "Messages without a receiver, or without room", self.dropped.clone());
    }
}
