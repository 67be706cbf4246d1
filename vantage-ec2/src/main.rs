//! `whostalled-vantage-ec2`: one request on standard input, lines on standard output (docs/providers.md).

mod names;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use provider::{Ask, Fault, Line, Request, Wrong};
use vantage_ec2::aws::Aws;
use vantage_ec2::clock::System;
use vantage_ec2::serve::serve;

const HELP: &str = "\
Vantages of whostalled on EC2. Called by `whostalled vantage up|list|down|reap --provider ec2`, and by `whostalled run` for vantages of
kind \"ec2\"; speaks JSON on standard input and output (docs/providers.md). Credentials are found where AWS's own tools find them.

Settings, and what it costs: docs/ec2.md. By hand:
  echo '{\"version\":1,\"ask\":\"list\",\"settings\":{\"region\":\"eu-central-1\"}}' | whostalled-vantage-ec2
";

/// A request is small.
const MOST_BYTES: u64 = 1 << 20;

fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        let (code, text) = match argument.as_str() {
            "--version" => (0, concat!("whostalled-vantage-ec2 ", env!("CARGO_PKG_VERSION"), "\n")),
            "--help" | "-h" => (0, HELP),
            _ => (2, HELP),
        };
        print!("{text}");
        return ExitCode::from(code);
    }
    names::without_plugins();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // What began is then taken down; a second signal does not stop that.
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            return ended(&broken(Fault::Provider, format!("signals: {error}")));
        }
    }
    let mut text = String::new();
    if let Err(error) = std::io::stdin().lock().take(MOST_BYTES).read_to_string(&mut text) {
        return ended(&broken(Fault::Request, format!("standard input: {error}")));
    }
    let request: Request = match serde_json::from_str(&text) {
        Ok(request) => request,
        Err(error) => return ended(&broken(Fault::Request, format!("standard input is no request: {error}"))),
    };
    let region = request.settings.get("region").and_then(|region| region.as_str());
    let cloud = match Aws::open(region) {
        Ok(cloud) => cloud,
        Err(error) => return ended(&broken(Fault::Provider, format!("this host: {error}"))),
    };
    let mut code = ExitCode::SUCCESS;
    // Whoever asks for vantages and is killed will not take them down; what is being taken down is taken down all the same.
    let stops = matches!(request.ask, Ask::Up(_) | Ask::List { .. });
    serve(request, &cloud, &System(&stop), &mut |line| {
        if matches!(line, Line::Failed(_)) {
            code = ExitCode::FAILURE;
        }
        if write(&line).is_err() && stops {
            stop.store(true, Ordering::Relaxed);
        }
    });
    code
}

fn broken(fault: Fault, what: String) -> Line {
    Line::Failed(Wrong { fault, what, todo: None, left: Vec::new() })
}

fn ended(line: &Line) -> ExitCode {
    let _ = write(line);
    ExitCode::FAILURE
}

/// Fails if nobody hears it any more.
fn write(line: &Line) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let text = serde_json::to_string(line).unwrap_or_default();
    writeln!(out, "{text}").and_then(|()| out.flush())
}
