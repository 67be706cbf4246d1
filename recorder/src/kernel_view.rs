//! What the server's threads did with the connections lately: who was starved, who computed, who slept.
//!
//! Pure: [`Event`]s in, a [`HostTrace`] of one connection out, as the rules of `run` read it. A thread's counters are known at its reads
//! and writes; between two of them it computed as long as its time on a CPU grew, waited as long as its run-queue delay did, and slept
//! the rest. Events are found by connection and by thread: what one connection costs does not depend on what the others do.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use analysis::clock::{Edge, Instant, Span};
use analysis::conversation::host::{HostTrace, Sample};
use capture::clock::{Monotonic, WallOffset};
use capture::ends::FlowName;
use capture::sockets::{Event, EventKind};
use foldhash::fast::RandomState;

/// Events remembered.
const MOST: usize = 1 << 16;
/// How long before its first read a thread's earlier events count.
const BEFORE: Span = Span::from_millis(30_000);
/// Events for others that count between two of a thread's events for one connection. Counters add up: fewer of them lose no time, they
/// only say less exactly when it passed.
const MOST_BETWEEN: usize = 64;

/// Numbers of events, by what they belong to, in the order in which they came.
type Index<K> = HashMap<K, VecDeque<u64>, RandomState>;

/// The last events.
#[derive(Default)]
pub struct KernelView {
    events: VecDeque<Event>,
    /// The number of the first of them.
    first: u64,
    flows: Index<FlowName>,
    threads: Index<u32>,
    /// How many events were looked at.
    #[cfg(test)]
    looked: std::cell::Cell<usize>,
}

impl KernelView {
    /// Takes an event.
    pub fn push(&mut self, event: Event) {
        if self.events.len() >= MOST
            && let Some(oldest) = self.events.pop_front()
        {
            forget(&mut self.flows, oldest.flow);
            oldest.thread.iter().for_each(|thread| forget(&mut self.threads, *thread));
            self.first += 1;
        }
        let number = self.first + self.events.len() as u64;
        self.flows.entry(event.flow).or_default().push_back(number);
        if let Some(thread) = event.thread {
            self.threads.entry(thread).or_default().push_back(number);
        }
        self.events.push_back(event);
    }

    /// What was done with a connection that began at `from`, and when; empty if nobody looked.
    pub fn events(&self, flow: FlowName, from: Instant<Monotonic>) -> Vec<(EventKind, Instant<Monotonic>)> {
        self.own(flow, from).map(|(_, event)| (event.kind, event.at)).collect()
    }

    /// The threads that did something with a connection that began at `from`, with the times of this host's wall clock, which is the
    /// edge's; absent if nobody looked.
    pub fn trace(&self, flow: FlowName, from: Instant<Monotonic>, offset: WallOffset) -> Option<HostTrace<Edge>> {
        let mut own: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (number, event) in self.own(flow, from) {
            if let Some(thread) = event.thread {
                own.entry(thread).or_default().push(number);
            }
        }
        let mut samples = Vec::new();
        for (tid, numbers) in own {
            for number in self.around(tid, &numbers, from) {
                let Some(event) = self.event(number) else { continue };
                let at = Instant::from_nanos(offset.to_wall(event.at).nanos());
                let [cpu, run_delay] = [event.cpu, event.run_delay].map(|span| span.nanos().cast_unsigned());
                let sample = Sample { at, tid, cpu, run_delay, state: 'R', steal: 0 };
                // It ran when it did this; whatever it slept until the next time, it slept first.
                samples.extend([sample, Sample { state: 'S', ..sample }]);
            }
        }
        (!samples.is_empty()).then_some(HostTrace { samples, nodelay: None })
    }

    /// What was done with a connection that began at `from`.
    fn own(&self, flow: FlowName, from: Instant<Monotonic>) -> impl Iterator<Item = (u64, &Event)> {
        let numbers = self.flows.get(&flow).into_iter().flatten();
        numbers.filter_map(|n| Some((*n, self.event(*n)?))).filter(move |(_, event)| event.at >= from)
    }

    /// Events of a thread: those for one connection (`own`), and some of those before, between and behind them.
    fn around(&self, thread: u32, own: &[u64], from: Instant<Monotonic>) -> Vec<u64> {
        let Some(all) = self.threads.get(&thread) else { return Vec::new() };
        let place = |number: u64| all.partition_point(|n| *n < number);
        // Threads' events come nearly in order of time.
        let began = all.partition_point(|n| self.event(*n).is_some_and(|event| event.at < from));
        let before = began.checked_sub(1).filter(|i| self.event(all[*i]).is_some_and(|event| event.at >= from - BEFORE));
        let mut chosen: Vec<usize> = before.into_iter().collect();
        let mut at = began;
        for end in own.iter().map(|number| place(*number)).chain([all.len()]) {
            let between = end.saturating_sub(at);
            let step = between.div_ceil(MOST_BETWEEN).max(1);
            // Counted from the end: the last event before an own one is always among them.
            chosen.extend((0..between).rev().step_by(step).map(|i| at + i).collect::<Vec<_>>().into_iter().rev());
            chosen.extend((end < all.len()).then_some(end));
            at = at.max(end + 1);
        }
        chosen.into_iter().filter_map(|i| all.get(i).copied()).collect()
    }

