//! A vantage of the lab: clients launched at a barrier, let go together, collected.

use std::sync::atomic::AtomicBool;

use ::vantage::{Clients, Error, Place, Vantage, packets};
use agent::{Bundle, Go, Hello, Plan, Ready};
use capture::live::Live;
use lab::host::Host;

use super::{Testbed, hello};

/// Runs clients on one host.
pub(super) struct LabVantage<'a> {
    testbed: &'a Testbed,
    host: &'a Host,
    capture: &'a Live,
    clients: Clients,
}

impl<'a> LabVantage<'a> {
    /// At `host`, which is captured on by `capture`.
    pub(super) fn at(testbed: &'a Testbed, host: &'a Host, capture: &'a Live) -> Self {
        Self { testbed, host, capture, clients: Clients::default() }
    }

    fn place(&self) -> Place<'a> {
        Place {
            host: &self.host.name,
            placement: self.host.placement(),
            sampler: &self.testbed.sampler,
            scratch: self.testbed.scratch.path(),
            roots: Some(self.testbed.roots().to_owned()),
        }
    }
}

impl Vantage for LabVantage<'_> {
    fn hello(&self) -> Hello {
        hello::of(self.testbed, self.host)
    }

    fn shares_clock(&self) -> bool {
        true
    }

    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error> {
        self.capture.drain();
        let losses = packets::losses([self.capture]);
        let clients = self.clients.prepare(&self.place(), plan, stop)?;
        Ok(Ready { batch: plan.batch, clients, losses })
    }

    fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error> {
        self.clients.go(go, stop)
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        let clients = self.clients.collect(&self.place(), stop)?;
        Ok(Bundle {
            batch: self.clients.batch(),
            gave_up: Vec::new(),
            clients,
            frames: packets::take(&self.host.name, &[("eth0", self.capture)], &|_, _| true)?,
            server: None,
            log: Vec::new(),
            losses: packets::losses([self.capture]),
            late_ns: self.clients.late(),
            clock: hello::clock(),
            spin: None,
        })
    }
}
