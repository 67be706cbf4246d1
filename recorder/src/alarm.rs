//! From sums to alerts: a new fault of the edge or of the path to it pages, a storm of stalls on the clients' side does not.
//!
//! Pure: times are arguments. Each alert is about the edge, or about the path from one network.

use std::collections::BTreeMap;
use std::time::Duration;

use alerting::clock::UnixSeconds;
use alerting::states::{Blame, Rule, State, Transition};
use alerting::{Culprit as Blamed, Family};
use analysis::judging::ledger::Owner;

use crate::config::Alerts;
use crate::slow::Culprit;
use crate::tally::{Counts, Place, Sums};

/// What an alert is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// The edge.
    Edge,
    /// The path between the edge and a network.
    Path(Place),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Edge => f.write_str("edge"),
            Subject::Path(place) => write!(f, "path {place}"),
        }
    }
}

/// Culprits that are the edge.
const EDGE: [Culprit; 2] = [Culprit::Side(Owner::Edge), Culprit::Aborted(Owner::Edge)];
const SLOW_PATH: Culprit = Culprit::Side(Owner::Path);
const LOSS: Culprit = Culprit::Side(Owner::Loss);
/// Culprits that are the path.
const PATH: [Culprit; 3] = [SLOW_PATH, LOSS, Culprit::Aborted(Owner::Path)];

/// What is wrong by the sums of a window.
pub fn wrong(sums: &Sums, alerts: &Alerts, window: Duration) -> BTreeMap<Subject, Blame> {
    let enough = |bad: u64, all: u64| bad >= u64::from(alerts.least) && bad as f64 >= alerts.share * all as f64;
    let of = |slow: &BTreeMap<Culprit, u64>, culprits: &[Culprit]| -> u64 { culprits.iter().filter_map(|c| slow.get(c)).sum() };
    let blame = |culprit: Blamed, sentence: String| {
        let (family, phase, words) = (Family::Slow, "handshake".into(), "the handshake".into());
        Blame { culprit, family, phase, words, ms: 0.0, sentence, pattern: None }
    };
    let mut found = BTreeMap::new();
    let bad = of(&sums.everywhere.slow, &EDGE);
    if enough(bad, sums.everywhere.all) {
        let sentence = format!("{bad} handshakes were slow by the edge's own fault. {}.", sums.sentence(window));
        found.insert(Subject::Edge, blame(Blamed::Edge, sentence));
    }
    // Origins lie before the networks that belong to them.
    for (place, Counts { all, slow }) in &sums.places {
        let bad = of(slow, &PATH);
        let known =
            matches!(place, Place::Prefix(_, Some(origin)) if found.contains_key(&Subject::Path(Place::Origin(origin.clone()))));
        if enough(bad, *all) && !known {
            let culprit = if slow.get(&LOSS) > slow.get(&SLOW_PATH) { Blamed::Loss } else { Blamed::Path };
            let (from, all_of_them) = (sums.say(place), sums.sentence(window));
            let sentence = format!("{bad} of {all} handshakes from {from} were slow on the path. {all_of_them}.");
            found.insert(Subject::Path(place.clone()), blame(culprit, sentence));
        }
    }
    found
}

/// The alerts, each with its history.
#[derive(Default)]
pub struct Alarm {
    states: BTreeMap<String, State>,
}

/// Subjects followed at once; a fault of more networks than this is one fault.
const MOST_SUBJECTS: usize = 256;

impl Alarm {
    /// Takes up where an earlier run stopped.
    pub fn new(states: Vec<(String, State)>) -> Self {
        Self { states: states.into_iter().collect() }
    }

    /// Takes what is wrong at `now`; gives what changed, by subject, and the states to keep.
    pub fn round(&mut self, now: UnixSeconds, wrong: &BTreeMap<Subject, Blame>, alerts: &Alerts) -> Vec<(String, Transition)> {
        let rule = Rule { fire: alerts.fire, resolve_after: alerts.resolve_after };
        for subject in wrong.keys() {
            if self.states.len() < MOST_SUBJECTS {
                self.states.entry(subject.to_string()).or_default();
            }
        }
        let by_name: BTreeMap<String, &Blame> = wrong.iter().map(|(subject, blame)| (subject.to_string(), blame)).collect();
        let mut said = Vec::new();
        for (name, state) in &mut self.states {
            let blame = by_name.get(name).map(|b| (*b).clone());
            said.extend(state.round(now, blame, rule, false).map(|transition| (name.clone(), transition)));
        }
        said
    }

