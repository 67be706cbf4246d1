//! Structure in round trips: both commands behind a wire of the lab whose delay is fixed, asked one after the other.
//!
//! In: two commands, a round trip. Out: how many of those a handshake took until the request could leave, and until the answer came. The
//! relay of the counts sees whose turn it is; only a wire shows what TCP's windows add.
//!
//! A child of this program counts: who enters the lab without root needs a process of one thread, and is in another network for good.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use analysis::judging::verdict::Verdict;
use compare::processes::becoming;
use lab::exec::own_program;
use lab::rootless::Privilege;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use prober::tls::Only;
use records::compared::{OnWire, Rounds};
use records::handshake::HandshakeRecord;
use repro::{Outcome, Scenario};
use serde::{Deserialize, Serialize};
use settings::Time;

use super::Error;
use crate::args::Compare;
use crate::run::once_in_lab;
use crate::saying;
use crate::vantage_verbs::stopped;

/// The hidden subcommand by which the binary starts itself.
pub(crate) const SUBCOMMAND: &str = "compare-wire";
/// Between two looks at whether the child has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The name that is asked for where nobody says another.
const NAME: &str = "localhost";
/// Handshakes with each: of these the quickest counts.
const ROUNDS: u32 = 5;
/// Work hides whole round trips on a shorter wire.
const LEAST: Time = Time::millis(20);
/// An edge that varies by itself may be quick once: what is worse is counted again, and is so if all say so of the same one, Finished or
/// the first byte. Of two that are alike, six say so in one comparison of two thousand at most (`p⁵ (1 - p⁵)` is a quarter at most,
/// whatever share `p` takes a round trip more; and there are two).
const SERIES: u32 = 6;
/// Runs in which the wire was late say nothing.
const MOST_VOID: u32 = 3;

/// What the child is told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wired {
    base: String,
    candidate: String,
    round_trip: Time,
    /// Our client's command: it asks as the other counts' client does.
    client: Vec<String>,
    /// Whoever started it, by its process id.
    runner: u32,
}

/// What the child says.
type Said = Result<OnWire, String>;

/// Refuses what cannot be counted so.
pub(super) fn usable(args: &Compare, commands: [&str; 2]) -> Result<(), Error> {
    let Some(round_trip) = args.wire else { return Ok(()) };
    if round_trip < LEAST {
        return Err(format!("--wire {round_trip}: from {LEAST} on a round trip is longer than the work between two").into());
    }
    for word in commands {
        if !word.contains("{port}") {
            return Err(format!("--wire runs both edges in a lab of its own: {word:?} is no command with {{port}} in it").into());
        }
    }
    Ok(())
}

/// Has a child count.
pub(super) fn count(args: &Compare, commands: [&str; 2], round_trip: Time, stop: &AtomicBool) -> Result<OnWire, Error> {
    let [base, candidate] = commands.map(str::to_owned);
    let own = own_program()?;
    let wired = Wired { base, candidate, round_trip, client: client(args, &own)?, runner: std::process::id() };
    let mut command = Command::new(own);
    // A group of its own: a signal of the terminal is ours to hand on, once.
    command.arg(SUBCOMMAND).arg(serde_json::to_string(&wired)?).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let mut is_told = false;
    // It says a line, which the pipe holds.
    while child.try_wait()?.is_none() {
        if !is_told && stop.load(Ordering::Relaxed) {
            is_told = true;
            kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        }
        std::thread::sleep(LOOK);
    }
    let output = child.wait_with_output()?;
    if stop.load(Ordering::Relaxed) {
        return Err(compare::Error::Stopped.into());
    }
    match serde_json::from_slice::<Said>(&output.stdout) {
        Ok(said) => Ok(said?),
        Err(_) => Err(format!("--wire: whoever counts ended and said nothing ({})", output.status).into()),
    }
}

/// The child: counts, and says what.
pub(crate) fn child(wired: &Wired) -> Result<(), Error> {
    // It is stopped with whoever started it, and takes the lab down.
    set_pdeathsig(Signal::SIGTERM)?;
    let stop = stopped()?;
    if getppid().as_raw().cast_unsigned() != wired.runner {
        return Err("whoever started it is gone".into());
    }
    let said: Said = counted(wired, &stop).map_err(|error| error.to_string());
    Ok(saying::line(serde_json::to_string(&said)?)?)
}

fn counted(wired: &Wired, stop: &AtomicBool) -> Result<OnWire, Error> {
    let round_trip = wired.round_trip;
    let text = scenario(&wired.base, &wired.candidate, round_trip, &wired.client);
    let scenario = Scenario::parse("--wire", &text, &[])?;
    // It goes with this function.
    let scratch = lab::scratch::Scratch::make()?;
    let results = scratch.path();
    repro::ready(&scenario, results)?;
    let privilege = lab::rootless::enter()?;
    until_better(|| {
        let outcome = attempts(&scenario, results, privilege, stop)?;
        let of = |target: &str| rounds(&outcome.handshakes, target, round_trip);
        Ok(OnWire { round_trip_ms: round_trip.as_millis(), base: of("base")?, candidate: of("candidate")? })
    })
}

