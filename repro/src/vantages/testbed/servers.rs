//! The lab's servers: started on their hosts, ended with the lab.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::dns::DnsConfig;
use lab::exec::Placement;
use lab::host::{Host, Lab};
use lab::sample::listening;

use super::programs::Program;
use super::{PORT, Papers, RESOLVER};
use crate::Error;
use crate::conditions::Servers;
use crate::duration::Length;
use crate::scenario::Scenario;
use crate::targets::{CommandLine, SERVER, Site, TargetSpec, command_line, write_files};

/// A server that has not begun to listen by then will not.
const PATIENCE: Duration = Duration::from_secs(10);

/// A child process that ends with the lab.
pub(super) struct Reaped(Child);

impl Reaped {
    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the name server logs what it kept back.
pub(super) fn resolver_truth(scratch: &Path) -> PathBuf {
    scratch.join("dns-truth.ndjson")
}

/// Starts the lab's name server.
pub(super) fn start_resolver(scenario: &Scenario, lab: &Lab, delay: Length) -> Result<Reaped, Error> {
    let host = lab.host(RESOLVER).expect("every lab has a resolver");
    let ipv6 = scenario.client.ipv6;
    let named = scenario.targets.iter().filter_map(|t| Some((t.host_name(), vec![lab.host(&t.name)?.address(ipv6)])));
    let config = DnsConfig {
        listen: host.addresses().into_iter().map(|a| SocketAddr::new(a, 53)).collect(),
        names: named.collect(),
        delay_ms: delay.as_millis(),
        truth: resolver_truth(&lab.scratch),
    };
    start(&lab.scratch, &host.placement(), &own_server("lab-dns", &config)?, &host.name)
}

/// The programs of a target, its server last; their files are written.
pub(super) fn programs_of(
    target: &TargetSpec,
    lab: &Lab,
    papers: &Papers,
    ipv6: bool,
    does: Servers,
) -> Result<Vec<Program>, Error> {
    let host = lab.host(&target.name).ok_or_else(|| Error::NoHost(target.name.clone()))?;
    let site = site(host, lab, papers, ipv6, does);
    write_files(target, &site)?;
    let program = |name: &str, line: CommandLine, port: u16| Program {
        target: target.name.clone(),
        name: name.to_owned(),
        placement: host.placement(),
        line,
        port,
        scratch: lab.scratch.clone(),
    };
    let behind = target.processes.iter().map(|p| program(&p.name, command_line(&p.command, &target.name, &site), p.port));
    let server = program(SERVER, target.server.server().command(target, &site)?, PORT);
    Ok(behind.chain([server]).collect())
}

/// Where the server of a host runs.
pub(super) fn site<'a>(host: &Host, lab: &'a Lab, papers: &'a Papers, ipv6: bool, does: Servers) -> Site<'a> {
    Site {
        listen: host.addresses().into_iter().map(|a| SocketAddr::new(a, PORT)).collect(),
        address: host.address(ipv6),
        certificates: papers.of(&host.name),
        client_root: &papers.client_root,
        scratch: &lab.scratch,
        does,
    }
}

/// Waits until a program of a target listens.
pub(super) fn wait_until_listening(child: &mut Reaped, target: &str, log: &str, port: u16, scratch: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let said = || {
        let log = std::fs::read_to_string(scratch.join(format!("{log}.stderr"))).unwrap_or_default();
        log.lines().last().map_or(String::new(), |l| format!(": {l}"))
    };
    let gone = |what: String| Error::Server { target: target.to_owned(), what };
    while !listening(child.0.id(), port) {
        if let Ok(Some(status)) = child.0.try_wait() {
            return Err(gone(format!("ended before it listened ({status}){}", said())));
        }
        if Instant::now() > deadline {
            return Err(gone(format!("did not listen on port {port} within {} s{}", PATIENCE.as_secs(), said())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The command line of one of our own servers, with its configuration as an argument.
///
/// # Errors
/// If our own binary cannot be found or the configuration not be written.
pub(crate) fn own_server<T: serde::Serialize>(subcommand: &str, config: &T) -> Result<CommandLine, Error> {
    let own = lab::exec::own_program()?;
    let config =
        serde_json::to_string(config).map_err(|e| lab::Error::helper(format!("configuring {subcommand}"), e.to_string()))?;
    Ok(CommandLine { program: own.display().to_string(), args: vec![subcommand.into(), config] })
}

/// Starts a program; what it says on standard error goes into a file of this name.
pub(super) fn start(scratch: &Path, placement: &Placement, line: &CommandLine, name: &str) -> Result<Reaped, Error> {
    let log = scratch.join(format!("{name}.stderr"));
    let stderr = File::create(&log).map_err(|source| Error::Write { path: log.display().to_string(), source })?;
    let command = placement.command(&line.program, &line.args);
    let child = command?.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
    Ok(Reaped(child.map_err(lab::Error::system(format!("starting {}", line.program)))?))
}
