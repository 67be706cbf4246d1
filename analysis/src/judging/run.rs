//! Many handshakes → the matrix of vantages and targets → the run's verdict.
//!
//! Decompose first, then compare component by component: each handshake is split into owners before
//! cells are set against each other, so that a slow client cannot hide a slow path.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use enumset::EnumSet;
use serde::{Deserialize, Serialize};

use crate::clock::Span;
use crate::judging::baseline::Baseline;
use crate::judging::decide::{decide, excess_by_owner};
use crate::judging::policy;
use crate::judging::stats::{Shift, compare};
use crate::judging::verdict::{Culprit, Judgement, Reading, Verdict};
use crate::judging::vocabulary::{Kind, Missing, Owner};

/// What a target is there for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The accused.
    Edge,
    /// A comparison: reached from the same vantages, at the same time.
    Control,
}

/// The readings of one vantage to one target.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The vantage's name.
    pub vantage: String,
    /// The target's name.
    pub target: String,
    /// The target's role.
    pub role: Role,
    /// The path's round-trip time when well, if somebody knows it.
    pub stated_rtt: Option<Span>,
    /// How long a round trip to it was made, where somebody makes paths (the lab): it tells how much farther it is than a control.
    pub distance: Option<Span>,
    /// The servers' ends of its connections, as far as they are known.
    pub servers: BTreeSet<SocketAddr>,
    /// Its handshakes.
    pub readings: Vec<Reading>,
}

impl Cell {
    /// Whether this control is the server of one of the accused under another name: it is nothing to compare that with.
    pub fn is_accused_too(&self, cells: &[Cell]) -> bool {
        let accused = cells.iter().filter(|c| c.role == Role::Edge);
        self.role == Role::Control && accused.into_iter().any(|c| !c.servers.is_disjoint(&self.servers))
    }
}

/// Whether cells of one vantage may be compared with its controls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// Yes: one observer saw them all.
    AcrossTargets,
    /// No: each target's operator sees only its own packets.
    WithinTarget,
}

/// Sets every reading's baseline from the run itself.
///
/// A path's baseline is what is stated; else the least round trip of any handshake of the cell, or what a control of the same vantage
/// makes of it if that is less. A control tells that only where it is known how much farther the target is than itself: another address
/// may lie anywhere, and a long way is no detour. The client's own CPU need is the least any handshake of the vantage took.
pub fn apply_baselines(cells: &mut [Cell], compare: Compare) {
    let least_rtt = |cell: &Cell| cell.readings.iter().filter_map(|r| r.ledger.min_path()).min();
    let cpu_of = |r: &Reading| -> Span {
        let computing = |e: &&crate::judging::ledger::Entry| e.owner == Owner::ClientApp && e.kind == Some(Kind::Computing);
        r.ledger.entries.iter().filter(computing).map(|e| e.span).sum()
    };
    let baselines: Vec<Baseline> = cells
        .iter()
        .map(|cell| {
            let row = || {
                cells
                    .iter()
                    .filter(|c| c.vantage == cell.vantage && (compare == Compare::AcrossTargets || c.target == cell.target))
            };
            let as_far = |control: &Cell| Some((least_rtt(control)? + (cell.distance? - control.distance?)).at_least_zero());
            let control = row().filter(|c| c.role == Role::Control).filter_map(as_far).min();
            let path_rtt = cell.stated_rtt.or_else(|| [least_rtt(cell), control].into_iter().flatten().min());
            let least_cpu = row().flat_map(|c| &c.readings).map(cpu_of).min().unwrap_or_default();
            let client_cpu = least_cpu.percent(policy::OWN_CPU).max(policy::LEAST_CLIENT_CPU).min(policy::MOST_CLIENT_CPU);
            Baseline {
                path: Baseline::of_path(path_rtt),
                client_cpu,
                client_unsplit: policy::UNSPLIT_CLIENT,
                ..Baseline::default()
            }
        })
        .collect();
    for (cell, baseline) in cells.iter_mut().zip(&baselines) {
        for reading in &mut cell.readings {
            reading.ledger.apply(baseline);
        }
    }
}

/// What is said of one cell.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CellVerdict {
    /// The vantage's name.
    pub vantage: String,
    /// The target's name.
    pub target: String,
    /// The target's role.
    pub role: Role,
    /// Handshakes judged.
    pub n: usize,
    /// Of these, not healthy.
    pub slow: usize,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The handshake nearest the middle of the slow ones (of all, if none was slow), by index.
    pub example: Option<usize>,
    /// Elapsed time against the same vantage's controls; absent without a control.
    pub against_control: Option<Shift>,
    /// It is a control that turned out to be the server of one of the accused, under another name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_accused_too: bool,
}

