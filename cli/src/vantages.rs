//! `whostalled doctor` and `whostalled agent`.

use std::fmt::Write;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use settings::words::visible;
use vantage::doctor::{Diagnosis, examine};
use vantage::{Leave, Local};

use crate::args::Agent;
use crate::{exit, saying};

/// Says what this host permits.
pub fn doctor(json: bool) -> Result<u8, Box<dyn std::error::Error>> {
    let found = examine();
    if json {
        saying::line(serde_json::to_string_pretty(&found)?)?;
    } else {
        saying::coloured(shown(&found))?;
    }
    Ok(exit::HELD)
}

fn shown(found: &Diagnosis) -> String {
    let (good, bad) =
        (Style::new().fg_color(Some(AnsiColor::Green.into())), Style::new().fg_color(Some(AnsiColor::Yellow.into())));
    let mut out = String::new();
    let Diagnosis { kernel, cpus, clock_source, grade, .. } = found;
    let _ = writeln!(out, "Linux {}, {cpus} CPUs, clock {}", visible(kernel), visible(clock_source));
    for finding in &found.findings {
        let words = finding.ability.words();
        let _ = match &finding.lack {
            None => writeln!(out, "  {good}yes{good:#}  {words}"),
            Some(lack) => {
                writeln!(out, "  {bad}no{bad:#}   {words}: {}\n       for that: {}", visible(&lack.why), visible(&lack.more))
            }
        };
    }
    let _ = writeln!(out, "A run from here gives evidence of grade: {grade} (docs/verdicts.md, \"Evidence grades\")");
    out
}

/// Answers a controller until it goes away.
pub fn agent(args: &Agent) -> Result<u8, Box<dyn std::error::Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let name = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    if args.nats.nats.is_some() {
        crate::fleets::agent(args, &name, &stop)?;
        return Ok(exit::HELD);
    }
    let mut local = Local::new(&name, Leave { load: args.allow_load, capture: !args.no_capture })?;
    let silence = args.silence.map(Duration::from_secs);
    vantage::serve(&mut local, BufReader::new(std::io::stdin()), std::io::stdout(), silence, &stop)?;
    Ok(exit::HELD)
}
