//! The clients of one batch at one place, from the barrier to their ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use agent::{ClientEnd, Go, Plan};
use analysis::clock::Span;
use lab::cpu::StopCycle;
use lab::exec::Placement;
use lab::sample::Sampler;

use crate::Error;
use crate::launch::{Launched, collect, launch, pause};

/// Where clients are started, and who watches them.
pub struct Place<'a> {
    /// The host's name.
    pub host: &'a str,
    /// How a program is started there.
    pub placement: Placement,
    /// Reads processes' scheduler counters.
    pub sampler: &'a Sampler,
    /// Where their outputs go while they run.
    pub scratch: &'a Path,
    /// A file of the roots that they trust; absent: those of the host.
    pub roots: Option<PathBuf>,
}

/// Clients that were asked for, that wait, or that run.
#[derive(Default)]
pub struct Clients {
    batch: u64,
    plan: Option<agent::Clients>,
    launched: Vec<Launched>,
    stops: Option<StopCycle>,
    late: Option<Span>,
    /// Targets of which one client could already learn why it was turned away, by name and port.
    asked: BTreeSet<(String, u16)>,
    /// Whether the first of these may.
    may_ask: bool,
}

impl Clients {
    /// Starts the clients of a plan; they wait for [`Clients::go`]. Gives their number.
    ///
    /// # Errors
    /// If they cannot be started, or `stop` is set.
    pub fn prepare(&mut self, place: &Place<'_>, plan: &Plan, stop: &AtomicBool) -> Result<usize, Error> {
        let asked = std::mem::take(&mut self.asked);
        *self = Self { batch: plan.batch, plan: plan.clients.clone(), asked, ..Self::default() };
        if let Some(clients) = &self.plan {
            self.may_ask = self.asked.insert((clients.to.name.clone(), clients.to.port));
            self.launched = launch(place, clients, self.may_ask, stop)?;
            self.stops = clients.stops.map(|s| StopCycle::new(s.running.0, s.stopped.0));
        }
        Ok(self.launched.len())
    }

    /// Lets them start.
    ///
    /// # Errors
    /// If `stop` is set.
    pub fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error> {
        if let Some(at) = go.at.map(SystemTime::from) {
            pause(at.duration_since(SystemTime::now()).unwrap_or_default(), stop)?;
            let late = SystemTime::now().duration_since(at).unwrap_or_default();
            self.late = Some(late.into());
        }
        if let Some(cycle) = &mut self.stops {
            cycle.set(self.launched.iter().map(Launched::pid).collect());
        }
        let spread = self.plan.as_ref().map_or(Duration::ZERO, |c| c.client.spread.0);
        for (i, client) in self.launched.iter_mut().enumerate() {
            if i > 0 {
                pause(spread, stop)?;
            }
            client.lift_barrier();
        }
        Ok(())
    }

    /// Waits until they have ended, and as long as late packets may come.
    ///
    /// # Errors
    /// If `stop` is set. A client's failure is data.
    pub fn collect(&mut self, place: &Place<'_>, stop: &AtomicBool) -> Result<Vec<ClientEnd>, Error> {
        let (timeout, settle) = self.plan.as_ref().map_or_else(Default::default, |c| (c.client.timeout.0, c.settle.0));
        let (launched, stops) = (std::mem::take(&mut self.launched), self.stops.take());
        let ends = collect(place, launched, timeout, stops, stop)?;
        self.give_back_leave(&ends);
        pause(settle, stop)?;
        Ok(ends)
    }

    /// A client that was let in, or did not come as far as TLS, has asked nothing: the next may.
    fn give_back_leave(&mut self, ends: &[ClientEnd]) {
        let of_tls = |first: &ClientEnd| first.said.get("reason")?.as_str().map(|reason| reason.starts_with("tls_"));
        let asked_nothing = ends.first().is_some_and(|first| first.code == Some(0) || of_tls(first) == Some(false));
        if let (true, Some(clients)) = (self.may_ask && asked_nothing, &self.plan) {
            self.asked.remove(&(clients.to.name.clone(), clients.to.port));
        }
    }

    /// The batch that they belong to.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// Whom they call.
    pub fn destination(&self) -> Option<&agent::Destination> {
        self.plan.as_ref().map(|clients| &clients.to)
    }

    /// How much later than told the first started; absent where that was "at once".
    pub fn late(&self) -> Option<Span> {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use agent::{ClientKind, ClientSpec, Destination, Trace};

    use super::*;

    #[test]
    fn leave_to_ask_is_used_up_by_a_client_that_was_turned_away() {
        let to = Destination::new("a.test", 443);
        let plan = agent::Clients {
            client: ClientSpec::new(ClientKind::Probe),
            to,
            pauses: Vec::new(),
            distrust: false,
            stops: None,
            settle: ClientSpec::new(ClientKind::Probe).timeout,
        };
        let end = |(code, reason): (i32, &str)| {
            let (said, complained) = (serde_json::json!({ "reason": reason }), String::new());
            ClientEnd { pid: 1, code: Some(code), timed_out: false, said, complained, trace: Trace::default() }
        };
        let left = |may_ask, ends: [(i32, &str); 2]| {
            let asked = BTreeSet::from([("a.test".to_owned(), 443), ("b.test".to_owned(), 443)]);
            let mut clients = Clients { plan: Some(plan.clone()), asked, may_ask, ..Clients::default() };
            clients.give_back_leave(&ends.map(end));
            clients.asked.len()
        };
        let (well, refused, alert) = ((0, ""), (1, "connect_refused"), (1, "tls_alert"));
        assert_eq!(left(true, [well, alert]), 1, "the next batch may ask, and only there");
        assert_eq!(left(true, [refused, alert]), 1, "nobody was there to be asked");
        assert_eq!(left(true, [alert, well]), 2, "it asked");
        assert_eq!(left(false, [well, well]), 2, "another did before");
    }
}
