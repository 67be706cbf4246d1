//! Runs each scenario for real and counts. In: scenario files, the release binary. Out: a line for each, the output of those that failed.
//!
//! A run in which the wire or a capture lost its footing is void, says so, and is run again, three times at most. A wrong verdict is run
//! again only where the hypervisor took 50 ms of CPU or more while it was made (the servers' own work was late then, and the verdict may
//! even be true); and without a reason two scenarios of all once each, when all others have run: a client that was disturbed by its
//! neighbours may truly have waited, and what disturbed it lasts for minutes. Both are said and counted, with what the wrong run said.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testing::Need;
use xshell::{Shell, cmd};

use crate::{Found, binary, evidence, skipped, suite};

const ATTEMPTS: usize = 3;
/// Milliseconds that the hypervisor took, from which on a wrong verdict is run again.
const DISTURBED: u64 = 50;
/// Wrong verdicts without such a reason after which a scenario is run again, of all scenarios together.
const SPARE: usize = 2;

pub(crate) fn run(shell: &Shell, scenarios: &[PathBuf]) -> Result<Found> {
    let may_unshare = || cmd!(shell, "unshare -Urnm true").quiet().ignore_stderr().run().is_ok();
    if !nix::unistd::geteuid().is_root() && !may_unshare() {
        let found = skipped(Need::Root, "no root and no user namespaces on this machine; no scenario was run");
        println!("0 passed, 0 failed, {} skipped", scenarios.len());
        return Ok(found);
    }
    let results = tempfile::tempdir()?;
    let most = if suite::strict() { 0 } else { SPARE };
    let (mut passed, mut failed, mut disturbed, mut spare) = (0, 0, 0, most);
    let mut all: VecDeque<(&PathBuf, bool)> = scenarios.iter().map(|scenario| (scenario, false)).collect();
    while let Some((scenario, is_again)) = all.pop_front() {
        let name = scenario.file_stem().unwrap_or_default().to_string_lossy();
        let (run, of_steal) = attempts(scenario, &name, results.path())?;
        disturbed += of_steal;
        if run.code == Some(1) && !is_again && spare > 0 {
            spare -= 1;
            println!("wrong: {name}, run again behind the others\n{}", run.said);
            all.push_back((scenario, true));
        } else if run.code == Some(0) {
            passed += 1;
            println!("ok: {name}");
        } else {
            failed += 1;
            println!("FAILED: {name} (exit {:?})\n{}", run.code, run.said);
        }
    }
    let runs: Vec<PathBuf> = shell.read_dir(results.path())?;
    if evidence::check(shell, &runs)? == Found::Bad {
        failed += 1;
    }
    if disturbed > 0 {
        println!("run again after a wrong verdict under steal: {disturbed}");
    }
    if spare < most {
        println!("run again after a wrong verdict without steal: {} of {most} that may be", most - spare);
        suite::note(shell, &format!("scenarios: {} wrong without a reason, and run again", most - spare))?;
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    Ok(Found::good_if(failed == 0))
}

struct Run {
    code: Option<i32>,
    said: String,
}

/// The last run of a scenario, and how many wrong verdicts before it were put down to steal.
fn attempts(scenario: &Path, name: &str, results: &Path) -> Result<(Run, usize)> {
    let (mut disturbed, mut attempt) = (0, 0);
    loop {
        attempt += 1;
        let run = once(scenario, results)?;
        let voids = lines_with(&run.said, |line| line.starts_with("VOID"));
        if run.code == Some(2) && !voids.is_empty() && attempt < ATTEMPTS {
            println!("void: {name} (attempt {attempt})\n{voids}");
            continue;
        }
        let stolen = stolen(&run.said);
        if run.code == Some(1) && attempt < ATTEMPTS && stolen >= DISTURBED {
            disturbed += 1;
            let wrong = lines_with(&run.said, |line| line.contains("FAILED"));
            println!("disturbed: {name} (attempt {attempt}): the hypervisor took {stolen} ms of CPU\n{wrong}");
            continue;
        }
        return Ok((run, disturbed));
    }
}

fn once(scenario: &Path, results: &Path) -> Result<Run> {
    let mut command = Command::new(binary());
    command.arg("run").arg(scenario).arg("--results").arg(results);
    let output = command.output().with_context(|| format!("{command:?}"))?;
    Ok(Run {
        code: output.status.code(),
        said: [output.stdout, output.stderr].map(|o| String::from_utf8_lossy(&o).into_owned()).concat(),
    })
}

fn lines_with(said: &str, wanted: impl Fn(&str) -> bool) -> String {
    said.lines().filter(|line| wanted(line)).collect::<Vec<_>>().join("\n")
}

/// Milliseconds of CPU that the hypervisor took, as the run says.
fn stolen(said: &str) -> u64 {
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    said.split("hypervisor took ").skip(1).filter_map(number).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn steal_is_read_from_the_words_of_a_run() {
        assert_eq!(super::stolen("held\nthe hypervisor took 73 ms of CPU"), 73);
        assert_eq!(super::stolen("nobody took anything"), 0);
    }
}
