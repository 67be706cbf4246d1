//! `whostalled-score`: runs trials of the fault matrix and prints how often the verdict was right.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use sim::cases::{CASES, Grade, Setup};
use sim::tls::Version;
use whostalled_score::judge::{Judged, trial};
use whostalled_score::known::{KNOWN, Known, known_of};
use whostalled_score::table::render;

/// Trials of the fault matrix on a virtual clock, judged as any capture is
#[derive(Parser)]
struct Arguments {
    /// Trials of each case, severity, version and grade
    #[arg(long, default_value_t = 3)]
    trials: u64,
    /// The first seed; the same seed gives the same table
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these cases
    #[arg(long)]
    case: Vec<u8>,
    /// Say what went wrong in each trial that was not right
    #[arg(long)]
    misses: bool,
    /// Fail unless at least this share of what can be known is right, and at most this share is confident and wrong (per cent)
    #[arg(long, num_args = 2, value_names = ["RIGHT", "WRONG"])]
    hold: Option<Vec<f64>>,
}

const GRADES: [Grade; 3] = [Grade::BothAndHost, Grade::Client, Grade::Server];
/// More of one case's trials may not be wrong, per cent.
const MOST_IN_A_CASE: f64 = 25.0;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let setups = setups(&arguments);
    let next = AtomicUsize::new(0);
    let judged: Mutex<Vec<(usize, Judged)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let folder = tempfile::tempdir().expect("a temporary folder can be made");
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(setup) = setups.get(at) else { return };
                    if let Some(result) = trial(*setup, folder.path()) {
                        judged.lock().expect("no trial panicked").push((at, result));
                    }
                }
            });
        }
    });
    let mut judged = judged.into_inner().expect("no trial panicked");
    judged.sort_by_key(|(at, _)| *at);
    let judged: Vec<Judged> = judged.into_iter().map(|(_, j)| j).collect();
    if arguments.misses {
        judged.iter().filter(|j| !j.right()).for_each(miss);
    }
    println!("{} trials, seeds from {}\n\n{}", judged.len(), arguments.seed, render(&judged));
    let Some([least, most]) = arguments.hold.as_deref() else { return ExitCode::SUCCESS };
    let share = |keep: &dyn Fn(&&Judged) -> bool, of: &dyn Fn(&&Judged) -> bool| {
        100.0 * judged.iter().filter(|j| of(j) && keep(j)).count() as f64 / judged.iter().filter(of).count().max(1) as f64
    };
    let wrong = |j: &&Judged| !j.right() && !j.open();
    let knowable = |j: &&Judged| !matches!(j.expected.class, "unknowable" | "either");
    let unknown = |j: &&Judged| known_of(j.setup.case, j.setup.grade).is_none();
    let (all_right, all_wrong) = (share(&|j| j.right(), &knowable), share(&wrong, &|_| true));
    let right = share(&|j| j.right(), &|j| knowable(j) && unknown(j));
    let wrong = share(&wrong, &unknown);
    // A rule that is broken shows in its own case, and is lost in the sum.
    let all = || (1..=CASES).flat_map(|case| GRADES.map(|grade| (case, grade)));
    let of_case = |(case, grade)| wrong_in(&judged, case, grade);
    let worst = all().filter(|(case, grade)| known_of(*case, *grade).is_none()).map(of_case).fold(0.0, f64::max);
    let worse: Vec<&Known> = KNOWN.iter().filter(|k| of_case((k.case, k.grade)) > k.most).collect();
    let held = right >= *least && wrong <= *most && worst <= MOST_IN_A_CASE && worse.is_empty();
    for Known { case, grade, most, why } in worse {
        println!("case {case}, {grade:?}: {:.0} % wrong, known are {most}: {why}", of_case((*case, *grade)));
    }
    println!("of all, {all_right:.2} % right of what can be known, {all_wrong:.2} % confident and wrong");
    println!("without what is known ({} cases of an evidence, score/src/known.rs):", KNOWN.len());
    println!("in the worst case {worst:.0} % wrong (held to {MOST_IN_A_CASE})");
    println!("{right:.2} % right of what can be known (held to {least}), {wrong:.2} % confident and wrong (held to {most})");
    println!("{} passed, {} failed", u8::from(held), u8::from(!held));
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many per cent of a case's trials are confident and wrong.
fn wrong_in(judged: &[Judged], case: u8, grade: Grade) -> f64 {
    let of: Vec<&Judged> = judged.iter().filter(|j| j.setup.case == case && j.setup.grade == grade).collect();
    100.0 * of.iter().filter(|j| !j.right() && !j.open()).count() as f64 / of.len().max(1) as f64
}

fn setups(arguments: &Arguments) -> Vec<Setup> {
    let mut setups = Vec::new();
    for case in (1..=CASES).filter(|c| arguments.case.is_empty() || arguments.case.contains(c)) {
        for grade in GRADES {
            for version in Version::ALL {
                for severity in [50, 150, 500] {
                    for n in 0..arguments.trials {
                        let seed = arguments.seed.wrapping_mul(1_000_003).wrapping_add(setups.len() as u64 * 7_919 + n);
                        setups.push(Setup { case, severity, version, grade, seed });
                    }
                }
            }
        }
    }
    setups
}

fn miss(judged: &Judged) {
    let Setup { case, severity, version, grade, seed } = judged.setup;
    eprintln!(
        "case {case} severity {severity} {version:?} {grade:?} seed {seed} offered {:?}: said {}, expected {:?}",
        judged.offered,
        judged.label(),
        judged.expected.right
    );
    judged.unsound().iter().for_each(|what| eprintln!("    {what}"));
    if let Some(opinion) = &judged.opinion {
        eprintln!(
            "    {}",
            opinion
                .reading
                .ledger
                .entries
                .iter()
                .map(|e| format!("{:?}/{:?}/{:?} {}", e.phase, e.owner, e.kind, e.span))
                .collect::<Vec<_>>()
                .join("; ")
        );
        eprintln!(
            "    candidates {:?} missing {:?} floor {}",
            opinion.judgement.candidates, opinion.judgement.missing, opinion.judgement.floor
        );
    }
}
