//! The walk's parts, each on tapes made by hand.

mod entries;
mod far;
mod follow;
mod goal;
mod limits;
mod pairing;
mod reached;
mod transport;

use super::tcp::tape::Tape;
use crate::clock::Unplaced;
use crate::tcp::by_hand::{Packet, view};
use crate::tcp::flow::Side;

/// What an observer at `end` saw.
fn tape(end: Side, packets: &[Packet]) -> Tape {
    Tape::captured(end, &view::<Unplaced>(packets), [None; 2])
}
