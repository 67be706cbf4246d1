//! `whostalled run`, `lab stand` and `schema`.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use analysis::key::Key;
use explain::imported::{open, sniff};
use indicatif::{ProgressBar, ProgressStyle};
use lab::rootless::Privilege;
use records::run::Provided;
use repro::client::{ClientKind, ClientSpec};
use repro::lab_run::LabRun;
use repro::places::{Elsewhere, Instead, NoPlace, Place, Wanted};
use repro::reported::Reported;
use repro::scenario::Bearable;
use repro::targets::RealTarget;
use repro::{Outcome, RunOptions, Scenario};

use settings::words::visible;

use crate::args::{LabCommand, Run};
use crate::fleets::Reached;
use crate::raised::raised_for;
use crate::saying::aside;
use crate::vantage_verbs::stopped;
use crate::{exit, saying};

/// Clients at once, where nobody says how many.
const CLIENTS: usize = 8;

/// Runs a scenario, or handshakes with targets, and prints what came out.
pub fn run(args: &Run) -> Result<u8, Box<dyn std::error::Error>> {
    let stop = stopped()?;
    if let Some(incidents) = crate::incidents::meant(args)? {
        return crate::incidents::run(&incidents, args, &stop);
    }
    let fleet = Reached::connect(&args.nats, &args.results)?;
    let mut scenario = wanted(args, &fleet)?;
    repro::ready(&scenario, &args.results)?;
    if let Some(path) = &args.save {
        save(path, &scenario)?;
    }
    // Real hosts are reached through this process's own network; the lab is a network of its own.
    let privilege = if scenario.in_lab() { lab::rootless::enter()? } else { Privilege::UserNamespace };
    let mut all = raised_for(args, &mut scenario, &fleet, &stop)?;
    let provided: Vec<Provided> = all.iter().flat_map(|(_, provided)| provided.clone()).collect();
    let outcome = once(&scenario, &args.results, privilege, args.no_capture, &fleet, &provided, &stop);
    // Nothing costs while somebody reads.
    let left: Vec<String> = all.iter_mut().filter_map(|(raised, _)| raised.down().err()).map(|error| error.to_string()).collect();
    // Also where the run itself failed: it costs all the same.
    left.iter().for_each(|left| aside(format_args!("whostalled: {left}")));
    let outcome = outcome?;
    if args.json {
        saying::line(serde_json::to_string_pretty(&outcome.record)?)?;
    } else {
        saying::coloured(report::terminal::render(&outcome.record, &outcome.handshakes))?;
        saying::line(format_args!("  report: {}", outcome.folder.join("report.html").display()))?;
        if outcome.record.footing.captured > 0 {
            saying::line(format_args!("  evidence: {}", outcome.folder.join("evidence.pcapng").display()))?;
        }
    }
    let footing = &outcome.record.footing;
    // A run that nobody expects anything of is still to be heard of where nothing of it worked.
    let nothing_worked = footing.clients > 0 && outcome.succeeded == 0 && outcome.record.expectations.is_empty();
    Ok(match &footing.void {
        Some(_) => exit::HARNESS,
        None if !footing.missing.is_empty() || !left.is_empty() => exit::HARNESS,
        None if nothing_worked => exit::FAILED,
        None if outcome.record.held() => exit::HELD,
        None => exit::FAILED,
    })
}

/// Writes the scenario to a file that was not there.
fn save(path: &Path, scenario: &Scenario) -> Result<(), Box<dyn std::error::Error>> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("--save {}: it is there already: name another file, or remove it", path.display())
        }
        _ => format!("--save {}: {e}", path.display()),
    };
    let text = scenario.to_toml()?;
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    Ok(file.write_all(text.as_bytes()).map_err(failed)?)
}

