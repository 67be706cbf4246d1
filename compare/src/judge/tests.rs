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

/// Whether it is an alarm, of whatever kind.
fn alarms(judge: &Judge) -> bool {
    judge.found().0.iter().any(|d| matches!(d.found, Found::Slower | Found::SlowerAtTimes))
}

fn slower(judge: &Judge) -> Vec<Part> {
    judge.found().0.iter().filter(|d| d.found == Found::Slower).map(|d| d.part).collect()
}

#[test]
fn the_same_against_the_same_is_no_alarm() {
    let alarms = (0..400).filter(|seed| alarms(&machine(*seed).compare(0.0, 150))).count();
    assert!(alarms <= 3, "{alarms} of 400");
}

#[test]
#[ignore = "minutes; the share that is promised, of very many"]
fn the_same_against_the_same_is_no_alarm_of_very_many() {
    let alarms = (0..4_000).filter(|seed| alarms(&machine(*seed).compare(0.0, 400))).count();
    assert!(alarms as f64 <= 4_000.0 * (FIRST * AGAIN + TAILS), "{alarms}");
}

/// Every so many handshakes of the candidate's take 200 ms longer.
fn with_a_tail(seed: u64, share: f64, most: usize) -> Judge {
    let mut machine = machine(seed);
    let mut judge = Judge::new(Sizes::default());
    for _ in 0..most {
        let base = [machine.handshake(0.0), machine.handshake(0.0)];
        let mut one = || {
            let more = if machine.random.f64() < share { 200.0 } else { 0.0 };
            machine.handshake(more)
        };
        judge.push(Measured { base, candidate: [one(), one()] });
        if judge.is_clear() {
            break;
        }
    }
    judge
}

#[test]
fn a_share_of_handshakes_that_is_much_slower_is_found() {
    for share in [0.1, 0.2] {
        let judges: Vec<Judge> = (0..40).map(|seed| with_a_tail(seed, share, 600)).collect();
        let found = |judge: &&Judge| {
            let (differences, _) = judge.found();
            differences.iter().any(|d| d.part == EDGE && matches!(d.found, Found::SlowerAtTimes | Found::Slower))
        };
        let found = judges.iter().filter(found).count();
        assert!(found >= 38, "{share}: {found} of 40");
    }
}

#[test]
fn what_got_worse_stands_first_with_its_blocks() {
    let (differences, blocks) = machine(2).compare(50.0, 1_000).found();
    assert_eq!((differences[0].part, differences[0].found), (EDGE, Found::Slower));
    assert!(blocks.iter().all(|b| b.base_ms.len() == differences.len() && b.candidate_ms[0] - b.base_ms[0] > 25.0));
}

#[test]
fn parts_add_up_whatever_is_seldom() {
    // Every third handshake has its time in a part that is not usual, and from some time on in a phase that never was.
    let seldom = Part { phase: Phase::ServerFlight, owner: Owner::Loss };
    let late = Part { phase: Phase::HelloRetry, owner: Owner::Protocol };
    let mut judge = Judge::new(Sizes::default());
    let mut random = fastrand::Rng::with_seed(5);
    for i in 0..60 {
        let mut one = || {
            let part = if i > 20 && random.f64() < 0.5 {
                late
            } else if random.f64() < 0.3 {
                seldom
            } else {
                EDGE
            };
            BTreeMap::from([(OWN, 2.0), (part, 4.0)])
        };
        judge.push(Measured { base: [one(), one()], candidate: [one(), one()] });
    }
    let (differences, blocks) = judge.found();
    assert!(blocks.iter().all(|b| (b.base_ms.iter().sum::<f64>() - 6.0).abs() < 1e-9), "{blocks:?}");
    assert!(differences.iter().any(|d| d.part == rest(Phase::HelloRetry)), "{differences:?}");
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
    assert!(quiet.is_clear() && quiet.seen() < 200, "{}", quiet.seen());
    let much = machine(2).compare(50.0, 1_000);
    assert!(much.is_clear() && much.seen() < 60, "{}", much.seen());
}

#[test]
fn what_is_faster_is_no_regression_and_said() {
    let judge = machine(4).compare(-2.0, 400);
    let of_edge = judge.found().0.into_iter().find(|d| d.part == EDGE).expect("it was measured");
    assert_eq!((of_edge.found, slower(&judge)), (Found::Faster, vec![]));
}

#[test]
fn before_much_is_known_it_is_open_and_says_how_much_more_it_takes() {
    let judge = machine(1).compare(0.0, CALIBRATION + 16);
    let open: Vec<Difference> = judge.found().0.into_iter().filter(|d| d.found == Found::Open).collect();
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
    assert_eq!(judge.found().0[0].part, retry);
}
