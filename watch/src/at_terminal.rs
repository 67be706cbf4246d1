//! Checks without a file: rounds are judged as ever, shown as they end, and kept nowhere.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use alerting::clock::UnixSeconds;
use analysis::clock::Span;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch as latest};

use crate::certificate::time_left;
use crate::checks::CheckFile;
use crate::clock::second;
use crate::engine::Engine;
use crate::error::{Invalid, WatchError};
use crate::metrics::Metrics;
use crate::opened::Opened;
use crate::probing::{self, Settings, Steady};
use crate::status::Status;
use crate::store::{History, IN_MEMORY, RoundRecord};
use crate::watching::named;
use crate::words::of_phase;

/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Rounds that wait to be shown.
const MOST_ROUNDS: usize = 1_024;
/// Parts of a round that are shorter are not worth a word.
const LEAST_SHOWN_MS: f64 = 0.5;

/// A round, as it is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    /// Whether nobody is to blame and the request succeeded.
    pub good: bool,
    /// In one line.
    pub line: String,
    /// Why, where there is more to say.
    pub more: Option<String>,
}

/// Checks what `file` names until `stop` is set, or each so many times (`rounds`); `show` hears of every round. Gives whether all of them
/// were good.
///
/// # Errors
/// If a check cannot be made, or this host does not let us.
pub fn look(file: CheckFile, stop: &AtomicBool, rounds: Option<u64>, show: &mut dyn FnMut(&Shown)) -> Result<bool, WatchError> {
    let Opened { file, checks, .. } = Opened::of(file).map_err(|wrong| Invalid(wrong.what))?;
    let (status, metrics) = (Arc::new(Status::default()), Arc::new(Metrics::default()));
    let (direct, _nobody) = mpsc::unbounded_channel();
    let store = History::open(Path::new(IN_MEMORY))?;
    let mut engine = Engine::open(store, Arc::clone(&file), Arc::clone(&status), Arc::clone(&metrics), direct)?;
    let mut left = rounds.map(|n| n.saturating_mul(checks.len() as u64));
    let (checks_out, checks_in) = latest::channel(checks);
    let (out, ended) = sync_channel(MOST_ROUNDS);
    let settings = Settings::of(&file);
    let prober = named("prober", move || probing::run(checks_in, &settings, Steady::start(), out, metrics))?;
    let mut all_good = true;
    while !stop.load(Ordering::Relaxed) && left != Some(0) {
        match ended.recv_timeout(LOOK) {
            Ok(round) => {
                let name = round.name.clone();
                engine.take(round);
                engine.write();
                let last = status.change(|checks| checks.by_name.get(&name).and_then(|check| check.last.clone()));
                let Some(shown) = last.as_ref().map(shown) else { continue };
                all_good &= shown.good;
                show(&shown);
                left = left.map(|n| n - 1);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drop(checks_out); // nobody probes any more
    prober.join().map_err(|_| WatchError::Broken("the prober's thread"))??;
    Ok(all_good)
}

/// A round in words.
pub fn shown(round: &RoundRecord) -> Shown {
    let ms = |ms: f64| Span::from_nanos((ms * 1e6) as i64).to_string();
    let good = round.success && round.culprit.is_none();
    let mut phases: Vec<(&str, f64)> = Vec::new();
    for (phase, _, part) in &round.parts {
        match phases.iter_mut().find(|(p, _)| p == phase) {
            Some((_, sum)) => *sum += part,
            None => phases.push((phase, *part)),
        }
    }
    let parts = phases.iter().filter(|(_, part)| *part >= LEAST_SHOWN_MS);
    let parts: Vec<String> = parts.map(|(phase, part)| format!("{} {}", of_phase(phase), ms(*part))).collect();
    let what = match (&round.reason, round.culprit, &round.sick) {
        (Some(reason), culprit, _) => {
            let whose = culprit.map_or(String::new(), |culprit| format!(" ({})", culprit.whose()));
            format!("{}{whose}, after {}", of_phase(reason), ms(round.total_ms))
        }
        (None, Some(culprit), _) => format!("{}: {}", culprit.words(), ms(round.total_ms)),
        (None, None, Some(_)) => format!("{}, but this host was too slow itself to tell", ms(round.total_ms)),
        (None, None, None) => format!("as usual: {}", ms(round.total_ms)),
    };
    let mut line = format!("{}  {}  {what}", clock(second(round.started)), round.name);
    if !parts.is_empty() {
        line += &format!(" ({})", parts.join(", "));
    }
    if let Some(round_trip) = round.rtt_ms {
        line += &format!("; round trip {}", ms(round_trip));
    }
    if let Some(end) = round.certificate_end {
        line += &format!("; certificate {}", time_left(end, second(round.started)));
    }
    let more = match &round.sick {
        Some(sick) => Some(format!("Does not count: {sick}.")),
        None if !good => Some(round.sentence.clone()),
        None => None,
    };
    Shown { good, line, more: more.filter(|more| !more.is_empty()) }
}

/// The time of day, UTC, as everything else is.
fn clock(at: UnixSeconds) -> String {
    Timestamp::from_second(at.secs()).map_or_else(|_| String::new(), |at| at.strftime("%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alerting::Culprit;
    use analysis::clock::Instant;

    fn round() -> RoundRecord {
        let part = |phase: &str, owner: &str, ms: f64| (phase.to_owned(), owner.to_owned(), ms);
        RoundRecord {
            name: "login.test".into(),
            address: None,
            scheduled: Instant::from_nanos(0),
            started: Instant::from_nanos(3_600_000_000_000),
            total_ms: 92.0,
            success: true,
            reason: None,
            local: None,
            verdict: "healthy".into(),
            target_verdict: "healthy".into(),
            target_culprit: None,
            culprit: None,
            sick: None,
            rtt_ms: Some(20.0),
            grade: "socket".into(),
            sentence: String::new(),
            parts: vec![
                part("connect", "path", 20.0),
                part("server_flight", "path", 20.0),
                part("server_flight", "edge_app", 51.8),
            ],
            certificate_end: Some(UnixSeconds::from_secs(3_600 + 58 * 86_400)),
        }
    }

    #[test]
    fn a_round_is_one_line_with_all_that_a_glance_wants() {
        let shown = shown(&round());
        assert!(shown.good && shown.more.is_none());
        let line = "01:00:00Z  login.test  as usual: 92.0 ms (TCP connect 20.0 ms, ClientHello to server flight 71.8 ms); \
            round trip 20.0 ms; certificate ends in 58 days";
        assert_eq!(shown.line, line);
    }

    #[test]
    fn a_failure_says_what_and_whose_and_no_label() {
        let failed = RoundRecord {
            success: false,
            reason: Some("connect_refused".into()),
            culprit: Some(Culprit::Edge),
            sentence: "Connection refused.".into(),
            total_ms: 0.2,
            rtt_ms: None,
            parts: Vec::new(),
            certificate_end: None,
            ..round()
        };
        let shown = shown(&failed);
        assert_eq!(shown.line, "01:00:00Z  login.test  connection refused (the edge), after 0.2 ms");
        assert_eq!((shown.good, shown.more.as_deref()), (false, Some("Connection refused.")));
    }
}