/// Judges a cell from the judgements of its readings (same order).
///
/// A cell is slow if at least a quarter of its handshakes are, and at least two: one is noise on a busy machine.
/// Of fewer than four, more than half must be.
pub fn judge_cell(cell: &Cell, judgements: &[Judgement], controls: &[Span]) -> CellVerdict {
    let slow: Vec<usize> = (0..judgements.len()).filter(|i| judgements[*i].verdict != Verdict::Healthy).collect();
    let verdict = if judgements.is_empty() {
        Verdict::Inconclusive { candidates: EnumSet::empty(), missing: Missing::LosslessCapture.into(), excess: Span::ZERO }
    } else if !enough(slow.len(), judgements.len()) {
        Verdict::Healthy
    } else {
        slow_cell(cell, judgements, &slow)
    };
    let pool: Vec<usize> =
        if slow.is_empty() || verdict == Verdict::Healthy { (0..judgements.len()).collect() } else { slow.clone() };
    let totals: Vec<Span> = cell.readings.iter().map(|r| r.ledger.total).collect();
    CellVerdict {
        vantage: cell.vantage.clone(),
        target: cell.target.clone(),
        role: cell.role,
        n: judgements.len(),
        slow: slow.len(),
        example: example(&pool, judgements, &verdict),
        verdict,
        against_control: if cell.role == Role::Edge { compare(&totals, controls) } else { None },
        is_accused_too: false,
    }
}

fn enough(slow: usize, n: usize) -> bool {
    if n < policy::FEW { slow * 2 > n } else { slow >= policy::LEAST_SLOW && slow * policy::SLOW_PARTS >= n }
}

fn slow_cell(cell: &Cell, judgements: &[Judgement], slow: &[usize]) -> Verdict {
    let open = |i: &&usize| matches!(judgements[**i].verdict, Verdict::Inconclusive { .. });
    let undecided: Vec<&usize> = slow.iter().filter(open).collect();
    let aborted = slow.iter().filter(|i| matches!(judgements[**i].verdict, Verdict::Aborted { .. })).count();
    if aborted * 2 > slow.len()
        && let Some(i) = slow.iter().find(|i| matches!(judgements[**i].verdict, Verdict::Aborted { .. }))
    {
        return judgements[*i].verdict.clone();
    }
    let candidates: EnumSet<Owner> = undecided.iter().map(|i| judgements[**i].candidates).collect();
    let wanted = undecided.iter().map(|i| match &judgements[**i].verdict {
        Verdict::Inconclusive { missing, .. } => *missing,
        _ => EnumSet::empty(),
    });
    let missing: EnumSet<Missing> = wanted.collect();
    let ledgers = slow.iter().map(|i| &cell.readings[*i].ledger);
    let parts = of_each(excess_by_owner(ledgers), slow.len());
    if undecided.len() * 2 > slow.len() {
        // Where it is no question of time, none is said.
        let timed = undecided
            .iter()
            .any(|i| matches!(&judgements[**i].verdict, Verdict::Inconclusive { excess, .. } if *excess > Span::ZERO));
        let excess = parts.iter().map(|p| p.excess).filter(|_| timed).sum();
        return Verdict::Inconclusive { candidates, missing, excess };
    }
    // No smaller an effect than its handshakes' own floors allow.
    let mut floors: Vec<Span> = slow.iter().map(|i| judgements[*i].floor).collect();
    floors.sort_unstable();
    decide(&parts, floors[floors.len() / 2], candidates, missing)
}

/// Sums per handshake, so that what is said of many reads like what is said of one.
fn of_each(parts: Vec<Culprit>, count: usize) -> Vec<Culprit> {
    let part = |span: Span| Span::from_nanos(span.nanos() / (count as i64).max(1));
    parts.into_iter().map(|p| Culprit { excess: part(p.excess), error: part(p.error), ..p }).collect()
}

/// The handshake of the middle excess among those that bear the cell's verdict themselves.
fn example(pool: &[usize], judgements: &[Judgement], verdict: &Verdict) -> Option<usize> {
    let label = verdict.label();
    let mut fitting: Vec<usize> = pool.iter().copied().filter(|i| judgements[*i].verdict.label() == label).collect();
    if fitting.is_empty() {
        fitting = pool.to_vec();
    }
    fitting.sort_by_key(|i| judgements[*i].excess);
    fitting.get(fitting.len() / 2).copied()
}