/// Of Finished and of the first byte each: the first series in which it is not worse; else the last of several.
fn until_better(mut count: impl FnMut() -> Result<OnWire, Error>) -> Result<OnWire, Error> {
    let mut counted = count()?;
    for _ in 1..SERIES {
        let [finished, first_byte] = counted.worse();
        if !finished && !first_byte {
            break;
        }
        let again = count()?;
        for (of, again) in [(&mut counted.base, again.base), (&mut counted.candidate, again.candidate)] {
            if finished {
                of.to_finished = again.to_finished;
            }
            if first_byte {
                of.to_first_byte = again.to_first_byte;
            }
        }
    }
    Ok(counted)
}

fn attempts(scenario: &Scenario, results: &Path, privilege: Privilege, stop: &AtomicBool) -> Result<Outcome, Error> {
    for attempt in 1.. {
        let outcome = once_in_lab(scenario, results, privilege, stop)?;
        match &outcome.record.footing.void {
            None => return Ok(outcome),
            Some(why) if attempt >= MOST_VOID => return Err(format!("--wire: {why}").into()),
            Some(_) => {}
        }
    }
    Err("--wire: nothing was run".into())
}

/// Our client, told what the other counts' is told: which name, path, version, certificate, and whether to resume. Nobody verifies here.
fn client(args: &Compare, own: &Path) -> Result<Vec<String>, Error> {
    let mut words = vec![own.display().to_string(), "probe".into(), args.name.clone().unwrap_or_else(|| NAME.into())];
    let told = ["--address", "{address}", "--port", "{port}", "--json", "--insecure", "--once", "--path", &args.path];
    words.extend(told.map(str::to_owned));
    words.extend(["--timeout-ms".to_owned(), args.timeout.as_millis().to_string()]);
    words.extend(args.resume.then(|| "--resume".to_owned()));
    words.extend(args.tls.options().only.map(|only| match only {
        Only::Tls12 => "--tls12".to_owned(),
        Only::Tls13 => "--tls13".to_owned(),
    }));
    for (option, file) in [("--cert", &args.cert), ("--key", &args.key)] {
        if let Some(file) = file {
            words.extend([option.to_owned(), std::path::absolute(file)?.display().to_string()]);
        }
    }
    Ok(words)
}

/// A client and both edges.
fn scenario(base: &str, candidate: &str, round_trip: Time, client: &[String]) -> String {
    let client = toml_words(client);
    let mut text = format!(
        "name = \"round-trips\"\nrounds = {ROUNDS}\n[client]\nkind = \"command\"\ncommand = {client}\n[[vantage]]\nname = \"client\"\n"
    );
    for (name, command) in [("base", base), ("candidate", candidate)] {
        // On loopback nobody else would reach it.
        let line = ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"]
            .iter()
            .fold(command.to_owned(), |line, own| line.replace(own, "{address}:{port}"));
        let words = toml_words(&["sh", "-c", &becoming(&line)]);
        let _ = writeln!(
            text,
            "[[target]]\nname = \"{name}\"\nrole = \"edge\"\nserver = \"command\"\nrtt = \"{round_trip}\"\ncommand = {words}"
        );
    }
    text
}

