//! Whether what is said of a handshake is so: every claim is looked up in the packets.
//!
//! ```text
//! Handshake ─► Witness (one observer's packets, in order of time) ─┐
//! Reading, Judgement, sentence ────────────────────────────────────┴─► sums, work, losses, rules, ending, open, words ─► Broken
//! ```
//! A verdict that convicts somebody must stand up to whoever opens the capture. So this is no second walk: it asks of each entry, and of
//! the sentence, what a reader with the capture before him would ask, straight from the packets, and shares no code with [`crate::conversation::walk`].
//! It finds contradictions, not truth: what nobody can check passes.

mod broken;
mod ending;
mod losses;
mod open;
mod rounds;
mod rules;
mod sums;
mod witness;
mod words;
mod work;

use crate::clock::Span;
use crate::conversation::handshake::Handshake;
use crate::judging::ledger::{Entry, Owner};
use crate::judging::verdict::{Judgement, Reading};
use crate::tcp::flow::Side;

pub use broken::{Broken, Claim, Rule};
use witness::Witness;

/// Stamps of one host, softirqs, and what a reading rounds: a stated time may be off by so much beside its own error.
const SLACK: Span = Span::from_millis(2);

/// Looks up all that is said; gives what the packets contradict. Where nobody kept the packets, only the sums are looked at.
pub fn check(handshake: &Handshake, reading: &Reading, judgement: &Judgement, sentence: &str) -> Vec<Broken> {
    let case = Case {
        handshake,
        reading,
        judgement,
        sentence,
        client: handshake.client.as_ref().map(|view| Witness::of(view, Side::Client)).filter(|w| !w.packets.is_empty()),
        edge: handshake.edge.as_ref().map(|view| Witness::of(view, Side::Server)).filter(|w| !w.packets.is_empty()),
    };
    let mut found = Vec::new();
    sums::check(&case, &mut found);
    if case.client.is_some() || case.edge.is_some() {
        sums::cited(&case, &mut found);
        sums::once(&case, &mut found);
        work::check(&case, &mut found);
        losses::check(&case, &mut found);
        rules::check(&case, &mut found);
        rounds::check(&case, &mut found);
        ending::check(&case, &mut found);
        open::check(&case, &mut found);
        words::check(&case, &mut found);
    }
    // What is said twice is wrong once.
    let mut once: Vec<Broken> = Vec::new();
    for broken in found {
        if !once.contains(&broken) {
            once.push(broken);
        }
    }
    once
}

/// What is said, and what it is held against.
struct Case<'a> {
    handshake: &'a Handshake,
    reading: &'a Reading,
    judgement: &'a Judgement,
    sentence: &'a str,
    client: Option<Witness>,
    edge: Option<Witness>,
}

impl Case<'_> {
    fn entries(&self) -> &[Entry] {
        &self.reading.ledger.entries
    }

    /// Whoever watched at an end.
    fn at(&self, end: Side) -> Option<&Witness> {
        match end {
            Side::Client => self.client.as_ref(),
            Side::Server => self.edge.as_ref(),
        }
    }

    /// Whoever watched at an end, or else at the other.
    fn near(&self, end: Side) -> Option<&Witness> {
        self.at(end).or_else(|| self.at(end.peer()))
    }

    fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.client.iter().chain(&self.edge)
    }
}

/// The end whose own an owner's time is.
fn side_of(owner: Owner) -> Option<Side> {
    match owner.side() {
        Owner::Client => Some(Side::Client),
        Owner::Edge => Some(Side::Server),
        _ => None,
    }
}
