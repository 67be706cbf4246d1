//! The command line of each kind of client.

use std::path::Path;

use agent::{ClientKind, ClientSpec, Clients, Destination, PauseBefore, TlsVersion};

use crate::Error;
use crate::ready::installed;
use crate::targets::CommandLine;

/// How to start these clients; they trust the roots in `ca`.
///
/// # Errors
/// If the client is not installed.
pub(super) fn command_line(clients: &Clients, ca: &Path) -> Result<CommandLine, Error> {
    let Clients { client, to, .. } = clients;
    match client.kind {
        ClientKind::Curl => {
            installed("curl", "apt-get install curl")?;
            Ok(CommandLine { program: "curl".into(), args: curl(client, to, ca) })
        }
        ClientKind::Probe => {
            let own = std::env::current_exe().map_err(lab::Error::system("finding our own binary"))?;
            Ok(CommandLine { program: own.display().to_string(), args: probe(clients, ca) })
        }
        ClientKind::Command => Ok(fill(&client.command, to, ca)),
    }
}

/// Fills in `{host}`, `{address}`, `{port}` and `{ca}`.
fn fill(words: &[String], to: &Destination, ca: &Path) -> CommandLine {
    let address = to.address.map_or_else(|| to.name.clone(), |a| a.to_string());
    let mut words = words.iter().map(|w| {
        w.replace("{host}", &to.name)
            .replace("{address}", &address)
            .replace("{port}", &to.port.to_string())
            .replace("{ca}", &ca.display().to_string())
    });
    CommandLine { program: words.next().unwrap_or_default(), args: words.collect() }
}

fn curl(client: &ClientSpec, to: &Destination, ca: &Path) -> Vec<String> {
    let version = match client.tls {
        TlsVersion::V12 => "1.2",
        TlsVersion::V13 => "1.3",
    };
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
    args.push(format!("https://{}:{}/", to.name, to.port));
    args
}

fn probe(clients: &Clients, ca: &Path) -> Vec<String> {
    let Clients { client, to, pauses, .. } = clients;
    let mut args = vec!["probe".into(), to.name.clone(), "--port".into(), to.port.to_string(), "--json".into()];
    args.extend(["--timeout-ms".into(), client.timeout.as_millis().to_string()]);
    args.extend(["--ca".into(), ca.display().to_string()]);
    for (flag, set) in [("--insecure", !client.verify), ("--tls12", client.tls == TlsVersion::V12), ("--ipv6", client.ipv6)] {
        if set {
            args.push(flag.into());
        }
    }
    for pause in pauses {
        let flag = match pause.before {
            PauseBefore::ClientHello => "--pause-before-hello-ms",
            PauseBefore::ClientFinished => "--pause-before-finished-ms",
        };
        args.extend([flag.into(), pause.length.as_millis().to_string()]);
    }
    args
}
