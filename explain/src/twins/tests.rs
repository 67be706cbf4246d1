//! Twins, from frames: one connection before and behind address translation.

use analysis::clock::Instant;
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{LinkType, Transport, decode};

use super::*;

/// A TCP packet between these hosts' ports, client's first.
fn frame(hosts: [u8; 2], back: bool, seq: u32, ack: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let (a, b) = if back { (1, 0) } else { (0, 1) };
    let ports = [40_000_u16, 443];
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, 40 + data.len() as u8, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, hosts[a], 10, 0, 0, hosts[b]]);
    frame.extend(ports[a].to_be_bytes());
    frame.extend(ports[b].to_be_bytes());
    frame.extend(seq.to_be_bytes());
    frame.extend(ack.to_be_bytes());
    frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend(data);
    frame
}

/// What begins as a ClientHello with this random.
fn hello(random: u8) -> Vec<u8> {
    let body = [&[3, 3][..], &[random; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    [&[22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8][..], &body].concat()
}

/// A connection from host to host with these initial numbers, with its SYN or without.
fn connection(hosts: [u8; 2], isns: [u32; 2], with_syn: bool) -> View<Unplaced> {
    connection_at(0, None, hosts, isns, with_syn)
}

/// The same, begun at a millisecond, and with a ClientHello of this random.
fn connection_at(millisecond: i64, random: Option<u8>, hosts: [u8; 2], isns: [u32; 2], with_syn: bool) -> View<Unplaced> {
    let [c, s] = isns;
    let data = random.map(hello).unwrap_or_default();
    let frames =
        [frame(hosts, false, c, 0, 2, &[]), frame(hosts, true, s, c + 1, 18, &[]), frame(hosts, false, c + 1, s + 1, 16, &data)];
    let mut table = FlowTable::default();
    for (number, frame) in (1..).zip(&frames).skip(usize::from(!with_syn)) {
        let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, frame) else { panic!("it was written above") };
        table.push(Instant::from_nanos(millisecond * 1_000_000 + number as i64), number, &segment);
    }
    table.into_views().remove(0)
}

#[test]
fn the_same_numbers_later_or_with_another_random_are_another_connection() {
    let shown = |random, later: &[(i64, Option<u8>)]| {
        let mut twins = Twins::default();
        assert!(!twins.is_twin(0, &connection_at(60_000, random, [1, 9], [7, 8], true)));
        let hosts = (2..).map(|host| [host, 9]);
        let is_twin = |((at, random), hosts)| twins.is_twin(0, &connection_at(at, random, hosts, [7, 8], true));
        let found: Vec<bool> = later.iter().copied().zip(hosts).map(is_twin).collect();
        assert_eq!(twins.found(), found.iter().filter(|twin| **twin).count() as u64);
        found
    };
    // A minute later; soon, as a SYN sent again; the same behind the second.
    assert_eq!(shown(None, &[(61_000, None), (120_000, None), (120_001, None), (61_000, None)]), [true, false, true, false]);
    // Told later, but begun before.
    assert_eq!(shown(None, &[(59_000, None), (1_000, None)]), [true, false]);
    assert_eq!(
        shown(Some(1), &[(60_001, Some(1)), (60_001, Some(2)), (60_001, Some(2)), (60_001, None)]),
        [true, false, true, true]
    );
}

#[test]
fn the_same_numbers_under_another_name_are_a_twin() {
    let mut twins = Twins::default();
    assert!(!twins.is_twin(0, &connection([1, 9], [7, 8], true)), "the first counts");
    assert!(twins.is_twin(0, &connection([2, 9], [7, 8], true)));
    assert!(twins.is_twin(0, &connection([3, 9], [7, 8], true)));
    // The same name again is the same connection.
    assert!(!twins.is_twin(0, &connection([1, 9], [7, 8], true)));
}

#[test]
fn other_numbers_or_another_observer_are_another_connection() {
    let mut twins = Twins::default();
    assert!(!twins.is_twin(0, &connection([1, 9], [7, 8], true)));
    assert!(!twins.is_twin(0, &connection([2, 9], [7, 80], true)));
    assert!(!twins.is_twin(0, &connection([2, 9], [70, 8], true)));
    assert!(!twins.is_twin(1, &connection([2, 9], [7, 8], true)), "two observers of one connection are joined elsewhere");
}

#[test]
fn without_its_syn_a_connections_numbers_are_guessed() {
    let mut twins = Twins::default();
    assert!(!twins.is_twin(0, &connection([1, 9], [7, 8], true)));
    assert!(!twins.is_twin(0, &connection([2, 9], [7, 8], false)));
}

#[test]
fn the_oldest_are_forgotten() {
    let mut twins = Twins::default();
    for n in 0..=MOST as u32 {
        assert!(!twins.is_twin(0, &connection([1, 9], [n, 8], true)));
    }
    assert!(!twins.is_twin(0, &connection([2, 9], [0, 8], true)), "it is forgotten, and remembered under this name");
    assert!(twins.is_twin(0, &connection([2, 9], [5, 8], true)));
    assert_eq!((twins.known.len(), twins.order.len()), (MOST, MOST));
}
