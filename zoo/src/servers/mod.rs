//! Starts the server of a case, told where to stall: a case and a host in, running programs out.

pub mod exim;
pub mod postgres;
pub mod squid;
mod web;

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lab::host::Host;
use nix::sys::signal::Signal;
use nix::unistd::{User, chown};
use serde_json::{Map, Value, json};

use crate::case::{Case, Fault};
use crate::certs::Pki;
use crate::error::{Failed, Why};
use crate::spawn::{Program, Start, listening, start};
use crate::stacks::Server;

/// Where servers listen.
pub const PORT: u16 = 4_433;

/// Where the server behind a proxy listens, on its host's loopback.
pub const BEHIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8_443);

/// The file in which a preloaded library logs.
pub const STALLS: &str = "server-stalls";

/// Built helpers.
pub struct Helpers<'a> {
    pub folder: &'a Path,
    pub stacks: &'a Path,
}

impl Helpers<'_> {
    fn built(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub fn source(&self, name: &str) -> String {
        self.stacks.join(name).display().to_string()
    }

    pub fn go(&self, name: &str) -> String {
        self.built(name)
    }

    pub fn classes(&self) -> String {
        self.built("java")
    }

    /// Environment that makes a program stall itself.
    pub fn stalls(&self, plan: &str, first: usize, log: &Path) -> Vec<(String, String)> {
        vec![
            ("LD_PRELOAD".into(), self.built("stall.so")),
            ("ZOO_STALL".into(), plan.into()),
            ("ZOO_FIRST".into(), first.to_string()),
            ("ZOO_LOG".into(), log.display().to_string()),
        ]
    }
}

