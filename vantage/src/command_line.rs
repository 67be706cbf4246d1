//! The command line of each kind of client.

use std::path::Path;

use agent::{BeforeTls, ClientKind, ClientSpec, Clients, Destination, Family, PauseBefore, Speaker, TlsVersion};
use lab::exec::{CommandLine, own_program};

use crate::Error;

/// How to start these clients; they trust the roots in `roots`, or those of their host.
///
/// # Errors
/// If the client is not installed.
pub fn command_line(clients: &Clients, roots: Option<&Path>) -> Result<CommandLine, Error> {
    let Clients { client, to, .. } = clients;
    match client.kind {
        ClientKind::Curl => {
            installed("curl", "apt-get install curl")?;
            Ok(CommandLine { program: "curl".into(), args: curl(client, to, roots) })
        }
        ClientKind::Probe => Ok(CommandLine { program: own_program()?.display().to_string(), args: probe(clients, roots) }),
        ClientKind::Command => {
            named("client.command", &client.command)?;
            Ok(fill(&client.command, to, roots))
        }
    }
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

/// Whether the program that the file names by `key` is there.
///
/// # Errors
/// Names the key.
pub fn named(key: &str, command: &[String]) -> Result<(), Error> {
    match command.first() {
        // Filled in later.
        Some(program) if program.contains('{') || lab::host::installed(program) => Ok(()),
        Some(program) => {
            Err(Error::Missing(format!("{key}: there is no program `{program}` here: install it, or name its path")))
        }
        None => Err(Error::Missing(format!("{key}: name a program"))),
    }
}

/// Fills in `{host}`, `{address}`, `{port}` and `{ca}`.
fn fill(words: &[String], to: &Destination, roots: Option<&Path>) -> CommandLine {
    let address = to.address.map_or_else(|| to.name.clone(), |a| a.to_string());
    let roots = roots.map_or_else(|| SYSTEM_ROOTS.to_owned(), |path| path.display().to_string());
    let mut words = words.iter().map(|w| {
        w.replace("{host}", &to.name)
            .replace("{address}", &address)
            .replace("{port}", &to.port.to_string())
            .replace("{ca}", &roots)
    });
    CommandLine { program: words.next().unwrap_or_default(), args: words.collect() }
}

/// Where most systems keep their roots: for `{ca}` of commands that run against real targets.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// `name:port` as URLs write it: an IPv6 address stands in brackets.
fn authority(to: &Destination) -> String {
    if to.name.contains(':') { format!("[{}]:{}", to.name, to.port) } else { format!("{}:{}", to.name, to.port) }
}

fn curl(client: &ClientSpec, to: &Destination, roots: Option<&Path>) -> Vec<String> {
    let version = match client.tls {
        TlsVersion::V12 => Some("1.2"),
        TlsVersion::V13 => Some("1.3"),
        TlsVersion::Any => None,
    };
    // First of all no .curlrc, which may lead elsewhere; a URL is one URL, whatever brackets it has; no proxy is the target.
    let mut args: Vec<String> =
        ["--disable", "--globoff", "--noproxy", "*", "--silent", "--show-error", "--http1.1"].map(Into::into).into();
    args.extend(["--output", "/dev/null", "--write-out", "%{json}"].map(Into::into));
    args.extend(["--max-time".into(), client.timeout.0.as_secs_f64().to_string()]);
    args.extend(version.into_iter().flat_map(|version| [format!("--tlsv{version}"), "--tls-max".into(), version.into()]));
    match to.family {
        Family::Any => {}
        Family::V4 => args.push("-4".into()),
        Family::V6 => args.push("-6".into()),
    }
    match roots {
        _ if !client.verify => args.push("--insecure".into()),
        Some(roots) => args.extend(["--cacert".into(), roots.display().to_string()]),
        None => {}
    }
    args.push(format!("https://{}{}", authority(to), to.path));
    args
}

fn probe(clients: &Clients, roots: Option<&Path>) -> Vec<String> {
    let Clients { client, to, pauses, distrust, .. } = clients;
    let mut args = vec!["probe".into(), to.name.clone(), "--port".into(), to.port.to_string(), "--json".into()];
    args.extend(["--timeout-ms".into(), client.timeout.as_millis().to_string()]);
    args.extend(["--path".into(), to.path.clone()]);
    args.extend(roots.iter().flat_map(|roots| ["--ca".into(), roots.display().to_string()]));
    match client.tls {
        TlsVersion::V12 => args.push("--tls12".into()),
        TlsVersion::V13 => args.push("--tls13".into()),
        TlsVersion::Any => {}
    }
    let (v4, v6) = (to.family == Family::V4, to.family == Family::V6);
    for (flag, set) in [("--insecure", !client.verify), ("--ipv4", v4), ("--ipv6", v6)] {
        if set {
            args.push(flag.into());
        }
    }
    for (flag, set) in [("--resume", client.resume), ("--in-pieces", !client.nodelay), ("--distrust", *distrust)] {
        if set {
            args.push(flag.into());
        }
    }
    if let (true, Some(roots)) = (to.client_certificate, roots) {
        let beside = |name: &str| roots.with_file_name(name).display().to_string();
        args.extend(["--cert".into(), beside(lab::certs::CLIENT_CHAIN), "--key".into(), beside(lab::certs::CLIENT_KEY)]);
    }
    if let Some(BeforeTls { first, exchanges }) = to.before_tls {
        let first = match first {
            Speaker::Client => "client",
            Speaker::Edge => "edge",
        };
        args.extend(["--speaks-first".into(), first.into(), "--plain-exchanges".into(), exchanges.to_string()]);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn destination() -> Destination {
        Destination {
            name: "a.test".into(),
            address: None,
            port: 443,
            path: "/?filter[name]=1".into(),
            family: Family::Any,
            roots: None,
            before_tls: None,
            client_certificate: false,
        }
    }

    #[test]
    fn the_version_that_is_to_be_offered_reaches_both_clients() {
        for (tls, ours, curls) in [
            (TlsVersion::V12, Some("--tls12"), Some("--tlsv1.2")),
            (TlsVersion::V13, Some("--tls13"), Some("--tlsv1.3")),
            (TlsVersion::Any, None, None),
        ] {
            let client = ClientSpec { tls, ..ClientSpec::new(ClientKind::Probe) };
            let of = |args: Vec<String>| args.into_iter().find(|arg| arg.starts_with("--tls"));
            assert_eq!(of(curl(&client, &destination(), None)).as_deref(), curls);
            let settle = client.timeout;
            let clients = Clients { client, to: destination(), pauses: Vec::new(), distrust: false, stops: None, settle };
            assert_eq!(of(probe(&clients, None)).as_deref(), ours);
        }
    }

    #[test]
    fn curl_calls_what_is_named_and_nobody_else() {
        let to = destination();
        let args = curl(&ClientSpec::new(ClientKind::Curl), &to, None);
        assert_eq!(args[0], "--disable", "curl(1): it counts only as the first");
        assert!(args.iter().any(|arg| arg == "--globoff"));
        assert!(args.windows(2).any(|pair| pair == ["--noproxy", "*"]));
        assert!(!args.iter().any(|arg| arg == "--location"));
        assert_eq!(args.last().map(String::as_str), Some("https://a.test:443/?filter[name]=1"));
    }
}
