//! `whostalled vantage`: a provider is asked, what it says is shown.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use provider::{Ask, Line, Request, Wanted};
use settings::words::visible;

use crate::args::{OfProvider, VantageVerb};
use crate::fleets::Reached;
use crate::handed_over::{SIGNALS, at_once};
use crate::providing::{Program, findable, settings_of};
use crate::raised::{Raising, run_id, said};
use crate::{exit, saying};

type Failure = Box<dyn std::error::Error>;

/// Does what a verb of `vantage` says.
pub(crate) fn vantage(verb: &VantageVerb) -> Result<u8, Failure> {
    let stop = stopped()?;
    match verb {
        VantageVerb::Up(args) => {
            let (program, settings) = of(&args.of)?;
            findable(&settings_of(&program.name, args.of.settings.as_deref(), &[])?, &settings)?;
            let raising = Raising {
                program,
                settings,
                run: args.run.clone().unwrap_or_else(|| run_id("standing")),
                order: provider::fresh(),
                vantages: args
                    .name
                    .iter()
                    .map(|name| Wanted { name: name.clone(), agent: agent(name, args.nats.nats.is_some()) })
                    .collect(),
                most: &args.most,
                nats: &args.nats,
            };
            let json = args.of.json;
            if args.of.dry_run {
                let (request, caps) = raising.request(true)?;
                raising.program.ask(&request, Some(caps), &stop, &mut |line| show(line, json))?;
                show(&Line::Done, json);
                return Ok(exit::HELD);
            }
            let fleet = Reached::connect(&args.nats, std::path::Path::new("results"))?;
            let mut raised = raising.up(&fleet, &stop, &mut |line| show(line, json))?;
            raised.keep();
            show(&Line::Done, json);
        }
        VantageVerb::List(args) => asked(&args.of, Ask::List { run: args.run.clone() }, &stop)?,
        VantageVerb::Down(args) => asked(&args.of, Ask::Down { run: args.run.clone(), order: None }, &stop)?,
        VantageVerb::Reap(args) => asked(&args.of, Ask::Reap { grace_s: args.grace.as_secs() }, &stop)?,
    }
    Ok(exit::HELD)
}

fn asked(args: &OfProvider, ask: Ask, stop: &AtomicBool) -> Result<(), Failure> {
    let (program, settings) = of(args)?;
    let request = Request::new(ask, args.dry_run, settings);
    program.ask(&request, None, stop, &mut |line| show(line, args.json))?;
    show(&Line::Done, args.json);
    Ok(())
}

fn of(args: &OfProvider) -> Result<(Program, provider::Settings), Failure> {
    let program = Program::find(&args.provider)?;
    let settings = settings_of(&program.name, args.settings.as_deref(), &args.set)?;
    Ok((program, settings))
}

/// The agent that a vantage is, where it joins a fleet.
pub(crate) fn agent(name: &str, of_fleet: bool) -> Option<String> {
    of_fleet.then(|| name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect())
}

/// What is there goes to standard output, how it came about to standard error. That nobody can hear it is no reason to leave anything up.
fn show(line: &Line, json: bool) {
    if json {
        let _ = saying::line(serde_json::to_string(line).unwrap_or_default());
    } else if let Some(said) = said(line) {
        if matches!(line, Line::Vantage(_)) {
            let _ = saying::line(visible(&said));
        } else {
            saying::aside(visible(&said));
        }
    }
}

/// Set at the first signal: what began is then taken down. A second ends this program at once; what is up is taken down by its provider alone.
pub(crate) fn stopped() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        at_once(signal_hook::flag::register_conditional_shutdown(signal, i32::from(exit::HARNESS), Arc::clone(&stop))?);
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
