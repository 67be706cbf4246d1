//! Which handshake packets of a full capture are missing from what the recorder kept: `missed FULL.pcap KEPT.pcapng PORT…`.
//!
//! The full capture is the oracle: a handshake packet is one that carries or acknowledges bytes of a handshake, SYN included, of a
//! connection whose handshake the full capture shows whole. Packets are the same if everything that a host writes into them is.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use analysis::clock::{Instant, Unplaced};
use analysis::flow::{Side, View};
use analysis::packet::{TcpSegment, Transport, decode};
use analysis::table::FlowTable;
use capture::chains::FlowName;
use capture::file::Reader;

type Sign = (SocketAddr, SocketAddr, u32, u32, u8, u32, Option<u32>, Option<u16>);

fn sign(s: &TcpSegment<'_>) -> Sign {
    (s.source, s.destination, s.seq, s.ack, s.flags.0, s.len, s.tsval, s.ip_id)
}

fn each(path: &str, mut each: impl FnMut(u64, i64, &TcpSegment<'_>)) -> Result<u64, String> {
    let mut reader = Reader::open(path.as_ref(), None).map_err(|e| e.to_string())?;
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                if let Some(Ok(Transport::Tcp(segment))) = frame.link.map(|link| decode(link, frame.bytes)) {
                    each(frame.number, frame.at, &segment);
                }
            }
            Ok(None) => return Ok(reader.dropped()),
            Err(broken) => return Err(broken.to_string()),
        }
    }
}

/// Numbers of the packets of a connection's handshake, none if it is not whole.
fn handshake(view: &View<Unplaced>) -> Vec<u64> {
    let d = view.dialogue();
    let (Some(client), true) = (d.client_finished.map(|e| e.end), view.syns(Side::Client).next().is_some()) else {
        return vec![];
    };
    let server = d.server_finished.or(d.server_flight).map_or(0, |e| e.end);
    let of = |from: Side, own: i64, peer: i64| {
        let within = move |p: &&analysis::flow::Seen<Unplaced>| p.start < own && p.ack.is_none_or(|a| a <= peer);
        view.sent_by(from).filter(within).map(|p| p.packet)
    };
    of(Side::Client, client, server).chain(of(Side::Server, server, client)).collect()
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [full, kept, ports @ ..] = &arguments[..] else { return Err("missed FULL.pcap KEPT.pcapng PORT…".into()) };
    let ports: Vec<u16> = ports.iter().filter_map(|p| p.parse().ok()).collect();
    let mut have: HashSet<Sign> = HashSet::new();
    each(kept, |_, _, segment| {
        have.insert(sign(segment));
    })?;
    // Of a flood of SYN packets there is nothing to judge.
    let mut spoke: HashSet<FlowName> = HashSet::new();
    each(full, |_, _, segment| {
        if segment.len > 0 {
            spoke.insert(FlowName::of(segment.source, segment.destination));
        }
    })?;
    let mut table: FlowTable<Unplaced> = FlowTable::default();
    let mut signs: HashMap<u64, Sign> = HashMap::new();
    let (mut handshakes, mut wanted, mut missed, mut shown) = (0_u64, 0_u64, 0_u64, 0);
    let mut judge = |view: &View<Unplaced>, signs: &mut HashMap<u64, Sign>| {
        let packets = handshake(view);
        handshakes += u64::from(!packets.is_empty());
        for number in packets {
            wanted += 1;
            let Some(sign) = signs.get(&number).filter(|s| !have.contains(*s)) else { continue };
            missed += 1;
            shown += 1;
            if shown <= 10 {
                println!("missed: frame {number} of {full}: {sign:?}");
            }
        }
        view.packets.iter().for_each(|p| {
            signs.remove(&p.packet);
        });
    };
    let dropped = each(full, |number, at, segment| {
        if !ports.contains(&segment.source.port()) && !ports.contains(&segment.destination.port()) {
            return;
        }
        if !spoke.contains(&FlowName::of(segment.source, segment.destination)) {
            return;
        }
        let at = Instant::from_nanos(at);
        let Some(slot) = table.push(at, number, segment) else { return };
        signs.insert(number, sign(segment));
        let over = table.view(slot).is_some_and(|v| v.progress() != analysis::settle::Progress::Going);
        if over && let Some(mut view) = table.take(slot) {
            view.close();
            judge(&view, &mut signs);
        }
        while let Some(mut view) = table.overdue(at) {
            view.close();
            judge(&view, &mut signs);
        }
    })?;
    for mut view in table.into_views() {
        view.close();
        judge(&view, &mut signs);
    }
    println!("{handshakes} handshakes, {wanted} handshake packets, {missed} missed; the full capture dropped {dropped}");
    Ok(())
}
