//! The lab as a provider of vantages, in this process: hosts built, servers listening, captures and samplers running.
//!
//! In: a scenario and the conditions that are to hold. Out: vantages and edges that speak in plans and bundles; what was injected.
//! Dropping it takes all of it down.

mod edge;
mod hello;
mod lines;
mod load;
mod programs;
mod servers;
mod storms;
mod vantage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::{BeforeTls, Destination, Family};
use analysis::clock::Span;
use capture::live::Live;
use lab::certs::{Authority, Certificates};
use lab::host::{Host, Lab, LabConfig};
use lab::rootless::Privilege;
use lab::sample::{Sampler, steal};
use lab::scratch::Scratch;
use lab::truth::Injected;
use lab::wire::{Fault as OnWire, PathConfig};

use ::vantage::Vantage;

use super::{Facts, Provider};
use crate::Error;
use crate::conditions::{Conditions, Servers};
use crate::faults::{Fault, WrongSite};
use crate::scenario::Scenario;
use crate::targets::{CommandLine, TargetSpec, command_line, does_file, embedded, truth_file};
use edge::LabEdge;
use lines::Lines;
use load::Loads;
use programs::Programs;
pub(crate) use servers::own_server;
use servers::{Reaped, programs_of, site, start_resolver};
use storms::Storms;
use vantage::LabVantage;

/// The port every target listens on.
pub const PORT: u16 = 443;
/// Round trip to the lab's name server.
pub const RESOLVER_RTT: Duration = Duration::from_millis(2);
/// Name of the lab's own host that answers DNS.
const RESOLVER: &str = "resolver";
/// Memory for one host's captured packets.
const RING_BYTES: usize = 64 << 20;

/// Everything that must stand while a scenario runs; dropping it takes all of it down.
pub(crate) struct Testbed {
    /// Reads processes' scheduler counters.
    sampler: Sampler,
    /// Running captures by host.
    captures: BTreeMap<String, Live>,
    /// The targets: their servers' process ids and their names for clients.
    targets: BTreeMap<String, Target>,
    vantages: Vec<String>,
    /// The roots that clients trust.
    roots: PathBuf,
    papers: Papers,
    lines: Lines,
    /// What had to be given up, and why.
    gave_up: Vec<String>,
    /// What the hypervisor had taken when the lab stood, in nanoseconds since boot.
    stolen_before: Span,
    ipv6: bool,
    // Fields drop in this order: programs first, then the hosts they ran on, then their files.
    loads: Loads,
    storms: Storms,
    programs: Programs,
    _resolver: Reaped,
    lab: Lab,
    scratch: Scratch,
}

struct Target {
    /// Absent: its server does not run all the time.
    server: Option<u32>,
    host_name: String,
    before_tls: Option<BeforeTls>,
    client_certificate: bool,
}

/// What servers show, and whom they trust.
struct Papers {
    usual: Certificates,
    /// Of targets with a chain of their own.
    own: BTreeMap<String, Certificates>,
    client_root: PathBuf,
}

impl Papers {
    fn of(&self, target: &str) -> &Certificates {
        self.own.get(target).unwrap_or(&self.usual)
    }
}

