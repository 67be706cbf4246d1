//! The stage: hosts built, servers listening, captures and samplers running, faults set.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use capture::live::Live;
use lab::certs::Certificates;
use lab::cpu::{Burners, StopCycle};
use lab::dns::DnsConfig;
use lab::edge::EdgeConfig;
use lab::exec::Placement;
use lab::host::{Host, Lab, LabConfig};
use lab::rootless::Privilege;
use lab::sample::{Sampler, listening};
use lab::wire::{Action, Fault, PathConfig};

use crate::Error;
use crate::client::{PORT, installed};
use crate::fault::{FaultKind, FaultSpec, Way};
use crate::scenario::{Scenario, ServerKind, TargetSpec};

/// Name of the lab's own host that answers DNS.
const RESOLVER: &str = "resolver";
/// Round trip to the lab's name server.
pub const RESOLVER_RTT: Duration = Duration::from_millis(2);
/// A quota that nothing reaches.
const UNLIMITED_CPUS: f64 = 1_024.0;
/// Memory for one host's captured packets.
const RING_BYTES: usize = 64 << 20;

/// Everything that must stand while a scenario runs; dropping it takes all of it down.
pub struct Stage {
    /// Reads processes' scheduler counters.
    pub sampler: Sampler,
    /// Running captures by host.
    pub captures: BTreeMap<String, Live>,
    /// Servers' process ids by target.
    pub servers: BTreeMap<String, u32>,
    stops: Mutex<HashMap<String, StopCycle>>,
    /// Certificates.
    pub certificates: Certificates,
    /// What had to be given up, and why.
    pub gave_up: Vec<String>,
    // Fields drop in this order: programs first, then the hosts they ran on, then their files.
    _burners: Vec<Burners>,
    /// Burners of faults that come and go.
    visiting: Mutex<Vec<Burners>>,
    _children: Vec<Reaped>,
    /// The hosts.
    pub lab: Lab,
    _scratch: Scratch,
}

impl Stage {
    /// Builds the stage of a scenario.
    ///
    /// # Errors
    /// What failed, where, and what to do; what was built is taken down.
    pub fn build(scenario: &Scenario, privilege: Privilege) -> Result<Self, Error> {
        let scratch = Scratch::make()?;
        let names: Vec<String> = scenario
            .vantages
            .iter()
            .map(|v| v.name.clone())
            .chain(scenario.targets.iter().map(|t| t.name.clone()))
            .chain([RESOLVER.to_owned()])
            .collect();
        let mut lab = Lab::build(&names, LabConfig { seed: scenario.seed, offloads: scenario.offloads }, &scratch.0)?;
        let mut gave_up = Vec::new();
        if privilege == Privilege::UserNamespace {
            gave_up.push("no root: the wire runs without real-time priority, so a busy machine may void the run".into());
        }
        let certificates =
            lab::certs::make(&scratch.0, &scenario.targets.iter().map(|t| host_name(&t.name)).collect::<Vec<_>>())?;
        let resolv_conf = scratch.0.join("resolv.conf");
        let resolver = lab.hosts.last().map(|h| h.ipv4).expect("the resolver was just built");
        write(&resolv_conf, &format!("nameserver {resolver}\noptions timeout:10 attempts:2\n"))?;
        for host in &mut lab.hosts {
            host.resolv_conf = Some(resolv_conf.clone());
        }
        let burners = starve(scenario, &mut lab, &mut gave_up)?;
        set_paths(scenario, &lab);
        let sampler = Sampler::start();
        let mut children = vec![start_resolver(scenario, &lab)?];
        let mut servers = BTreeMap::new();
        for target in &scenario.targets {
            let child = start_server(scenario, target, &lab, &certificates)?;
            sampler.watch(child.0.id(), false);
            servers.insert(target.name.clone(), child.0.id());
            children.push(child);
        }
        let mut captures = BTreeMap::new();
        for host in lab.hosts.iter().filter(|h| h.name != RESOLVER) {
            let live = host.namespace.run(|| Ok(Live::start("eth0", "tcp or udp port 53", RING_BYTES)))??;
            captures.insert(host.name.clone(), live);
        }
        let stops = scenario
            .faults()
            .filter(|f| f.kind == FaultKind::Stop)
            .map(|f| {
                let cycle = StopCycle::new(f.running.unwrap_or_default().0, f.stopped.unwrap_or_default().0);
                (f.on.clone().unwrap_or_default(), cycle)
            })
            .collect::<HashMap<_, _>>()
            .into();
        Ok(Self {
            sampler,
            captures,
            servers,
            stops,
            certificates,
            gave_up,
            lab,
            _burners: burners,
            visiting: Mutex::default(),
            _children: children,
            _scratch: scratch,
        })
    }

