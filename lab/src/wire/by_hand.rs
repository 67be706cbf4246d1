//! Segments made by hand, for tests.

use super::path::Direction;

/// A frame between 10.0.0.1:40000 and 10.0.0.2:443.
pub(super) fn frame(towards: Direction, flags: u8, (seq, ack): (u32, u32), payload: &[u8]) -> Vec<u8> {
    let (client, edge) = ([10, 0, 0, 1, 0x9c, 0x40], [10, 0, 0, 2, 0x01, 0xbb]);
    let (source, destination) = match towards {
        Direction::Out => (client, edge),
        Direction::Back => (edge, client),
    };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend((40 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(source[..4].iter().chain(&destination[..4]).chain(&source[4..]).chain(&destination[4..]));
    frame.extend(seq.to_be_bytes().iter().chain(&ack.to_be_bytes()));
    frame.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
}
