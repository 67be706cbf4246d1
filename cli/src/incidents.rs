//! `whostalled run` of incidents: played, judged, drawn.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ::incidents::course::Course;
use ::incidents::judge::judge;
use ::incidents::run::{Options, play};
use ::incidents::{Incident, Outcome, diagram, table};
use alerting::clock::UnixSeconds;
use indicatif::{ProgressBar, ProgressStyle};
use lab::rootless::Privilege;

use crate::args::Run;
use crate::{exit, saying};

type Error = Box<dyn std::error::Error>;

/// The incidents that the arguments mean; absent: they mean something else.
///
/// # Errors
/// If a file cannot be read, or is none where one is asked for.
pub fn meant(args: &Run) -> Result<Option<Vec<Incident>>, Error> {
    let [what] = args.what.as_slice() else {
        return if args.all { Err("--all: name one folder of incidents, as scenarios/incidents".into()) } else { Ok(None) };
    };
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    if args.all {
        let mut incidents = Vec::new();
        for path in files(Path::new(what))? {
            incidents.push(Incident::parse(&path.display().to_string(), &read(&path)?)?);
        }
        return Ok(Some(incidents));
    }
    let path = Path::new(what);
    match path.is_file().then(|| read(path)).transpose()? {
        Some(text) if Incident::is_one(&text) => Ok(Some(vec![Incident::parse(what, &text)?])),
        _ if args.healthy.is_some() || args.repeat > 1 => {
            Err("--healthy and --repeat are for incidents: files with [[during]]".into())
        }
        _ => Ok(None),
    }
}

/// The scenario files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: no incident lies there", folder.display()).into());
    }
    Ok(files)
}

/// Plays them, prints a table, and leaves the diagram and all rounds in the folder of results.
///
/// # Errors
/// Harness failures.
pub fn run(incidents: &[Incident], args: &Run, stop: &AtomicBool) -> Result<u8, Error> {
    for incident in incidents {
        repro::ready(&incident.scenario, &args.results)?;
    }
    let privilege = lab::rootless::enter()?;
    let mut played: Vec<(Outcome, Course)> = Vec::new();
    let mut failed = None;
    for incident in incidents.iter().flat_map(|incident| std::iter::repeat_n(incident, args.repeat as usize)) {
        match once(incident, privilege, args.healthy, stop) {
            Ok(course) => {
                let outcome = judge(&incident.scenario.name, &incident.plan, &course, args.healthy.is_some());
                eprintln!("{}: {}", outcome.name, if outcome.held() { "as expected" } else { "NOT as expected" });
                played.push((outcome, course));
            }
            // What was played until then is not lost with it.
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if played.is_empty() {
        return failed.map_or(Ok(exit::HELD), Err);
    }
    let folder = args.results.join(format!("incidents-{}", UnixSeconds::now().secs()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display())).map(|()| path)
    };
    write("rounds.json", serde_json::to_string(&played)?)?;
    let outcomes: Vec<Outcome> = played.iter().map(|(outcome, _)| outcome.clone()).collect();
    if args.json {
        saying::line(serde_json::to_string_pretty(&outcomes)?)?;
    } else {
        saying::coloured(if args.healthy.is_some() { table::healthy(&outcomes) } else { table::incidents(&outcomes) })?;
    }
    eprint!("{}", table::wrong(&outcomes));
    // One play of each is drawn: the last, or the last that was not as expected.
    let mut drawn: Vec<&(Outcome, Course)> = Vec::new();
    for play in &played {
        match drawn.iter_mut().find(|(outcome, _)| outcome.name == play.0.name) {
            Some(before) if before.0.held() || !play.0.held() => *before = play,
            Some(_) => {}
            None => drawn.push(play),
        }
    }
    eprintln!("diagram: {}", write("incidents.html", diagram::page(&drawn))?.display());
    match failed {
        Some(error) => Err(error),
        None if outcomes.iter().all(Outcome::held) => Ok(exit::HELD),
        None => Ok(exit::FAILED),
    }
}

/// Plays one, with its progress shown.
///
/// # Errors
/// Harness failures.
pub(crate) fn once(
    incident: &Incident,
    privilege: Privilege,
    healthy: Option<u32>,
    interrupted: &AtomicBool,
) -> Result<Course, Error> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(1) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {prefix} {msg} {elapsed}")?);
    bar.set_prefix(incident.scenario.name.clone());
    let progress = |round: u32, of: u32, on: &str| {
        bar.set_length(u64::from(of));
        bar.set_position(u64::from(round));
        bar.set_message(if on.is_empty() { "all is well".to_owned() } else { format!("{on} is on") });
    };
    let course = play(incident, &Options { privilege, healthy, interrupted, progress: &progress })?;
    bar.finish_and_clear();
    Ok(course)
}
