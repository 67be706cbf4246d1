//! Simulated comparisons: noise of a busy machine, and shifts that are known.

use analysis::judging::ledger::{Owner, Phase};

use super::*;

const EDGE: Part = Part { phase: Phase::ServerFlight, owner: Owner::Edge };
const OWN: Part = Part { phase: Phase::ClientFinished, owner: Owner::ClientApp };
const PATH: Part = Part { phase: Phase::Connect, owner: Owner::Path };

/// A handshake on a machine where every second moment somebody else wants the CPU; shared by neighbours in time.
struct Machine {
    random: fastrand::Rng,
    busy: bool,
    eater: bool,
}

impl Machine {
    fn handshake(&mut self, edge_more: f64) -> BTreeMap<Part, f64> {
        if self.random.f64() < 0.1 {
            self.busy = self.eater && !self.busy;
        }
        let mut noise = |usual: f64| {
            let scheduler = if self.busy { self.random.f64().powi(4) * 12.0 } else { 0.0 };
            usual * (0.9 + 0.3 * self.random.f64()) + scheduler
        };
        [(EDGE, noise(4.0) + edge_more), (OWN, noise(2.0)), (PATH, noise(0.2))].into()
    }

    /// Until it is clear, or so many blocks have gone by.
    fn compare(&mut self, edge_more: f64, most: usize) -> Judge {
        let mut judge = Judge::new(Sizes::default());
        for _ in 0..most {
            let candidate_first = self.random.bool();
            let [a, b, c, d] =
                [true, false, false, true].map(|outer| self.handshake(if outer == candidate_first { edge_more } else { 0.0 }));
            judge.push(if candidate_first {
                Measured { base: [b, c], candidate: [a, d] }
            } else {
                Measured { base: [a, d], candidate: [b, c] }
            });
            if judge.is_clear() {
                break;
            }
        }
        judge
    }
}

fn machine(seed: u64) -> Machine {
    Machine { random: fastrand::Rng::with_seed(seed), busy: false, eater: seed % 2 == 1 }
}

fn slower(judge: &Judge) -> Vec<Part> {
    judge.differences().iter().filter(|d| d.found == Found::Slower).map(|d| d.part).collect()
}

#[test]
fn the_same_against_the_same_is_no_alarm() {
    let alarms = (0..400).filter(|seed| !slower(&machine(*seed).compare(0.0, 150)).is_empty()).count();
    assert!(alarms <= 2, "{alarms} of 400");
}

#[test]
fn what_is_slower_is_found_and_named() {
    for more in [5.0, 0.2 * 4.0] {
        let found = (0..60).filter(|seed| slower(&machine(*seed).compare(more, 400)) == [EDGE]).count();
        assert!(found >= 57, "{more} ms: {found} of 60");
    }
}

#[test]
fn it_ends_as_soon_as_it_is_clear() {
    let quiet = machine(2).compare(0.0, 1_000);
    assert!(quiet.is_clear() && quiet.blocks().len() < 200, "{}", quiet.blocks().len());
    let much = machine(2).compare(50.0, 1_000);
    assert!(much.is_clear() && much.blocks().len() < 60, "{}", much.blocks().len());
}

#[test]
fn what_is_faster_is_no_regression_and_said() {
    let judge = machine(4).compare(-2.0, 400);
    let of_edge = judge.differences().into_iter().find(|d| d.part == EDGE).expect("it was measured");
    assert_eq!((of_edge.found, slower(&judge)), (Found::Faster, vec![]));
}

#[test]
fn before_much_is_known_it_is_open_and_says_how_much_more_it_takes() {
    let judge = machine(1).compare(0.0, CALIBRATION + 16);
    let open: Vec<Difference> = judge.differences().into_iter().filter(|d| d.found == Found::Open).collect();
    assert!(!judge.is_clear() && !open.is_empty() && open.iter().all(|d| d.more_blocks.is_some_and(|more| more > 0)), "{open:?}");
}

#[test]
fn what_only_the_candidate_does_is_a_part() {
    let mut judge = Judge::new(Sizes::default());
    let retry = Part { phase: Phase::HelloRetry, owner: Owner::Protocol };
    for i in 0..60 {
        let base = BTreeMap::from([(EDGE, 4.0 + f64::from(i % 3))]);
        let candidate = BTreeMap::from([(EDGE, 4.0 + f64::from(i % 3)), (retry, 20.0)]);
        judge.push(Measured { base: [base.clone(), base], candidate: [candidate.clone(), candidate] });
    }
    assert_eq!(slower(&judge), [retry]);
}
