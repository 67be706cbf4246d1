//! A draw over stacks: a scenario, the stacks that are here and a seed in, the settings of one trial out.
//!
//! Drawn: client, servers, TLS version, IPv4 or IPv6, how many clients, round-trip time, severity. What a fault needs as the file has it
//! stays ([`Keeps`]).

use std::fmt::{self, Display};

use agent::{ClientKind, TlsVersion};
use fastrand::Rng;

use super::stacks::{Client, Server, Stacks, digits};
use super::{says_healthy, settings_of};
use crate::faults::{Keeps, Variation};
use crate::scenario::Scenario;
use crate::targets::{ServerKind, TargetSpec};

/// Round trips, in milliseconds.
const RTT: (f64, f64) = (13.0, 230.0);
/// Factor of what a fault costs.
const SEVERITY: (f64, f64) = (0.7, 1.6);
/// Clients at once, at most.
const CROWD: usize = 8;

/// One trial of a scenario.
#[derive(Clone, PartialEq, Debug)]
pub struct Drawn {
    /// The client.
    pub client: &'static str,
    /// The server of each target, in their order.
    pub servers: Vec<&'static str>,
    /// Whether it runs over IPv6.
    pub ipv6: bool,
    /// What the client offers.
    pub tls: TlsVersion,
    /// How many clients.
    pub concurrency: usize,
    /// Round trip of the path to the first target, in milliseconds.
    pub rtt_ms: f64,
    /// Factor of what the faults cost.
    pub severity: f64,
    /// All of it, as overrides of the file ([`Scenario::parse`]).
    pub settings: Vec<String>,
}

impl Drawn {
    /// What the client offers, in digits.
    pub fn tls_version(&self) -> &'static str {
        digits(self.tls)
    }
}

impl Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, servers, ipv6, tls, concurrency, rtt_ms, severity, settings: _ } = self;
        let (ip, tls) = (if *ipv6 { "IPv6" } else { "IPv4" }, digits(*tls));
        write!(f, "{concurrency} × {client} → {}, {ip}, TLS {tls}, {rtt_ms} ms, severity {severity}", servers.join(" and "))
    }
}

/// Draws trial number `trial` of a scenario; the same stacks, seed and trial give the same.
pub fn draw(scenario: &Scenario, stacks: &Stacks, seed: u64, trial: u32) -> Drawn {
    let own = scenario.name.bytes().chain(trial.to_le_bytes());
    let mut r = Rng::with_seed(own.fold(seed, |h, byte| h.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)));
    let mut kept: Vec<Keeps<'_>> = scenario.faults.values().flat_map(|fault| fault.kind().keeps()).collect();
    // What only our own programs can be told to do.
    let told = scenario.targets.iter().filter(|target| target.is_told());
    kept.extend(told.flat_map(|target| [Keeps::Server(&target.name), Keeps::Client]));
    kept.extend((scenario.client.resume || !scenario.client.nodelay).then_some(Keeps::Client));
    let mut settings = Vec::new();

    let (rtt, severity) = (span(&mut r, RTT).round(), (span(&mut r, SEVERITY) * 100.0).round() / 100.0);
    let pace = scenario.targets.first().map_or(1.0, |target| rtt / target.rtt.as_millis());
    let by = Variation { severity, pace, healthy: says_healthy(scenario) };
    settings.extend(settings_of(scenario, u64::from(r.u32(..)), &by));

    let ipv6 = r.u8(..3) == 0;
    settings.push(format!("client.ipv6={ipv6}"));
    let tls = if r.u8(..4) == 0 {
        TlsVersion::V12
    } else if scenario.client.tls == TlsVersion::Any {
        TlsVersion::V13
    } else {
        scenario.client.tls
    };
    let (client, tls) = draw_client(scenario, stacks, &kept, tls, &mut r, &mut settings);
    let concurrency = draw_crowd(scenario, client, &kept, &mut r, &mut settings);
    let alone = concurrency == 1;
    let servers = scenario.targets.iter().map(|t| draw_server(t, stacks, &kept, alone, &mut r, &mut settings)).collect();
    Drawn { client: client.map_or("command", Client::word), servers, ipv6, tls, concurrency, rtt_ms: rtt, severity, settings }
}