    /// Forgets subjects that nothing is wrong with; gives their names.
    pub fn forget(&mut self) -> Vec<String> {
        let quiet: Vec<String> = self.states.iter().filter(|(_, s)| s.quiet()).map(|(name, _)| name.clone()).collect();
        quiet.iter().for_each(|name| {
            self.states.remove(name);
        });
        quiet
    }

    /// The state of each subject.
    pub fn states(&self) -> impl Iterator<Item = (&String, &State)> {
        self.states.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origins::Origin;
    use crate::tally::Tally;

    const CLIENT: Culprit = Culprit::Side(Owner::Client);

    /// Networks from 100 on are of one origin.
    fn places(n: u8) -> Vec<Place> {
        let origin = (n >= 100).then(|| std::sync::Arc::new(Origin { asn: Some(64_500), ..Origin::default() }));
        crate::tally::places_of(std::net::IpAddr::from([10, 0, n, 1]), &[], origin)
    }

    /// Plays a minute in rounds of 10 s; `each` gives the handshakes of a round.
    fn play(rounds: u64, each: impl Fn(u64) -> Vec<(u8, Option<Culprit>)>) -> Vec<String> {
        let (alerts, mut alarm, mut tally) = (Alerts::default(), Alarm::default(), Tally::default());
        let mut said = Vec::new();
        for round in 0..rounds {
            let (begun, window) = (UnixSeconds::from_secs(1_800_000_000), Duration::from_secs(60));
            let now = Duration::from_secs(1_000 + round * 10);
            for (network, slow) in each(round) {
                tally.count(now, places(network), slow);
            }
            let sums = tally.sums(now, window);
            for (name, transition) in alarm.round(begun + now, &wrong(&sums, &alerts, window), &alerts) {
                let what = match transition {
                    Transition::Fire(_) => "fire",
                    Transition::Change(..) => "change",
                    Transition::Resolve(..) => "resolve",
                };
                said.push(format!("{round} {what} {name}"));
            }
            alarm.forget();
        }
        said
    }

    #[test]
    fn a_storm_of_client_stalls_wakes_nobody() {
        assert!(play(30, |_| vec![(1, Some(CLIENT)); 500]).is_empty());
        assert!(play(30, |_| vec![(1, Some(Culprit::Inconclusive)); 500]).is_empty());
    }

    #[test]
    fn an_edge_fault_within_the_storm_fires_once_and_ends() {
        let said = play(40, |round| {
            let mut all = vec![(1, Some(CLIENT)); 50];
            all.extend(vec![(2, if (5..10).contains(&round) { Some(EDGE[0]) } else { None }); 50]);
            all
        });
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].ends_with("fire edge") && said[1].ends_with("resolve edge"), "{said:?}");
    }

    #[test]
    fn a_routing_fault_is_that_networks() {
        let said = play(8, |round| {
            let mut all = vec![(1, None); 1_000];
            all.extend(vec![(2, if round > 2 { Some(SLOW_PATH) } else { None }); 8]);
            all
        });
        assert_eq!(said, ["4 fire path 10.0.2.0/24"], "though they are a small part of all handshakes");
    }

    #[test]
    fn a_fault_of_a_whole_origin_is_one_alert_and_that_of_a_small_part_is_not_lost_in_it() {
        let said = play(8, |round| (100..150).map(|n| (n, if round > 2 { Some(SLOW_PATH) } else { None })).collect());
        assert_eq!(said, ["4 fire path AS64500"]);
        let said = play(8, |round| {
            let mut all = vec![(100, None); 1_000];
            all.extend(vec![(101, if round > 2 { Some(SLOW_PATH) } else { None }); 8]);
            all
        });
        assert_eq!(said, ["4 fire path 10.0.101.0/24"]);
    }

    #[test]
    fn a_few_slow_ones_among_many_are_no_fault() {
        assert!(
            play(20, |_| vec![(1, Some(EDGE[0])), (1, Some(SLOW_PATH))].into_iter().chain(vec![(1, None); 500]).collect())
                .is_empty()
        );
    }
}
