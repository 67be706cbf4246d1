//! Which handshake packets of a full capture are missing from what the recorder kept: `missed FULL.pcap KEPT.pcapng PORT…`.
//!
//! The full capture is the oracle: a handshake packet is one that carries or acknowledges bytes of a handshake, SYN included, of a
//! connection whose handshake the full capture shows whole. Packets are the same if everything that a host writes into them is; a
//! super-frame that the recorder saw before it was cut stands for its segments.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use analysis::clock::{Instant, Unplaced};
use analysis::tcp::flow::{Side, View};
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{TcpSegment, Transport, decode};
use capture::ends::FlowName;
use capture::file::Reader;

/// What a host writes into a packet, but for what differs between a super-frame and the segments it is cut into.
type Sign = (SocketAddr, SocketAddr, u32, Option<u32>, u8);

#[derive(Clone, Copy)]
struct Place {
    seq: u32,
    len: u32,
    ip_id: Option<u16>,
}

/// A super-frame is cut into so many segments at most.
const MOST_SEGMENTS: u16 = 64;

impl Place {
    /// Whether this is the other, or the super-frame that the other was cut from: it holds its bytes, and its identification counts on.
    fn covers(self, other: Place) -> bool {
        let from = other.seq.wrapping_sub(self.seq);
        let counts_on = |(own, others): (u16, u16)| others.wrapping_sub(own) < MOST_SEGMENTS;
        from.checked_add(other.len).is_some_and(|end| end <= self.len) && self.ip_id.zip(other.ip_id).is_none_or(counts_on)
    }
}

fn sign(s: &TcpSegment<'_>) -> (Sign, Place) {
    let flags = s.flags.0 & !0x88; // PSH and CWR stand in one segment of a super-frame only
    ((s.source(), s.destination(), s.ack, s.options.tsval(), flags), Place { seq: s.seq, len: s.len, ip_id: s.ip_id })
}

fn each(path: &str, mut each: impl FnMut(u64, Instant<Unplaced>, &TcpSegment<'_>)) -> Result<u64, String> {
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
        let within = move |p: &&analysis::tcp::flow::Seen<Unplaced>| p.start() < own && p.ack().is_none_or(|a| a <= peer);
        view.sent_by(from).filter(within).map(|p| p.packet)
    };
    of(Side::Client, client, server).chain(of(Side::Server, server, client)).collect()
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [full, kept, ports @ ..] = &arguments[..] else { return Err("missed FULL.pcap KEPT.pcapng PORT…".into()) };
    let ports: Vec<u16> = ports.iter().filter_map(|p| p.parse().ok()).collect();
    let mut have: HashMap<Sign, Vec<Place>> = HashMap::new();
    each(kept, |_, _, segment| {
        let (sign, place) = sign(segment);
        have.entry(sign).or_default().push(place);
    })?;
    // Of a flood of SYN packets there is nothing to judge.
    let mut spoke: HashSet<FlowName> = HashSet::new();
    each(full, |_, _, segment| {
        if segment.len > 0 {
            spoke.insert(FlowName::of(segment.source(), segment.destination()));
        }
    })?;
    let mut table: FlowTable<Unplaced> = FlowTable::default();
    let mut signs: HashMap<u64, (Sign, Place)> = HashMap::new();
    let (mut handshakes, mut wanted, mut missed, mut shown) = (0_u64, 0_u64, 0_u64, 0);
    let mut judge = |view: &View<Unplaced>, signs: &mut HashMap<u64, (Sign, Place)>| {
        let packets = handshake(view);
        handshakes += u64::from(!packets.is_empty());
        for number in packets {
            wanted += 1;
            let kept = |(sign, place): &&(Sign, Place)| have.get(sign).is_some_and(|own| own.iter().any(|o| o.covers(*place)));
            let Some((sign, _)) = signs.get(&number).filter(|s| !kept(s)) else { continue };
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
        if !ports.contains(&segment.source().port()) && !ports.contains(&segment.destination().port()) {
            return;
        }
        if !spoke.contains(&FlowName::of(segment.source(), segment.destination())) {
            return;
        }
        let Some(slot) = table.push(at, number, segment) else { return };
        signs.insert(number, sign(segment));
        let over = table.view(slot).is_some_and(|v| v.progress() != analysis::conversation::settle::Progress::Going);
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
