//! Attributed against injected: the ledger scored by the injectors' own logs.

use analysis::judging::ledger::Owner;
use records::handshake::HandshakeRecord;

use crate::faults::Variation;
use crate::run::Outcome;
use crate::scenario::Scenario;
use crate::vantages::RESOLVER_RTT;

/// One handshake's share against what was injected.
#[derive(Clone, Debug)]
pub struct Score {
    /// The owner, in the ledger's words.
    pub owner: String,
    /// Injected milliseconds.
    pub injected: f64,
    /// Attributed milliseconds beyond the baseline.
    pub attributed: f64,
}

/// Overrides that make trial number `trial` of a scenario differ from its file: another seed, other round-trip
/// times, other severities. What changes a scenario's meaning (which message, how many clients) stays.
pub fn variation(scenario: &Scenario, trial: u32) -> Vec<String> {
    const RTT: [f64; 5] = [1.0, 0.6, 1.5, 0.8, 2.0];
    const SEVERITY: [f64; 5] = [1.0, 0.7, 1.6, 0.85, 1.3];
    let (rtt, severity) = (RTT[trial as usize % 5], SEVERITY[trial as usize % 5]);
    let healthy = scenario.expect.as_ref().is_some_and(|e| e.get_ref().verdict.labels() == ["healthy"]);
    let by = Variation { severity, pace: rtt, healthy };
    let mut set = vec![format!("seed={}", scenario.seed + u64::from(trial))];
    for target in &scenario.targets {
        set.push(format!("target.{}.rtt={}ms", target.name, target.rtt.as_millis() * rtt));
        set.extend(target.baseline_rtt.map(|b| format!("target.{}.baseline_rtt={}ms", target.name, b.as_millis() * rtt)));
    }
    for (name, fault) in &scenario.faults {
        set.extend(fault.kind().vary(&by).into_iter().map(|(field, value)| format!("faults.{name}.{field}={value}")));
    }
    set
}

/// Scores every handshake whose injected milliseconds are known.
pub fn score(outcome: &Outcome) -> Vec<Score> {
    let mut scores = Vec::new();
    for injected in &outcome.truth {
        let Some(mut ms) = injected.ms else { continue };
        if injected.owner == "resolver" {
            // A lookup also takes the lab's round trip to its name server.
            ms += RESOLVER_RTT.as_secs_f64() * 1e3;
        }
        for handshake in &outcome.handshakes {
            let client = injected.client.map(|c| c.to_string());
            let ours = client.is_some() && (client.as_ref() == Some(&handshake.client) || client == handshake.lookup);
            if ours {
                scores.extend(share(handshake, &injected.owner).map(|attributed| Score {
                    owner: injected.owner.clone(),
                    injected: ms,
                    attributed,
                }));
            }
        }
    }
    scores.extend(whole_cell(outcome));
    scores
}

/// Faults without a connection of their own: detours, for each handshake with the target.
fn whole_cell(outcome: &Outcome) -> Vec<Score> {
    let of_target = outcome.truth.iter().filter_map(|t| Some((t, t.target.as_ref()?, t.ms?)));
    of_target
        .flat_map(|(injected, target, ms)| {
            let handshakes = outcome.handshakes.iter().filter(move |h| h.target == *target);
            handshakes.filter_map(move |h| {
                let attributed = share(h, &injected.owner)?;
                Some(Score { owner: injected.owner.clone(), injected: ms, attributed })
            })
        })
        .collect()
}

fn share(handshake: &HandshakeRecord, owner: &str) -> Option<f64> {
    let judged = handshake.judged()?;
    let owner: Owner = serde_json::from_value(serde_json::Value::String(owner.to_owned())).ok()?;
    let entries = judged.reading.ledger.entries.iter().filter(|e| e.owner == owner);
    // A pause and an answer kept back are the owner's whole time; only the path has a baseline of its own.
    let excess = |e: &analysis::judging::ledger::Entry| if owner == Owner::Path { e.excess() } else { e.span };
    Some(entries.map(excess).map(|s| s.millis()).sum())
}