/// A client, where no fault needs the file's, and what it offers.
fn draw_client(
    scenario: &Scenario,
    stacks: &Stacks,
    kept: &[Keeps<'_>],
    tls: TlsVersion,
    r: &mut Rng,
    settings: &mut Vec<String>,
) -> (Option<Client>, TlsVersion) {
    let of_file = match scenario.client.kind {
        ClientKind::Probe => Some(Client::Probe),
        ClientKind::Curl => Some(Client::Curl),
        ClientKind::Command => None,
    };
    let stays = kept.iter().any(|k| match k {
        Keeps::Client => true,
        Keeps::Cpu(host) => scenario.vantages.iter().any(|v| v.name == *host),
        Keeps::Server(_) | Keeps::Brisk | Keeps::Crowd => false,
    });
    let fits = |c: &Client| kept.iter().all(|k| (*k != Keeps::Brisk || c.brisk()) && (*k != Keeps::Crowd || c.light()));
    let choices: Vec<Client> = stacks.clients.iter().copied().filter(fits).collect();
    let client = if stays || choices.is_empty() { of_file } else { Some(choices[r.usize(..choices.len())]) };
    let tls = if client.is_none_or(Client::old) { tls } else { TlsVersion::V13 };
    if let Some(client) = client {
        match client.command(tls, stacks) {
            Some(words) => {
                settings.push("client.kind=command".into());
                settings.push(format!("client.command={}", list(words)));
            }
            None => settings.push(format!("client.kind={}", client.word())),
        }
        settings.push(format!("client.tls=\"{}\"", digits(tls)));
    }
    (client, tls)
}

/// How many clients, and how far apart.
fn draw_crowd(scenario: &Scenario, client: Option<Client>, kept: &[Keeps<'_>], r: &mut Rng, settings: &mut Vec<String>) -> usize {
    let stays = kept.iter().any(|k| match k {
        Keeps::Crowd => true,
        Keeps::Cpu(host) => scenario.vantages.iter().any(|v| v.name == *host),
        Keeps::Client | Keeps::Server(_) | Keeps::Brisk => false,
    });
    if stays {
        return scenario.client.concurrency;
    }
    let concurrency = r.usize(1..=CROWD);
    settings.push(format!("client.concurrency={concurrency}"));
    let apart = client.map_or(0, Client::start_ms);
    settings.push(format!("client.spread={apart}ms"));
    concurrency
}

/// A server for a target, where no fault needs the file's; of those that serve one client after another only for one that comes `alone`.
fn draw_server(
    target: &TargetSpec,
    stacks: &Stacks,
    kept: &[Keeps<'_>],
    alone: bool,
    r: &mut Rng,
    settings: &mut Vec<String>,
) -> &'static str {
    let stays = kept.contains(&Keeps::Server(&target.name));
    let brisk = kept.contains(&Keeps::Cpu(&target.name));
    let fits = |s: &Server| (!brisk || s.brisk()) && (alone || !s.one_by_one());
    let choices: Vec<Server> = stacks.servers.iter().copied().filter(fits).collect();
    if stays || choices.is_empty() {
        return match target.server {
            ServerKind::Embedded => Server::Embedded.word(),
            ServerKind::Nginx => Server::Nginx.word(),
            ServerKind::Command => "command",
        };
    }
    let server = choices[r.usize(..choices.len())];
    let name = &target.name;
    match server.command(stacks) {
        Some(words) => {
            settings.push(format!("target.{name}.server=command"));
            settings.push(format!("target.{name}.command={}", list(words)));
        }
        None => settings.push(format!("target.{name}.server={}", server.word())),
    }
    server.word()
}

fn list(words: Vec<String>) -> String {
    toml::Value::from(words).to_string()
}

/// Between the two, small ones as likely as large ones.
fn span(r: &mut Rng, (least, most): (f64, f64)) -> f64 {
    least * (most / least).powf(r.f64())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn shipped() -> Vec<(String, Scenario)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let files = std::fs::read_dir(folder).expect("the folder is there").flatten();
        let texts =
            files.filter(|file| file.path().is_file()).map(|file| std::fs::read_to_string(file.path()).expect("readable"));
        texts.map(|text| (text.clone(), Scenario::parse("x.toml", &text, &[]).expect("it is valid"))).collect()
    }

    fn all() -> Stacks {
        Stacks::of(Client::ALL.into(), Server::ALL.into(), "/built".into())
    }

    fn drawn(scenario: &Scenario) -> Vec<Drawn> {
        (0..200).map(|trial| draw(scenario, &all(), 7, trial)).collect()
    }

    fn named(name: &str) -> Scenario {
        shipped().into_iter().map(|(_, scenario)| scenario).find(|s| s.name == name).expect("it is shipped")
    }

    #[test]
    fn every_draw_of_every_scenario_is_a_scenario() {
        for (text, scenario) in shipped() {
            for trial in 0..40 {
                let drawn = draw(&scenario, &all(), 3, trial);
                let changed = Scenario::parse("x.toml", &text, &drawn.settings).unwrap_or_else(|e| panic!("{drawn}: {e}"));
                assert_eq!(changed.client.concurrency, drawn.concurrency, "{drawn}");
                assert_eq!((changed.client.ipv6, changed.client.tls), (drawn.ipv6, drawn.tls), "{drawn}");
                assert_eq!(changed.targets[0].rtt.as_millis(), drawn.rtt_ms, "{drawn}");
                assert_eq!(changed.client.verify, scenario.client.verify, "{drawn}");
                assert!(changed.targets.iter().all(|t| t.rtt == changed.targets[0].rtt), "a control is as far: {drawn}");
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_another() {
        let scenario = named("healthy");
        assert_eq!(draw(&scenario, &all(), 1, 2), draw(&scenario, &all(), 1, 2));
        assert_ne!(draw(&scenario, &all(), 1, 2), draw(&scenario, &all(), 2, 2));
        assert_ne!(draw(&scenario, &all(), 1, 2), draw(&scenario, &all(), 1, 3));
    }

    #[test]
    fn all_stacks_and_sizes_come_up_where_nothing_must_stay() {
        let drawn = drawn(&named("finished-lost"));
        let clients: BTreeSet<&str> = drawn.iter().map(|d| d.client).collect();
        let servers: BTreeSet<&str> = drawn.iter().flat_map(|d| d.servers.iter().copied()).collect();
        assert_eq!(clients, Client::ALL.iter().map(|c| c.word()).collect());
        assert_eq!(servers, Server::ALL.iter().map(|s| s.word()).collect());
        let crowds: BTreeSet<usize> = drawn.iter().map(|d| d.concurrency).collect();
        assert_eq!(crowds, (1..=CROWD).collect());
        assert!(drawn.iter().all(|d| (RTT.0..=RTT.1).contains(&d.rtt_ms)));
        let shares = [drawn.iter().filter(|d| d.ipv6).count(), drawn.iter().filter(|d| d.tls == TlsVersion::V12).count()];
        assert!(shares.iter().all(|n| (20..100).contains(n)), "{shares:?}");
        let near = drawn.iter().filter(|d| d.rtt_ms < 55.0).count();
        assert!((70..130).contains(&near), "half of them nearer than the geometric middle: {near}");
    }

    #[test]
    fn what_a_fault_needs_stays() {
        // Our client sleeps, our edge sleeps.
        assert!(drawn(&named("client-app-sleeps")).iter().all(|d| d.client == "probe"));
        let slow = drawn(&named("edge-app-slow"));
        assert!(slow.iter().all(|d| d.servers[0] == "embedded") && slow.iter().any(|d| d.servers[1] != "embedded"));
        // What eight curls need is too much for the quota.
        for name in ["overloaded-client", "starved-no-verification", "starved-one-client"] {
            let scenario = named(name);
            let same = |d: &Drawn| d.client == "curl" && d.concurrency == scenario.client.concurrency;
            assert!(drawn(&scenario).iter().all(same), "{name}");
        }
        // A queue overflows when clients come together.
        let queue = drawn(&named("accept-queue-full"));
        assert!(queue.iter().all(|d| d.concurrency == 6 && d.servers[0] == "embedded"));
        let clients: BTreeSet<&str> = queue.iter().map(|d| d.client).collect();
        assert_eq!(clients, BTreeSet::from(["go", "probe"]), "six curls at once starve each other");
        assert!(drawn(&named("client-stopped")).iter().all(|d| d.client != "node"));
        // A server that must begin on a tenth of a CPU.
        let starved = drawn(&named("edge-starved"));
        assert!(starved.iter().all(|d| d.servers[0] != "caddy") && starved.iter().any(|d| d.servers[1] == "caddy"));
        assert!(starved.iter().any(|d| d.servers[0] == "haproxy"));
    }

    #[test]
    fn who_serves_one_after_another_is_met_by_one_client() {
        let drawn = drawn(&named("healthy"));
        let by_gnutls = || drawn.iter().filter(|d| d.servers.contains(&"gnutls-serv"));
        assert!(by_gnutls().count() > 0 && by_gnutls().all(|d| d.concurrency == 1));
    }

    #[test]
    fn nothing_is_drawn_that_is_not_here() {
        let few = Stacks::of(vec![Client::Curl], vec![Server::Nginx], "/built".into());
        let drawn: Vec<Drawn> = (0..50).map(|trial| draw(&named("detour"), &few, 7, trial)).collect();
        assert!(drawn.iter().all(|d| d.client == "curl" && d.servers == ["nginx", "nginx"]));
        let none = Stacks::of(Vec::new(), Vec::new(), "/built".into());
        let drawn = draw(&named("detour"), &none, 7, 0);
        assert_eq!((drawn.client, drawn.servers), ("probe", vec!["embedded", "embedded"]));
    }
}
