//! Views of one connection by several observers, brought together.
//!
//! In: views, each from one observer, in any order. Out: groups, each one connection. Names that survive on the way:
//! both initial sequence numbers (address translation leaves them alone); failing that, ClientHello's random with the same TCP
//! timestamp (something rewrote the sequence numbers) or the same endpoints. The same random alone is another connection: a
//! proxy handed the bytes on (see [`crate::judging`]). A view whose partner never comes leaves alone.

use std::collections::VecDeque;

use foldhash::HashMap;

use analysis::clock::{Instant, Span, Unplaced};
use analysis::conversation::handshake::same_bytes;
use analysis::tcp::flow::{Side, View};

/// Bytes of views that wait for their partners.
const MOST_HELD: usize = 48 << 20;
/// A view waits until every observer's capture is so much further: longer than an idle handshake lives.
const PATIENCE: Span = Span::from_millis(100_000);

/// One connection, seen by each of some observers once.
pub struct Group {
    /// Observer and view.
    pub views: Vec<(usize, Box<View<Unplaced>>)>,
    /// No view of it shows TLS yet.
    perhaps: bool,
    random: Option<[u8; 32]>,
}

impl Group {
    /// A connection that only one observer can have seen.
    pub fn alone(observer: usize, view: Box<View<Unplaced>>) -> Self {
        Self { views: vec![(observer, view)], perhaps: false, random: None }
    }

    /// A connection that one observer saw from two places, the first nearer to the client.
    pub fn of_two_places(observer: usize, [client, edge]: [Box<View<Unplaced>>; 2]) -> Self {
        Self { views: vec![(observer, client), (observer, edge)], perhaps: false, random: None }
    }

    /// Whether any of its views shows TLS.
    pub fn shows_tls(&self) -> bool {
        !self.perhaps
    }

    fn held(&self) -> usize {
        self.views.iter().map(|(_, view)| view.held()).sum()
    }

    fn last_at(&self) -> Instant<Unplaced> {
        self.views.iter().filter_map(|(_, v)| v.last_at()).max().unwrap_or_default()
    }
}

/// Views that wait for their partners.
#[derive(Default)]
pub struct WaitingRoom {
    /// Groups by the order in which they came; `front` is the number of the first.
    groups: VecDeque<Option<Group>>,
    front: u64,
    by_numbers: HashMap<(u32, u32), u64>,
    by_random: HashMap<[u8; 32], u64>,
    held: usize,
}

impl WaitingRoom {
    /// Takes a view; gives the group it belongs to if all of `observers` have seen that connection now.
    /// `perhaps`: the view shows nothing but SYNs, and is only worth anything with another's.
    pub fn push(&mut self, observer: usize, view: Box<View<Unplaced>>, observers: usize, perhaps: bool) -> Option<Group> {
        let numbers = view.isn(Side::Client).zip(view.isn(Side::Server));
        let random = view.dialogue().client_random;
        let partner =
            numbers.and_then(|n| self.by_numbers.get(&n)).or_else(|| random.and_then(|r| self.by_random.get(&r))).copied();
        let index = partner.filter(|id| self.group(*id).is_some_and(|group| fits(group, observer, &view))).unwrap_or_else(|| {
            self.groups.push_back(Some(Group { views: vec![], perhaps: true, random }));
            self.front + self.groups.len() as u64 - 1
        });
        self.by_numbers.extend(numbers.map(|n| (n, index)));
        self.by_random.extend(random.map(|r| (r, index)));
        self.held += view.held();
        let group = self.groups.get_mut((index - self.front) as usize)?.as_mut()?;
        group.perhaps &= perhaps;
        group.views.push((observer, view));
        if group.views.len() < observers { None } else { self.take(index) }
    }

    /// A group that has waited long enough, `now` being the time that every observer's capture has reached, or that must go
    /// because memory is short.
    pub fn overdue(&mut self, now: Instant<Unplaced>) -> Option<Group> {
        loop {
            match self.groups.front()? {
                None => {
                    self.groups.pop_front();
                    self.front += 1;
                }
                Some(group) if self.held > MOST_HELD || group.last_at() + PATIENCE < now => {
                    return self.take(self.front);
                }
                Some(_) => return None,
            }
        }
    }

    /// All that still wait.
    pub fn finish(&mut self) -> impl Iterator<Item = Group> {
        std::mem::take(self).groups.into_iter().flatten()
    }

    fn group(&self, id: u64) -> Option<&Group> {
        self.groups.get(id.checked_sub(self.front)? as usize)?.as_ref()
    }

    fn take(&mut self, id: u64) -> Option<Group> {
        let group = self.groups.get_mut((id - self.front) as usize)?.take()?;
        self.held -= group.held();
        for (_, view) in &group.views {
            if let Some(numbers) = view.isn(Side::Client).zip(view.isn(Side::Server)) {
                self.by_numbers.remove(&numbers);
            }
        }
        if let Some(random) = group.random {
            self.by_random.remove(&random);
        }
        Some(group)
    }
}

/// Whether a view may be another observer's of the same connection.
fn fits(group: &Group, observer: usize, view: &View<Unplaced>) -> bool {
    group.views.iter().all(|(other, seen)| {
        let numbers = |v: &View<Unplaced>| (v.isn(Side::Client), v.isn(Side::Server));
        *other != observer && (numbers(seen) == numbers(view) || same_bytes(seen, view))
    })
}
