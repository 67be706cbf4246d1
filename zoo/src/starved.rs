//! How long the scheduler made a program wait during a handshake, from the kernel's own counters.
//!
//! A quota has no length that the injector knows; `run_delay` of the program's threads does, and since Linux 6.18, which takes a throttled
//! thread off the queue, what its group was throttled for. Both are read when packets pass the wire, and never count for more than the
//! program's own turns lasted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use lab::wire::{Event, Packet};

/// Nanoseconds of waiting by thread.
type Waits = HashMap<u32, u64>;

/// What a handshake's program waited for a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Starved {
    pub handshake: usize,
    pub client: bool,
    pub ms: f64,
}

/// Reads counters as packets pass.
pub struct Watch {
    client: bool,
    /// The client waits for the server's word behind its Finished.
    last_word: bool,
    /// Delay from the server to the client, or the other way round: what the last packet still had before it.
    before: Duration,
    /// The statistics of the group that a quota is set on.
    group: Option<PathBuf>,
    base: HashMap<usize, (i64, Waits, u64)>,
    turns: HashMap<usize, f64>,
}

impl Watch {
    pub fn new(client: bool, last_word: bool, before: Duration, group: Option<PathBuf>) -> Self {
        Self { client, last_word, before, group, base: HashMap::new(), turns: HashMap::new() }
    }

    /// Nanoseconds for which the group was throttled so far (cgroup v1: `throttled_time`; v2: `throttled_usec`).
    fn throttled(&self) -> u64 {
        let text = self.group.as_ref().and_then(|stat| std::fs::read_to_string(stat).ok()).unwrap_or_default();
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
        value("throttled_time ").or_else(|| value("throttled_usec ").map(|us| us * 1_000)).unwrap_or(0)
    }

    /// A packet passed; `pid` is the program's.
    pub fn packet(&mut self, event: &Event, pid: u32) {
        if event.copy > 1 || (event.packet == Packet::ClientFinished(1) && !self.client && !self.last_word) {
            return;
        }
        let (begins, ends) = match (self.client, event.packet) {
            (true, Packet::SynAck | Packet::Flight(_)) | (false, Packet::ClientHello(_) | Packet::ClientFinished(1)) => {
                (true, false)
            }
            (true, Packet::ClientHello(1) | Packet::ClientFinished(1)) | (false, Packet::Flight(1) | Packet::Behind(1)) => {
                (false, true)
            }
            _ => (false, false),
        };
        if begins {
            self.base.insert(event.connection, (event.at, waits(pid), self.throttled()));
        } else if ends && let Some((at, base, throttled)) = self.base.remove(&event.connection) {
            let queued: u64 = waits(pid).iter().map(|(t, ns)| ns.saturating_sub(base.get(t).copied().unwrap_or(0))).sum();
            let waited = queued + self.throttled().saturating_sub(throttled);
            let turn = (event.at - at) as f64 - self.before.as_nanos() as f64;
            *self.turns.entry(event.connection).or_default() += (waited as f64).min(turn.max(0.0)) / 1e6;
        }
    }

    /// All handshakes.
    pub fn end(self) -> Vec<Starved> {
        self.turns.into_iter().map(|(handshake, ms)| Starved { handshake, client: self.client, ms }).collect()
    }
}

fn waits(pid: u32) -> Waits {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Waits::new() };
    tasks
        .flatten()
        .filter_map(|t| {
            let text = std::fs::read_to_string(t.path().join("schedstat")).ok()?;
            Some((t.file_name().to_str()?.parse().ok()?, text.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_read_of_both_hierarchies() {
        let folder = std::env::temp_dir().join(format!("whostalled-zoo-stat-{}", std::process::id()));
        let of = |text: &str| {
            std::fs::write(&folder, text).expect("a file of our own");
            Watch::new(false, false, Duration::ZERO, Some(folder.clone())).throttled()
        };
        assert_eq!(of("nr_periods 5\nnr_throttled 2\nthrottled_time 60100000\n"), 60_100_000);
        assert_eq!(of("usage_usec 9\nnr_throttled 2\nthrottled_usec 60100\n"), 60_100_000);
        assert_eq!(of("nr_periods 5\n"), 0);
        let _ = std::fs::remove_file(&folder);
        assert_eq!(Watch::new(false, false, Duration::ZERO, None).throttled(), 0, "nobody is throttled");
    }
}
