//! One connection under two names: before and behind address translation on the host that captured it.
//!
//! In: views, each once. Out: whether a view is of a connection that the same observer has shown under another name; the first counts.
//! The initial sequence numbers of both sides are a name that translation leaves alone, and so is ClientHello's random; both names pass at
//! about the same time. The same numbers later, or with another random, are another connection: a replayed or synthetic capture has such.

use std::collections::VecDeque;

use analysis::clock::{Instant, Span, Unplaced};
use analysis::tcp::flow::{Endpoints, Side, View};
use analysis::tls::client_random;
use foldhash::HashMap;

/// Connections remembered.
const MOST: usize = 4_096;

/// A host hands a packet on sooner, a queue that is full and a SYN that went missing behind it included.
const SOON: Span = Span::from_millis(3_000);

type Name = (usize, u32, u32);

/// A connection that was shown.
struct Shown {
    endpoints: Endpoints,
    began: Instant<Unplaced>,
    random: Option<[u8; 32]>,
}

/// Connections that were shown lately.
#[derive(Default)]
pub struct Twins {
    known: HashMap<Name, Shown>,
    order: VecDeque<Name>,
    found: u64,
}

impl Twins {
    /// Whether this is one of two; if not, it is remembered.
    pub fn is_twin(&mut self, observer: usize, view: &View<Unplaced>) -> bool {
        let Some((client, server)) = view.isn(Side::Client).zip(view.isn(Side::Server)) else { return false };
        // Without its SYN a view's numbers may be guessed.
        let Some(syn) = view.syns(Side::Client).next() else { return false };
        let random = client_random(view.half(Side::Client).stream.beginning());
        let shown = Shown { endpoints: view.endpoints, began: syn.at, random };
        let name = (observer, client, server);
        if let Some(known) = self.known.get_mut(&name) {
            let twin = known.is_twin_of(&shown);
            if twin {
                self.found += 1;
            } else {
                *known = shown;
            }
            return twin;
        }
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(name, shown);
        self.order.push_back(name);
        false
    }

    /// How many views were left out.
    pub fn found(&self) -> u64 {
        self.found
    }
}

impl Shown {
    fn is_twin_of(&self, other: &Self) -> bool {
        let others = self.random.zip(other.random).is_some_and(|(one, another)| one != another);
        self.endpoints != other.endpoints && (self.began - other.began).abs() <= SOON && !others
    }
}

#[cfg(test)]
mod tests;
