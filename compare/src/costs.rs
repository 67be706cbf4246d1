//! What a handshake costs the edge or the client itself: system calls, by strace; instructions, by valgrind. Best effort, and no gate:
//! shown alone.
//!
//! In: a command. Out: the cost of one handshake with its request. Of an edge it is what many took more than few did, so that starting and
//! stopping count for nothing; a client is started for each, and its start is in it. Absent where the tool is not installed, or the command
//! does not run under it.

use std::io;
use std::path::Path;

use records::compared::Cost;

use crate::caller::{Caller, URL};
use crate::edge::Edge;
use crate::measure::{Client, Handshake};
use crate::processes::becoming;
use crate::{Error, Options};

/// Handshakes of the two counts.
const FEW: u32 = 4;
const MANY: u32 = 24;

/// A tool that counts all that a command does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    /// System calls.
    Strace,
    /// Instructions.
    Valgrind,
}

impl Tool {
    fn wrap(self, command: &str, folder: &Path) -> Result<String, Error> {
        let line = quoted(&becoming(command))?;
        let folder = quoted(&folder.display().to_string())?;
        Ok(match self {
            Tool::Strace => format!("exec strace -f -qq -c -o {folder}/calls sh -c {line}"),
            // Its own output belongs to nobody.
            Tool::Valgrind => format!(
                "exec valgrind -q --log-file=/dev/null --tool=cachegrind --cache-sim=no --trace-children=yes --cachegrind-out-file={folder}/%p sh -c {line}"
            ),
        })
    }

    fn total(self, folder: &Path) -> Option<u64> {
        let files = std::fs::read_dir(folder).ok()?.flatten().filter_map(|file| std::fs::read_to_string(file.path()).ok());
        let counts: Vec<u64> = files
            .filter_map(|text| match self {
                Tool::Strace => calls(&text),
                Tool::Valgrind => instructions(&text),
            })
            .collect();
        (!counts.is_empty()).then(|| counts.iter().sum())
    }
}

/// A word for the shell.
///
/// # Errors
/// If there is a zero in it, which no shell takes.
pub fn quoted(word: &str) -> Result<String, Error> {
    Ok(shlex::try_quote(word).map_err(io::Error::other)?.into_owned())
}

/// The calls in what `strace -c` writes: a line each, the fourth number.
fn calls(text: &str) -> Option<u64> {
    let rows = text.lines().filter(|line| !line.ends_with(" total") && !line.starts_with(['%', '-']));
    let counts: Vec<u64> = rows.filter_map(|row| row.split_whitespace().nth(3)?.parse().ok()).collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

/// The instructions in what cachegrind writes.
fn instructions(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("summary:")?.split_whitespace().next()?.parse().ok())
}

/// What a handshake costs both commands.
///
/// # Errors
/// If this host gives no resources, or somebody wants it to end. A tool that is not there, or a command that does not run under it, is no error.
pub fn costs(base: &str, candidate: &str, options: &Options) -> Result<Vec<Cost>, Error> {
    let mut found = Vec::new();
    for (tool, what) in [(Tool::Strace, "system calls"), (Tool::Valgrind, "instructions")] {
        let both = [each(tool, base, options)?, each(tool, candidate, options)?];
        if let [Some(base), Some(candidate)] = both {
            found.push(Cost { what: what.to_owned(), base, candidate });
        }
    }
    Ok(found)
}

/// One handshake's cost to a command.
fn each(tool: Tool, command: &str, options: &Options) -> Result<Option<f64>, Error> {
    if command.contains(URL) {
        let folder = tempfile::tempdir()?;
        // What is filled in is quoted for a shell of its own.
        let called = Caller::within(command, options, &|line| tool.wrap(line, folder.path()))?.once(options.timeout)?;
        options.stop.check()?;
        let whole = matches!(called, Handshake::Whole(_));
        return Ok(whole.then(|| tool.total(folder.path())).flatten().map(|total| total as f64));
    }
    let (Some(few), Some(many)) = (total(tool, command, options, FEW)?, total(tool, command, options, MANY)?) else {
        return Ok(None);
    };
    Ok(many.checked_sub(few).map(|more| more as f64 / f64::from(MANY - FEW)))
}

fn total(tool: Tool, command: &str, options: &Options, handshakes: u32) -> Result<Option<u64>, Error> {
    let folder = tempfile::tempdir()?;
    let Ok(edge) = Edge::begin(&tool.wrap(options.asked.command(command), folder.path())?, &options.asked, &options.stop) else {
        options.stop.check()?;
        return Ok(None);
    };
    let client = Client::new(&options.tls, options.stop.clone())?;
    for _ in 0..handshakes {
        let counted = client.counted(&edge, options.timeout)?;
        options.stop.check()?;
        if !matches!(counted, Handshake::Whole(_)) {
            return Ok(None);
        }
    }
    // It writes what it counted when it is stopped.
    drop(edge);
    Ok(tool.total(folder.path()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prober::tls::TlsOptions;

    use super::*;
    use crate::Stop;
    use crate::edge::Asked;
    use crate::judge::Sizes;

    #[test]
    fn who_wants_it_to_end_is_not_told_that_nothing_was_counted() {
        let stop = Stop::default();
        stop.0.store(true, std::sync::atomic::Ordering::Relaxed);
        let options = Options {
            tls: TlsOptions::default(),
            asked: Asked { path: "/".into(), ..Asked::default() },
            budget: Duration::ZERO,
            timeout: Duration::from_secs(10),
            sizes: Sizes::default(),
            stop,
        };
        for command in ["sleep 60 # {port}", "sleep 60 # {url}"] {
            let stopped = costs(command, command, &options);
            assert!(matches!(stopped, Err(Error::Stopped)), "{command}: {stopped:?}");
        }
    }

    #[test]
    fn what_the_tools_write_is_added_up() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ------\n 60.00    0.000100          10        12         2 read\n 40.00    0.000050          10         7           write\n------ ----------- ----------- --------- --------- ------\n100.00    0.000150          10        19         2 total\n";
        assert_eq!(calls(text), Some(19));
        assert_eq!(instructions("events: Ir\nfl=x\nsummary: 123456\n"), Some(123_456));
        assert_eq!((calls(""), instructions("")), (None, None));
    }

    #[test]
    fn a_command_with_quotes_stays_one_word() {
        for own in ["edge --name 'a b' {port}", "exec edge --name 'a b' {port}"] {
            let line = Tool::Strace.wrap(own, Path::new("/tmp/x"));
            let words = shlex::split(&line.expect("no zero is in it")).expect("words");
            let of_strace = ["exec", "strace", "-f", "-qq", "-c", "-o", "/tmp/x/calls"];
            assert_eq!(words, [&of_strace[..], &["sh", "-c", "exec edge --name 'a b' {port}"]].concat());
        }
    }
}