/// The scenario that the arguments mean: a file's, perhaps elsewhere, or one of URLs.
fn wanted(args: &Run, fleet: &Reached) -> Result<Scenario, Box<dyn std::error::Error>> {
    let mut overrides = args.set.clone();
    overrides.extend(args.rounds.map(|n| format!("rounds={n}")));
    overrides.extend(args.together.then(|| "together=true".to_owned()));
    overrides.extend(args.clients.map(|n| format!("client.concurrency={n}")));
    let (urls, files): (Vec<&String>, Vec<&String>) = args.what.iter().partition(|what| what.contains("://"));
    let reported = args.from.as_deref().map(reported).transpose()?;
    match (urls.as_slice(), files.as_slice()) {
        (urls, []) => {
            if !args.target.is_empty() {
                return Err("--target belongs to scenario files: name further URLs as they are".into());
            }
            let mut targets = urls.iter().map(|url| url.parse()).collect::<Result<Vec<RealTarget>, _>>()?;
            if let (Some(reported), []) = (&reported, urls) {
                targets.clone_from(&reported.targets);
                if targets.is_empty() {
                    return Err(format!("{}: name the target too: it was not in the file", reported.words).into());
                }
            }
            let places = fleet.places(places(&args.vantage)?)?;
            let scenario = Scenario::of_urls(Wanted {
                targets,
                controls: args.control.clone(),
                vantages: places,
                client: client(args, reported.as_ref())?,
                cpus: args.load,
                ca: args.ca.as_deref().map(std::path::absolute).transpose()?,
                recorders: args.recorder.clone(),
                bearable: Bearable::default(),
            })?;
            // The same way as a file's, so that both are checked alike and `--set` reaches into both.
            let mut scenario = scenario.with(&urls_shown(args), &overrides)?;
            if let Some(reported) = reported {
                scenario.description = format!("{} ({})", scenario.description, reported.words);
            }
            Ok(scenario)
        }
        ([], [file]) if reported.is_none() => {
            if !Path::new(file.as_str()).exists() && !file.ends_with(".toml") {
                return Err(
                    format!("{file}: there is no such scenario file; a target is written as a URL: https://{file}/").into()
                );
            }
            if args.load.is_some() || args.client.is_some() || args.insecure || args.ipv6 || !args.recorder.is_empty() {
                return Err("--load, --client, --recorder, --insecure and --ipv6 belong to URLs: a scenario file says it itself (or --set)".into());
            }
            let mut scenario = read(Path::new(file), &overrides)?;
            let known = |name: &String, names: Vec<&String>| names.contains(&name);
            let (vantages, places): (Vec<String>, Vec<String>) = args.vantage.iter().cloned().partition(|v| {
                known(v, scenario.vantages.iter().map(|v| &v.name).collect()) || !v.contains([':', '=']) && v != "here"
            });
            let (targets, instead): (Vec<String>, Vec<String>) = args.target.iter().cloned().partition(|t| !t.contains("://"));
            scenario.select(&vantages, &targets)?;
            if !(places.is_empty() && instead.is_empty() && args.control.is_empty()) {
                let places = fleet.places(self::places(&places)?)?;
                let instead = instead.iter().map(|target| target.parse()).collect::<Result<Vec<Instead>, _>>()?;
                let (controls, ca) = (args.control.clone(), args.ca.as_deref().map(std::path::absolute).transpose()?);
                scenario.relocate(Elsewhere { vantages: places, targets: instead, controls, ca })?;
            }
            fleet.agents(&mut scenario)?;
            Ok(scenario)
        }
        _ => Err("name one scenario file, or targets as https://host/, or what a customer sent (--from)".into()),
    }
}

/// What a customer sent, as far as a run can use it.
fn reported(path: &Path) -> Result<Reported, Box<dyn std::error::Error>> {
    let shown = path.display().to_string();
    let failed = |e: std::io::Error| format!("--from {shown}: {e}");
    let source = sniff(path).map_err(failed)?.ok_or_else(|| {
        format!("--from {shown}: neither curl's times, nor a HAR, a NetLog or lines of a log that is known: docs/explain.md lists them")
    })?;
    let name = path.file_name().map_or_else(|| shown.clone(), |name| name.to_string_lossy().into_owned());
    Ok(repro::reported::read(&visible(&name), source, open(path).map_err(failed)?)?)
}

fn places(texts: &[String]) -> Result<Vec<Place>, NoPlace> {
    texts.iter().map(|text| text.parse()).collect()
}

fn urls_shown(args: &Run) -> String {
    args.from.as_ref().map_or_else(|| args.what.join(" "), |path| path.display().to_string())
}

/// The client of runs without a scenario file: the reported one, or eight of ours, as in the report that all this began with.
fn client(args: &Run, reported: Option<&Reported>) -> Result<ClientSpec, String> {
    let usual = reported.map_or_else(
        || ClientSpec { concurrency: CLIENTS, ..ClientSpec::new(ClientKind::Probe) },
        |reported| reported.client.clone(),
    );
    let (kind, command) = match args.client.as_deref() {
        None => (usual.kind, Vec::new()),
        Some("probe") => (ClientKind::Probe, Vec::new()),
        Some("curl") => (ClientKind::Curl, Vec::new()),
        Some(command) => (ClientKind::Command, words(command)?),
    };
    Ok(ClientSpec { kind, verify: !args.insecure, ipv6: args.ipv6, command, ..usual })
}

/// The words of a command, quoted as for a shell.
pub(crate) fn words(command: &str) -> Result<Vec<String>, String> {
    shlex::split(command)
        .ok_or_else(|| format!("--client {command}: a quote is not closed, or nothing follows its last backslash"))
}

