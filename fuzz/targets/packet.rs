//! Any bytes as a frame of any link type, fragments put together.
#![no_main]

use analysis::clock::{Instant, Unplaced};
use analysis::wire::fragments::Defragmenter;
use analysis::wire::packet::{LinkType, Transport, decode, ip_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut fragments = Defragmenter::<Unplaced>::default();
    for (i, frame) in data.split(|b| *b == 0xfe).enumerate() {
        let numbers = [0, 1, 9, 51, 101, 104, 105, 113, 127, 149, 204, 239, 258, 276];
        let Some(link) = LinkType::from_number(numbers[i % numbers.len()]) else { continue };
        let _ = ip_of(link, frame);
        match decode(link, frame) {
            Ok(Transport::Fragment(piece)) => drop(fragments.push(piece, Instant::from_nanos(i as i64 * 1_000_000_000), 0)),
            Ok(Transport::Tcp(segment)) => assert!(segment.payload.len() <= frame.len()),
            _ => {}
        }
    }
});
