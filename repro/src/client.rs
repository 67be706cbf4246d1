//! The command line of each kind of client.

use std::net::IpAddr;
use std::path::Path;

use crate::Error;
use crate::fault::{FaultKind, MessageName};
use crate::scenario::{ClientKind, ClientSpec, Scenario, TlsVersion};

/// The port every target listens on.
pub const PORT: u16 = 443;

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// How to start the scenario's client on `vantage` against `host`.
///
/// # Errors
/// If the client is not installed.
pub fn command_line(scenario: &Scenario, vantage: &str, host: &str, address: IpAddr, ca: &Path) -> Result<CommandLine, Error> {
    let client = &scenario.client;
    match client.kind {
        ClientKind::Curl => {
            installed("curl", "apt-get install curl")?;
            Ok(CommandLine { program: "curl".into(), args: curl(client, host, ca) })
        }
        ClientKind::Probe => {
            let own = std::env::current_exe().map_err(lab::Error::system("finding our own binary"))?;
            Ok(CommandLine { program: own.display().to_string(), args: probe(scenario, vantage, host, ca) })
        }
        ClientKind::Command => Ok(fill(&client.command, host, address, ca)),
    }
}

/// Fills in `{host}`, `{address}`, `{port}` and `{ca}`.
fn fill(words: &[String], host: &str, address: IpAddr, ca: &Path) -> CommandLine {
    let mut words = words.iter().map(|w| {
        w.replace("{host}", host)
            .replace("{address}", &address.to_string())
            .replace("{port}", &PORT.to_string())
            .replace("{ca}", &ca.display().to_string())
    });
    CommandLine { program: words.next().unwrap_or_default(), args: words.collect() }
}

fn curl(client: &ClientSpec, host: &str, ca: &Path) -> Vec<String> {
    let version = if client.tls == TlsVersion::V12 { "1.2" } else { "1.3" };
    let mut args: Vec<String> =
        ["--silent", "--show-error", "--http1.1", "--output", "/dev/null", "--write-out", "%{json}"].map(Into::into).into();
    args.extend(["--max-time".into(), client.timeout.0.as_secs_f64().to_string()]);
    args.extend([format!("--tlsv{version}"), "--tls-max".into(), version.into()]);
    args.push(if client.ipv6 { "-6" } else { "-4" }.into());
    if client.verify {
        args.extend(["--cacert".into(), ca.display().to_string()]);
    } else {
        args.push("--insecure".into());
    }
    args.push(format!("https://{host}:{PORT}/"));
    args
}

fn probe(scenario: &Scenario, vantage: &str, host: &str, ca: &Path) -> Vec<String> {
    let client = &scenario.client;
    let mut args = vec!["probe".into(), host.into(), "--port".into(), PORT.to_string(), "--json".into()];
    args.extend(["--timeout-ms".into(), client.timeout.as_millis().to_string()]);
    args.extend(["--ca".into(), ca.display().to_string()]);
    for (flag, set) in [("--insecure", !client.verify), ("--tls12", client.tls == TlsVersion::V12), ("--ipv6", client.ipv6)] {
        if set {
            args.push(flag.into());
        }
    }
    for fault in scenario.faults().filter(|f| f.kind == FaultKind::ClientPause && f.on.as_deref().is_none_or(|on| on == vantage))
    {
        let flag =
            if fault.before == Some(MessageName::ClientHello) { "--pause-before-hello-ms" } else { "--pause-before-finished-ms" };
        args.extend([flag.into(), fault.for_.unwrap_or_default().as_millis().to_string()]);
    }
    args
}

/// Whether a program is on the path.
///
/// # Errors
/// Says how to install it.
pub fn installed(program: &str, how: &str) -> Result<(), Error> {
    if lab::host::installed(program) {
        return Ok(());
    }
    Err(Error::Missing(format!("the scenario needs `{program}`, which is not installed: {how}")))
}
