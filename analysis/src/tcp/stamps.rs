//! How fast an end's TCP timestamps run (RFC 7323 leaves it to the stack), told by its packets.

use std::cmp::Reverse;

use crate::clock::{Domain, Span};
use crate::tcp::flow::{Seen, Side, View};

/// A pause that tells one tick from another.
const LONG: Span = Span::from_millis(4);
/// What no clock shows by itself: jitter of stamps and of the way.
const NOISE: Span = Span::from_millis(2);

/// How long a tick takes: in today's stacks, and in older ones that count a kernel's timer of 300, 250 or 100 Hz.
const TICKS: [Span; 4] = [Span::from_millis(1), Span::from_micros(3_333), Span::from_millis(4), Span::from_millis(10)];

/// How the timestamps of one end run.
#[derive(Clone, Copy)]
pub(crate) struct Stamps {
    tick: Span,
}

impl Stamps {
    /// As today's stacks do.
    pub fn usual() -> Self {
        Self { tick: TICKS[0] }
    }

    /// As most pauses in this view show: a clock that is set spoils one. Of ticks that fit as many, today's; else that which is less off.
    pub fn of<D: Domain>(view: &View<D>, side: Side) -> Self {
        let pauses = || {
            let mut last = None;
            let stamped = view.sent_by(side).filter_map(|p| Some((p.at, p.tsval()?)));
            let pairs = stamped.filter_map(move |now| last.replace(now).map(|last| (last, now)));
            pairs.map(|((a, x), (b, y))| (b - a, ticks(x, y))).filter(|(pause, _)| *pause >= LONG)
        };
        // None fits more than one that fits all.
        if pauses().all(|(pause, ticks)| off(TICKS[0], pause, ticks).is_some()) {
            return Self::usual();
        }
        let fit = |tick: &Span| {
            let off = pauses().filter_map(|(pause, ticks)| off(*tick, pause, ticks));
            let (fitting, off) = off.fold((0, Span::ZERO), |(n, sum), off| (n + 1, sum + off));
            (Reverse(fitting), *tick != TICKS[0], off)
        };
        Self { tick: TICKS.into_iter().min_by_key(fit).unwrap_or(TICKS[0]) }
    }

    /// How long one takes.
    pub fn tick(&self) -> Span {
        self.tick
    }

    /// How far a packet's time is ahead of its timestamp's, from an origin of its own.
    pub fn lag<D: Domain>(&self, p: &Seen<D>) -> Option<i64> {
        Some(p.at.nanos().saturating_sub(i64::from(p.tsval()?) * self.tick().nanos()))
    }

    /// How much that changes in a view.
    pub fn spread<D: Domain>(&self, view: &View<D>, side: Side) -> Option<Span> {
        let ends = view.sent_by(side).filter_map(|p| self.lag(p)).fold(None, |ends: Option<(i64, i64)>, lag| {
            Some(ends.map_or((lag, lag), |(least, most)| (least.min(lag), most.max(lag))))
        });
        ends.map(|(least, most)| Span::from_nanos(most.saturating_sub(least)))
    }
}

fn ticks(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from) as i32)
}

/// By how much a pause is not so many ticks; absent where that is more than chance.
fn off(tick: Span, pause: Span, ticks: i64) -> Option<Span> {
    let off = (pause - Span::from_nanos(ticks.saturating_mul(tick.nanos()))).abs();
    (off <= tick + NOISE + pause.percent(2)).then_some(off)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Unplaced;
    use crate::tcp::by_hand::{C, S, ack, syn, view};

    /// The tick told by a server's packets at these ms with these timestamps.
    fn tick(stamped: &[(f64, u32)]) -> Span {
        let packets = stamped.iter().map(|(at, stamp)| ack(S, *at, 0, 0).stamped(*stamp, 0));
        let packets: Vec<_> = [syn(C, 0.0)].into_iter().chain(packets).collect();
        Stamps::of(&view::<Unplaced>(&packets), S).tick()
    }

    #[test]
    fn pauses_tell_how_long_a_tick_takes() {
        assert_eq!(tick(&[(40.0, 7), (90.0, 57), (200.0, 166)]), Span::from_millis(1));
        assert_eq!(tick(&[(40.0, 7), (90.0, 12), (200.0, 23)]), Span::from_millis(10));
        // Nine milliseconds in two ticks may be either's; the nearer one counts.
        assert_eq!(tick(&[(40.0, 7), (49.0, 9)]), Span::from_millis(4));
        assert_eq!(tick(&[(40.0, 7), (46.5, 9)]), Span::from_micros(3_333));
        assert_eq!(tick(&[(40.0, 7), (49.0, 9), (149.0, 39)]), Span::from_micros(3_333), "more pauses count for more");
        // One tick in 4 ms: a packet that was a little late, as today's stacks have it.
        assert_eq!(tick(&[(40.0, 7), (44.0, 8)]), Span::from_millis(1));
        assert_eq!(tick(&[]), Span::from_millis(1));
    }
}