    fn event(&self, number: u64) -> Option<&Event> {
        #[cfg(test)]
        self.looked.set(self.looked.get() + 1);
        self.events.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

/// The oldest event of `key` is forgotten.
fn forget<K: Eq + Hash>(index: &mut Index<K>, key: K) {
    if let Some(numbers) = index.get_mut(&key) {
        numbers.pop_front();
        if numbers.is_empty() {
            index.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::clock::Domain;
    use std::net::SocketAddr;

    const MS: i64 = 1_000_000;

    fn at<D: Domain>(nanos: i64) -> Instant<D> {
        Instant::from_nanos(nanos)
    }

    /// The wall clock is so much ahead.
    fn ahead(nanos: i64) -> WallOffset {
        WallOffset::between(at(0), at(nanos))
    }

    fn end(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 443))
    }

    /// A thread reads at 0 and writes at 100 ms, having had the CPU and waited for it for so long meanwhile.
    fn usage(cpu_ms: i64, wait_ms: i64) -> (Span, Span, Span) {
        let mut view = KernelView::default();
        let event = |nanos, kind, client, thread, cpu, run_delay| {
            let [cpu, run_delay] = [cpu, run_delay].map(Span::from_nanos);
            Event { at: at(nanos), kind, flow: FlowName::of(client, end(1)), thread, cpu, run_delay }
        };
        view.push(event(0, EventKind::Opened, end(2), None, 0, 0));
        view.push(event(MS, EventKind::Read, end(2), Some(7), 5, 9));
        view.push(event(50 * MS, EventKind::Read, end(3), Some(8), 1 << 40, 1 << 40));
        let (cpu, wait) = (cpu_ms * MS, wait_ms * MS);
        view.push(event(101 * MS, EventKind::Wrote, end(2), Some(7), 5 + cpu, 9 + wait));
        let trace = view.trace(FlowName::of(end(2), end(1)), at(0), ahead(1_000 * MS)).expect("somebody looked");
        let u = trace.usage(at(1_001 * MS), at(1_101 * MS));
        (u.computing, u.waiting, u.asleep)
    }

    #[test]
    fn computing_waiting_and_sleeping_are_told_apart() {
        let ms = Span::from_millis;
        assert_eq!(usage(90, 5), (ms(90), ms(5), ms(5)));
        assert_eq!(usage(1, 95), (ms(1), ms(95), ms(4)));
        assert_eq!(usage(1, 1), (ms(1), ms(1), ms(98)));
    }

    /// One thread serves a connection and, before, between and behind its events, `others` others.
    fn busy(others: i64) -> KernelView {
        let mut view = KernelView::default();
        let mut push = |nanos: i64, kind, client: u16| {
            let flow = FlowName::of(SocketAddr::from(([10, 9, 0, 1], client)), end(1));
            // A tenth of the time on a CPU, a fifth without one.
            let [cpu, run_delay] = [nanos / 10, nanos / 5].map(Span::from_nanos);
            view.push(Event { at: at(nanos), kind, flow, thread: Some(7), cpu, run_delay });
        };
        for part in 0..3 {
            for i in 0..others {
                push(part * 100 * MS + i * 100 * MS / (others + 1), EventKind::Read, 1_000 + (i % 500) as u16);
            }
            if part < 2 {
                push((part + 1) * 100 * MS, if part == 0 { EventKind::Read } else { EventKind::Wrote }, 9);
            }
        }
        view
    }

    #[test]
    fn what_a_connection_costs_does_not_depend_on_the_others() {
        let flow = FlowName::of(SocketAddr::from(([10, 9, 0, 1], 9)), end(1));
        let look = |others: i64| {
            let view = busy(others);
            let trace = view.trace(flow, at(50 * MS), ahead(0)).expect("somebody looked");
            assert_eq!(view.events(flow, at(50 * MS)).len(), 2);
            let u = trace.usage(at(100 * MS), at(200 * MS));
            let near = |span: Span, ms: i64| (span - Span::from_millis(ms)).nanos().abs() < MS / 2;
            assert!(near(u.computing, 10) && near(u.waiting, 20) && near(u.asleep, 70), "{others}: {u:?}");
            (view.looked.get(), trace.samples.len())
        };
        let (few, many) = (look(100), look(20_000));
        assert!(many.0 < 300 && many.0 <= few.0 + 100, "events looked at: {few:?}, {many:?}");
        assert!(many.1 < 2 * 4 * (MOST_BETWEEN + 1), "samples: {few:?}, {many:?}");
    }

    #[test]
    fn what_is_forgotten_is_forgotten_everywhere() {
        let mut view = KernelView::default();
        for i in 0..(MOST as i64 + 1_000) {
            let flow = FlowName::of(SocketAddr::from(([10, 9, 0, 1], (i % 60_000) as u16 + 1)), end(1));
            let (thread, cpu, run_delay) = (Some((i % 1_000) as u32), Span::ZERO, Span::ZERO);
            view.push(Event { at: at(i), kind: EventKind::Read, flow, thread, cpu, run_delay });
        }
        let all = |index: usize| (view.events.len(), index);
        assert_eq!(all(view.flows.values().map(VecDeque::len).sum()), (MOST, MOST));
        assert_eq!(all(view.threads.values().map(VecDeque::len).sum()), (MOST, MOST));
        let first = FlowName::of(SocketAddr::from(([10, 9, 0, 1], 1_000)), end(1));
        assert_eq!(view.events(first, at(0)), [(EventKind::Read, at(60_999))], "the first of its two is gone");
    }

    #[test]
    fn a_connection_that_nobody_looked_at_has_no_trace() {
        let view = KernelView::default();
        assert!(view.trace(FlowName::of(end(1), end(2)), at(0), ahead(0)).is_none());
        assert!(view.events(FlowName::of(end(1), end(2)), at(0)).is_empty());
    }
}
