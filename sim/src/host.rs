//! A host: what its program's thread does when, and what the scheduler's counters would say of it.

use fastrand::Rng;

use crate::MS;

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadState {
    /// It runs.
    Computing,
    /// It could run and has no CPU.
    Waiting,
    /// A signal stopped it.
    Stopped,
    /// It sleeps by its own choice.
    Asleep,
    /// Nothing runs: the hypervisor has the CPU.
    Stolen,
}

/// What a program does before its next step, in order.
pub type Think = Vec<(ThreadState, i64)>;

/// How long that takes.
pub fn length(think: &Think) -> i64 {
    think.iter().map(|(_, span)| span).sum()
}

/// A reading of a thread's counters, as schedstat, stat and the machine's steal time give them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When, on the host's own clock.
    pub at: i64,
    /// Nanoseconds on a CPU so far.
    pub cpu: u64,
    /// Nanoseconds ready without a CPU so far; credited when the thread gets its CPU.
    pub run_delay: u64,
    /// State letter.
    pub state: char,
    /// Nanoseconds stolen so far.
    pub steal: u64,
}

/// A host's life.
#[derive(Clone, Default, Debug)]
pub struct Host {
    /// What its thread did: begin, end, what.
    pub timeline: Vec<(i64, i64, ThreadState)>,
    /// When the whole machine stood still.
    pub pause: Option<(i64, i64)>,
}

impl Host {
    /// Does `think` from `now` on; gives when it is done.
    pub fn think(&mut self, now: i64, think: &Think) -> i64 {
        let mut at = self.awake(now);
        for (doing, span) in think.iter().filter(|(_, span)| *span > 0) {
            self.timeline.push((at, at + span, *doing));
            at += span;
        }
        at
    }

    /// The first moment from `now` on at which the machine runs.
    pub fn awake(&self, now: i64) -> i64 {
        self.pause.filter(|(from, to)| *from <= now && now < *to).map_or(now, |(_, to)| to)
    }

    /// Samples taken every few milliseconds between `from` and `to`.
    pub fn samples(&self, from: i64, to: i64, rng: &mut Rng) -> Vec<Sample> {
        let mut found = Vec::new();
        let mut at = from;
        while at <= to {
            if self.awake(at) == at {
                found.push(self.sample(at));
            }
            at += 2 * MS + rng.i64(0..MS / 2);
        }
        found
    }

    fn sample(&self, at: i64) -> Sample {
        let spent = |wanted: ThreadState| -> u64 {
            let parts = self.timeline.iter().filter(|(_, _, doing)| *doing == wanted);
            parts.map(|(from, to, _)| (at.min(*to) - from).max(0) as u64).sum()
        };
        let waited = self.timeline.iter().filter(|(_, to, doing)| *doing == ThreadState::Waiting && *to <= at);
        // One that sleeps hides no other that does something.
        let mut awake = self.timeline.iter().filter(|(_, _, doing)| *doing != ThreadState::Asleep);
        let now = awake.find(|(from, to, _)| *from <= at && at < *to).map(|(_, _, doing)| *doing);
        let stolen = self.pause.filter(|(_, to)| *to <= at).map_or(0, |(from, to)| (to - from) as u64);
        Sample {
            at,
            cpu: spent(ThreadState::Computing),
            run_delay: waited.map(|(from, to, _)| (to - from) as u64).sum(),
            state: match now {
                Some(ThreadState::Computing | ThreadState::Waiting) => 'R',
                Some(ThreadState::Stopped) => 'T',
                _ => 'S',
            },
            steal: stolen,
        }
    }
}
