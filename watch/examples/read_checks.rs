//! A check file → what would be probed, and when: `cargo run -p whostalled-watch --example read_checks [CHECKS.toml]`
//!
//! Nothing is probed.

use std::error::Error;
use std::path::Path;

use analysis::clock::{Instant, Span};
use whostalled_watch::checks::CheckFile;
use whostalled_watch::schedule::Schedule;
use whostalled_watch::target::TargetKind;

const CHECKS: &str = r#"
[defaults]
interval = "20s"

[[check]]
name = "login"
target = "https://login.example/health"
labels = { team = "edge" }

[[check]]
name = "control"
target = "control.example:8443"
role = "control"
interval = "1m"
"#;

/// How far ahead we look.
const AHEAD: Span = Span::from_millis(60_000);

fn main() -> Result<(), Box<dyn Error>> {
    let file = match std::env::args_os().nth(1) {
        Some(path) => CheckFile::load(Path::new(&path))?,
        None => CheckFile::parse(CHECKS)?,
    };
    let plans = file.plans()?;
    for plan in &plans {
        let what = match &plan.kind {
            TargetKind::Handshake => "the handshake alone".to_owned(),
            TargetKind::Request { path } => format!("a handshake and GET {path}"),
        };
        let (k, n) = (plan.fire.k, plan.fire.n);
        println!("{}: {what} with {}:{}, alerting after {k} bad rounds of {n}", plan.check.name, plan.host, plan.port);
    }

    // The schedule knows no clock: it is asked what is due at a time.
    let start = Instant::from_nanos(0);
    let intervals = plans.iter().map(|plan| (plan.check.name.as_str(), Span::from_nanos(plan.interval.nanos())));
    let mut schedule = Schedule::new(intervals, start);
    while let Some(at) = schedule.next().filter(|at| *at - start <= AHEAD) {
        if let Some(due) = schedule.pop(at) {
            println!("after {:>6.1} s: {}", (due.scheduled - start).millis() / 1_000.0, plans[due.check].check.name);
        }
    }
    Ok(())
}
