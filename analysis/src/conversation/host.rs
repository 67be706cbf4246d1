//! What a host's kernel says of the threads that did the work: running, waiting for a CPU, stopped, asleep.
//!
//! In: cumulative counters from `/proc/<pid>/task/<tid>/schedstat` and the state letter from
//! `/proc/<pid>/stat`, sampled. Out: how any window of time divides ([`Usage`]); the parts always sum
//! to the window.
//!
//! `run_delay` already includes CFS throttling (docs/method.md, "Hosts") and is credited only when the thread gets
//! its CPU, so a sample may show more waiting than the interval is long: the surplus belongs to
//! the time before, and is laid there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{Domain, Instant, Span};

/// The sampler reads more often than this while its machine runs.
const STOOD_STILL: Span = Span::from_millis(20);

/// One thread at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sample<D> {
    /// When it was read, on the host's clock.
    #[serde(bound = "")]
    pub at: Instant<D>,
    /// The thread.
    pub tid: u32,
    /// Nanoseconds on a CPU since it began.
    pub cpu: u64,
    /// Nanoseconds ready to run without a CPU since it began.
    pub run_delay: u64,
    /// State letter (proc(5)): R, S, D, T, Z…
    pub state: char,
    /// Nanoseconds stolen from the machine's CPUs by its hypervisor since boot.
    pub steal: u64,
}

/// How a window of time divides for the thread that mattered in it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// On a CPU.
    pub computing: Span,
    /// Wanted to run, had no CPU.
    pub waiting: Span,
    /// Stopped by a signal or a debugger.
    pub stopped: Span,
    /// Ready to run, not waiting by the kernel's account, yet not running: the hypervisor had the CPU.
    pub stolen: Span,
    /// Asleep by its own choice.
    pub asleep: Span,
    /// Not sampled.
    pub unobserved: Span,
    /// How far each part may be off: the sampling interval at the window's ends.
    pub error: Span,
}

impl Usage {
    /// Everything but sleep and what nobody saw.
    pub fn busy(&self) -> Span {
        self.computing + self.waiting + self.stopped + self.stolen
    }
}

/// Samples of the threads of one process (and its children), in order of time per thread.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct HostTrace<D: Domain> {
    /// The samples.
    pub samples: Vec<Sample<D>>,
    /// Whether its connection's socket has `TCP_NODELAY` set; absent if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodelay: Option<bool>,
}

impl<D: Domain> HostTrace<D> {
    /// Divides `[from, to]` by what the busiest thread of the process did in it: the one that ran,
    /// waited or stood stopped the longest. Threads that only slept cannot have held the work up unless all did.
    /// Where it waited while its own process's other threads had the CPU (a JVM compiling), that is the program
    /// computing, not the host starving it.
    pub fn usage(&self, from: Instant<D>, to: Instant<D>) -> Usage {
        let mut threads: BTreeMap<u32, Vec<&Sample<D>>> = BTreeMap::new();
        for sample in &self.samples {
            threads.entry(sample.tid).or_default().push(sample);
        }
        let usages: Vec<Usage> = threads.values().map(|samples| thread_usage(samples, from, to)).collect();
        let all_computing: Span = usages.iter().map(|u| u.computing).sum();
        usages
            .into_iter()
            .max_by_key(|u| (u.busy(), u.asleep))
            .map(|busiest| {
                let others = all_computing - busiest.computing;
                let behind_its_own = busiest.waiting.min(others);
                Usage { waiting: busiest.waiting - behind_its_own, computing: busiest.computing + behind_its_own, ..busiest }
            })
            .unwrap_or(Usage { unobserved: (to - from).at_least_zero(), ..Usage::default() })
    }
}

/// What a thread did between two samples, in the order in which it must have happened.
struct Interval<D> {
    from: Instant<D>,
    parts: Vec<(Part, Span)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Computing,
    Waiting,
    Stopped,
    Stolen,
    Asleep,
    Unobserved,
}

fn thread_usage<D: Domain>(samples: &[&Sample<D>], from: Instant<D>, to: Instant<D>) -> Usage {
    let mut usage = Usage::default();
    let window = (to - from).at_least_zero();
    for interval in intervals(samples) {
        let mut at = interval.from;
        let length: Span = interval.parts.iter().map(|(_, span)| *span).sum();
        let end = at + length;
        if (at < from && end > from) || (at < to && end > to) {
            usage.error += length.min(Span::from_millis(20));
        }
        for (part, span) in interval.parts {
            let inside = ((at + span).min(to) - at.max(from)).at_least_zero();
            at = at + span;
            let sum = match part {
                Part::Computing => &mut usage.computing,
                Part::Waiting => &mut usage.waiting,
                Part::Stopped => &mut usage.stopped,
                Part::Stolen => &mut usage.stolen,
                Part::Asleep => &mut usage.asleep,
                Part::Unobserved => continue,
            };
            *sum += inside;
        }
    }
    usage.unobserved = window - usage.computing - usage.waiting - usage.stopped - usage.stolen - usage.asleep;
    usage
}