impl Testbed {
    /// Builds the hosts of a scenario and brings `conditions` about.
    ///
    /// # Errors
    /// What failed, where, and what to do; what was built is taken down.
    pub(crate) fn build(scenario: &Scenario, conditions: &Conditions, privilege: Privilege) -> Result<Self, Error> {
        let scratch = Scratch::make()?;
        let vantages: Vec<String> = scenario.vantages.iter().map(|v| v.name.clone()).collect();
        let targets = scenario.targets.iter().map(|t| t.name.clone());
        let names: Vec<String> = vantages.iter().cloned().chain(targets).chain([RESOLVER.to_owned()]).collect();
        let mut lab = Lab::build(&names, LabConfig { seed: scenario.seed, offloads: scenario.offloads }, scratch.path())?;
        for fault in scenario.faults.values() {
            if let Fault::WrongSite(WrongSite { to, at, .. }) = fault {
                lab.answer_for(at, to)?;
            }
        }
        let mut gave_up = Vec::new();
        if privilege == Privilege::UserNamespace {
            gave_up.push("no root: the wire runs without real-time priority, so a busy machine may void the run".into());
        }
        let authority = Authority::make(scratch.path())?;
        let all: Vec<String> = scenario.targets.iter().map(TargetSpec::host_name).collect();
        authority.client(scratch.path())?;
        let mut papers = Papers {
            usual: authority.chain(scratch.path(), None, &all, None)?,
            own: BTreeMap::new(),
            client_root: authority.root.clone(),
        };
        for target in scenario.targets.iter().filter(|target| target.chain_bytes.is_some()) {
            let chain = authority.chain(scratch.path(), Some(&target.name), &[target.host_name()], target.chain_bytes)?;
            papers.own.insert(target.name.clone(), chain);
        }
        let resolv_conf = scratch.path().join("resolv.conf");
        let resolver = lab.hosts.last().map(|h| h.ipv4).expect("the resolver was just built");
        write(&resolv_conf, &format!("nameserver {resolver}\noptions timeout:10 attempts:2\n"))?;
        for host in &mut lab.hosts {
            host.resolv_conf = Some(resolv_conf.clone());
        }
        let loads = Loads::bring(&mut lab, &vantages, conditions, &mut gave_up)?;
        set_paths(&lab, conditions);
        set_sites(&lab, conditions);
        set_messages(&lab, conditions);
        let sampler = Sampler::start();
        let resolver = start_resolver(scenario, &lab, conditions.lookup_delay)?;
        let (mut programs, mut targets) = (Programs::default(), BTreeMap::new());
        let ipv6 = scenario.client.ipv6;
        for target in &scenario.targets {
            let does = conditions.servers.get(&target.name).copied().unwrap_or_default();
            let mut server = None;
            for program in programs_of(target, &lab, &papers, ipv6, does)? {
                let wanted = conditions.processes.get(&(target.name.clone(), program.name.clone()));
                server = programs.begin(program, wanted, &filled_in(&lab, &papers, ipv6))?;
            }
            if let Some(server) = server {
                sampler.watch(server, false);
                // What is stopped answers nobody, and a queue that is full is full of what called first.
                let as_usual = does.queue.is_none() && conditions.processes.keys().all(|(of, _)| *of != target.name);
                if as_usual {
                    warm(&lab, target, ipv6)?;
                }
            }
            targets.insert(
                target.name.clone(),
                Target {
                    server,
                    host_name: target.host_name(),
                    before_tls: target.before_tls,
                    client_certificate: target.client_certificate,
                },
            );
        }
        let storms = Storms::default();
        storms.set(&conditions.storms, &lab, &targets, ipv6)?;
        let mut captures = BTreeMap::new();
        for host in lab.hosts.iter().filter(|h| h.name != RESOLVER) {
            let live = host.namespace.run(|| Ok(Live::start("eth0", "tcp or udp port 53", RING_BYTES)))??;
            captures.insert(host.name.clone(), live);
        }
        Ok(Self {
            sampler,
            captures,
            targets,
            vantages,
            roots: authority.bundle,
            papers,
            lines: Lines::default(),
            gave_up,
            stolen_before: steal(),
            ipv6,
            loads,
            storms,
            programs,
            _resolver: resolver,
            lab,
            scratch,
        })
    }

    /// Brings other conditions about while the lab is up: paths, messages, what servers do, loads, programs and other clients, see
    /// [`crate::faults::Inject::fixed`].
    ///
    /// # Errors
    /// If a load cannot be set, or a program not be started.
    pub(crate) fn set(&self, conditions: &Conditions) -> Result<(), Error> {
        set_paths(&self.lab, conditions);
        set_sites(&self.lab, conditions);
        set_messages(&self.lab, conditions);
        for target in self.targets.keys() {
            let does = conditions.servers.get(target).copied().unwrap_or_default();
            embedded::does(does).write(&does_file(self.scratch.path(), target))?;
        }
        self.loads.set(&self.lab, conditions)?;
        self.programs.set(conditions, &filled_in(&self.lab, &self.papers, self.ipv6))?;
        self.storms.set(&conditions.storms, &self.lab, &self.targets, self.ipv6)
    }

    /// The lab's hosts, its name server too.
    pub(crate) fn hosts(&self) -> &[Host] {
        &self.lab.hosts
    }

    /// A host by name.
    pub(crate) fn host(&self, name: &str) -> Option<&Host> {
        self.lab.host(name)
    }

    /// The capture of each host.
    pub(crate) fn captures(&self) -> impl Iterator<Item = (&str, &Live)> {
        self.captures.iter().map(|(name, live)| (name.as_str(), live))
    }

    fn capture(&self, host: &str) -> Result<&Live, Error> {
        self.captures.get(host).ok_or_else(|| Error::NoHost(host.to_owned()))
    }

    /// The roots that clients trust.
    pub(crate) fn roots(&self) -> &Path {
        &self.roots
    }

    fn target(&self, name: &str) -> Result<(&Target, &Host), Error> {
        self.targets.get(name).zip(self.lab.host(name)).ok_or_else(|| Error::NoHost(name.to_owned()))
    }
}

