//! The edge's end of a batch in the lab: packets, the server's process, the server's log.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use ::vantage::{Error, Vantage, packets};
use agent::{Bundle, Go, Hello, Plan, Ready};
use capture::live::Live;
use lab::host::Host;

use super::{Testbed, hello};
use crate::targets::log_file;

/// Watches at a target.
pub(super) struct LabEdge<'a> {
    testbed: &'a Testbed,
    host: &'a Host,
    capture: &'a Live,
    /// Absent: it does not run all the time.
    server: Option<u32>,
    log: PathBuf,
    batch: u64,
}

impl<'a> LabEdge<'a> {
    /// At `host`, whose server is the process `server`, if it is one that stays.
    pub(super) fn at(testbed: &'a Testbed, host: &'a Host, capture: &'a Live, server: Option<u32>) -> Self {
        let log = log_file(testbed.scratch.path(), &host.name);
        Self { testbed, host, capture, server, log, batch: 0 }
    }

    fn server_runs(&self) -> bool {
        let runs = |server| std::path::Path::new(&format!("/proc/{server}")).exists() && !self.testbed.sampler.ended(server);
        self.server.is_none_or(runs)
    }
}

impl Vantage for LabEdge<'_> {
    fn hello(&self) -> Hello {
        hello::of(self.testbed, self.host)
    }

    fn shares_clock(&self) -> bool {
        true
    }

    fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, Error> {
        if plan.clients.is_some() {
            return Err(Error::Refused { host: self.host.name.clone(), what: "no clients run at a target".into() });
        }
        self.batch = plan.batch;
        self.capture.drain();
        self.server.map(|server| self.testbed.sampler.take(server));
        Ok(Ready { batch: plan.batch, clients: 0, losses: packets::losses([self.capture]) })
    }

    fn go(&mut self, _: Go, _: &AtomicBool) -> Result<(), Error> {
        Ok(())
    }

    fn collect(&mut self, _: &AtomicBool) -> Result<Bundle, Error> {
        if !self.server_runs() {
            return Err(Error::Server { target: self.host.name.clone(), what: "died during the run".into() });
        }
        Ok(Bundle {
            batch: self.batch,
            gave_up: Vec::new(),
            clients: Vec::new(),
            frames: packets::take(&self.host.name, &[("eth0", self.capture)], &|_, _| true)?,
            server: self.server.map(|server| self.testbed.sampler.take(server).trace),
            log: self.testbed.lines.new_of(&self.log),
            losses: packets::losses([self.capture]),
            late_ns: None,
            clock: hello::clock(),
            spin: None,
        })
    }
}
