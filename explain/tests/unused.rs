//! A connection that its client closes without a word keeps nobody waiting, whatever the edge says to that; nor does one that is refused.

use std::ops::ControlFlow;

use records::explained::ExplainedRecord;
use whostalled_explain::filter::Filter;
use whostalled_explain::gather::Gather;
use whostalled_explain::{Options, explain};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const CLIENT: ([u8; 4], u16, u32) = ([198, 51, 100, 7], 40_001, 1_000);
const EDGE: ([u8; 4], u16, u32) = ([203, 0, 113, 1], 443, 9_000);

/// A raw IPv4 packet; `at` counts from the initial sequence numbers.
fn packet(from_client: bool, flags: u8, at: (u32, u32), payload: &[u8]) -> Vec<u8> {
    let (from, to) = if from_client { (CLIENT, EDGE) } else { (EDGE, CLIENT) };
    let mut packet = vec![0x45, 0];
    packet.extend((40 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(from.0);
    packet.extend(to.0);
    packet.extend(from.1.to_be_bytes());
    packet.extend(to.1.to_be_bytes());
    packet.extend((from.2 + at.0).to_be_bytes());
    packet.extend(if flags & ACK > 0 { to.2 + at.1 } else { 0 }.to_be_bytes());
    packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(payload);
    packet
}

/// What is said of packets at these milliseconds, captured at the edge; and of how many connections nothing can be.
fn said(packets: &[(i64, Vec<u8>)]) -> (Vec<String>, u64) {
    let mut bytes = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 1 << 18, 101].map(u32::to_le_bytes).concat();
    for (ms, packet) in packets {
        let len = packet.len() as u32;
        bytes.extend([1_700_000_000, *ms as u32 * 1_000, len, len].map(u32::to_le_bytes).concat());
        bytes.extend(packet);
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("edge.pcap");
    std::fs::write(&path, bytes).expect("the folder takes files");
    let mut labels = Vec::new();
    let mut each = |record: &ExplainedRecord| {
        labels.push(record.label());
        ControlFlow::Continue(())
    };
    let mut progress = |_| ();
    let mut gather = Gather::new(Filter::default(), 10, &mut progress).for_each(&mut each);
    let outcome = explain(&Options { edge_side: vec![path], ..Options::default() }, &mut gather);
    let (report, _) = gather.finish(outcome);
    (labels, report.counts.packets)
}

/// OpenSSL's and Python's servers send an alert when the client is gone before its ClientHello.
fn with_an_alert(client: &[(i64, Vec<u8>)]) -> Vec<(i64, Vec<u8>)> {
    let mut packets = vec![
        (0, packet(true, SYN, (0, 0), &[])),
        (0, packet(false, SYN | ACK, (0, 1), &[])),
        (20, packet(true, ACK, (1, 1), &[])),
    ];
    packets.extend_from_slice(client);
    packets.push((620, packet(false, ACK, (1, 2), &[])));
    packets.push((621, packet(false, ACK, (1, 2), &[21, 3, 1, 0, 2, 2, 50])));
    packets.push((641, packet(true, RST, (2, 0), &[])));
    packets
}

#[test]
fn a_preconnection_that_nobody_used_is_nobodys_fault() {
    let (said, packets) = said(&with_an_alert(&[(620, packet(true, FIN | ACK, (1, 1), &[]))]));
    assert_eq!((said, packets), (vec!["not judged".to_owned()], 7), "the client's own sequence number says that it said nothing");
}

#[test]
fn a_client_whose_bytes_came_is_judged() {
    let hello = [22, 3, 1, 0, 4, 1, 0, 0, 0];
    let (said, packets) =
        said(&with_an_alert(&[(600, packet(true, ACK, (1, 1), &hello)), (620, packet(true, FIN | ACK, (10, 1), &[]))]));
    assert_eq!(packets, 8);
    assert!(said.len() == 1 && said[0] != "not judged", "{said:?}");
}

#[test]
fn a_syn_that_is_refused_is_over() {
    let syn = packet(true, SYN, (0, 0), &[]);
    let refused = |by: Vec<u8>| said(&[(0, syn.clone()), (3, by)]).0;
    assert_eq!(refused(packet(false, RST | ACK, (0, 1), &[])), ["aborted/edge"], "its own capture shows that it did so");
    let at_once = said(&[(0, syn.clone()), (0, packet(false, RST | ACK, (0, 1), &[]))]).0;
    assert_eq!(at_once, ["aborted/edge"], "in no time that a clock can tell");
    let icmp = |by: [u8; 4]| {
        let mut packet = vec![0x45, 0, 0, 28 + 28, 0, 0, 0x40, 0, 64, 1, 0, 0];
        packet.extend(by);
        packet.extend(CLIENT.0);
        packet.extend([3, 13, 0, 0, 0, 0, 0, 0]);
        packet.extend(&syn[..28]);
        packet
    };
    assert_eq!(refused(icmp([192, 0, 2, 1])), ["aborted/path"]);
    assert_eq!(refused(icmp(EDGE.0)), ["aborted/edge"]);
    // Of another connection it says nothing.
    let mut other = icmp(EDGE.0);
    other[28 + 20] ^= 1;
    assert_eq!(refused(other), ["inconclusive"]);
}
