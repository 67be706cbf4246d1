//! `whostalled compare`.
//!
//! In: arguments. Out: what was found, printed and in files; where nothing could be compared, the reason in those that a CI shows.

pub(crate) mod lab_edge;
pub(crate) mod wire;

use std::fs::{File, OpenOptions, create_dir_all};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use compare::edge::Asked;
use compare::judge::Sizes;
use compare::processes::{kill_all, left_behind};
use compare::{Options, Progress, Stop};
use indicatif::{ProgressBar, ProgressStyle};
use prober::tls::TlsOptions;
use records::compared::{Compared, Outcome};
use records::read;
use report::compared::{annotations, html, junit, markdown, terminal};
use signal_hook::iterator::Signals;

use lab_edge::LabEdges;

use crate::args::Compare;
use crate::handed_over::SIGNALS;
use crate::{exit, saying};

type Error = Box<dyn std::error::Error>;

/// Compares two edges or two clients, prints and writes what was found.
///
/// # Errors
/// If an edge cannot be had, the base does not work, or a file cannot be read or written.
pub fn compare(args: &Compare) -> Result<u8, Error> {
    if args.schema {
        saying::line(serde_json::to_string_pretty(&records::compared::schema())?)?;
        return Ok(exit::HELD);
    }
    let outputs = [&args.save, &args.junit, &args.html, &args.markdown];
    // What is wrong with them is said now, not after a minute of measuring.
    outputs.into_iter().flatten().try_for_each(|path| folder_of(path))?;
    let compared = stoppable().and_then(|stop| compared(args, &Stop(stop)));
    left_behind().iter().for_each(|what| eprintln!("warning: {what}"));
    match compared {
        Ok(compared) => told(args, &compared),
        Err(error) => {
            let why = error.to_string();
            // What is wrong is what nobody could compare for; that it could not be written down comes second.
            let markdown = args.markdown.iter().map(|path| append(path, &markdown::not_compared(&why)));
            let junit = args.junit.iter().map(|path| write(path, &junit::not_compared(&why)?));
            for unwritten in markdown.chain(junit).filter_map(Result::err) {
                eprintln!("warning: {unwritten}");
            }
            Err(error)
        }
    }
}

/// Set at the first signal: what was started is stopped then. At a second one it is killed, and this program ends at once.
fn stoppable() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, mut signals) = (Arc::clone(&stop), Signals::new(SIGNALS)?);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if told.swap(true, Ordering::Relaxed) {
                kill_all();
                std::process::exit(i32::from(exit::HARNESS));
            }
        }
    })?;
    Ok(stop)
}

fn compared(args: &Compare, stop: &Stop) -> Result<Compared, Error> {
    of_edges_alone(args)?;
    let [base, candidate] = args.words();
    let lab = LabEdges::among([base, candidate], args.name.as_deref(), args.tls.ca.as_deref())?;
    let options = options(args, &lab, stop)?;
    let commands = [base, candidate].map(|word| options.asked.command(word));
    of_commands_alone(args, commands)?;
    wire::usable(args, commands)?;
    let mut compared = match stored(base)? {
        Some(stored) => compare::compare_with_stored(&stored, candidate, &options)?,
        None => watched(&options, |watch| compare::compare(base, candidate, &options, watch))?,
    };
    if args.costs {
        compared.costs = compare::costs::costs(base, candidate, &options)?;
    }
    // Who fails takes no round trips.
    let round_trip = args.wire.filter(|_| compared.failed.is_none());
    compared.on_wire = round_trip.map(|round_trip| wire::count(args, commands, round_trip, &stop.0)).transpose()?;
    if compared.on_wire.is_some_and(|wire| wire.is_worse()) {
        compared.outcome = Outcome::Regression;
    }
    Ok(compared)
}