/// Divides the time between consecutive samples; walks backwards, carrying waiting that was credited late.
fn intervals<D: Domain>(samples: &[&Sample<D>]) -> Vec<Interval<D>> {
    let mut found = Vec::with_capacity(samples.len());
    let mut owed = Span::ZERO;
    for pair in samples.windows(2).rev() {
        let (a, b) = (pair[0], pair[1]);
        let length = (b.at - a.at).at_least_zero();
        let computing = delta(a.cpu, b.cpu).min(length);
        let free = length - computing;
        let credit = delta(a.run_delay, b.run_delay) + owed;
        let waiting = credit.min(free);
        owed = credit - waiting;
        let left = free - waiting;
        let (stopped, asleep) =
            (|s: &Sample<D>| matches!(s.state, 'T' | 't'), |s: &Sample<D>| matches!(s.state, 'S' | 'D' | 'I'));
        let work = [(Part::Waiting, waiting), (Part::Computing, computing)];
        // Whoever reads the counters every few milliseconds stood still as well: the machine did.
        let stolen = delta(a.steal, b.steal).min(left);
        if length > STOOD_STILL && stolen >= left.percent(50) {
            found.push(Interval {
                from: a.at,
                parts: [vec![(Part::Stolen, stolen), (Part::Asleep, left - stolen)], work.to_vec()].concat(),
            });
            continue;
        }
        let parts = if stopped(a) || stopped(b) {
            // What a stopped thread did in the rest of the interval is in the error.
            if stopped(a) {
                [vec![(Part::Stopped, left)], work.to_vec()].concat()
            } else {
                [work.to_vec(), vec![(Part::Stopped, left)]].concat()
            }
        } else if asleep(a) && asleep(b) {
            // It woke and slept again; when within the interval is not known.
            let half = left.percent(50);
            [vec![(Part::Asleep, half)], work.to_vec(), vec![(Part::Asleep, left - half)]].concat()
        } else if asleep(a) {
            [vec![(Part::Asleep, left)], work.to_vec()].concat()
        } else if asleep(b) {
            [work.to_vec(), vec![(Part::Asleep, left)]].concat()
        } else {
            // Ready all along, neither running nor waiting by the kernel's account.
            let stolen = left.min(delta(a.steal, b.steal));
            [work.to_vec(), vec![(Part::Stolen, stolen), (Part::Unobserved, left - stolen)]].concat()
        };
        found.push(Interval { from: a.at, parts });
    }
    found
}

fn delta(a: u64, b: u64) -> Span {
    Span::from_nanos(i64::try_from(b.saturating_sub(a)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Client;
    use proptest::prelude::*;

    fn sample(ms: i64, cpu: u64, run_delay: u64, state: char) -> Sample<Client> {
        Sample { at: at(ms), tid: 1, cpu: cpu * 1_000_000, run_delay: run_delay * 1_000_000, state, steal: 0 }
    }
    fn at(ms: i64) -> Instant<Client> {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn waiting_credited_late_is_laid_back_where_it_was() {
        // Ran 10 ms, throttled for 80 (credited at 92), ran again.
        let trace = HostTrace {
            samples: vec![
                sample(0, 0, 0, 'R'),
                sample(10, 10, 0, 'R'),
                sample(50, 10, 0, 'R'),
                sample(90, 10, 0, 'R'),
                sample(92, 12, 80, 'R'),
            ],
            nodelay: None,
        };
        let usage = trace.usage(at(10), at(90));
        assert_eq!(usage.waiting, Span::from_millis(80));
        assert_eq!(usage.computing, Span::ZERO);
    }

    #[test]
    fn waiting_behind_its_own_threads_is_the_program_computing() {
        let other = |ms, cpu| Sample { tid: 2, ..sample(ms, cpu, 0, 'R') };
        let trace = HostTrace {
            samples: vec![sample(0, 0, 0, 'R'), other(0, 0), sample(100, 20, 80, 'R'), other(100, 50)],
            nodelay: None,
        };
        let usage = trace.usage(at(0), at(100));
        assert_eq!((usage.computing, usage.waiting), (Span::from_millis(70), Span::from_millis(30)));
    }

    #[test]
    fn a_stopped_thread_is_not_waiting_for_a_cpu() {
        let trace = HostTrace {
            samples: vec![sample(0, 0, 0, 'S'), sample(10, 0, 0, 'T'), sample(310, 0, 0, 'T'), sample(320, 5, 0, 'R')],
            nodelay: None,
        };
        let usage = trace.usage(at(10), at(310));
        assert_eq!(usage.stopped, Span::from_millis(300));
        assert_eq!(usage.waiting, Span::ZERO);
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_window(
            steps in prop::collection::vec((1i64..40, 0u64..40, 0u64..90, prop::sample::select(vec!['R', 'S', 'T', 'D'])), 0..30),
            from in -20i64..400, length in 0i64..500,
        ) {
            let (mut t, mut cpu, mut delay) = (0, 0, 0);
            let samples = steps.into_iter().map(|(dt, c, d, state)| { t += dt; cpu += c; delay += d; sample(t, cpu, delay, state) }).collect();
            let u = HostTrace { samples, nodelay: None }.usage(at(from), at(from + length));
            prop_assert_eq!(u.computing + u.waiting + u.stopped + u.stolen + u.asleep + u.unobserved, Span::from_millis(length));
            for part in [u.computing, u.waiting, u.stopped, u.stolen, u.asleep, u.unobserved] {
                prop_assert!(part >= Span::ZERO, "{:?}", u);
            }
        }
    }
}
