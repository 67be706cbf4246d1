//! A vantage of the lab: clients launched at a barrier, let go together, collected.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use agent::{Bundle, Clients, Go, Hello, Plan, Ready};
use capture::live::Live;
use lab::cpu::StopCycle;
use lab::host::Host;

use super::super::Vantage;
use super::launch::{Launched, collect, launch, pause};
use super::{Testbed, hello, packets};
use crate::Error;

/// Runs clients on one host.
pub(super) struct LabVantage<'a> {
    testbed: &'a Testbed,
    host: &'a Host,
    capture: &'a Live,
    batch: u64,
    clients: Option<Clients>,
    launched: Vec<Launched>,
    stops: Option<StopCycle>,
    late_ns: Option<u64>,
}

impl<'a> LabVantage<'a> {
    /// At `host`.
    pub(super) fn at(testbed: &'a Testbed, host: &'a Host) -> Result<Self, Error> {
        let capture = testbed.capture(&host.name)?;
        Ok(Self { testbed, host, capture, batch: 0, clients: None, launched: Vec::new(), stops: None, late_ns: None })
    }
}

impl Vantage for LabVantage<'_> {
    fn hello(&self) -> Hello {
        hello::of(self.testbed, self.host)
    }

    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error> {
        self.capture.drain();
        let losses = packets::losses(self.capture);
        self.batch = plan.batch;
        self.late_ns = None;
        self.stops = None;
        self.launched = Vec::new();
        self.clients = plan.clients.clone();
        if let Some(clients) = &self.clients {
            self.launched = launch(self.testbed, self.host, clients, stop)?;
            self.stops = clients.stops.map(|s| StopCycle::new(s.running.0, s.stopped.0));
        }
        Ok(Ready { batch: plan.batch, clients: self.launched.len(), losses })
    }

    fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error> {
        if let Some(at) = go.at.map(SystemTime::from) {
            pause(at.duration_since(SystemTime::now()).unwrap_or_default(), stop)?;
            let late = SystemTime::now().duration_since(at).unwrap_or_default();
            self.late_ns = Some(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
        if let Some(cycle) = &mut self.stops {
            cycle.set(self.launched.iter().map(Launched::pid).collect());
        }
        let spread = self.clients.as_ref().map_or(Duration::ZERO, |c| c.client.spread.0);
        for (i, client) in self.launched.iter_mut().enumerate() {
            if i > 0 {
                pause(spread, stop)?;
            }
            client.lift_barrier();
        }
        Ok(())
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        let (timeout, settle) = self.clients.as_ref().map_or_else(Default::default, |c| (c.client.timeout.0, c.settle.0));
        let (launched, stops) = (std::mem::take(&mut self.launched), self.stops.take());
        let clients = collect(self.testbed, launched, timeout, stops, stop)?;
        pause(settle, stop)?;
        Ok(Bundle {
            batch: self.batch,
            clients,
            frames: packets::take(&self.host.name, self.capture)?,
            server: None,
            log: Vec::new(),
            losses: packets::losses(self.capture),
            late_ns: self.late_ns,
            clock: hello::clock(),
        })
    }
}