    /// Sets paths, the wire's faults and CPU quotas to those of `scenario`, whatever they were.
    ///
    /// # Errors
    /// If a quota cannot be set.
    pub fn activate(&self, scenario: &Scenario) -> Result<(), Error> {
        set_paths(scenario, &self.lab);
        self.set_wire_faults(scenario);
        let mut burners = Vec::new();
        for host in &self.lab.hosts {
            let quota = scenario.faults().find(|f| f.kind == FaultKind::CpuQuota && f.on.as_ref() == Some(&host.name));
            if let Some(group) = &host.group {
                group.quota(quota.map_or(UNLIMITED_CPUS, |f| f.cpus.unwrap_or(1.0)))?;
            }
            if let Some(count) = quota.and_then(|f| f.burners) {
                burners.push(Burners::start(&host.placement(), count)?);
            }
        }
        *self.visiting.lock().unwrap_or_else(PoisonError::into_inner) = burners;
        Ok(())
    }

    /// Sets the protocol-aware faults.
    pub fn set_wire_faults(&self, scenario: &Scenario) {
        let mut faults = Vec::new();
        for fault in scenario.faults() {
            let (message, action) = match fault.kind {
                FaultKind::Drop => (fault.message, Action::Drop { copies: fault.copies.unwrap_or(1) }),
                FaultKind::Hold if fault.after.is_some() => (fault.after, Action::HoldAfter(fault.for_.unwrap_or_default().0)),
                FaultKind::Hold => (fault.message, Action::Hold(fault.for_.unwrap_or_default().0)),
                _ => continue,
            };
            let Some(message) = message else { continue };
            for (client, server) in pairs(scenario, &self.lab, fault) {
                let segment = fault.segment.unwrap_or(0);
                faults.push(Fault { client: client.port, server: server.port, message: message.into(), segment, action });
            }
        }
        self.lab.wire.set_faults(faults);
    }

    /// Makes the stop cycle of a vantage, if it has one, begin anew with these processes.
    pub fn set_stops(&self, vantage: &str, pids: Vec<u32>) {
        if let Some(cycle) = self.stops.lock().unwrap_or_else(PoisonError::into_inner).get_mut(vantage) {
            cycle.set(pids);
        }
    }

    /// A file below the scratch folder.
    pub fn scratch(&self, file: &str) -> PathBuf {
        self._scratch.0.join(file)
    }
}

/// The name by which clients know a target.
pub fn host_name(target: &str) -> String {
    format!("{target}.lab.test")
}

/// Hosts whose connections a fault concerns.
fn pairs<'a>(scenario: &Scenario, lab: &'a Lab, fault: &FaultSpec) -> Vec<(&'a Host, &'a Host)> {
    let concerned = |wanted: &Option<String>, name: &String| wanted.as_ref().is_none_or(|w| w == name);
    let mut found = Vec::new();
    for v in scenario.vantages.iter().filter(|v| concerned(&fault.from, &v.name)) {
        for t in scenario.targets.iter().filter(|t| concerned(&fault.to, &t.name)) {
            found.extend(lab.host(&v.name).zip(lab.host(&t.name)));
        }
    }
    found
}

