//! One connection under two names: before and behind address translation on the host that captured it.
//!
//! In: views, each once. Out: whether a view is of a connection that the same observer has shown under another name; the first counts.
//! The initial sequence numbers of both sides are a name that translation leaves alone.

use std::collections::VecDeque;

use analysis::clock::Unplaced;
use analysis::tcp::flow::{Endpoints, Side, View};
use foldhash::HashMap;

/// Connections remembered.
const MOST: usize = 4_096;

type Name = (usize, u32, u32);

/// Connections that were shown lately.
#[derive(Default)]
pub struct Twins {
    known: HashMap<Name, Endpoints>,
    order: VecDeque<Name>,
}

impl Twins {
    /// Whether this is one of two; if not, it is remembered.
    pub fn is_twin(&mut self, observer: usize, view: &View<Unplaced>) -> bool {
        let Some((client, server)) = view.isn(Side::Client).zip(view.isn(Side::Server)) else { return false };
        // Without its SYN a view's numbers may be guessed.
        if view.syns(Side::Client).next().is_none() {
            return false;
        }
        let name = (observer, client, server);
        if let Some(endpoints) = self.known.get(&name) {
            return *endpoints != view.endpoints;
        }
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(name, view.endpoints);
        self.order.push_back(name);
        false
    }
}

#[cfg(test)]
mod tests;
