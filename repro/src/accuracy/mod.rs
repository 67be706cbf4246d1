//! Attributed against injected: trials of a scenario that differ from its file, verdicts graded, the ledger scored by the injectors' own
//! logs.

mod draw;
pub mod stacks;

use std::collections::BTreeSet;

use analysis::judging::ledger::Owner;
use analysis::judging::verdict::Verdict;
use analysis::judging::vocabulary::Label;
use records::handshake::HandshakeRecord;
use records::run::{Expectation, RunRecord};

use crate::faults::Variation;
use crate::run::Outcome;
use crate::scenario::Scenario;
use crate::vantages::RESOLVER_RTT;

pub use draw::{Drawn, draw};

/// The evidence of an expectation that the edge's captures alone must meet.
const EDGE_ONLY: &str = "edge only";

/// What came of a run's expectations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grade {
    /// They held.
    Right,
    /// From the edge alone it was left open, with who did it among the candidates.
    RightlyOpen,
    /// Less was said than was so: it was left open, only one of two was named, or nobody.
    TooLittle,
    /// Somebody was named who had not done it.
    Wrong,
}

impl Grade {
    /// The worst of a run's expectations.
    pub fn of(record: &RunRecord) -> Self {
        let from_the_edge = record.edge_only.as_ref().map(|edge| &edge.verdict);
        record.expectations.iter().map(|e| Self::of_one(e, from_the_edge)).max().unwrap_or(Self::Right)
    }

    fn of_one(expectation: &Expectation, from_the_edge: Option<&Verdict>) -> Self {
        let Expectation { evidence, expected, seen, held } = expectation;
        // What a stack's own protocol makes it wait (Nagle's algorithm, a second round trip) accuses nobody.
        let named: Vec<Label> = labels(seen).filter(|label| label.owner != Owner::Protocol).collect();
        let fits = |meant: &String| {
            let meant: Vec<Label> = labels(meant).collect();
            let all = meant.iter().all(|m| named.iter().any(|n| m.names(n.owner, n.kind)));
            !meant.is_empty() && all && meant.len() == named.len()
        };
        let nobody = named.is_empty() && !seen.starts_with("inconclusive") && !seen.starts_with("aborted");
        let one_of_two =
            |meant: &String| meant.contains('+') && labels(meant).any(|m| named.iter().any(|n| m.names(n.owner, n.kind)));
        let open = match from_the_edge {
            Some(Verdict::Inconclusive { candidates, .. }) if evidence == EDGE_ONLY => {
                expected.iter().flat_map(|e| labels(e)).any(|m| candidates.iter().any(|c| c.is_of(m.owner) || m.owner.is_of(c)))
            }
            _ => false,
        };
        if *held || nobody && expected.iter().any(|e| e == "healthy") || expected.iter().any(fits) {
            Self::Right
        } else if open {
            Self::RightlyOpen
        } else if nobody || seen.starts_with("inconclusive") || expected.iter().any(one_of_two) {
            Self::TooLittle
        } else {
            Self::Wrong
        }
    }
}

/// The owners and kinds in a verdict's label; none in `healthy`.
fn labels(verdict: &str) -> impl Iterator<Item = Label> {
    verdict.split('+').filter_map(|part| part.parse().ok())
}

/// One handshake's share against what was injected.
#[derive(Clone, Debug)]
pub struct Score {
    /// The owner, in the ledger's words.
    pub owner: String,
    /// Injected milliseconds.
    pub injected_ms: f64,
    /// Attributed milliseconds beyond the baseline.
    pub attributed_ms: f64,
}

/// Overrides that make trial number `trial` of a scenario differ from its file: another seed, other round-trip
/// times, other severities. What changes a scenario's meaning (which message, how many clients) stays.
pub fn variation(scenario: &Scenario, trial: u32) -> Vec<String> {
    const RTT: [f64; 5] = [1.0, 0.6, 1.5, 0.8, 2.0];
    const SEVERITY: [f64; 5] = [1.0, 0.7, 1.6, 0.85, 1.3];
    let (rtt, severity) = (RTT[trial as usize % 5], SEVERITY[trial as usize % 5]);
    let by = Variation { severity, pace: rtt, healthy: says_healthy(scenario) };
    settings_of(scenario, scenario.seed + u64::from(trial), &by)
}

/// Whether the scenario says that nothing comes of its faults.
fn says_healthy(scenario: &Scenario) -> bool {
    scenario.expect.as_ref().is_some_and(|e| e.get_ref().verdict.labels() == ["healthy"])
}

/// A variation as overrides.
fn settings_of(scenario: &Scenario, seed: u64, by: &Variation) -> Vec<String> {
    let mut set = vec![format!("seed={seed}")];
    for target in &scenario.targets {
        set.push(format!("target.{}.rtt={}ms", target.name, target.rtt.as_millis() * by.pace));
        set.extend(target.baseline_rtt.map(|b| format!("target.{}.baseline_rtt={}ms", target.name, b.as_millis() * by.pace)));
    }
    for (name, fault) in &scenario.faults {
        set.extend(fault.kind().vary(by).into_iter().map(|(field, value)| format!("faults.{name}.{field}={value}")));
    }
    set
}