fn told(args: &Compare, compared: &Compared) -> Result<u8, Error> {
    let json = || serde_json::to_string_pretty(compared).map(|text| text + "\n");
    if args.json {
        saying::line(json()?.trim_end())?;
    } else {
        saying::coloured(terminal::render(compared))?;
    }
    if args.annotate {
        saying::coloured(annotations::render(compared))?;
    }
    if let Some(path) = &args.save {
        write(path, &json()?)?;
    }
    if let Some(path) = &args.junit {
        write(path, &junit::render(compared)?)?;
    }
    if let Some(path) = &args.html {
        write(path, &html::page(compared))?;
    }
    if let Some(path) = &args.markdown {
        append(path, &markdown::render(compared))?;
    }
    Ok(match compared.outcome {
        Outcome::NoRegression => exit::HELD,
        Outcome::Regression => exit::FAILED,
        Outcome::TooNoisy => exit::TOO_NOISY,
    })
}

/// Refuses what tells our own client how to behave, where the clients are the user's.
fn of_edges_alone(args: &Compare) -> Result<(), Error> {
    let Some(client) = args.words().into_iter().find(|word| word.contains("{url}")) else { return Ok(()) };
    let given = [
        ("--ca", args.tls.ca.is_some(), "our edge's own certificate is where {ca} stands in the command"),
        ("--insecure", args.tls.insecure, "say so in the client's command"),
        ("--cert", args.cert.is_some(), "say so in the client's command"),
        ("--resume", args.resume, "a client is started anew for each handshake"),
        ("--name", args.name.is_some(), "our edge is called localhost"),
        ("--wire", args.wire.is_some(), "clients meet our edge on loopback"),
    ];
    match given.into_iter().find(|(_, given, _)| *given) {
        Some((option, _, why)) => Err(format!("{option} is for edges, and {client:?} is a client: {why}").into()),
        None => Ok(()),
    }
}

/// Refuses `--costs` of what is no command.
fn of_commands_alone(args: &Compare, commands: [&str; 2]) -> Result<(), Error> {
    let is_command = |word: &str| word.contains("{port}") || word.contains("{url}");
    match commands.into_iter().find(|word| args.costs && !is_command(word)) {
        Some(word) => {
            let what = "--costs runs both under strace and valgrind";
            Err(format!("{what}: {word:?} is no command with {{port}} or {{url}} in it").into())
        }
        None => Ok(()),
    }
}

fn options(args: &Compare, lab: &LabEdges, stop: &Stop) -> Result<Options, Error> {
    let sizes = Sizes { notice_ms: args.notice.as_secs_f64() * 1e3, ..Sizes::default() };
    if sizes.notice_ms < sizes.least_ms {
        return Err(format!("--notice: less than {} ms is not told from noise", sizes.least_ms).into());
    }
    let certificate = args.cert.clone().zip(args.key.clone());
    let tls = args.tls.options();
    Ok(Options {
        tls: TlsOptions { resume: args.resume, certificate, ca: lab.roots.clone().or_else(|| tls.ca.clone()), ..tls },
        asked: Asked { name: args.name.clone(), path: args.path.clone(), stands_for: lab.stands_for.clone() },
        budget: if args.counts { Duration::ZERO } else { args.budget },
        timeout: args.timeout,
        sizes,
        stop: stop.clone(),
    })
}

/// What was stored in a file, if the word names one.
fn stored(word: &str) -> Result<Option<Compared>, Error> {
    let path = Path::new(word);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|e| about(path, &e))?;
    Ok(Some(read::file(word, &bytes)?))
}

/// Runs it with its progress shown, where somebody watches.
fn watched<T>(options: &Options, run: impl FnOnce(&mut dyn FnMut(Progress)) -> T) -> T {
    let total = u64::try_from(options.budget.as_millis()).unwrap_or(u64::MAX);
    let style = ProgressStyle::with_template("  {bar:30} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    let result = run(&mut |progress: Progress| {
        bar.set_position(u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX));
        bar.set_message(format!("{} blocks, {} parts open", progress.blocks, progress.open));
    });
    bar.finish_and_clear();
    result
}

fn folder_of(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Err(format!("{}: is a folder; name a file", path.display()).into());
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => create_dir_all(folder).map_err(|e| about(folder, &e)),
        None => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| about(path, &e))
}

fn append(path: &Path, text: &str) -> Result<(), Error> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| about(path, &e))
}

fn about(path: &Path, error: &std::io::Error) -> Error {
    format!("{}: {error}", path.display()).into()
}
