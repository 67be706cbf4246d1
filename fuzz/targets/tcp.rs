//! Any sequence of segments of one connection: reassembly, milestones, the walk, and a verdict whose sums and citations hold.
#![no_main]

use analysis::claims::{Broken, check};
use analysis::clock::{Client, Edge, Instant, Unplaced};
use analysis::conversation::handshake::Handshake;
use analysis::conversation::walk;
use analysis::judging::ledger::Baseline;
use analysis::judging::sentence::explain;
use analysis::judging::verdict::{Circumstances, judge};
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{Addresses, Flags, TcpOptions, TcpSegment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut table = FlowTable::<Unplaced>::default();
    let ends = [([192, 0, 2, 1, 192, 0, 2, 2], [40_000, 443]), ([192, 0, 2, 2, 192, 0, 2, 1], [443, 40_000])];
    let (mut at, mut number, mut rest) = (0_i64, 0, data);
    while let [kind, flags, seq, ack, time, stamp, len, tail @ ..] = rest {
        let (payload, next) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = next;
        number += 1;
        at += i64::from(*time as i8) * 3_000_000;
        let from = usize::from(kind & 1);
        let mut options = Vec::new();
        if kind & 4 != 0 {
            options.extend([1, 1, 8, 10, 0, 0, *stamp, *time, 0, 0, 0, 0]);
        }
        if kind & 8 != 0 {
            options.extend([1, 1, 5, 10, 0, 0, 0, *ack, 0, 0, 0, *seq]);
        }
        let segment = TcpSegment {
            addresses: Addresses::V4(&ends[from].0),
            ports: ends[from].1,
            seq: u32::from(*seq).wrapping_mul(61).wrapping_sub(u32::from(kind >> 4)),
            ack: u32::from(*ack).wrapping_mul(61),
            flags: Flags(*flags),
            len: payload.len() as u32 + if kind & 2 != 0 { 40 } else { 0 },
            payload,
            options: TcpOptions(&options),
            ip_id: (flags & 0x80 == 0).then_some(u16::from(*stamp)),
            ip_len: 40 + payload.len() as u32,
            ttl: *stamp,
            window: u16::from(*ack),
        };
        if let Some(slot) = table.push(Instant::from_nanos(at), number, &segment)
            && let Some(view) = table.view(slot)
        {
            let _ = view.progress();
        }
    }
    for view in table.into_views() {
        let (client, edge) = (view.clone().on_clock_of::<Client>(), view.on_clock_of::<Edge>());
        for handshake in [
            Handshake::of(Some(client.clone()), Some(edge.clone())),
            Handshake::of(Some(client), None),
            Handshake::of(None, Some(edge)),
        ] {
            let Some(mut reading) = walk::read(&handshake) else { continue };
            reading.ledger.apply(&Baseline::default());
            let judgement = judge(&reading, Circumstances::of(&handshake));
            let sentence = explain(&handshake, &reading, &judgement, &|number| number.into());
            let broken = check(&handshake, &reading, &judgement, &sentence);
            let wrong: Vec<Broken> = broken.into_iter().filter(Broken::is_arithmetic).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
        }
    }
});