/// Whether faults that log each connection that they touch did so to at least half of the handshakes that they are meant for: what was
/// not done proves nothing.
pub fn done(scenario: &Scenario, outcome: &Outcome) -> bool {
    let log_each: Vec<_> = scenario.faults.values().map(|f| f.kind()).filter(|kind| kind.truth().is_none()).collect();
    let touched: BTreeSet<String> = outcome.truth.iter().filter_map(|t| Some(t.client?.to_string())).collect();
    log_each.iter().all(|kind| {
        let names = kind.names();
        let target = names.iter().find(|named| scenario.targets.iter().any(|t| t.name == named.host));
        let meant = outcome.handshakes.iter().filter(|h| target.is_none_or(|named| named.host == h.target));
        let (mut all, mut hit) = (0, 0);
        for handshake in meant {
            all += 1;
            hit += usize::from(
                touched.contains(&handshake.client) || handshake.lookup.as_ref().is_some_and(|l| touched.contains(l)),
            );
        }
        hit * 2 >= all
    })
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
                scores.extend(share(handshake, &injected.owner).map(|attributed_ms| Score {
                    owner: injected.owner.clone(),
                    injected_ms: ms,
                    attributed_ms,
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
                let attributed_ms = share(h, &injected.owner)?;
                Some(Score { owner: injected.owner.clone(), injected_ms: ms, attributed_ms })
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

#[cfg(test)]
mod tests {
    use analysis::clock::Span;
    use enumset::EnumSet;

    use super::*;

    fn grade(evidence: &str, expected: &[&str], seen: &str, from_the_edge: &Verdict) -> Grade {
        let held = expected.contains(&seen);
        let expected = expected.iter().map(|&e| e.to_owned()).collect();
        Grade::of_one(&Expectation { evidence: evidence.into(), expected, seen: seen.into(), held }, Some(from_the_edge))
    }

    #[test]
    fn what_is_not_said_is_no_false_accusation() {
        let both = |expected: &[&str], seen: &str| grade("both ends", expected, seen, &Verdict::Healthy);
        assert_eq!(both(&["loss/out", "client"], "client"), Grade::Right);
        assert_eq!(both(&["loss/out"], "inconclusive"), Grade::TooLittle);
        assert_eq!(both(&["loss/out"], "healthy"), Grade::TooLittle);
        assert_eq!(both(&["client_app/asleep + path/detour"], "path/detour"), Grade::TooLittle);
        assert_eq!(both(&["client + path"], "client_app/asleep"), Grade::TooLittle);
        assert_eq!(both(&["client_app/asleep + path/detour"], "edge_app/asleep"), Grade::Wrong);
        assert_eq!(both(&["loss/out"], "loss/back"), Grade::Wrong);
        assert_eq!(both(&["healthy"], "client_host/cpu_starved"), Grade::Wrong);
        assert_eq!(both(&["healthy"], "aborted/edge"), Grade::Wrong);
    }

    #[test]
    fn what_a_protocol_asks_for_accuses_nobody() {
        let both = |expected: &[&str], seen: &str| grade("both ends", expected, seen, &Verdict::Healthy);
        assert_eq!(both(&["healthy"], "protocol/nagle"), Grade::Right);
        assert_eq!(both(&["path/detour"], "path/detour + protocol/nagle"), Grade::Right);
        assert_eq!(both(&["path/detour"], "protocol/nagle"), Grade::TooLittle);
        assert_eq!(both(&["path/detour"], "loss/out + protocol/nagle"), Grade::Wrong);
        assert_eq!(both(&["client + path"], "path/detour + protocol/nagle"), Grade::TooLittle);
    }

    #[test]
    fn the_edge_may_leave_open_what_it_cannot_see_if_the_culprit_is_among_the_candidates() {
        let open = |candidates| Verdict::Inconclusive { candidates, missing: EnumSet::empty(), excess: Span::from_millis(200) };
        let edge = |expected: &str, candidates| grade(EDGE_ONLY, &[expected], "inconclusive", &open(candidates));
        assert_eq!(edge("loss/out", Owner::Loss | Owner::Client), Grade::RightlyOpen);
        assert_eq!(edge("client", Owner::ClientApp | Owner::Path), Grade::RightlyOpen);
        assert_eq!(edge("client_app/asleep", Owner::Client | Owner::Path), Grade::RightlyOpen);
        assert_eq!(edge("edge_app/asleep", Owner::Client | Owner::Path), Grade::TooLittle);
        let both = grade("both ends", &["loss/out"], "inconclusive", &open(Owner::Loss.into()));
        assert_eq!(both, Grade::TooLittle, "both ends must tell");
    }
}
