//! How long the scheduler made a program wait during a handshake, from the kernel's own counters.
//!
//! A quota has no length that the injector knows; `run_delay` of the program's threads does. It is read when packets pass
//! the wire, and never counts for more than the program's own turns lasted.

use std::collections::HashMap;
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
    base: HashMap<usize, (i64, Waits)>,
    turns: HashMap<usize, f64>,
}

impl Watch {
    pub fn new(client: bool, last_word: bool, before: Duration) -> Self {
        Self { client, last_word, before, base: HashMap::new(), turns: HashMap::new() }
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
            self.base.insert(event.connection, (event.at, waits(pid)));
        } else if ends && let Some((at, base)) = self.base.remove(&event.connection) {
            let waited: u64 = waits(pid).iter().map(|(t, ns)| ns.saturating_sub(base.get(t).copied().unwrap_or(0))).sum();
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
