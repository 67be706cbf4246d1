//! Runs the client of a case through its handshakes, told where to stall.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lab::host::Host;
use serde_json::{Value, json};

use crate::case::{Before, Case, Fault};
use crate::certs::Pki;
use crate::error::Failed;
use crate::lines::{lines, lines_in};
use crate::servers::{BEHIND, Helpers, PORT, postgres, write};
use crate::spawn::{Start, start};
use crate::stacks::{Client, Version};

/// What a client program needs to know.
pub struct Places<'a> {
    pub host: &'a Host,
    /// Addresses of the server.
    pub addresses: &'a [IpAddr],
    /// Address of the third host.
    pub third: IpAddr,
    /// An address at which nobody answers.
    pub nobody: IpAddr,
    /// A cgroup for the client.
    pub group: Option<PathBuf>,
}

/// Runs all handshakes; gives the lines that the programs wrote and, for a process each, their exit codes.
///
/// # Errors
/// If a program cannot be started or does not end.
pub fn run(
    case: &Case,
    places: &Places<'_>,
    pki: &Pki,
    helpers: &Helpers<'_>,
    scratch: &Path,
    pid: &AtomicU32,
) -> Result<(Vec<Value>, Vec<Option<i32>>), Failed> {
    let most = case.timeout * case.handshakes() as u32;
    if !case.client.one_process() {
        return one_by_one(case, places, pki, helpers, scratch, pid);
    }
    let plan = scratch.join("client.json");
    write(&plan, &plan_of(case, places, pki).to_string())?;
    let plan = plan.display().to_string();
    let (program, args) = match case.client {
        Client::Go => (helpers.go("go-client"), vec![plan]),
        Client::Python => ("python3".into(), vec![helpers.source("client.py"), plan]),
        Client::Node => ("node".into(), vec![helpers.source("client.js"), plan]),
        Client::Rustls => (own_binary()?, vec!["client".into(), plan]),
        Client::Prober => (own_binary()?, vec!["prober".into(), plan]),
        _ => ("java".into(), java(case, places, pki, helpers)),
    };
    let what =
        Start { program: &program, args, env: vec![], log: scratch.join("client"), input: None, group: places.group.clone() };
    let mut running = start(places.host, &what)?;
    pid.store(running.pid(), Ordering::Relaxed);
    let ended = running.wait(most);
    pid.store(0, Ordering::Relaxed);
    if ended != Some(0) {
        return Err(Failed(format!("the client ended with {ended:?}: {}", running.errors().trim())));
    }
    Ok((lines("the client", &running.output())?, vec![]))
}

fn own_binary() -> Result<String, Failed> {
    std::env::current_exe().map(|p| p.display().to_string()).map_err(|e| Failed(format!("finding our own binary: {e}")))
}

fn plan_of(case: &Case, places: &Places<'_>, pki: &Pki) -> Value {
    let handshakes: Vec<Value> = (0..case.handshakes())
        .map(|n| {
            let mut one = json!({ "addr": case.address(n, places.addresses).map(|a| a.to_string()), "port": PORT, "stall": {} });
            for fault in case.faults.get(n).into_iter().flatten() {
                match fault {
                    Fault::ClientStall { stage, ms } => one["stall"][*stage] = json!(ms),
                    Fault::Fetch { answered, ms } => {
                        let host = if *answered { places.third } else { places.nobody };
                        one["fetch"] = json!(format!("http://{host}/{ms:.0}"));
                        one["fetch_timeout"] = json!(if *answered { 8_000.0 } else { ms.round() });
                    }
                    Fault::Distrust => one["distrust"] = json!(true),
                    Fault::NoCertificate => one["no_cert"] = json!(true),
                    Fault::OldVersion => one["old"] = json!(true),
                    _ => {}
                }
            }
            one
        })
        .collect();
    json!({
        "ca": pki.ca, "cert": pki.client, "key": pki.client_key, "version": case.version.word(), "mtls": case.mtls,
        "resume": case.resume, "hrr": case.hello_retry, "big_hello": case.big_hello, "concurrent": case.concurrent,
        "gap_ms": millis(case.gap), "timeout_ms": millis(case.timeout), "pre": case.before.map(|b| b.word()),
        "handshakes": handshakes,
    })
}

fn java(case: &Case, places: &Places<'_>, pki: &Pki, helpers: &Helpers<'_>) -> Vec<String> {
    let mut args: Vec<String> = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"].iter().map(|s| (*s).to_owned()).collect();
    args.extend([helpers.classes(), "Client".into(), pki.ca.display().to_string(), case.version.word().into()]);
    args.extend([millis(case.gap).to_string(), format!("{:.0}", millis(case.timeout))]);
    args.push(if case.resume { "resume" } else { "fresh" }.into());
    for n in 0..case.handshakes() {
        let Some(address) = case.address(n, places.addresses) else { continue };
        let mut one = format!("{address},{PORT}");
        for fault in case.faults.get(n).into_iter().flatten() {
            if let Fault::ClientStall { stage, ms } = fault {
                one += &format!(",{stage}={ms}");
            }
        }
        args.push(one);
    }
    args
}