/// Where in the matrix the trouble lies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope")]
pub enum Scope {
    /// Nowhere.
    Nowhere,
    /// One vantage is slow whatever the target.
    Vantage {
        /// Its name.
        vantage: String,
    },
    /// One target is slow from (nearly) everywhere.
    Target {
        /// Its name.
        target: String,
    },
    /// Only some pairs are slow.
    Pairs {
        /// `vantage → target`, each.
        pairs: Vec<String>,
    },
    /// The matrix has one row and one column: nothing to compare with.
    NothingToCompare,
}

/// What is said of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunVerdict {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Where.
    #[serde(flatten)]
    pub scope: Scope,
    /// The matrix.
    pub cells: Vec<CellVerdict>,
}

/// Judges a run from its cells. The accused are the targets in role `edge`; controls only speak to the scope,
/// unless nothing but controls was slow.
pub fn judge_run(cells: &[Cell], mut verdicts: Vec<CellVerdict>) -> RunVerdict {
    for (verdict, cell) in verdicts.iter_mut().zip(cells) {
        verdict.is_accused_too = cell.is_accused_too(cells);
    }
    let slow = |v: &&CellVerdict| v.verdict != Verdict::Healthy;
    let slow_edges: Vec<&CellVerdict> = verdicts.iter().filter(|v| v.role == Role::Edge).filter(slow).collect();
    // A control that cannot be reached, or of which nothing can be said, is no news of the accused.
    let found = |v: &&CellVerdict| matches!(v.verdict, Verdict::Culprit { .. });
    let accused = if slow_edges.is_empty() { verdicts.iter().filter(found).collect() } else { slow_edges };
    let verdict = match accused.as_slice() {
        [] => Verdict::Healthy,
        [one] => one.verdict.clone(),
        several => joint(cells, several),
    };
    let scope = if verdict == Verdict::Healthy { Scope::Nowhere } else { scope(&verdicts) };
    RunVerdict { verdict, scope, cells: verdicts }
}

/// The verdict of several slow cells: theirs if they agree, else from the sum of their culprits.
fn joint(cells: &[Cell], several: &[&CellVerdict]) -> Verdict {
    let first = &several[0].verdict;
    if several.iter().all(|v| v.verdict.label() == first.label()) {
        return first.clone();
    }
    let of_accused = cells.iter().filter(|c| several.iter().any(|v| v.vantage == c.vantage && v.target == c.target));
    let parts = excess_by_owner(of_accused.flat_map(|c| c.readings.iter().map(|r| &r.ledger)));
    let parts = of_each(parts, several.iter().map(|v| v.slow).sum());
    decide(&parts, policy::LEAST_EFFECT, EnumSet::empty(), EnumSet::empty())
}

fn scope(verdicts: &[CellVerdict]) -> Scope {
    let verdicts: Vec<&CellVerdict> = verdicts.iter().filter(|v| !v.is_accused_too).collect();
    let mut slow: Vec<&CellVerdict> = verdicts.iter().copied().filter(|v| v.verdict != Verdict::Healthy).collect();
    // What a protocol demands is nobody's fault, and nowhere in particular, beside a real one.
    let of_protocol =
        |v: &&CellVerdict| matches!(&v.verdict, Verdict::Culprit { primary, .. } if primary.owner == Owner::Protocol);
    if !slow.iter().all(of_protocol) {
        slow.retain(|v| !of_protocol(v));
    }
    if slow.is_empty() {
        return Scope::Nowhere;
    }
    if verdicts.len() == 1 {
        return Scope::NothingToCompare;
    }
    // One thing is slow only if one and the same may have made it so.
    let whole = |same: &dyn Fn(&CellVerdict) -> bool, share: f64| {
        let line = verdicts.iter().filter(|v| same(v)).count();
        let in_line = || slow.iter().filter(|v| same(v));
        let alike =
            EnumSet::<Owner>::all().iter().map(|owner| in_line().filter(|v| suspects(&v.verdict).contains(owner)).count());
        line >= 2 && slow.iter().all(|v| same(v)) && alike.max().unwrap_or(0) as f64 >= share * line as f64
    };
    let first = slow[0];
    if whole(&|v| v.vantage == first.vantage, 1.0) {
        Scope::Vantage { vantage: first.vantage.clone() }
    } else if whole(&|v| v.target == first.target, policy::WHOLE_TARGET) {
        Scope::Target { target: first.target.clone() }
    } else {
        Scope::Pairs { pairs: slow.iter().map(|v| format!("{} → {}", v.vantage, v.target)).collect() }
    }
}