fn set_paths(scenario: &Scenario, lab: &Lab) {
    for vantage in scenario.vantages.iter().filter_map(|v| lab.host(&v.name)) {
        if let Some(resolver) = lab.host(RESOLVER) {
            let config = PathConfig { delay: RESOLVER_RTT / 2, ..PathConfig::default() };
            lab.wire.set_path(vantage.port, resolver.port, config.clone());
            lab.wire.set_path(resolver.port, vantage.port, config);
        }
        for target in &scenario.targets {
            let Some(server) = lab.host(&target.name) else { continue };
            let half = PathConfig { delay: target.rtt.0 / 2, jitter: target.jitter.0, ..PathConfig::default() };
            let (mut out, mut back) = (half.clone(), half);
            for fault in scenario.faults() {
                let ours = fault.to.as_deref() == Some(&target.name) && fault.from.as_ref().is_none_or(|f| *f == vantage.name);
                if ours {
                    shape(fault, &mut out, &mut back);
                }
            }
            lab.wire.set_path(vantage.port, server.port, out);
            lab.wire.set_path(server.port, vantage.port, back);
        }
    }
}

fn shape(fault: &FaultSpec, out: &mut PathConfig, back: &mut PathConfig) {
    let way = fault.direction.unwrap_or_default();
    let extra = fault.extra_rtt.unwrap_or_default().0;
    for (path, concerned) in [(out, way != Way::Back), (back, way != Way::Out)] {
        if !concerned {
            continue;
        }
        match fault.kind {
            FaultKind::Detour => path.delay += if way == Way::Both { extra / 2 } else { extra },
            FaultKind::Mtu => path.mtu = fault.bytes,
            FaultKind::Loss => path.loss = fault.rate.unwrap_or(0.0),
            _ => {}
        }
    }
}

/// Sets quotas and burners; without cgroups, burners stand in for a quota.
fn starve(scenario: &Scenario, lab: &mut Lab, gave_up: &mut Vec<String>) -> Result<Vec<Burners>, Error> {
    let mut burners = Vec::new();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    for host in &mut lab.hosts {
        // Clients and servers never share a CPU: a busy client must not slow the edge it is compared with.
        let vantage = scenario.vantages.iter().any(|v| v.name == host.name);
        host.cpus = match cpus {
            1 => Vec::new(),
            n if vantage => (n.div_ceil(2)..n).collect(),
            n => (0..n.div_ceil(2)).collect(),
        };
        let one_cpu = host.cpus.last().copied().into_iter().collect::<Vec<_>>();
        let ours: Vec<&FaultSpec> = scenario.faults().filter(|f| f.on.as_ref() == Some(&host.name)).collect();
        if let (Some(group), true) = (&host.group, scenario.targets.iter().any(|t| t.name == host.name)) {
            group.weight(8.0)?;
        }
        for fault in ours {
            let mut count = fault.burners.unwrap_or(0);
            match (fault.kind, &host.group) {
                (FaultKind::CpuQuota, Some(group)) => group.quota(fault.cpus.unwrap_or(1.0))?,
                (FaultKind::CpuQuota, None) => {
                    let cpus = fault.cpus.unwrap_or(1.0);
                    let stand_in = ((1.0 / cpus).ceil() as usize * 3).clamp(2, 24);
                    gave_up.push(format!(
                        "no cgroup rights: {stand_in} burners pinned to {}'s CPU stand in for a quota of {cpus} CPUs",
                        host.name
                    ));
                    count += stand_in;
                    host.cpus = one_cpu.clone();
                }
                (FaultKind::CpuBurners, _) => host.cpus = one_cpu.clone(),
                _ => continue,
            }
            burners.push(Burners::start(&host.placement(), count)?);
        }
    }
    Ok(burners)
}

fn start_resolver(scenario: &Scenario, lab: &Lab) -> Result<Reaped, Error> {
    let host = lab.host(RESOLVER).expect("every lab has a resolver");
    let ipv6 = scenario.client.ipv6;
    let config = DnsConfig {
        listen: host.addresses().into_iter().map(|a| SocketAddr::new(a, 53)).collect(),
        names: scenario
            .targets
            .iter()
            .filter_map(|t| Some((host_name(&t.name), vec![lab.host(&t.name)?.address(ipv6)])))
            .collect(),
        delay_ms: scenario
            .faults()
            .filter(|f| f.kind == FaultKind::DnsDelay)
            .map(|f| f.for_.unwrap_or_default().as_millis())
            .sum(),
        truth: lab.scratch.join("dns-truth.ndjson"),
    };
    start_own(lab, host, "lab-dns", &config)
}