/// Runs a command in a scenario's lab.
pub fn in_lab(args: &LabCommand) -> Result<u8, Box<dyn std::error::Error>> {
    let scenario = read(&args.scenario, &[])?;
    let privilege = lab::rootless::enter()?;
    // Ctrl-C is the command's to obey; the lab is taken down when it has ended.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let wanted = LabRun { at: &args.at, turns: &args.when, captures: args.captures.clone(), command: &args.command, privilege };
    let code = repro::lab_run::run(&scenario, &wanted, &mut |said| aside(said))?;
    Ok(u8::try_from(code).unwrap_or(exit::HARNESS))
}

/// The published schema of scenario files.
pub fn schema() -> String {
    repro::scenario::schema()
}

/// Reads a scenario file, with overrides.
pub fn read(path: &Path, overrides: &[String]) -> Result<Scenario, Box<dyn std::error::Error>> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{file}: {e}"))?;
    Ok(Scenario::parse(&file, &text, overrides)?)
}

/// Runs a scenario of the lab once, with progress on standard error.
pub fn once_in_lab(
    scenario: &Scenario,
    results: &Path,
    privilege: Privilege,
    stop: &AtomicBool,
) -> Result<Outcome, Box<dyn std::error::Error>> {
    once(scenario, results, privilege, false, &Reached::none(), &[], stop)
}

/// Runs a scenario once, with progress on standard error.
pub fn once(
    scenario: &Scenario,
    results: &Path,
    privilege: Privilege,
    no_capture: bool,
    fleet: &Reached,
    provided: &[Provided],
    interrupted: &AtomicBool,
) -> Result<Outcome, Box<dyn std::error::Error>> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(1) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {msg} {elapsed}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    let progress = |what: &str, done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(what.to_owned());
        if bar.is_hidden() {
            aside(format_args!("[{done}/{total}] {}: {what}", scenario.name));
        }
    };
    let reach = |agent: &str, name: &str, leave, stop: &AtomicBool| fleet.open(agent, name, leave, stop);
    let recorders =
        |agent: &str, name: &str, last: Duration, keys: &[Key], stop: &AtomicBool| fleet.recorded(agent, name, last, keys, stop);
    let options = RunOptions {
        results: results.to_owned(),
        privilege,
        no_capture,
        fleet: Some(&reach),
        recorders: Some(&recorders),
        provided,
        interrupted,
        progress: &progress,
        page: &report::html::page,
    };
    let outcome = repro::run(scenario, &options);
    bar.finish_and_clear();
    Ok(outcome?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Verb};

    fn wanted_by(words: &[&str]) -> Result<Scenario, String> {
        let words = ["whostalled", "run"].into_iter().chain(words.iter().copied());
        let Ok(Verb::Run(run)) = Arguments::try_parse_from(words).map(|arguments| arguments.verb) else { panic!("it is a run") };
        wanted(&run, &Reached::none()).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_of_what_settings_leave() {
        let vantages: Vec<String> = (0..70).map(|n| format!("--vantage=n{n}=ssh:h{n}")).collect();
        let many = |more: &[&'static str]| {
            let words = std::iter::once("https://a.test/").chain(vantages.iter().map(String::as_str));
            wanted_by(&words.chain(more.iter().copied()).collect::<Vec<_>>())
        };
        let refused = many(&[]).expect_err("it is more than may be asked of a stranger");
        assert!(refused.contains("handshakes") && !refused.contains("line"), "{refused}");
        assert_eq!(many(&["--rounds", "1", "--clients", "1"]).expect("70 handshakes").vantages.len(), 70);
        assert_eq!(many(&["--set", "bearable.handshakes=9000"]).expect("more may be").bearable.handshakes, 9_000);
        assert!(many(&["--set", "bearable.handshakes=90"]).is_err());

        let folder = tempfile::tempdir().expect("room");
        let file = folder.path().join("many.toml");
        std::fs::write(
            &file,
            many(&["--rounds", "1", "--clients", "1"])
                .and_then(|s| s.to_toml().map_err(|e| e.to_string()))
                .expect("TOML")
                .replace("rounds = 1", "rounds = 2000"),
        )
        .expect("room");
        let file = file.display().to_string();
        let refused = wanted_by(&[&file]).expect_err("2,000 rounds of 70");
        assert!(refused.contains("handshakes") && refused.contains(&file), "{refused}");
        assert!(wanted_by(&[&file, "--rounds", "1"]).is_ok());
        let unmended = wanted_by(&[&file, "--set", "seed=7"]).expect_err("it does not help");
        assert_eq!(unmended, refused, "it is the file's own");
    }
}
