//! `whostalled explain` of what customers sent that is no capture.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use explain::filter::Filter;
use explain::imported::{self, Options, sniff};
use records::imported::{ImportReport, ImportedRecord};
use report::imported_terminal;
use settings::words::visible;

use crate::args::Explain;
use crate::exit;
use crate::explaining::output;

/// A file, and what it is.
pub(crate) type Files = Vec<(PathBuf, explain::imported::Source)>;

/// The files, if they are what customers send; absent if they are captures. Captures and others are not explained together.
pub(crate) fn files(args: &Explain) -> Result<Option<Files>, String> {
    if args.watch {
        return Ok(None); // what grows is a capture
    }
    // What cannot be opened is said where captures are.
    let kind = |path: &PathBuf| sniff(path).ok().flatten();
    let sided: Vec<&PathBuf> = args.client_side.iter().chain(&args.edge_side).collect();
    if let Some((path, kind)) = sided.iter().find_map(|path| Some((path, kind(path)?))) {
        return Err(format!("{}: this is no capture but {kind}: leave --client-side and --edge-side out", path.display()));
    }
    let kinds: Vec<_> = args.captures.iter().map(|path| (path.clone(), kind(path))).collect();
    let other = kinds.iter().find(|(_, kind)| kind.is_none()).map(|(path, _)| path.clone()).or(sided.first().copied().cloned());
    let files: Files = kinds.into_iter().filter_map(|(path, kind)| Some((path, kind?))).collect();
    match (files.first(), other) {
        (None, _) => Ok(None),
        (Some(_), None) => Ok(Some(files)),
        (Some((path, kind)), Some(other)) => Err(format!(
            "{} is {kind}, and {} is not of that sort (a capture?): explain captures and what programs say in two commands; they are not joined",
            path.display(),
            other.display()
        )),
    }
}

/// Says of each request whose time it was, as far as a program's clock tells.
pub(crate) fn explain(args: &Explain, files: &Files, filter: Filter) -> Result<u8, Box<dyn std::error::Error>> {
    for (option, given) in [("--pcapng", &args.pcapng), ("--html", &args.html)] {
        if given.is_some() {
            return Err(format!("{option} needs captures; of what programs say there are --json and --ndjson").into());
        }
    }
    let mut print = printer();
    let options = Options { filter, top: args.top, each: if args.ndjson { Some(&mut print) } else { None } };
    let report = imported::explain(files, options)?;
    match say(args, &report) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => return Err(e.into()),
        _ => {}
    }
    let nothing = report.requests == 0 && report.imported.iter().any(|file| file.cut.is_some());
    Ok(if nothing { exit::HARNESS } else { exit::HELD })
}

/// A line for each; ends the reading when nobody listens any more.
fn printer() -> impl FnMut(&ImportedRecord) -> ControlFlow<()> {
    let mut out = output(true);
    move |record| {
        let line = serde_json::to_writer(&mut out, record).map_err(std::io::Error::from);
        match line.and_then(|()| out.write_all(b"\n")) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

fn say(args: &Explain, report: &ImportReport) -> std::io::Result<()> {
    if args.ndjson && !args.json {
        // Standard output belongs to the lines.
        for file in &report.imported {
            file.cut.iter().for_each(|cut| eprintln!("warning: {}: {}", visible(&file.name), visible(cut)));
        }
        return Ok(());
    }
    let mut out = output(args.json);
    if args.json {
        serde_json::to_writer_pretty(&mut out, report)?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(imported_terminal::render(report).as_bytes())?;
    }
    out.flush()
}
