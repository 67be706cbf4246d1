//! Which departure became which arrival.

use super::super::tcp::pairing::pair;
use super::super::transport::Ways;
use super::tape;
use crate::tcp::by_hand::{C, Packet, S, ack, data, nanos, syn};

/// How far the edge's clock runs ahead.
const AHEAD: f64 = 5_000.0;
/// Each way, well.
const WAY: f64 = 20.0;

/// SYN, SYN-ACK and its acknowledgement at both ends, then what left the client and came to the edge.
struct Talk {
    client: Vec<Packet>,
    edge: Vec<Packet>,
}

fn talk() -> Talk {
    let mut talk = Talk { client: vec![], edge: vec![] };
    talk.passes(syn(C, 0.0));
    talk.passes(syn(S, 20.1));
    talk.passes(ack(C, 40.2, 0, 0));
    talk
}

impl Talk {
    fn leaves(&mut self, packet: Packet) {
        if packet.from == C { self.client.push(packet) } else { self.edge.push(packet.later(AHEAD)) }
    }
    fn comes(&mut self, packet: Packet) {
        if packet.from == C { self.edge.push(packet.later(AHEAD)) } else { self.client.push(packet) }
    }
    fn passes(&mut self, packet: Packet) {
        self.leaves(packet.clone());
        self.comes(packet.later(WAY));
    }
    /// Of the client's packets that came, behind the first three: which departure each was, and of each departure which arrival.
    fn paired(mut self) -> (Vec<Option<u32>>, Vec<Option<u32>>, Ways) {
        [&mut self.client, &mut self.edge].into_iter().for_each(|tap| tap.sort_by(|a, b| a.at.total_cmp(&b.at)));
        let (mut client, mut edge) = (tape(C, &self.client), tape(S, &self.edge));
        let ways = pair(&mut client, &mut edge);
        let others = |tape: &super::Tape| -> Vec<Option<u32>> {
            tape.events.iter().skip(3).filter(|e| e.seen.from == C).map(|e| e.other).collect()
        };
        (others(&edge), others(&client), ways)
    }
}

fn hello(at: f64) -> Packet {
    data(C, at, 0, 500)
}

#[test]
fn copies_that_all_came_are_matched_first_in_first_out() {
    let mut talk = talk();
    talk.passes(hello(41.0));
    talk.passes(hello(241.0));
    talk.passes(hello(641.0));
    let (came, left, ways) = talk.paired();
    assert_eq!((came, left), (vec![Some(3), Some(4), Some(5)], vec![Some(3), Some(4), Some(5)]));
    assert_eq!(ways.least, [Some(nanos(WAY + AHEAD)), Some(nanos(WAY - AHEAD))]);
    assert_eq!(ways.usual, ways.least);
}

#[test]
fn of_copies_without_identity_those_came_that_took_the_usual_way() {
    let mut lost = talk();
    lost.leaves(hello(41.0));
    lost.passes(hello(241.0));
    assert_eq!(lost.paired().0, [Some(4)]);
    // Where none did, one delay explains more than a loss and a delay.
    let mut held = talk();
    held.leaves(hello(41.0));
    held.leaves(hello(241.0));
    held.comes(hello(300.0));
    let (came, left, _) = held.paired();
    assert_eq!((came, left), (vec![Some(3)], vec![Some(3), None]));
    // Of two that may have, the one that took the shorter way.
    let mut close = talk();
    close.leaves(hello(41.0));
    close.leaves(hello(42.0));
    close.comes(hello(62.0));
    assert_eq!(close.paired().0, [Some(4)]);
    // The second of three was lost.
    let mut middle = talk();
    middle.passes(hello(41.0));
    middle.leaves(hello(241.0));
    middle.passes(hello(641.0));
    let (came, left, _) = middle.paired();
    assert_eq!((came, left), (vec![Some(3), Some(5)], vec![Some(3), None, Some(4)]));
}

#[test]
fn an_identity_tells_copies_apart_whatever_their_way() {
    for tell in [|p: Packet, n: u16| p.id(n), |p: Packet, n: u16| p.stamped(u32::from(n), 0)] {
        let mut talk = talk();
        talk.leaves(tell(hello(41.0), 7));
        talk.leaves(tell(hello(241.0), 8));
        // The first came late, when the second would have.
        talk.comes(tell(hello(261.0), 7));
        assert_eq!(talk.paired().0, [Some(3)]);
    }
}

#[test]
fn what_was_merged_or_cut_on_its_way_is_matched_by_its_last_byte() {
    let mut merged = talk();
    merged.leaves(data(C, 41.0, 0, 1_000));
    merged.leaves(data(C, 41.2, 1_000, 500));
    merged.comes(data(C, 61.2, 0, 1_500));
    assert_eq!(merged.paired().0, [Some(4)]);
    let mut cut = talk();
    cut.leaves(data(C, 41.0, 0, 2_920));
    cut.comes(data(C, 61.0, 0, 1_460));
    cut.comes(data(C, 61.1, 1_460, 1_460));
    let (came, left, _) = cut.paired();
    assert_eq!((came, left), (vec![Some(3), Some(3)], vec![Some(3)]));
}

#[test]
fn stripped_timestamps_leave_the_range_and_the_time_of_the_way() {
    let stripped = |came: f64| {
        let mut talk = talk();
        talk.leaves(hello(41.0).stamped(41, 0));
        talk.leaves(hello(241.0).stamped(241, 0));
        talk.comes(hello(came));
        talk.paired().0
    };
    assert_eq!(stripped(261.0), [Some(4)], "the second");
    assert_eq!(stripped(257.0), [Some(3)], "too soon for the second");
    // Within the jitter of stamps.
    assert_eq!(stripped(258.5), [Some(4)]);
}

#[test]
fn ecn_marked_on_the_way_changes_no_packet() {
    let mut talk = talk();
    talk.leaves(hello(41.0));
    talk.leaves(hello(241.0));
    for at in [61.0, 255.0] {
        talk.comes(Packet { flags: 0x10 | 0x40, ..hello(at) });
    }
    // As many came as left, so the second is the second however quick: a changed one would be matched by its way alone.
    assert_eq!(talk.paired().0, [Some(3), Some(4)]);
}

#[test]
fn an_acknowledgement_whose_header_changed_is_matched_with_one_that_says_the_same() {
    let mut talk = talk();
    talk.passes(data(S, 62.0, 0, 900));
    talk.passes(data(S, 62.1, 900, 900));
    talk.leaves(ack(C, 82.0, 0, 900).id(1));
    talk.leaves(ack(C, 82.1, 0, 1_800).id(2));
    talk.comes(ack(C, 102.1, 0, 1_800).id(9));
    assert_eq!(talk.paired().0, [Some(6)]);
}

#[test]
fn the_usual_way_is_the_middle_one_and_the_least_the_quickest() {
    let mut talk = talk();
    talk.leaves(hello(41.0));
    talk.comes(hello(41.0 + 25.0));
    talk.leaves(data(C, 42.0, 500, 100));
    talk.comes(data(C, 42.0 + 90.0, 500, 100));
    talk.leaves(data(C, 43.0, 600, 100));
    talk.comes(data(C, 43.0 + 90.0, 600, 100));
    let (.., ways) = talk.paired();
    assert_eq!((ways.least[0], ways.usual[0]), (Some(nanos(AHEAD + 20.0)), Some(nanos(AHEAD + 25.0))));
}
