//! Judging on a core of its own, beside reading.
//!
//! In: [`Placed`] handshakes. Out: [`Finding`]s, in the same order. On one core, or where each finding is wanted at once,
//! the judging is done in place. What is under way between the two threads is bounded: whoever reads waits for whoever judges.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{JoinHandle, available_parallelism};

use analysis::clock::Span;

use crate::judging::{Finding, Judging};
use crate::placing::Placed;

/// Handshakes handed over at once.
const BATCH: usize = 128;
/// Batches that may wait.
const MOST_WAITING: usize = 2;

/// Handshakes on their way to whoever judges.
struct Batch {
    placed: Vec<Placed>,
    /// As [`crate::Sink::counts_only`] said last.
    counts_only: Option<Span>,
}

impl Batch {
    fn new() -> Self {
        Self { placed: Vec::with_capacity(BATCH), counts_only: None }
    }
}

/// Whoever judges.
pub struct Judges {
    place: Place,
}

enum Place {
    Here(Box<Judging>),
    Beside { batch: Batch, to: SyncSender<Batch>, back: Receiver<Vec<Finding>>, thread: JoinHandle<()> },
}

impl Judges {
    /// With `at_once`, every finding comes with the push of its handshake, as far as the captures allow.
    pub fn new(at_once: bool) -> Self {
        let judging = Judging::new(at_once);
        let alone = available_parallelism().is_ok_and(|cores| cores.get() == 1);
        let place = if at_once || alone { Place::Here(Box::new(judging)) } else { beside(judging) };
        Self { place }
    }

    /// Takes a handshake; of one that took no longer than `counts_only` nobody will ask for packets. Gives what has been judged
    /// since it last gave anything.
    pub fn push(&mut self, placed: Placed, counts_only: Option<Span>) -> Vec<Finding> {
        match &mut self.place {
            Place::Here(judging) => {
                judging.push(placed, counts_only);
                std::iter::from_fn(|| judging.pop(false)).collect()
            }
            Place::Beside { batch, to, back, .. } => {
                batch.placed.push(placed);
                if batch.placed.len() < BATCH {
                    return Vec::new();
                }
                batch.counts_only = counts_only;
                // It fails only if the other thread is gone; `finish` tells why.
                let _ = to.send(std::mem::replace(batch, Batch::new()));
                back.try_iter().flatten().collect()
            }
        }
    }

    /// Judges all that is left; gives it one by one.
    pub fn finish(self) -> Box<dyn Iterator<Item = Finding>> {
        match self.place {
            Place::Here(mut judging) => Box::new(std::iter::from_fn(move || judging.pop(true))),
            Place::Beside { batch, to, back, thread } => {
                let _ = to.send(batch);
                drop(to);
                let mut thread = Some(thread);
                let ended = std::iter::from_fn(move || {
                    if let Some(Err(panic)) = thread.take().map(JoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                    None
                });
                Box::new(back.into_iter().flatten().chain(ended))
            }
        }
    }
}

fn beside(mut judging: Judging) -> Place {
    let (to, handed) = sync_channel::<Batch>(MOST_WAITING);
    let (give, back) = channel();
    let thread = std::thread::spawn(move || {
        for Batch { placed, counts_only } in handed {
            placed.into_iter().for_each(|placed| judging.push(placed, counts_only));
            let found: Vec<Finding> = std::iter::from_fn(|| judging.pop(false)).collect();
            if !found.is_empty() && give.send(found).is_err() {
                return; // nobody wants more
            }
        }
        while let Some(finding) = judging.pop(true) {
            if give.send(vec![finding]).is_err() {
                return;
            }
        }
    });
    Place::Beside { batch: Batch::new(), to, back, thread }
}
