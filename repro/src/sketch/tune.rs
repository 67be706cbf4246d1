//! One step closer: a fault's size, corrected by how much its stretch missed.

use analysis::clock::Span;
use analysis::judging::vocabulary::Phase;
use lab::wire::Message;
use records::handshake::Judged;

use super::blank::length;
use super::faults::made_up_for;
use super::{Piece, Sketch};
use crate::duration::Length;
use crate::faults::{DropMessage, Fault};

/// A stretch that misses by less needs no correction.
const CLOSE: i64 = 4;
/// A sleep is at least so long.
const LEAST: Span = Span::from_millis(1);
/// So many copies of a message may be lost.
const MOST_COPIES: u32 = 6;

/// Corrects the sizes of a sketch's faults by what a run of it came to; false if there is nothing to correct.
pub fn tune(sketch: &mut Sketch, ran: &Judged) -> bool {
    let mut changed = false;
    let (first, last) = (usize::from(sketch.scenario.targets[0].hello_retry), sketch.last_segment());
    for Piece { fault, phase, owner, span, open } in &sketch.pieces {
        let got = made_up_for(&ran.reading.ledger.entries, *phase, *owner, *open);
        let missing = *span - got;
        if missing.abs() <= span.percent(CLOSE) {
            continue;
        }
        let longer = |old: &mut Length| *old = length((Span::from_nanos(old.nanos()) + missing).max(LEAST));
        match sketch.scenario.faults.get_mut(fault) {
            Some(Fault::ClientPause(pause)) => longer(&mut pause.length),
            Some(Fault::EdgeDelay(delay)) => longer(&mut delay.length),
            Some(Fault::Hold(hold)) => longer(&mut hold.length),
            Some(Fault::DnsDelay(delay)) => longer(&mut delay.length),
            Some(Fault::Stop(stop)) => longer(&mut stop.stopped),
            Some(Fault::Detour(detour)) => longer(&mut detour.extra_rtt),
            Some(Fault::CpuQuota(quota)) => {
                let factor = if got > Span::ZERO { got.fraction_of(*span) } else { 0.5 };
                quota.cpus = (quota.cpus * factor.clamp(0.3, 3.0)).clamp(0.01, 64.0);
            }
            // Timers set how long a loss lasts: how many copies, and whether anything behind it tells, can be chosen.
            Some(Fault::Drop(drop)) if in_flight(drop, *phase) && missing > Span::ZERO && drop.segment < last => {
                drop.segment = last
            }
            Some(Fault::Drop(drop)) if missing > Span::ZERO && drop.copies < MOST_COPIES => drop.copies += 1,
            Some(Fault::Drop(drop)) if missing < Span::ZERO && drop.copies > 1 => drop.copies -= 1,
            Some(Fault::Drop(drop)) if in_flight(drop, *phase) && missing < Span::ZERO && drop.segment > first => {
                drop.segment = first
            }
            _ => continue,
        }
        changed = true;
    }
    changed
}

/// Whether it is a segment of the server's flight that is lost, and not a HelloRetryRequest.
fn in_flight(drop: &DropMessage, phase: Phase) -> bool {
    drop.message == Message::ServerFlight && phase == Phase::ServerFlight && drop.copies == 1
}
