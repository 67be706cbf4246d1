//! Runs a suite with real processes, and what failed of it once more. In: the suite's name, seconds, the release binary. Out: what the
//! suite says, and which tests had to be run again; bad if a test failed twice, or more than two failed.
//!
//! Such tests share two cores with servers, clients and whatever else the machine does; one of some two hundred now and then fails for
//! that alone (docs/decisions/0062). A mistake fails twice. What was run again is said at once, and by `make test` at its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xshell::Shell;

use crate::Found;

/// Where it is written down what was run again.
const AGAIN: &str = "target/run-again.txt";
/// Tests of a suite that may be run again: more have another reason than their neighbours.
const MOST_AGAIN: usize = 2;
/// How long behind its end a suite's last lines may come.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) fn run(shell: &Shell, name: &str, seconds: u32, arguments: &[String]) -> Result<Found> {
    let first = once(shell, name, seconds, arguments)?;
    if first.good {
        return Ok(Found::Good);
    }
    if strict() || first.failed.is_empty() || first.failed.len() > MOST_AGAIN {
        return Ok(Found::Bad);
    }
    let tests = first.failed.join(", ");
    println!("again: {name}: {tests} failed; once more, without the others");
    let exactly: Vec<String> = arguments.iter().cloned().chain(["--exact".to_owned()]).chain(first.failed).collect();
    let wanted = exactly.len() - arguments.len() - 1;
    let second = once(shell, name, seconds, &exactly)?;
    // Names that no test has would be run well, too.
    let good = second.good && second.passed == wanted;
    let outcome = if good { "good then" } else { "failed again" };
    println!("again: {name}: {tests}: {outcome}");
    note(shell, &format!("{name}: {tests}: failed, {outcome}"))?;
    Ok(Found::good_if(good))
}

/// Whether what fails has no second chance: `make nightly` sets it, to find what fails now and then.
pub(crate) fn strict() -> bool {
    std::env::var_os("WHOSTALLED_STRICT").is_some()
}

/// Says what was run again since it was last said.
pub(crate) fn said(shell: &Shell) -> Result<Found> {
    if shell.path_exists(AGAIN) {
        println!("run again:\n{}", shell.read_file(AGAIN)?);
        shell.remove_path(AGAIN)?;
    }
    Ok(Found::Good)
}

/// Notes that something was run again.
pub(crate) fn note(shell: &Shell, line: &str) -> Result<()> {
    let file = shell.current_dir().join(AGAIN);
    let mut file = std::fs::File::options().append(true).create(true).open(&file).with_context(|| file.display().to_string())?;
    Ok(writeln!(file, "{line}")?)
}

/// How a suite ended.
struct Ended {
    good: bool,
    /// How many tests passed.
    passed: usize,
    /// Tests that failed, by name; empty if it was stopped or did not compile.
    failed: Vec<String>,
}

fn once(shell: &Shell, name: &str, seconds: u32, arguments: &[String]) -> Result<Ended> {
    // Built with the workspace's features, so that nothing is built twice; one test at a time, each check said.
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).args(["cargo", "test", "--locked", "--quiet", "--workspace"]);
    command.args(["--features", "whostalled-e2e/run", "--test", name, "--", "--nocapture", "--test-threads=1"]).args(arguments);
    command.current_dir(shell.current_dir()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let (say, said) = channel();
    let pipes: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|err| Box::new(err) as _)];
    for (pipe, to) in pipes.into_iter().zip([Output::Standard, Output::Error]) {
        let (pipe, say) = (pipe.context("no pipe")?, say.clone());
        std::thread::spawn(move || hand_on(pipe, to, &say));
    }
    drop(say);
    let good = child.wait()?.success();
    // A process that a suite left behind may hold its pipes open for ever: what it says is not waited for.
    let (mut all, until) = (String::new(), Instant::now() + LINGER);
    while let Ok(line) = said.recv_timeout(until.saturating_duration_since(Instant::now())) {
        all.push_str(&line);
    }
    Ok(Ended { good, passed: passed(&all), failed: failed(&all) })
}

/// Where lines are handed on to.
#[derive(Clone, Copy)]
enum Output {
    Standard,
    Error,
}

/// Hands lines on as they come; those of the harness, which are on standard output, are said to whoever listens, too.
fn hand_on(from: impl Read, to: Output, say: &Sender<String>) {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // Who no longer reads what we say does not end the suite.
        let _ = match to {
            Output::Standard => std::io::stdout().write_all(&line),
            Output::Error => std::io::stderr().write_all(&line),
        };
        if matches!(to, Output::Standard) {
            let _ = say.send(String::from_utf8_lossy(&line).into_owned());
        }
        line.clear();
    }
}

/// The names behind the last `failures:` of what the test harness said.
fn failed(said: &str) -> Vec<String> {
    let Some((_, list)) = said.rsplit_once("\nfailures:\n") else { return Vec::new() };
    list.lines().map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

/// How many tests passed, by the harness's last line.
fn passed(said: &str) -> usize {
    let last = said.lines().rev().find_map(|line| line.strip_prefix("test result: "));
    last.and_then(|line| line.split(". ").nth(1)?.split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{failed, passed};

    #[test]
    fn tests_that_passed_are_counted() {
        assert_eq!(passed("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s\n"), 2);
        assert_eq!(passed("test result: FAILED. 1 passed; 1 failed;\n"), 1);
        assert_eq!(passed("error[E0308]: mismatched types\n"), 0);
    }

    #[test]
    fn tests_that_failed_are_known_by_name() {
        let said = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\nfailures:\nx\n\nfailures:\n    a::b\n    c\n\ntest result: FAILED.\n";
        assert_eq!(failed(said), ["a::b", "c"]);
        assert_eq!(failed("test result: ok. 3 passed\n"), Vec::<String>::new());
        assert_eq!(failed("error[E0308]: mismatched types\n"), Vec::<String>::new());
    }
}
