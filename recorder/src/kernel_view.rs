//! What the server's threads did with the connections lately: who was starved, who computed, who slept.
//!
//! Pure: [`Event`]s in, a [`HostTrace`] of one connection out, as the rules of `run` read it. A thread's counters are known at its reads
//! and writes; between two of them it computed as long as its time on a CPU grew, waited as long as its run-queue delay did, and slept
//! the rest.

use std::collections::{BTreeSet, VecDeque};

use analysis::clock::{Domain, Instant};
use analysis::host::{HostTrace, Sample};
use capture::ends::FlowName;
use capture::sockets::{Deed, Event};

/// Events remembered.
const MOST: usize = 1 << 16;
/// How long before its first read a thread's earlier doings count.
const BEFORE: i64 = 30_000_000_000;

/// The last events.
#[derive(Default)]
pub struct KernelView {
    events: VecDeque<Event>,
}

impl KernelView {
    /// Takes an event.
    pub fn push(&mut self, event: Event) {
        if self.events.len() >= MOST {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// What was done with a connection that began at `from`, and when; empty if nobody looked.
    pub fn deeds(&self, flow: FlowName, from: i64) -> Vec<(Deed, i64)> {
        let own = |event: &&Event| event.flow == flow && event.at >= from;
        self.events.iter().filter(own).map(|event| (event.deed, event.at)).collect()
    }

    /// The threads that did something with a connection that began at `from`; absent if nobody looked. `offset` is added to all times.
    pub fn trace<D: Domain>(&self, flow: FlowName, from: i64, offset: i64) -> Option<HostTrace<D>> {
        let own = |event: &&Event| event.flow == flow && event.at >= from;
        let threads: BTreeSet<u32> = self.events.iter().filter(own).filter_map(|event| event.thread).collect();
        let mut samples = Vec::new();
        for event in self.events.iter().filter(|event| event.at >= from - BEFORE) {
            let Some(tid) = event.thread.filter(|t| threads.contains(t)) else { continue };
            let at = Instant::from_nanos(event.at + offset);
            let sample = Sample { at, tid, cpu: event.cpu, run_delay: event.run_delay, state: 'R', steal: 0 };
            // It ran when it did this; whatever it slept until the next time, it slept first.
            samples.extend([sample, Sample { state: 'S', ..sample }]);
        }
        (!samples.is_empty()).then_some(HostTrace { samples, nodelay: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::clock::{Edge, Span};
    use std::net::SocketAddr;

    const MS: i64 = 1_000_000;

    fn end(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 443))
    }

    /// A thread reads at 0 and writes at 100 ms, having had the CPU and waited for it for so long meanwhile.
    fn usage(cpu_ms: u64, wait_ms: u64) -> (Span, Span, Span) {
        let mut view = KernelView::default();
        let event = |at, deed, client, thread, cpu, run_delay| Event {
            at,
            deed,
            flow: FlowName::of(client, end(1)),
            thread,
            cpu,
            run_delay,
        };
        view.push(event(0, Deed::Opened, end(2), None, 0, 0));
        view.push(event(MS, Deed::Read, end(2), Some(7), 5, 9));
        view.push(event(50 * MS, Deed::Read, end(3), Some(8), 1 << 40, 1 << 40));
        let (cpu, wait) = (cpu_ms * MS as u64, wait_ms * MS as u64);
        view.push(event(101 * MS, Deed::Wrote, end(2), Some(7), 5 + cpu, 9 + wait));
        let trace: HostTrace<Edge> = view.trace(FlowName::of(end(2), end(1)), 0, 1_000 * MS).expect("somebody looked");
        let u = trace.usage(Instant::from_nanos(1_001 * MS), Instant::from_nanos(1_101 * MS));
        (u.computing, u.waiting, u.asleep)
    }

    #[test]
    fn computing_waiting_and_sleeping_are_told_apart() {
        let ms = Span::from_millis;
        assert_eq!(usage(90, 5), (ms(90), ms(5), ms(5)));
        assert_eq!(usage(1, 95), (ms(1), ms(95), ms(4)));
        assert_eq!(usage(1, 1), (ms(1), ms(1), ms(98)));
    }

    #[test]
    fn a_connection_that_nobody_looked_at_has_no_trace() {
        let view = KernelView::default();
        assert!(view.trace::<Edge>(FlowName::of(end(1), end(2)), 0, 0).is_none());
        assert!(view.deeds(FlowName::of(end(1), end(2)), 0).is_empty());
    }
}
