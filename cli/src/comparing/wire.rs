//! Structure in round trips: both commands behind a wire of the lab whose delay is fixed, asked one after the other.
//!
//! In: two commands, a round trip. Out: how many of those a handshake took until the request could leave, and until the answer came. The
//! relay of the exact counts sees whose turn it is; only a wire shows what TCP's windows add.

use std::fmt::Write;
use std::sync::atomic::AtomicBool;

use lab::rootless::Privilege;
use records::compared::{OnWire, Rounds};
use records::handshake::HandshakeRecord;
use repro::{Outcome, Scenario};
use settings::Time;

use super::Error;
use crate::args::Compare;
use crate::run::once_in_lab;

/// Handshakes with each: of these the quickest counts.
const ROUNDS: u32 = 5;
/// Work hides whole round trips on a shorter wire.
const LEAST: Time = Time::millis(20);
/// An edge that varies by itself may be quick once: what is worse is counted again, and is so if all say so. Of two that are alike, five
/// say so in one comparison of a thousand at most (`p⁵ (1 - p⁵)` is a quarter at most, whatever share `p` takes a round trip more).
const SERIES: u32 = 5;
/// Runs in which the wire was late say nothing.
const MOST_VOID: u32 = 3;

/// Counts.
pub(super) fn count(args: &Compare, round_trip: Time, stop: &AtomicBool) -> Result<OnWire, Error> {
    if round_trip < LEAST {
        return Err(format!("--wire {round_trip}: from {LEAST} on a round trip is longer than the work between two").into());
    }
    let [base, candidate] = args.words();
    for word in [base, candidate] {
        if !word.contains("{port}") {
            return Err(format!("--wire runs both edges in a lab of its own: {word:?} is no command with {{port}} in it").into());
        }
    }
    let text = scenario(base, candidate, round_trip, args.tls.tls12);
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

/// The first that is not worse; else the last of several.
fn until_better(mut count: impl FnMut() -> Result<OnWire, Error>) -> Result<OnWire, Error> {
    let mut counted = count()?;
    for _ in 1..SERIES {
        if !counted.is_worse() {
            break;
        }
        counted = count()?;
    }
    Ok(counted)
}

fn attempts(scenario: &Scenario, results: &std::path::Path, privilege: Privilege, stop: &AtomicBool) -> Result<Outcome, Error> {
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

/// A client and both edges. Names and certificates are the commands' own: here nobody verifies them.
fn scenario(base: &str, candidate: &str, round_trip: Time, tls12: bool) -> String {
    let tls = if tls12 { "1.2" } else { "any" };
    let mut text = format!(
        "name = \"round-trips\"\nrounds = {ROUNDS}\n[client]\nkind = \"probe\"\nverify = false\ntls = \"{tls}\"\n[[vantage]]\nname = \
         \"client\"\n"
    );
    for (name, command) in [("base", base), ("candidate", candidate)] {
        // On loopback nobody else would reach it.
        let line = ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"]
            .iter()
            .fold(command.to_owned(), |line, own| line.replace(own, "{address}:{port}"));
        let words = toml_words(&["sh", "-c", &format!("exec {line}")]);
        let _ = writeln!(
            text,
            "[[target]]\nname = \"{name}\"\nrole = \"edge\"\nserver = \"command\"\nrtt = \"{round_trip}\"\ncommand = {words}"
        );
    }
    text
}

/// An array of TOML strings: JSON's are such, too.
fn toml_words(words: &[&str]) -> String {
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
    let all: Vec<[f64; 2]> = handshakes.iter().filter(|h| h.target == target).filter_map(of).collect();
    let least = |i: usize| all.iter().map(|times| times[i]).min_by(f64::total_cmp).map(|ms| ms / round_trip.as_millis());
    let both = least(0).zip(least(1));
    let (to_finished, to_first_byte) =
        both.ok_or_else(|| format!("--wire: no handshake with the {target} came to an answer over the wire; does its command listen on all addresses, or name {{address}}?"))?;
    Ok(Rounds { to_finished, to_first_byte })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(said(&[of(2.0, 3.0); 5]), (true, 5));
    }

    #[test]
    fn commands_listen_where_the_lab_s_client_can_reach_them() {
        let text = scenario("./old --listen 127.0.0.1:{port}", "./new -l \"{address}\" {port}", Time::millis(50), false);
        let scenario = Scenario::parse("x", &text, &[]).expect("it is a scenario");
        assert_eq!(scenario.targets[0].command, ["sh", "-c", "exec ./old --listen {address}:{port}"]);
        assert_eq!(scenario.targets[1].command[2], "exec ./new -l \"{address}\" {port}");
        assert_eq!(scenario.targets[1].rtt, Time::millis(50));
    }
}
