//! `whostalled explain`.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use explain::filter::{Filter, moment};
use explain::gather::Gather;
use explain::{Options, evidence};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use records::explained::{ExplainReport, ExplainedRecord};
use report::{explained_html, explained_terminal};
use settings::words::visible;

use crate::args::Explain;
use crate::{exit, importing, saying};

/// Reads captures and says whose time every handshake in them was.
pub fn explain(args: &Explain) -> Result<u8, Box<dyn std::error::Error>> {
    let filter = filter(args)?;
    if let Some(files) = importing::files(args)? {
        return importing::explain(args, &files, filter);
    }
    let options = Options {
        captures: args.captures.clone(),
        client_side: args.client_side.clone(),
        edge_side: args.edge_side.clone(),
        follow: args.watch,
        stop: stop_at_interrupt(args.watch)?,
    };
    let paths: Vec<PathBuf> = [&args.captures, &args.client_side, &args.edge_side].into_iter().flatten().cloned().collect();
    if args.pcapng.is_some() && !evidence::readable_twice(&paths) {
        return Err("--pcapng reads the captures a second time: it needs files, and a pipe written to one first".into());
    }
    // Outputs that cannot be written should fail before a long read, not after it.
    let output = |path: &Option<PathBuf>| path.as_deref().map(|path| create(path, &paths)).transpose();
    let (mut html, pcapng) = (output(&args.html)?, output(&args.pcapng)?);

    let bar = progress_bar(args.watch)?;
    let mut progress = |packets: u64| bar.set_message(format!("{} packets", HumanCount(packets)));
    let mut gather = Gather::new(filter, args.top, &mut progress);
    let failed = Cell::new(None);
    let mut print = printer(args.ndjson, args.watch, &bar, &failed);
    if args.ndjson || args.watch && !args.json {
        gather = gather.for_each(&mut print);
    }
    if pcapng.is_some() {
        gather = gather.selecting_packets();
    }
    let outcome = explain::explain(&options, &mut gather);
    bar.finish_and_clear();
    if let Some(error) = failed.take() {
        saying::heard(Err(error))?;
    }
    let unreadable = outcome.unreadable;
    let (report, selection) = gather.finish(outcome);
    if let Some((out, path)) = &mut html {
        let written = out.write_all(explained_html::page(&report).as_bytes()).and_then(|()| out.flush());
        written.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let (Some(selection), Some((out, path))) = (selection, pcapng) {
        evidence::write(selection, &paths, out).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    say(args, &report)?;
    Ok(if unreadable > 0 { exit::HARNESS } else { exit::HELD })
}

fn filter(args: &Explain) -> Result<Filter, String> {
    let since = args.since.as_deref().map(|text| moment(text, Timestamp::now())).transpose();
    Ok(Filter {
        slow: args.slow,
        names: args.sni.clone(),
        hosts: args.host.clone(),
        verdicts: args.verdict.clone(),
        since: since.map_err(|what| format!("--since: {what}"))?,
    })
}

/// Prints the report; an output that nobody reads on is no error.
fn say(args: &Explain, report: &ExplainReport) -> Result<(), Box<dyn std::error::Error>> {
    if args.ndjson && !args.json {
        // Standard output belongs to the lines.
        report.warnings.iter().for_each(|w| eprintln!("warning: {}", visible(w)));
        return Ok(());
    }
    let mut out = output(args.json);
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, report).map_err(std::io::Error::from).and_then(|()| out.write_all(b"\n"))
    } else {
        let mut text = explained_terminal::render(report);
        for (what, path) in [("page", &args.html), ("packets", &args.pcapng)] {
            text.extend(path.as_ref().map(|path| format!("  {what}: {}\n", visible(&path.display().to_string()))));
        }
        out.write_all(text.as_bytes())
    };
    saying::heard(written.and_then(|()| out.flush()))?;
    Ok(())
}

/// Bytes that go to standard output at once.
const OUTPUT: usize = 64 << 10;

/// Standard output: for data as it is, for people without colours where nobody would see them.
pub(crate) fn output(data: bool) -> Box<dyn Write> {
    let plain: Box<dyn Write> = if data { Box::new(std::io::stdout()) } else { Box::new(anstream::stdout()) };
    Box::new(BufWriter::with_capacity(OUTPUT, plain))
}

/// Prints each handshake as it comes; ends the reading when nobody listens any more.
fn printer(
    ndjson: bool,
    watch: bool,
    bar: &ProgressBar,
    failed: &Cell<Option<std::io::Error>>,
) -> impl FnMut(&ExplainedRecord) -> ControlFlow<()> {
    let mut out = output(ndjson);
    // Into memory first: a call through `dyn Write` for each token costs more than the token.
    let mut line = Vec::new();
    move |record| {
        line.clear();
        let made = if ndjson {
            report::json_line(record, &mut line)
        } else {
            line.extend_from_slice(explained_terminal::handshake(record).as_bytes());
            Ok(())
        };
        let written =
            made.and_then(|()| bar.suspend(|| out.write_all(&line).and_then(|()| if watch { out.flush() } else { Ok(()) })));
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed.set(Some(error));
                ControlFlow::Break(())
            }
        }
    }
}

/// Begins an output; never in place of a capture that is to be read.
fn create(path: &Path, captures: &[PathBuf]) -> Result<(BufWriter<File>, PathBuf), String> {
    let same = |capture: &PathBuf| capture.canonicalize().is_ok_and(|c| path.canonicalize().is_ok_and(|p| p == c));
    if captures.iter().any(same) {
        return Err(format!("{}: this is one of the captures; write to another file", path.display()));
    }
    let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok((BufWriter::new(file), path.to_owned()))
}

fn progress_bar(watch: bool) -> Result<ProgressBar, Box<dyn std::error::Error>> {
    let bar = if std::io::stderr().is_terminal() && !watch { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    Ok(bar)
}

/// The first Ctrl-C ends the reading and gives the report; a second one ends the program.
fn stop_at_interrupt(watch: bool) -> Result<Arc<AtomicBool>, std::io::Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM].into_iter().filter(|_| watch) {
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(exit::HARNESS), Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