impl Provider for Testbed {
    fn vantage(&self, name: &str) -> Result<Box<dyn Vantage + '_>, Error> {
        let host = self.lab.host(name).filter(|h| self.vantages.contains(&h.name));
        let host = host.ok_or_else(|| Error::NoHost(name.to_owned()))?;
        Ok(Box::new(LabVantage::at(self, host, self.capture(name)?)))
    }

    fn edge(&self, target: &str) -> Result<Option<Box<dyn Vantage + '_>>, Error> {
        let (Target { server, .. }, host) = self.target(target)?;
        Ok(Some(Box::new(LabEdge::at(self, host, self.capture(target)?, *server))))
    }

    fn destination(&self, target: &str) -> Result<Destination, Error> {
        let (Target { host_name, before_tls, client_certificate, .. }, host) = self.target(target)?;
        Ok(Destination {
            name: host_name.clone(),
            address: Some(host.address(self.ipv6)),
            port: PORT,
            path: "/".into(),
            family: Family::only(self.ipv6),
            roots: None,
            before_tls: *before_tls,
            client_certificate: *client_certificate,
        })
    }

    fn set(&self, conditions: &Conditions) -> Result<(), Error> {
        Testbed::set(self, conditions)
    }

    fn truth(&self) -> Vec<Injected> {
        let mut injected: Vec<Injected> = self.lab.injected();
        for target in self.targets.keys() {
            injected.extend(self.lines.new_of(&truth_file(self.scratch.path(), target)));
        }
        injected.extend(self.lines.new_of(&servers::resolver_truth(self.scratch.path())));
        injected
    }

    fn facts(&self) -> Facts {
        let mut gave_up = self.gave_up.clone();
        gave_up.extend(self.lines.complaint());
        let stolen = (steal() - self.stolen_before).at_least_zero();
        Facts { lateness: Some(self.lab.wire.lateness()), stolen, gave_up }
    }

    fn plans_load(&self) -> bool {
        // It loads servers too, and has done so before the first plan.
        false
    }

    fn goes_on(&self) -> bool {
        false
    }
}

/// Has a server do the handshake that costs it more than others, before captures begin.
fn warm(lab: &Lab, target: &TargetSpec, ipv6: bool) -> Result<(), Error> {
    let host = lab.host(&target.name).ok_or_else(|| Error::NoHost(target.name.clone()))?;
    let address = SocketAddr::new(host.address(ipv6), PORT);
    host.namespace.run(|| {
        lab::warm::warm(address, &target.host_name());
        Ok(())
    })?;
    Ok(())
}

/// Fills in the words of a target's command.
fn filled_in(lab: &Lab, papers: &Papers, ipv6: bool) -> impl Fn(&str, &[String]) -> CommandLine {
    move |target, words| match lab.host(target) {
        Some(host) => command_line(words, target, &site(host, lab, papers, ipv6, Servers::default())),
        None => CommandLine { program: String::new(), args: Vec::new() },
    }
}

fn set_paths(lab: &Lab, conditions: &Conditions) {
    let resolver = lab.host(RESOLVER);
    for ((vantage, target), path) in &conditions.paths {
        let Some((vantage, target)) = lab.host(vantage).zip(lab.host(target)) else { continue };
        if let Some(resolver) = resolver {
            let config = PathConfig { delay: RESOLVER_RTT / 2, ..PathConfig::default() };
            lab.wire.set_path(vantage.port, resolver.port, config.clone());
            lab.wire.set_path(resolver.port, vantage.port, config);
        }
        lab.wire.set_path(vantage.port, target.port, path.out.clone());
        lab.wire.set_path(target.port, vantage.port, path.back.clone());
    }
}

fn set_sites(lab: &Lab, conditions: &Conditions) {
    let routes = conditions.sites.iter().filter_map(|((vantage, target), site)| {
        let (from, to) = (lab.host(vantage)?.port, lab.host(site)?.port);
        Some(lab.host(target)?.addresses().into_iter().map(move |address| (from, address, to)))
    });
    lab.wire.set_routes(routes.flatten());
}

fn set_messages(lab: &Lab, conditions: &Conditions) {
    let on_wire = conditions.messages.iter().filter_map(|m| {
        let (client, server) = lab.host(&m.vantage).zip(lab.host(&m.target))?;
        let (client, server) = (client.port, server.port);
        Some(OnWire { client, server, message: m.message, segment: m.segment, action: m.action })
    });
    lab.wire.set_faults(on_wire.collect());
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::Write { path: path.display().to_string(), source })
}
