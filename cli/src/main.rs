//! `whostalled`: arguments in, one verb called, exit code out.

mod accuracy;
mod allocator;
mod beginning;
mod comparing;
mod explaining;
#[cfg(feature = "fleet")]
mod fleets;
#[cfg(not(feature = "fleet"))]
#[path = "no_fleets.rs"]
mod fleets;
mod handed_over;
mod hidden;
mod importing;
mod incidents;
mod library;
mod new;
mod probe;
mod providing;
mod raised;
mod recording;
mod run;
mod saying;
mod vantage_verbs;
mod vantages;
mod version;
mod watching;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use command_line::{args, logging};
use settings::words::visible_lines;

/// Exit codes, as documented in `--help`.
pub(crate) mod exit {
    /// The expectation held, or none was stated.
    pub const HELD: u8 = 0;
    /// It did not hold.
    pub const FAILED: u8 = 1;
    /// The harness failed.
    pub const HARNESS: u8 = 2;
    /// `compare`: nobody can tell.
    pub const TOO_NOISY: u8 = 3;
}

fn main() -> ExitCode {
    // Before anything is looked up.
    lab::without_plugins_for_names();
    // Copies over ssh and children are started by other names.
    let _ = nix::sys::prctl::set_name(c"whostalled");
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Children of a run: placed programs, the lab's servers, burners. No verbs for people.
    if let Some(result) = hidden::dispatch(&arguments) {
        return result;
    }
    // clap takes what lives as long as the process.
    let long_version: &str = version::long().leak();
    let command = args::Arguments::command().long_version(long_version);
    let arguments = args::Arguments::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let result = match arguments.verb {
        args::Verb::Run(args) => run::run(&args),
        args::Verb::New(args) => new::new(&args),
        args::Verb::Explain(args) => explaining::explain(&args),
        args::Verb::Watch(args) => watching::watch(&args),
        args::Verb::Capture(args) => recording::capture(&args),
        args::Verb::Incidents(args) => watching::incidents(&args),
        args::Verb::Accuracy(args) => accuracy::accuracy(&args),
        args::Verb::Compare(args) => comparing::compare(&args),
        args::Verb::Probe(args) => probe::probe(&args),
        args::Verb::Lab { verb: args::LabVerb::Run(args) } => run::in_lab(&args),
        args::Verb::Lab { verb: args::LabVerb::Clean } => {
            let done = lab::clean::clean();
            said(if done.is_empty() { "nothing to clean".into() } else { done.join("\n") })
        }
        args::Verb::Doctor { json } => vantages::doctor(json),
        args::Verb::Agent(args) => vantages::agent(&args),
        args::Verb::Vantage { verb } => vantage_verbs::vantage(&verb),
        args::Verb::Schema => said(run::schema()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            anstream::eprintln!("{}whostalled:{:#} {}", ERROR, ERROR, visible_lines(&error.to_string()));
            ExitCode::from(exit::HARNESS)
        }
    }
}

const ERROR: anstyle::Style = anstyle::Style::new().bold().fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)));

/// Says all that there is to say.
fn said(what: String) -> Result<u8, Box<dyn std::error::Error>> {
    saying::line(what)?;
    Ok(exit::HELD)
}
