//! `whostalled accuracy`: scenarios run over and over, each time changed; what came out as tables.

use std::fmt::Write;
use std::path::Path;

use repro::accuracy::stacks::Stacks;
use repro::accuracy::{Drawn, Grade, done, draw, score, variation};
use repro::{Outcome, Scenario};

use crate::args::Accuracy;
use crate::exit;
use crate::fleets::Reached;
use crate::run::{once, read};
use crate::vantage_verbs::stopped;

/// Runs of a scenario that may say nothing (void, or a fault that was not done) before one is counted all the same.
const MOST_VOID: u32 = 3;
const SCENARIOS: &str =
    "| scenario | right | void runs | n scored | median error ms | p95 error ms | missed |\n|---|---|---|---|---|---|---|";
const RUNS: &str = "| scenario | client | servers | IP | TLS | RTT ms | clients | severity | both ends | from the edge | |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|";

/// Runs scenarios over seeds, severities and round-trip times, or over draws of stacks, and prints the tables.
pub fn accuracy(args: &Accuracy) -> Result<u8, Box<dyn std::error::Error>> {
    for path in &args.scenarios {
        repro::ready(&read(path, &[])?, &args.results)?;
    }
    let drawing = args.draw.map(|seed| stacks(&args.results).map(|stacks| (seed, stacks))).transpose()?;
    let privilege = lab::rootless::enter()?;
    let (no_fleet, stop) = (Reached::none(), stopped()?);
    let (mut by_scenario, mut by_run, mut all) = (String::new(), String::new(), Sum::default());
    for path in &args.scenarios {
        let scenario = read(path, &[])?;
        let mut sum = Sum::default();
        let mut trial = 0;
        while sum.counted() < args.trials {
            let drawn = drawing.as_ref().map(|(seed, stacks)| draw(&scenario, stacks, *seed, trial));
            let settings = drawn.as_ref().map_or_else(|| variation(&scenario, trial), |drawn| drawn.settings.clone());
            let changed = read(path, &settings)?;
            if let Some(drawn) = &drawn {
                eprintln!("{} #{trial}: {drawn}", scenario.name);
            }
            let outcome = once(&changed, &args.results, privilege, false, &no_fleet, &[], &stop)?;
            let is_done = done(&changed, &outcome);
            if sum.void < MOST_VOID && (outcome.record.footing.void.is_some() || !is_done) {
                sum.void += 1;
                // A fault that these stacks give no occasion for will have none the next time either.
                trial += u32::from(!is_done);
                continue;
            }
            trial += 1;
            let what = drawn.as_ref().map_or_else(|| settings.join(" "), Drawn::to_string);
            let grade = sum.add(&outcome, &what);
            if let Some(drawn) = &drawn {
                let row = run_row(&scenario, drawn, &outcome, grade);
                eprintln!("{row}{}", if grade <= Grade::RightlyOpen { String::new() } else { as_command(path, drawn) });
                by_run += &row;
            }
        }
        let row = sum.row(&scenario.name);
        eprint!("{row}");
        by_scenario += &row;
        all.extend(sum);
    }
    match &drawing {
        Some((seed, stacks)) => println!("{}\n\n{RUNS}\n{}", all.words(*seed, stacks), by_run.trim_end()),
        None => println!("{SCENARIOS}\n{}", by_scenario.trim_end()),
    }
    let fine = all.right + if drawing.is_some() { all.open } else { 0 };
    Ok(if fine == all.counted() { exit::HELD } else { exit::FAILED })
}

fn stacks(results: &Path) -> Result<Stacks, Box<dyn std::error::Error>> {
    let folder = results.join("stacks");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // Programs are started from elsewhere.
    Ok(Stacks::installed(&folder.canonicalize()?)?)
}

/// How runs came out.
#[derive(Default)]
struct Sum {
    right: u32,
    open: u32,
    too_little: u32,
    wrong: u32,
    void: u32,
    /// |attributed − injected|, in milliseconds.
    errors: Vec<f64>,
    missed: Vec<String>,
}

impl Sum {
    fn counted(&self) -> u32 {
        self.right + self.open + self.too_little + self.wrong
    }

    /// Counts a run by the worst of its expectations.
    fn add(&mut self, outcome: &Outcome, what: &str) -> Grade {
        let grade = Grade::of(&outcome.record);
        match grade {
            Grade::Right => self.right += 1,
            Grade::RightlyOpen => self.open += 1,
            Grade::TooLittle => self.too_little += 1,
            Grade::Wrong => self.wrong += 1,
        }
        let missed = outcome.record.expectations.iter().filter(|e| !e.held);
        self.missed.extend(missed.map(|e| format!("{}: {} ({what})", e.evidence, e.seen)));
        self.errors.extend(score(outcome).iter().map(|s| (s.attributed_ms - s.injected_ms).abs()));
        grade
    }

    fn extend(&mut self, other: Self) {
        self.right += other.right;
        self.open += other.open;
        self.too_little += other.too_little;
        self.wrong += other.wrong;
        self.void += other.void;
        self.errors.extend(other.errors);
    }

    fn row(&mut self, name: &str) -> String {
        self.errors.sort_by(f64::total_cmp);
        let at = |q: f64| self.errors.get(((self.errors.len() as f64 * q) as usize).min(self.errors.len().saturating_sub(1)));
        let shown = |v: Option<&f64>| v.map_or("–".to_owned(), |v| format!("{v:.2}"));
        format!(
            "| {name} | {}/{} | {} | {} | {} | {} | {} |\n",
            self.right,
            self.counted(),
            self.void,
            self.errors.len(),
            shown(at(0.5)),
            shown(at(0.95)),
            self.missed.join("; ")
        )
    }

    fn words(&self, seed: u64, stacks: &Stacks) -> String {
        let Self { right, open, too_little, wrong, void, .. } = self;
        let clients: Vec<&str> = stacks.clients.iter().map(|c| c.word()).collect();
        let servers: Vec<&str> = stacks.servers.iter().map(|s| s.word()).collect();
        format!(
            "Draw {seed}: {right} of {} runs right, {open} right from both ends and rightly left open by the edge alone, {too_little} said too little, \
             {wrong} wrong; {void} void. Clients here: {}. Servers: {}.",
            self.counted(),
            clients.join(", "),
            servers.join(", ")
        )
    }
}

fn run_row(scenario: &Scenario, drawn: &Drawn, outcome: &Outcome, grade: Grade) -> String {
    let Drawn { client, servers, ipv6, concurrency, rtt_ms, severity, .. } = drawn;
    let record = &outcome.record;
    let grade = match grade {
        Grade::Right => "right",
        Grade::RightlyOpen => "rightly open",
        Grade::TooLittle => "too little",
        Grade::Wrong => "**wrong**",
    };
    format!(
        "| {} | {client} | {} | {} | {} | {rtt_ms} | {concurrency} | {severity} | {} | {} | {grade} |\n",
        scenario.name,
        servers.join(", "),
        if *ipv6 { "6" } else { "4" },
        drawn.tls_version(),
        record.verdict().verdict.label(),
        record.edge_only.as_ref().map_or_else(String::new, |edge| edge.verdict.label())
    )
}

/// How to do it again.
fn as_command(path: &Path, drawn: &Drawn) -> String {
    let mut command = format!("again: whostalled run {}", path.display());
    for setting in &drawn.settings {
        let _ = write!(command, " --set '{}'", setting.replace('\'', r"'\''"));
    }
    command
}