fn start_server(scenario: &Scenario, target: &TargetSpec, lab: &Lab, certificates: &Certificates) -> Result<Reaped, Error> {
    let host = lab.host(&target.name).expect("every target has a host");
    let of_kind = |kind| scenario.faults().find(move |f| f.kind == kind && f.on.as_ref() == Some(&target.name));
    let queue = of_kind(FaultKind::AcceptQueue);
    let listen: Vec<SocketAddr> = host.addresses().into_iter().map(|a| SocketAddr::new(a, PORT)).collect();
    let mut child = match target.server {
        ServerKind::Embedded => {
            let config = EdgeConfig {
                listen,
                chain: certificates.chain.clone(),
                key: certificates.key.clone(),
                log: lab.scratch.join(format!("{}-log.ndjson", target.name)),
                truth: lab.scratch.join(format!("{}-truth.ndjson", target.name)),
                slow_ms: 0.0,
                app_delay_ms: of_kind(FaultKind::EdgeDelay).map_or(0.0, |f| f.for_.unwrap_or_default().as_millis()),
                accept_interval_ms: queue.map_or(0.0, |f| f.interval.unwrap_or_default().as_millis()),
                backlog: queue.map_or(1_024, |f| f.backlog.unwrap_or(1)),
            };
            start_own(lab, host, "lab-edge", &config)?
        }
        ServerKind::Nginx => {
            installed("nginx", "apt-get install nginx-light")?;
            let args = lab::nginx::arguments(&lab.scratch, &listen, certificates, 511)?;
            start(lab, &host.placement(), "nginx", &args, &target.name)?
        }
        ServerKind::Command => {
            let words: Vec<String> = target
                .command
                .iter()
                .map(|w| {
                    w.replace("{address}", &host.address(scenario.client.ipv6).to_string())
                        .replace("{port}", &PORT.to_string())
                        .replace("{chain}", &certificates.chain.display().to_string())
                        .replace("{key}", &certificates.key.display().to_string())
                })
                .collect();
            start(lab, &host.placement(), &words[0], &words[1..], &target.name)?
        }
    };
    wait_until_listening(&mut child, target, &lab.scratch)?;
    Ok(child)
}

fn wait_until_listening(child: &mut Reaped, target: &TargetSpec, scratch: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let said = || {
        let log = std::fs::read_to_string(scratch.join(format!("{}.stderr", target.name))).unwrap_or_default();
        log.lines().last().map_or(String::new(), |l| format!(": {l}"))
    };
    while !listening(child.0.id(), PORT) {
        if let Ok(Some(status)) = child.0.try_wait() {
            return Err(Error::Missing(format!(
                "the server of target {} ended before it listened ({status}){}",
                target.name,
                said()
            )));
        }
        if Instant::now() > deadline {
            return Err(Error::Missing(format!(
                "the server of target {} did not listen on port {PORT} within 10 s{}",
                target.name,
                said()
            )));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Starts one of our own servers with its configuration as an argument.
fn start_own<T: serde::Serialize>(lab: &Lab, host: &Host, subcommand: &str, config: &T) -> Result<Reaped, Error> {
    let own = std::env::current_exe().map_err(lab::Error::system("finding our own binary"))?;
    let config = serde_json::to_string(config).map_err(|e| Error::Missing(format!("configuring {subcommand}: {e}")))?;
    start(lab, &host.placement(), &own.display().to_string(), &[subcommand.into(), config], &host.name)
}

fn start(lab: &Lab, placement: &Placement, program: &str, args: &[String], name: &str) -> Result<Reaped, Error> {
    let log = lab.scratch.join(format!("{name}.stderr"));
    let stderr = File::create(&log).map_err(|source| Error::Write { path: log.display().to_string(), source })?;
    let child = placement.command(program, args)?.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
    Ok(Reaped(child.map_err(lab::Error::system(format!("starting {program}")))?))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::Write { path: path.display().to_string(), source })
}

/// A child process that ends with the stage.
pub struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The scratch folder; it goes with the stage.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, Error> {
        let folder = lab::clean::scratch_folder(std::process::id());
        std::fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder.display().to_string(), source })?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
