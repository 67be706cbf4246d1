//! The scenario library: runs scenarios, plays incidents and writes a page of what came out. A hidden verb: `cargo xtask library` calls it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ::incidents::course::Course;
use ::incidents::judge::judge;
use ::incidents::{Incident, Outcome, diagram};
use jiff::Timestamp;
use lab::rootless::Privilege;
use report::library::{Incidents, Shown, Skipped, page};
use repro::Scenario;
use settings::words::plural;

use crate::exit;
use crate::incidents::once as play_once;
use crate::run::{once_in_lab, read};
use crate::vantage_verbs::stopped;

type Error = Box<dyn std::error::Error>;

/// Runs of one, if they are void.
const ATTEMPTS: u32 = 3;
/// A page that is larger is no page.
const MOST_BYTES: usize = 1 << 20;

/// `library OUT RESULTS FILE…`
pub fn library(rest: &[String]) -> Result<u8, Box<dyn std::error::Error>> {
    let [out, results, files @ ..] = rest else { return Err("library OUT RESULTS FILE…".into()) };
    let (privilege, stop) = (lab::rootless::enter()?, stopped()?);
    let mut made = Made { shown: Vec::new(), played: Vec::new(), skipped: Vec::new(), again: 0 };
    for file in files {
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted; nothing was written".into());
        }
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        match Incident::is_one(&text) {
            true => made.incident(file, &Incident::parse(file, &text)?, Path::new(results), privilege, &stop),
            false => made.scenario(file, &read(Path::new(file), &[])?, Path::new(results), privilege, &stop),
        }
    }
    let text = made.page();
    if text.len() > MOST_BYTES {
        return Err(format!("the page has {} bytes, and {MOST_BYTES} are the most", text.len()).into());
    }
    let path = PathBuf::from(out);
    std::fs::write(&path, &text).map_err(|e| format!("{out}: {e}"))?;
    let (held, all) = (made.held(), made.shown.len() + made.played.len());
    println!("{out}: {} bytes, {held} of {all} as expected, {} not run", text.len(), made.skipped.len());
    Ok(if held == all && made.skipped.is_empty() { exit::HELD } else { exit::FAILED })
}

/// What came of all files so far.
struct Made {
    shown: Vec<Shown>,
    played: Vec<(String, (Outcome, Course))>,
    skipped: Vec<Skipped>,
    /// Runs that were made again.
    again: u32,
}

impl Made {
    fn scenario(&mut self, file: &str, scenario: &Scenario, results: &Path, privilege: Privilege, stop: &AtomicBool) {
        let good = |outcome: &repro::Outcome| outcome.record.footing.void.is_none() && outcome.record.held();
        let once = || -> Result<repro::Outcome, Error> {
            repro::ready(scenario, results)?;
            once_in_lab(scenario, results, privilege, stop)
        };
        if let Some(outcome) = self.several(file, once, good) {
            self.shown.push(Shown { file: file.to_owned(), run: outcome.record, handshakes: outcome.handshakes });
        }
    }

    fn incident(&mut self, file: &str, incident: &Incident, results: &Path, privilege: Privilege, stop: &AtomicBool) {
        let once = || -> Result<(Outcome, Course), Error> {
            repro::ready(&incident.scenario, results)?;
            let course = play_once(incident, privilege, None, stop)?;
            Ok((judge(&incident.scenario.name, &incident.plan, &course, false), course))
        };
        let played = self.several(file, once, |(outcome, _)| outcome.held());
        self.played.extend(played.map(|played| (file.to_owned(), played)));
    }

    /// The first run that is good, or the last; absent if there is none.
    fn several<T>(&mut self, file: &str, mut once: impl FnMut() -> Result<T, Error>, good: impl Fn(&T) -> bool) -> Option<T> {
        for attempt in 1.. {
            match once() {
                Ok(ran) if !good(&ran) && attempt < ATTEMPTS => self.again += 1,
                Ok(ran) => return Some(ran),
                Err(why) => {
                    self.skipped.push(Skipped { file: file.to_owned(), why: why.to_string() });
                    break;
                }
            }
        }
        None
    }

    fn held(&self) -> usize {
        let scenarios = self.shown.iter().filter(|s| s.run.held()).count();
        scenarios + self.played.iter().filter(|(_, (outcome, _))| outcome.held()).count()
    }

    fn page(&self) -> String {
        let kernel = self.shown.first().map_or_else(String::new, |s| format!(", Linux {}", s.run.kernel));
        let again = match self.again {
            0 => String::new(),
            again => format!(", {} behind one that was void or came out otherwise", plural(u64::from(again), "run")),
        };
        let made = format!("{}{kernel}{again}", Timestamp::now().strftime("%Y-%m-%d"));
        let files: Vec<String> = self.played.iter().map(|(file, _)| file.clone()).collect();
        let drawn = diagram::part(&self.played.iter().map(|(_, played)| played).collect::<Vec<_>>());
        let incidents = Incidents { files: &files, drawn: &drawn, styles: diagram::STYLES };
        let incidents = (!files.is_empty()).then_some(&incidents);
        page(&self.shown, incidents, &self.skipped, &made, "cargo xtask library")
    }
}
