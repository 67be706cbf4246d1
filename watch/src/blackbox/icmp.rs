//! The prober `icmp`: its section of the configuration, and how it asks.

use prober::echo::{Echo, echo};
use serde::Deserialize;

use super::families::Families;
use super::modules::{Preferred, Rest, Section, nullable};
use super::tcp::source;
use super::{Question, Shared, choose, family};
use crate::error::Invalid;

/// What an echo request carries, and behind it zeroes.
const PAYLOAD: &[u8] = b"Prometheus Blackbox Exporter";
/// An IPv4 packet with more does not exist.
const MOST_PAYLOAD: i64 = 65_507;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Icmp {
    #[serde(deserialize_with = "nullable")]
    source_ip_address: String,
    #[serde(deserialize_with = "nullable")]
    payload_size: i64,
    #[serde(deserialize_with = "nullable")]
    dont_fragment: bool,
    ttl: Option<i64>,
    preferred_ip_protocol: Option<Preferred>,
    ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    rest: Rest,
}

impl Section for Icmp {
    fn rest(&self) -> Vec<&Rest> {
        vec![&self.rest]
    }

    fn refused(&self) -> Option<String> {
        if !(0..=MOST_PAYLOAD).contains(&self.payload_size) {
            return Some(format!("payload_size = {}: it is from 0 to {MOST_PAYLOAD}", self.payload_size));
        }
        source(&self.source_ip_address).err().map(|why| why.to_string())
    }

    fn check(&self) -> Result<(), Invalid> {
        match self.ttl {
            Some(ttl) if !(0..=255).contains(&ttl) => Err(Invalid(format!("icmp.ttl = {ttl}: it is from 0 to 255"))),
            _ => Ok(()),
        }
    }
}

impl Icmp {
    /// Sends one echo request and waits for its reply; whether it came.
    pub(super) async fn probe(&self, question: &Question<'_>, shared: &Shared<'_>, found: &mut Families) -> bool {
        let (name, help) = ("probe_icmp_duration_seconds", "Duration of icmp request by phase");
        for phase in ["resolve", "setup", "rtt"] {
            found.labelled(name, help, &[("phase", phase)], 0);
        }
        let family = family(self.preferred_ip_protocol, self.ip_protocol_fallback);
        let Some((ip, took)) = choose(question.target, family, question, shared, found).await else { return false };
        found.labelled(name, help, &[("phase", "resolve")], took.as_secs_f64());
        let mut payload = PAYLOAD.to_vec();
        if self.payload_size != 0 {
            payload.resize(usize::try_from(self.payload_size).unwrap_or_default(), 0);
        }
        let request = Echo {
            to: ip,
            from: source(&self.source_ip_address).ok().flatten(),
            payload,
            // 0 is the exporter's default, as it is the system's.
            hop_limit: self.ttl.and_then(|ttl| u8::try_from(ttl).ok()).filter(|ttl| *ttl > 0),
            dont_fragment: self.dont_fragment,
            patience: question.timeout.saturating_sub(took),
        };
        match echo(&request).await {
            Ok(reply) => {
                found.labelled(name, help, &[("phase", "setup")], reply.setup.as_secs_f64());
                found.labelled(name, help, &[("phase", "rtt")], reply.round_trip.as_secs_f64());
                if let Some(limit) = reply.hop_limit {
                    found.gauge("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)", limit);
                }
                true
            }
            Err(error) => {
                found.note(error);
                false
            }
        }
    }
}