fn one_by_one(
    case: &Case,
    places: &Places<'_>,
    pki: &Pki,
    helpers: &Helpers<'_>,
    scratch: &Path,
    pid: &AtomicU32,
) -> Result<(Vec<Value>, Vec<Option<i32>>), Failed> {
    let log = scratch.join("client-stalls");
    let mut codes = Vec::new();
    for n in 0..case.handshakes() {
        let Some(address) = case.address(n, places.addresses) else { continue };
        let faults = case.faults.get(n).map_or(&[][..], Vec::as_slice);
        let ca = if faults.contains(&Fault::Distrust) { &pki.client } else { &pki.ca };
        let certificate = case.mtls && !faults.contains(&Fault::NoCertificate);
        let (ca, certificate) = (ca.display().to_string(), certificate.then_some(pki));
        let (program, args, input) = match case.client {
            Client::Curl => ("curl".into(), curl(case, address, &ca, certificate), None),
            Client::Psql => (postgres::path("psql")?, psql(case, address, &ca, certificate), None),
            _ => {
                let request = "GET / HTTP/1.0\r\nHost: lab.test\r\n\r\n";
                ("gnutls-cli".into(), gnutls(case, address, &ca, certificate), Some(request))
            }
        };
        let stalls: Vec<String> = faults
            .iter()
            .filter_map(|f| match f {
                Fault::ClientStall { stage, ms } => Some(format!("{n}:{stage}:{ms}")),
                _ => None,
            })
            .collect();
        let env = if stalls.is_empty() { vec![] } else { helpers.stalls(&stalls.join(","), n, &log) };
        let log = scratch.join(format!("client-{n}"));
        let mut running = start(places.host, &Start { program: &program, args, env, log, input, group: None })?;
        pid.store(running.pid(), Ordering::Relaxed);
        codes.push(running.wait(case.timeout + Duration::from_secs(1)));
        pid.store(0, Ordering::Relaxed);
        std::thread::sleep(case.gap);
    }
    Ok((lines_in(&log)?, codes))
}

fn curl(case: &Case, address: IpAddr, ca: &str, certificate: Option<&Pki>) -> Vec<String> {
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    let mut args: Vec<String> = ["-s", "-o", "/dev/null", "--http1.1", "--cacert", ca, "--max-time"].map(String::from).to_vec();
    args.push(format!("{:.1}", case.timeout.as_secs_f64()));
    match case.before {
        Some(Before::Connect | Before::ConnectAgain) => {
            args.extend([
                "--proxy".into(),
                format!("http://{host}:{PORT}"),
                "--connect-to".into(),
                format!("lab.test:{PORT}:{BEHIND}"),
            ]);
        }
        _ => args.extend(["--resolve".into(), format!("lab.test:{PORT}:{host}")]),
    }
    if case.before == Some(Before::ConnectAgain) {
        // The first request shows no password.
        args.extend(["--proxy-anyauth", "--proxy-user", "lab:lab"].map(String::from));
    }
    if case.version == Version::Two {
        args.extend(["--tls-max".into(), "1.2".into()]);
    }
    if let Some(pki) = certificate {
        args.extend(["--cert".into(), pki.client.display().to_string(), "--key".into(), pki.client_key.display().to_string()]);
    }
    if case.before == Some(Before::Smtp) {
        args.extend(["--ssl-reqd".into(), format!("smtp://lab.test:{PORT}/client.lab.test")]);
    } else {
        args.push(format!("https://lab.test:{PORT}/"));
    }
    args
}

fn psql(case: &Case, address: IpAddr, ca: &str, certificate: Option<&Pki>) -> Vec<String> {
    let mut words = vec![
        format!("hostaddr={address} port={PORT} host=lab.test user=postgres dbname=postgres"),
        format!("gssencmode=disable sslmode=verify-ca sslrootcert={ca}"),
        format!("connect_timeout={}", case.timeout.as_secs()),
    ];
    if case.version == Version::Two {
        words.push("ssl_max_protocol_version=TLSv1.2".into());
    }
    words.push(match certificate {
        Some(pki) => format!("sslcert={} sslkey={}", pki.client.display(), pki.client_key.display()),
        None => "sslcert=/nonexistent".into(),
    });
    ["--no-psqlrc", "--tuples-only", "--command", "select 1", &words.join(" ")].map(String::from).to_vec()
}

fn gnutls(case: &Case, address: IpAddr, ca: &str, certificate: Option<&Pki>) -> Vec<String> {
    let versions = if case.version == Version::Two { "NORMAL:-VERS-ALL:+VERS-TLS1.2" } else { "NORMAL" };
    let mut args = vec![
        format!("--x509cafile={ca}"),
        "--sni-hostname=lab.test".into(),
        "--verify-hostname=lab.test".into(),
        format!("--priority={versions}"),
        format!("--port={PORT}"),
    ];
    if let Some(pki) = certificate {
        args.push(format!("--x509certfile={}", pki.client.display()));
        args.push(format!("--x509keyfile={}", pki.client_key.display()));
    }
    args.push(address.to_string());
    args
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e4).round() / 10.0
}