/// Stalls of the server by number of connection.
fn stalls(case: &Case) -> Vec<(usize, &'static str, f64)> {
    let of = |(n, faults): (usize, &Vec<Fault>)| {
        faults
            .iter()
            .filter_map(move |f| match f {
                Fault::ServerStall { stage, ms } => Some((n, *stage, *ms)),
                Fault::ServerClose => Some((n, "close", 0.0)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    case.faults.iter().enumerate().flat_map(of).collect()
}

/// A running server, and the proxy in front of it.
pub struct Served {
    /// The program that answers the ClientHello.
    pub answers: Program,
    proxy: Option<Program>,
    /// The signal that ends it at once and in order.
    ends: Signal,
}

impl Served {
    /// Asks all of it to end and waits a little.
    pub fn end(self) {
        self.answers.end(self.ends);
        if let Some(proxy) = self.proxy {
            proxy.end(Signal::SIGTERM);
        }
    }
}

/// What all servers are told.
struct Settings<'a> {
    case: &'a Case,
    host: &'a Host,
    pki: &'a Pki,
    scratch: &'a Path,
    env: Vec<(String, String)>,
    group: Option<PathBuf>,
}

impl Settings<'_> {
    /// Starts a program and waits until it listens.
    fn start(&self, program: &str, args: Vec<String>, name: &str, places: &[SocketAddr]) -> Result<Program, Failed> {
        let log = self.scratch.join(name);
        let what = Start { program, args, env: self.env.clone(), log, input: None, group: self.group.clone() };
        let mut running = start(self.host, &what)?;
        // gnutls-serv listens at all addresses at once.
        let many = if self.case.server == Server::Gnutls { 1 } else { places.len() };
        listening(self.host, places.first().map_or(PORT, SocketAddr::port), many, &mut running)?;
        Ok(running)
    }
}

/// Starts it.
///
/// # Errors
/// If it does not come up.
pub fn serve(
    case: &Case,
    host: &Host,
    pki: &Pki,
    helpers: &Helpers<'_>,
    scratch: &Path,
    group: Option<PathBuf>,
) -> Result<Served, Failed> {
    let addresses = host.addresses().into_iter().filter(|a| a.is_ipv6() == case.ipv6).take(2);
    let places: Vec<SocketAddr> = addresses.map(|a| SocketAddr::new(a, PORT)).collect();
    let mut env = vec![("HOME".into(), scratch.display().to_string()), ("GOMAXPROCS".into(), "2".into())];
    let plan: Vec<String> = stalls(case).iter().map(|(n, stage, ms)| format!("{n}:{stage}:{ms}")).collect();
    if !plan.is_empty() && !case.server.stalls_itself() {
        let log = scratch.join(STALLS);
        write(&log, "")?;
        // Servers that gave up root write there, too.
        std::fs::set_permissions(&log, Permissions::from_mode(0o666)).why("the mode of the log of stalls")?;
        env.extend(helpers.stalls(&plan.join(","), 0, &log));
    }
    let settings = Settings { case, host, pki, scratch, env, group };
    let tls = case.server.behind_proxy().unwrap_or(case.server);
    let places_of_tls = if tls == case.server { &places[..] } else { &[BEHIND][..] };
    let (program, args) = match tls {
        Server::Go | Server::Python | Server::Node => {
            let plan = scratch.join("server.json");
            write(&plan, &own_plan(case, &places, pki).to_string())?;
            let plan = plan.display().to_string();
            match tls {
                Server::Go => (helpers.go("go-server"), vec![plan]),
                Server::Python => ("python3".into(), vec![helpers.source("server.py"), plan]),
                _ => ("node".into(), vec![helpers.source("server.js"), plan]),
            }
        }
        Server::Nginx | Server::SquidNginx => ("nginx".into(), web::nginx(case, places_of_tls, pki, scratch)?),
        Server::Haproxy | Server::SquidHaproxy => ("haproxy".into(), web::haproxy(case, places_of_tls, pki, scratch)?),
        Server::Caddy => ("caddy".into(), web::caddy(case, &places, pki, scratch)?),
        Server::Gnutls => ("gnutls-serv".into(), web::gnutls(case, pki)),
        Server::Postgres => postgres::command(&settings, &places, helpers)?,
        Server::Exim => exim::command(&settings, &places)?,
    };
    let answers = settings.start(&program, args, "server", places_of_tls)?;
    let proxy = if case.server.behind_proxy().is_some() {
        let (program, args) = squid::command(&settings, &places)?;
        Some(settings.start(&program, args, "proxy", &places)?)
    } else {
        None
    };
    let ends = if tls == Server::Postgres { Signal::SIGINT } else { Signal::SIGTERM };
    Ok(Served { answers, proxy, ends })
}

/// A program that runs as another user, for good, and dies with the recorder.
fn as_user(user: &str, program: &str, args: Vec<String>) -> (String, Vec<String>) {
    let mut all: Vec<String> =
        ["--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs", "--pdeathsig", "KILL", "--", program]
            .map(String::from)
            .to_vec();
    all.extend(args);
    ("setpriv".into(), all)
}

/// A new folder that belongs to a user.
fn folder_of(user: &str, path: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(path).why(format!("making {}", path.display()))?;
    give(user, path)
}

fn give(user: &str, path: &Path) -> Result<(), Failed> {
    let known = User::from_name(user).why("looking for a user")?.ok_or_else(|| Failed(format!("there is no user {user}")))?;
    chown(path, Some(known.uid), Some(known.gid)).why(format!("giving {} to {user}", path.display()))
}

/// Starts the third host: plain HTTP that answers `/NUMBER` after so many milliseconds.
///
/// # Errors
/// If it does not come up.
pub fn third(host: &Host, helpers: &Helpers<'_>, scratch: &Path) -> Result<Program, Failed> {
    let plan = scratch.join("third.json");
    write(&plan, &json!({ "plain": true, "addrs": [host.ipv4.to_string()], "port": 80 }).to_string())?;
    let args = vec![helpers.source("server.py"), plan.display().to_string()];
    let what = Start { program: "python3", args, env: vec![], log: scratch.join("third"), input: None, group: None };
    let mut running = start(host, &what)?;
    listening(host, 80, 1, &mut running)?;
    Ok(running)
}

fn own_plan(case: &Case, places: &[SocketAddr], pki: &Pki) -> Value {
    let mut by_number = Map::new();
    for (n, stage, ms) in stalls(case) {
        let entry = by_number.entry(n.to_string()).or_insert_with(|| json!({}));
        entry[stage] = json!(ms);
    }
    json!({
        "addrs": places.iter().map(|p| p.ip().to_string()).collect::<Vec<_>>(), "port": PORT,
        "chain": pki.chain, "key": pki.key, "ca": pki.ca, "mtls": case.mtls, "hrr": case.hello_retry,
        "pre": case.before.map(|b| b.word()), "stalls": by_number,
    })
}

pub fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).why(format!("writing {}", path.display()))
}