/// An array of TOML strings: JSON's are such, too.
fn toml_words<T: Serialize>(words: &[T]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

/// The quickest of an edge's handshakes, in round trips.
fn rounds(handshakes: &[HandshakeRecord], target: &str, round_trip: Time) -> Result<Rounds, Error> {
    let of = |h: &HandshakeRecord| {
        let lane = h.lanes.iter().find(|lane| lane.observer == "client wire")?;
        let at = |name: &str| lane.marks.iter().find(|mark| mark.name == name).map(|mark| mark.ms);
        let begun = at("syn")?;
        let finished = at("server_finished").or_else(|| at("client_finished"))?;
        Some([finished - begun, at("first_response")? - begun])
    };
    // What comes back where a handshake is refused is no answer, but an alert.
    let is_whole = |h: &&HandshakeRecord| !h.judged().is_some_and(|j| matches!(j.judgement.verdict, Verdict::Aborted { .. }));
    let all: Vec<[f64; 2]> = handshakes.iter().filter(|h| h.target == target).filter(is_whole).filter_map(of).collect();
    let least = |i: usize| all.iter().map(|times| times[i]).min_by(f64::total_cmp).map(|ms| ms / round_trip.as_millis());
    let both = least(0).zip(least(1));
    let (to_finished, to_first_byte) =
        both.ok_or_else(|| format!("--wire: no handshake with the {target} came to an answer over the wire; does its command listen on all addresses, or name {{address}}?"))?;
    Ok(Rounds { to_finished, to_first_byte })
}

#[cfg(test)]
mod tests {
    use analysis::conversation::milestone::Milestone;
    use analysis::judging::ledger::Owner;
    use clap::Parser;
    use records::handshake::Mark;

    use super::*;
    use crate::args::{Arguments, Verb};

    #[test]
    fn what_is_worse_once_is_counted_again() {
        let of = |base: f64, candidate: f64| OnWire {
            round_trip_ms: 50.0,
            base: Rounds { to_finished: base, to_first_byte: base + 1.0 },
            candidate: Rounds { to_finished: candidate, to_first_byte: candidate + 1.0 },
        };
        let said = |all: &[OnWire]| {
            let mut left = all.iter();
            let counted = until_better(|| left.next().copied().ok_or_else(|| "no more".into())).expect("it is counted");
            (counted.is_worse(), all.len() - left.len())
        };
        assert_eq!(said(&[of(2.0, 2.1); 5]), (false, 1));
        assert_eq!(said(&[of(2.0, 3.0), of(2.0, 3.0), of(3.0, 3.0), of(2.0, 3.0), of(2.0, 3.0)]), (false, 3));
        assert_eq!(said(&[of(2.0, 3.0); 6]), (true, 6));
    }

    #[test]
    fn it_is_the_same_one_that_is_worse_in_all_series() {
        let of = |finished: f64, first_byte: f64| OnWire {
            round_trip_ms: 50.0,
            base: Rounds { to_finished: 2.0, to_first_byte: 3.0 },
            candidate: Rounds { to_finished: finished, to_first_byte: first_byte },
        };
        let turns = [of(3.0, 3.0), of(2.0, 4.0)];
        let mut series = turns.iter().cycle();
        let counted = until_better(|| series.next().copied().ok_or_else(|| "no more".into())).expect("it is counted");
        assert!(!counted.is_worse(), "now one and now the other: {counted:?}");
        let finished = [of(3.0, 4.0), of(3.0, 3.0), of(3.0, 4.0)];
        let mut series = finished.iter().cycle();
        let counted = until_better(|| series.next().copied().ok_or_else(|| "no more".into())).expect("it is counted");
        assert_eq!(counted.worse(), [true, false]);
    }

    #[test]
    fn a_handshake_that_was_refused_is_none() {
        let line = include_str!("../../../records/tests/written/8db4dd4-handshakes.ndjson").lines().next().expect("one");
        let mut whole: HandshakeRecord = serde_json::from_str(line).expect("a handshake");
        let mark = |name: &str, ms: f64| Mark { name: name.into(), ms, packet: None };
        whole.lanes[0].marks.extend([mark("client_finished", 80.0), mark("first_response", 120.0)]);
        let mut refused = whole.clone();
        let judged = refused.both_ends.as_mut().expect("it is judged");
        judged.judgement.verdict = Verdict::Aborted { by: Owner::Edge, after: Milestone::ClientFinished };
        let target = whole.target.clone();
        let of = |handshakes: &[HandshakeRecord]| rounds(handshakes, &target, Time::millis(40));
        assert_eq!(of(&[refused.clone(), whole]).ok(), Some(Rounds { to_finished: 2.0, to_first_byte: 3.0 }));
        assert!(of(&[refused]).is_err());
    }

    #[test]
    fn commands_listen_where_the_lab_s_client_can_reach_them() {
        let text =
            scenario("exec ./old --listen 127.0.0.1:{port}", "./new -l \"{address}\" {port}", Time::millis(50), &words(&[]));
        let scenario = Scenario::parse("x", &text, &[]).expect("it is a scenario");
        assert_eq!(scenario.targets[0].command, ["sh", "-c", "exec ./old --listen {address}:{port}"]);
        assert_eq!(scenario.targets[1].command[2], "exec ./new -l \"{address}\" {port}");
        assert_eq!(scenario.targets[1].rtt, Time::millis(50));
    }

    fn words(options: &[&str]) -> Vec<String> {
        let all = [&["whostalled", "compare", "a {port}", "b {port}"], options].concat();
        let Ok(Verb::Compare(args)) = Arguments::try_parse_from(all).map(|a| a.verb) else { panic!("not compare") };
        client(&args, Path::new("/bin/whostalled")).expect("there is a folder")
    }

    #[test]
    fn the_client_on_the_wire_asks_as_the_others_do() {
        let plain = words(&[]);
        assert_eq!(plain[..5], ["/bin/whostalled", "probe", "localhost", "--address", "{address}"]);
        assert!(!plain.iter().any(|word| ["--resume", "--tls12", "--tls13", "--cert"].contains(&word.as_str())), "{plain:?}");
        let told = ["--name", "edge.test", "--path", "/big?x=1", "--resume", "--tls12", "--cert", "/c.pem", "--key", "/k.pem"];
        let asks = words(&told);
        assert_eq!(asks[2], "edge.test");
        for two in [["--path", "/big?x=1"], ["--cert", "/c.pem"], ["--key", "/k.pem"]] {
            assert!(asks.windows(2).any(|words| words == two), "{asks:?}");
        }
        assert!(["--resume", "--tls12"].into_iter().all(|word| asks.iter().any(|asked| asked == word)), "{asks:?}");
    }
}
