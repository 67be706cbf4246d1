//! Runs a suite with real processes, and what failed of it once more. In: the suite's name, seconds, the release binary. Out: what the
//! suite says, and which test had to be run again; bad if a test failed twice, or several failed.
//!
//! Such tests share two cores with servers, clients and whatever else the machine does; one of some two hundred now and then fails for
//! that alone (docs/decisions/0062). A mistake fails twice. What was run again is said at once, and by `make test` at its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{ScopedJoinHandle, scope};

use anyhow::{Context, Result, anyhow};
use xshell::Shell;

use crate::Found;

/// Where it is written down what was run again.
const AGAIN: &str = "target/run-again.txt";

pub(crate) fn run(shell: &Shell, name: &str, seconds: u32, arguments: &[String]) -> Result<Found> {
    let first = once(shell, name, seconds, arguments)?;
    if first.good {
        return Ok(Found::Good);
    }
    let [test] = first.failed.as_slice() else { return Ok(Found::Bad) };
    println!("again: {name}: {test} failed; it is run once more, alone");
    let exactly: Vec<String> = arguments.iter().cloned().chain(["--exact".to_owned(), test.clone()]).collect();
    let second = once(shell, name, seconds, &exactly)?;
    let outcome = if second.good { "was good" } else { "failed again" };
    println!("again: {name}: {test} {outcome}");
    note(&shell.current_dir().join(AGAIN), &format!("{name}: {test} failed, was run once more and {outcome}"))?;
    Ok(Found::good_if(second.good))
}

/// Says what was run again since it was last said.
pub(crate) fn said(shell: &Shell) -> Result<Found> {
    if shell.path_exists(AGAIN) {
        println!("run again:\n{}", shell.read_file(AGAIN)?);
        shell.remove_path(AGAIN)?;
    }
    Ok(Found::Good)
}

fn note(file: &Path, line: &str) -> Result<()> {
    let mut file = std::fs::File::options().append(true).create(true).open(file).with_context(|| file.display().to_string())?;
    Ok(writeln!(file, "{line}")?)
}

/// How a suite ended.
struct Ended {
    good: bool,
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
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let said = scope(|scope| -> Result<String> {
        let out = scope.spawn(|| hand_on(out, std::io::stdout()));
        let err = scope.spawn(|| hand_on(err, std::io::stderr()));
        joined(err)?;
        joined(out)
    })?;
    Ok(Ended { good: child.wait()?.success(), failed: failed(&said) })
}

/// Hands lines on as they come, and gives all of them.
fn hand_on(from: Option<impl Read>, mut to: impl Write) -> Result<String> {
    let mut all = String::new();
    let mut lines = BufReader::new(from.context("no pipe")?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        all.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(all)
}

fn joined(thread: ScopedJoinHandle<'_, Result<String>>) -> Result<String> {
    thread.join().map_err(|_| anyhow!("a thread that reads a suite's output ended badly"))?
}

/// The names behind the last `failures:` of what the test harness said.
fn failed(said: &str) -> Vec<String> {
    let Some((_, list)) = said.rsplit_once("\nfailures:\n") else { return Vec::new() };
    list.lines().map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::failed;

    #[test]
    fn tests_that_failed_are_known_by_name() {
        let said = "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\nfailures:\nx\n\nfailures:\n    a::b\n    c\n\ntest result: FAILED.\n";
        assert_eq!(failed(said), ["a::b", "c"]);
        assert_eq!(failed("test result: ok. 3 passed\n"), Vec::<String>::new());
        assert_eq!(failed("error[E0308]: mismatched types\n"), Vec::<String>::new());
    }
}
