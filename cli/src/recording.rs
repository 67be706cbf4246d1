//! `whostalled capture`: runs the recorder, or asks one that runs.

use std::error::Error;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use analysis::key::Key;
use recorder::config::{Config, FilterSetting, schema};
use recorder::control::ask;
use recorder::init::{interfaces, outward_interface, text};
use settings::Time;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::{Capture, CaptureAsk};
use crate::{allocator, beginning, exit, logging, saying};

/// Records until a signal ends it, or asks a recorder.
///
/// # Errors
/// If the recorder cannot begin, or refuses.
pub fn capture(args: &Capture) -> Result<u8, Box<dyn Error>> {
    if let Some(request) = &args.ask {
        return asked(request);
    }
    if args.schema {
        saying::line(serde_json::to_string_pretty(&schema())?)?;
        return Ok(exit::HELD);
    }
    let config = config(args)?;
    if args.validate {
        recorder::validate(&config)?.iter().for_each(|note| eprintln!("note: {note}"));
        saying::line("valid")?;
        return Ok(exit::HELD);
    }
    logging::start(args.logged.log_format, args.logged.log_level);
    allocator::small_pages();
    let stop = Arc::new(AtomicBool::new(false));
    // A terminal that is closed, or a daemon that is asked to read its configuration again: there is no such thing here.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let (listen, folder) = (config.capture.listen, config.evidence.folder.clone());
    recorder::record(config, &stop, |begun| {
        allocator::give_back(); // reading the kernel's types took much
        for note in &begun.notes {
            tracing::warn!("note: {note}");
        }
        tracing::info!("recording handshakes by {}; evidence in {}, page: http://{listen}/", begun.filter_at, folder.display());
    })?;
    tracing::info!("stopped by a signal");
    Ok(exit::HELD)
}

fn config(args: &Capture) -> Result<Config, recorder::config::Error> {
    let mut config = args.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
    let capture = &mut config.capture;
    if !args.iface.is_empty() {
        capture.interfaces.clone_from(&args.iface);
    }
    if !args.port.is_empty() {
        capture.ports.clone_from(&args.port);
    }
    capture.memory = args.memory.unwrap_or(capture.memory);
    capture.listen = args.listen.unwrap_or(capture.listen);
    capture.filter_at = match args.filter_at.as_deref() {
        Some("tc") => Some(FilterSetting::Tc),
        Some("socket") => Some(FilterSetting::Socket),
        Some("user") => Some(FilterSetting::User),
        _ => capture.filter_at,
    };
    if let Some(control) = &args.control {
        capture.control.clone_from(control);
    }
    config.slow.excess = args.slow.map_or(config.slow.excess, Time);
    config.evidence.quota = args.quota.unwrap_or(config.evidence.quota);
    if let Some(folder) = &args.evidence {
        config.evidence.folder.clone_from(folder);
    }
    Ok(config)
}

fn asked(request: &CaptureAsk) -> Result<u8, Box<dyn Error>> {
    match request {
        CaptureAsk::Init { file, iface } => {
            let interface = iface
                .clone()
                .or_else(outward_interface)
                .ok_or_else(|| format!("name the interface: --iface NAME; this host has {}", interfaces().join(", ")))?;
            return beginning::write(file, &text(&interface), &|file| format!("whostalled capture --config {file}"));
        }
        CaptureAsk::Dump { last, flow, output, control } => {
            let request = match (last, flow.as_slice()) {
                (None, [flow]) => format!("flow {}", flow.to_string().replace(',', " ")),
                (None, _) => return Err("several flows at once: say of which time, as --last 30s".into()),
                (Some(last), []) => format!("last {}", last.as_secs_f64()),
                (Some(last), keys) => flows(*last, keys),
            };
            let (_, bytes) = ask(control, &request)?;
            if output.as_os_str() == "-" {
                std::io::stdout().write_all(&bytes)?;
            } else {
                write(output, &bytes)?;
                eprintln!("wrote {} ({} bytes)", output.display(), bytes.len());
            }
        }
        CaptureAsk::Trigger { client, server, control } => {
            let server = server.as_ref().map_or(String::new(), |s| format!(" {s}"));
            saying::line(ask(control, &format!("trigger {client}{server}"))?.0)?;
        }
        CaptureAsk::Status { json, control } => {
            let (_, bytes) = ask(control, "status")?;
            let said: serde_json::Value = serde_json::from_slice(&bytes)?;
            let text = if *json {
                format!("{said:#}\n")
            } else {
                recorder::view::lines(&serde_json::from_value(said["status"].clone())?)
            };
            std::io::stdout().write_all(text.as_bytes())?;
        }
    }
    Ok(exit::HELD)
}

/// Asks for the flows with these keys.
pub(crate) fn flows(last: Duration, keys: &[Key]) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    format!("flows {} {}", last.as_secs_f64(), keys.join(" "))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    // Packets of clients: for this user only.
    let private = || std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes);
    private().map_err(|e: std::io::Error| format!("{}: {e}", path.display()))
}
