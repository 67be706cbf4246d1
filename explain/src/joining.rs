//! Views of one connection by several observers, brought together.
//!
//! In: views, each from one observer, in any order. Out: groups, each one connection. Names that survive on the way:
//! both initial sequence numbers (address translation leaves them alone); failing that, ClientHello's random with the same TCP
//! timestamp (something rewrote the sequence numbers) or the same endpoints. The same random alone is another connection: a
//! proxy handed the bytes on (see [`crate::judging`]). A view whose partner never comes leaves alone.

use std::collections::VecDeque;
use std::hash::Hash;

use foldhash::HashMap;

use analysis::clock::{Instant, Span, Unplaced};
use analysis::conversation::handshake::same_bytes;
use analysis::tcp::flow::{Side, View};

/// Bytes of views that wait for their partners.
const MOST_HELD: usize = 48 << 20;
/// A view waits until every observer's capture is so much further: longer than an idle handshake lives.
const PATIENCE: Span = Span::from_millis(100_000);

/// One connection, seen by each of some observers once.
#[derive(Default)]
pub struct Group {
    /// Observer and view.
    pub views: Vec<(usize, Box<View<Unplaced>>)>,
    /// No view of it shows TLS yet.
    perhaps: bool,
    /// By which names it can be found in the room it waits in: those of all its views.
    numbers: Vec<(u32, u32)>,
    randoms: Vec<[u8; 32]>,
}

impl Group {
    /// A connection that only one observer can have seen.
    pub fn alone(observer: usize, view: Box<View<Unplaced>>) -> Self {
        Self { views: vec![(observer, view)], ..Self::default() }
    }

    /// A connection that one observer saw from two places, the first nearer to the client.
    pub fn of_two_places(observer: usize, [client, edge]: [Box<View<Unplaced>>; 2]) -> Self {
        Self { views: vec![(observer, client), (observer, edge)], ..Self::default() }
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
            self.groups.push_back(Some(Group { perhaps: true, ..Group::default() }));
            self.front + self.groups.len() as u64 - 1
        });
        self.by_numbers.extend(numbers.map(|n| (n, index)));
        self.by_random.extend(random.map(|r| (r, index)));
        self.held += view.held();
        let group = self.groups.get_mut((index - self.front) as usize)?.as_mut()?;
        group.numbers.extend(numbers);
        group.randoms.extend(random);
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
        // A later group may have taken over a name.
        for numbers in &group.numbers {
            forget(&mut self.by_numbers, numbers, id);
        }
        for random in &group.randoms {
            forget(&mut self.by_random, random, id);
        }
        Some(group)
    }
}

/// Lets go of a name, if it is the group's still.
fn forget<K: Eq + Hash>(names: &mut HashMap<K, u64>, name: &K, group: u64) {
    if names.get(name) == Some(&group) {
        names.remove(name);
    }
}

/// Whether a view may be another observer's of the same connection.
fn fits(group: &Group, observer: usize, view: &View<Unplaced>) -> bool {
    group.views.iter().all(|(other, seen)| {
        let numbers = |v: &View<Unplaced>| (v.isn(Side::Client), v.isn(Side::Server));
        *other != observer && (numbers(seen) == numbers(view) || same_bytes(seen, view))
    })
}

#[cfg(test)]
mod tests {
    use analysis::tcp::table::FlowTable;
    use analysis::wire::packet::{LinkType, Transport, decode};

    use super::*;

    /// A connection with these initial numbers, or those that something on its way made of them, and a ClientHello with this random, if it
    /// came so far.
    fn view(isns: [u32; 2], random: Option<u8>, at: i64) -> Box<View<Unplaced>> {
        let [c, s] = isns;
        let body = random.map(|random| [&[3, 3][..], &[random; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat());
        let hello = body.map(|body| [&[22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8][..], &body].concat());
        let mut table = FlowTable::default();
        let packets =
            [(false, c, 0, 0x02, vec![]), (true, s, c + 1, 0x12, vec![]), (false, c + 1, s + 1, 0x10, hello.unwrap_or_default())];
        for (number, (back, seq, ack, flags, data)) in (1..).zip(packets) {
            let mut packet = vec![0x45, 0, 0, 40 + data.len() as u8, 0, 0, 0, 0, 64, 6, 0, 0];
            let ends: [&[u8]; 2] = if back { [&[10, 0, 0, 9], &[10, 0, 0, 1]] } else { [&[10, 0, 0, 1], &[10, 0, 0, 9]] };
            packet.extend(ends.concat());
            packet.extend(if back { [1, 187, 156, 64] } else { [156, 64, 1, 187] });
            packet.extend([u32::to_be_bytes(seq), u32::to_be_bytes(ack)].concat());
            packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            packet.extend(data);
            let Ok(Transport::Tcp(segment)) = decode(LinkType::RawIp, &packet) else { panic!("it was written above") };
            table.push(Instant::from_nanos(at), number, &segment);
        }
        Box::new(table.into_views().remove(0))
    }

    fn is_empty(room: &WaitingRoom) -> bool {
        room.by_numbers.is_empty() && room.by_random.is_empty() && room.held == 0
    }

    #[test]
    fn a_group_that_goes_leaves_no_name_behind() {
        // What one observer saw of it is no more than its beginning, in either order.
        for [first, second] in [[None, Some(1)], [Some(1), None], [None, None], [Some(1), Some(1)]] {
            let mut room = WaitingRoom::default();
            assert!(room.push(0, view([7, 8], first, 1), 2, false).is_none());
            assert_eq!(room.push(1, view([7, 8], second, 1), 2, false).map(|group| group.views.len()), Some(2));
            assert!(is_empty(&room), "{first:?} {second:?}");
        }
        // Found by its random, under other numbers.
        let mut room = WaitingRoom::default();
        room.push(0, view([7, 8], Some(1), 1), 2, false);
        assert_eq!(room.push(1, view([70, 80], Some(1), 1), 2, false).map(|group| group.views.len()), Some(2));
        assert!(is_empty(&room));
    }

    #[test]
    fn a_name_that_a_later_group_has_is_its_own() {
        let mut room = WaitingRoom::default();
        let second = |n: i64| n * 1_000_000_000;
        // The same numbers at the same observer: another connection, long behind.
        assert!(room.push(0, view([7, 8], None, 0), 2, false).is_none());
        assert!(room.push(0, view([7, 8], Some(1), second(90)), 2, false).is_none());
        let alone = room.overdue(Instant::from_nanos(second(110))).expect("the first waited long enough");
        assert_eq!((alone.views.len(), alone.last_at()), (1, Instant::from_nanos(0)));
        let group = room.push(1, view([7, 8], Some(1), second(90)), 2, false).expect("the second is found by its name");
        assert!(group.views.len() == 2 && is_empty(&room));
    }
}