/// The sides that may have done it.
fn suspects(verdict: &Verdict) -> EnumSet<Owner> {
    match verdict {
        Verdict::Healthy => EnumSet::empty(),
        Verdict::Culprit { primary, second } => {
            [Some(primary), second.as_ref()].into_iter().flatten().map(|c| c.owner.side()).collect()
        }
        Verdict::Inconclusive { candidates, .. } => candidates.iter().map(Owner::side).collect(),
        Verdict::Aborted { by, .. } => by.side().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judging::decide::judge;
    use crate::judging::ledger::{Entry, Ledger, Phase};
    use crate::judging::verdict::{Circumstances, End, Grade};

    /// What an owner had of a handshake beside a round trip, in milliseconds.
    type Part = (Owner, Option<Kind>, i64);

    fn reading((owner, kind, millis): Part) -> Reading {
        let mut ledger = Ledger::open(Span::from_millis(40 + millis));
        ledger.charge(Entry::round_trip(Phase::Connect, Span::from_millis(40), Span::ZERO));
        let mut entry = Entry::new(Phase::ServerFlight, owner, kind, Span::from_millis(millis), Span::ZERO);
        if owner == Owner::Unattributed {
            (entry.candidates, entry.missing) = (Owner::Path | Owner::Edge, Missing::EdgeCapture.into());
        }
        ledger.charge(entry);
        Reading { grade: Grade::BothEnds { host: true }, ledger, end: End::Complete }
    }

    fn cell(vantage: &str, target: &str, role: Role, parts: &[Part]) -> Cell {
        let readings = parts.iter().copied().map(reading).collect();
        Cell {
            vantage: vantage.into(),
            target: target.into(),
            role,
            stated_rtt: None,
            distance: None,
            servers: BTreeSet::new(),
            readings,
        }
    }

    fn judged(cells: &mut [Cell]) -> RunVerdict {
        apply_baselines(cells, Compare::AcrossTargets);
        let of = |cell: &Cell| {
            let judgements: Vec<_> = cell.readings.iter().map(|r| judge(r, Circumstances::default())).collect();
            judge_cell(cell, &judgements, &[])
        };
        let verdicts = cells.iter().map(of).collect();
        judge_run(cells, verdicts)
    }

    const WELL: Part = (Owner::Edge, None, 1);
    const SLEPT: Part = (Owner::EdgeApp, Some(Kind::Asleep), 300);
    const STARVED: Part = (Owner::ClientHost, Some(Kind::CpuStarved), 500);

    #[test]
    fn a_quarter_and_two_make_a_cell_slow() {
        assert!(enough(2, 8) && !enough(2, 9), "a quarter");
        assert!(!enough(1, 4) && enough(2, 4), "one is noise");
        assert!(enough(1, 1) && !enough(1, 2) && enough(2, 3) && !enough(1, 3), "of a few, more than half");
    }

    #[test]
    fn an_end_may_take_what_its_own_work_takes_and_no_more() {
        let parts = [
            (Owner::Client, None, 60),
            (Owner::EdgeApp, Some(Kind::Computing), 60),
            (Owner::ClientApp, Some(Kind::Computing), 2),
        ];
        let mut cells = [cell("office", "edge", Role::Edge, &parts)];
        apply_baselines(&mut cells, Compare::WithinTarget);
        let usual = |i: usize| cells[0].readings[i].ledger.entries[1].baseline;
        assert_eq!([usual(0), usual(1), usual(2)], [20, 5, 2].map(Span::from_millis));
    }

    /// What is said of an edge whose round trips take `edge` ms, beside a control at 20, each said to be so far away.
    fn beside_a_control(edge: i64, distances: Option<[i64; 2]>) -> String {
        let cell = |target: &str, role, millis: i64, distance: Option<i64>| {
            let mut ledger = Ledger::open(Span::from_millis(2 * millis));
            for phase in [Phase::Connect, Phase::ServerFlight] {
                ledger.charge(Entry::round_trip(phase, Span::from_millis(millis), Span::ZERO));
            }
            let readings = vec![Reading { grade: Grade::OneEnd { host: true }, ledger, end: End::Complete }; 4];
            Cell { distance: distance.map(Span::from_millis), readings, ..cell("office", target, role, &[]) }
        };
        let control = cell("control", Role::Control, 20, distances.map(|d| d[1]));
        judged(&mut [cell("edge", Role::Edge, edge, distances.map(|d| d[0])), control]).verdict.label()
    }

    #[test]
    fn a_far_target_is_no_detour_beside_a_near_control() {
        assert_eq!(beside_a_control(100, None), "healthy", "another address may lie anywhere");
        assert_eq!(beside_a_control(100, Some([100, 20])), "healthy", "it is as far as it was made");
        assert_eq!(beside_a_control(100, Some([20, 20])), "path/detour");
        assert_eq!(beside_a_control(160, Some([100, 20])), "path/detour", "longer than it was made");
    }

    #[test]
    fn a_target_is_slow_from_everywhere_if_it_is_from_four_of_five() {
        let of = |slow: usize| {
            let row = |n: usize| {
                let vantage = format!("v{n}");
                let part = if n < slow { SLEPT } else { WELL };
                [cell(&vantage, "edge", Role::Edge, &[part; 4]), cell(&vantage, "control", Role::Control, &[WELL; 4])]
            };
            judged(&mut (0..5).flat_map(row).collect::<Vec<_>>()).scope
        };
        assert_eq!(of(4), Scope::Target { target: "edge".into() });
        assert_eq!(of(2), Scope::Pairs { pairs: vec!["v0 → edge".into(), "v1 → edge".into()] });
        assert_eq!(of(0), Scope::Nowhere);
    }

    #[test]
    fn a_controls_slowness_is_not_the_edges() {
        let mut cells =
            [cell("office", "edge", Role::Edge, &[SLEPT; 4]), cell("office", "control", Role::Control, &[STARVED; 4])];
        let run = judged(&mut cells);
        assert_eq!(run.verdict.label(), "edge_app/asleep");
        let pairs = ["edge", "control"].map(|target| format!("office → {target}")).to_vec();
        assert_eq!(run.scope, Scope::Pairs { pairs }, "each for a reason of its own");
        let mut cells =
            [("edge", Role::Edge), ("control", Role::Control)].map(|(t, role)| cell("office", t, role, &[STARVED; 4]));
        assert_eq!(judged(&mut cells).scope, Scope::Vantage { vantage: "office".into() });
        let mut cells = [cell("office", "edge", Role::Edge, &[WELL; 4]), cell("office", "control", Role::Control, &[STARVED; 4])];
        assert_eq!(judged(&mut cells).verdict.label(), "client_host/cpu_starved", "where nothing but controls is slow");
        let open = (Owner::Unattributed, None, 300);
        let mut cells = [cell("office", "edge", Role::Edge, &[WELL; 4]), cell("office", "control", Role::Control, &[open; 4])];
        let run = judged(&mut cells);
        assert_eq!(
            (run.verdict, run.scope),
            (Verdict::Healthy, Scope::Nowhere),
            "a control of which nothing can be said is no news"
        );
    }

    #[test]
    fn the_same_server_under_another_name_is_nothing_to_compare_with() {
        let at = |last: u8| BTreeSet::from([SocketAddr::from(([192, 0, 2, last], 443))]);
        let scope = |control: u8| {
            let mut cells = [("edge", Role::Edge, 5), ("control", Role::Control, control)]
                .map(|(target, role, last)| Cell { servers: at(last), ..cell("office", target, role, &[SLEPT; 4]) });
            judged(&mut cells).scope
        };
        assert_eq!(scope(6), Scope::Vantage { vantage: "office".into() });
        assert_eq!(scope(5), Scope::NothingToCompare, "one server was asked twice");
    }

    #[test]
    fn what_is_said_of_many_is_said_per_handshake() {
        let open = |n: i64| (Owner::Unattributed, None, 100 * n);
        let mut cells = [cell("office", "edge", Role::Edge, &[open(1), open(2), open(3)])];
        let Verdict::Inconclusive { excess, .. } = judged(&mut cells).verdict else { panic!("it is open") };
        assert_eq!(excess, Span::from_millis(200));
        let mut cells = [
            cell("office", "a", Role::Edge, &[(Owner::EdgeApp, Some(Kind::Asleep), 300); 4]),
            cell("office", "b", Role::Edge, &[(Owner::EdgeHost, Some(Kind::CpuStarved), 100); 4]),
        ];
        let Verdict::Culprit { primary, .. } = judged(&mut cells).verdict else { panic!("somebody is named") };
        assert_eq!(primary.excess, Span::from_millis(150), "of two cells, four handshakes each");
    }

    #[test]
    fn a_cell_of_which_most_is_open_is_open_however_long_one_took() {
        let open = (Owner::Unattributed, None, 30);
        let long = (Owner::EdgeApp, Some(Kind::Asleep), 5_000);
        let mut cells = [cell("office", "edge", Role::Edge, &[open, open, open, long])];
        assert_eq!(judged(&mut cells).verdict.label(), "inconclusive");
        let mut cells = [cell("office", "edge", Role::Edge, &[open, long, long, long])];
        assert_eq!(judged(&mut cells).verdict.label(), "edge_app/asleep");
    }
}
