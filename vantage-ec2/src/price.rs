//! What an order costs at most. In: a type, a region, how many for how long. Out: US dollars, and what is counted.
//!
//! On-demand list prices of Linux, written down by hand in 2025 and compared with no price list since: aws.amazon.com/ec2/pricing/on-demand has
//! them. `usd_per_hour` of the settings goes before them.

use crate::settings::Settings;

/// US dollars an hour of an instance, by region and type.
const INSTANCES: [(&str, &str, f64); 16] = [
    ("us-east-1", "t2.medium", 0.0464),
    ("us-east-1", "t3.medium", 0.0416),
    ("us-east-2", "t2.medium", 0.0464),
    ("us-east-2", "t3.medium", 0.0416),
    ("us-west-2", "t2.medium", 0.0464),
    ("us-west-2", "t3.medium", 0.0416),
    ("eu-west-1", "t2.medium", 0.0500),
    ("eu-west-1", "t3.medium", 0.0456),
    ("eu-central-1", "t2.medium", 0.0536),
    ("eu-central-1", "t3.medium", 0.0480),
    ("eu-west-2", "t2.medium", 0.0520),
    ("eu-west-2", "t3.medium", 0.0472),
    ("ap-southeast-1", "t2.medium", 0.0584),
    ("ap-southeast-1", "t3.medium", 0.0528),
    ("ap-northeast-1", "t2.medium", 0.0608),
    ("ap-northeast-1", "t3.medium", 0.0544),
];
/// US dollars an hour of a public IPv4 address.
const ADDRESS: f64 = 0.005;
/// US dollars an hour of a GB of gp3: up to $0.10 a month of 730 h.
const GB: f64 = 0.10 / 730.0;

/// What one costs an hour.
#[derive(Clone, PartialEq, Debug)]
pub struct Price {
    /// US dollars an hour of one vantage.
    pub usd_per_hour: f64,
    /// What is counted and what not.
    pub what: String,
}

/// The price of what the settings name; nothing where it is not known.
#[must_use]
pub fn price(settings: &Settings) -> Option<Price> {
    let Settings { region, kind, public_address, usd_per_hour, disk_gb, .. } = settings;
    if let Some(usd_per_hour) = *usd_per_hour {
        return Some(Price {
            usd_per_hour,
            what: format!("{kind} in {region} at the price of the settings; traffic is not counted"),
        });
    }
    let (_, _, instance) = INSTANCES.iter().find(|(at, of, _)| at == region && of == kind)?;
    let (address, counted) = if *public_address { (ADDRESS, ", public IPv4 address") } else { (0.0, "") };
    let what =
        format!("{kind} in {region}, {disk_gb} GB of disk{counted}, at list prices of 2025; traffic and tax are not counted");
    Some(Price { usd_per_hour: instance + address + f64::from(*disk_gb) * GB, what })
}

impl Price {
    /// What so many cost at most, if they end `seconds` from now and are found by the reaper `late` seconds after that.
    #[must_use]
    pub fn at_most(&self, vantages: usize, seconds: u64, late: u64) -> f64 {
        // AWS counts a minute at least.
        let each = seconds.saturating_add(late).max(60) as f64 / 3600.0 * self.usd_per_hour;
        each * vantages as f64
    }
}
