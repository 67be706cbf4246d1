//! What AWS would have charged: by the model's own prices, which no provider is asked for. On demand, in eu-central-1, of 2025.

use crate::model::{Model, Tags};

/// US dollars an hour of a public IPv4 address.
const ADDRESS: f64 = 0.005;
/// US dollars of a GB and month of 730 h of a volume.
const DISKS: [(&str, f64); 2] = [("gp3", 0.0952), ("gp2", 0.119)];
/// The least that is charged, in seconds.
const LEAST: u64 = 60;

/// US dollars an hour of a type.
fn hourly(kind: &str) -> f64 {
    match kind {
        "t2.medium" => 0.0536,
        "t3.medium" => 0.0480,
        "m5.large" => 0.115,
        other => panic!("the model has no price of {other}"),
    }
}

/// US dollars for so many seconds at so much an hour.
fn charged(seconds: u64, usd_per_hour: f64) -> f64 {
    seconds.max(LEAST) as f64 / 3_600.0 * usd_per_hour
}

impl Model {
    /// US dollars for instances, their addresses and their volumes with this tag, until now.
    ///
    /// # Panics
    /// If the model has no price of what is there.
    #[must_use]
    pub fn spent(&self, key: &str, value: &str) -> f64 {
        let is = |tags: &Tags| tags.get(key).is_some_and(|v| v == value);
        // A stopped instance costs its disk.
        let instances = self.instances.values().filter(|i| is(&i.tags)).map(|i| {
            let address = if i.launch.public_address { ADDRESS } else { 0.0 };
            charged(i.ended.unwrap_or(self.now()) - i.launched, hourly(&i.launch.kind) + address)
        });
        let volumes = self.volumes.values().filter(|t| is(&t.tags)).map(|t| {
            let (_, of_gb) = DISKS.iter().find(|(kind, _)| *kind == t.kind).unwrap_or_else(|| panic!("no price of {}", t.kind));
            charged(t.deleted.unwrap_or(self.now()) - t.made, t.gb as f64 * of_gb / 730.0)
        });
        // From 0.0: the sum of nothing is -0.0 otherwise.
        instances.chain(volumes).fold(0.0, |sum, usd| sum + usd)
    }
}
