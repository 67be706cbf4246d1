//! How fast an end's TCP timestamps run (RFC 7323 leaves it to the stack), told by its packets.

use smallvec::SmallVec;

use crate::clock::{Domain, Span};
use crate::tcp::flow::{Seen, Side, View};

/// A pause that tells one tick from another.
const LONG: Span = Span::from_millis(4);
/// What no clock shows by itself: jitter of stamps and of the way.
const NOISE: Span = Span::from_millis(2);

/// How long a tick takes: in today's stacks, and in older ones that count a kernel's timer of 300, 250 or 100 Hz.
const TICKS: [Span; 4] = [Span::from_millis(1), Span::from_micros(3_333), Span::from_millis(4), Span::from_millis(10)];

/// How the timestamps of one end run.
#[derive(Clone)]
pub(crate) struct Stamps {
    /// How long one of them may take, the likeliest first.
    ticks: SmallVec<[Span; 4]>,
}

impl Stamps {
    /// As today's stacks do.
    pub fn usual() -> Self {
        Self { ticks: TICKS[..1].into() }
    }

    /// As most pauses in this view show, but for that before `except`; a clock that is set spoils one.
    pub fn of<D: Domain>(view: &View<D>, side: Side, except: Option<&Seen<D>>) -> Self {
        let stamped = || view.sent_by(side).filter_map(|p| Some((p, p.tsval()?)));
        let pauses = || {
            let pairs = stamped().zip(stamped().skip(1)).filter(|(_, (b, _))| except.is_none_or(|e| e.packet != b.packet));
            pairs.map(|((a, x), (b, y))| (b.at - a.at, ticks(x, y))).filter(|(pause, _)| *pause >= LONG)
        };
        let fitting = TICKS.map(|tick| pauses().filter(|(pause, ticks)| fits(tick, *pause, *ticks)).count());
        let most = fitting.iter().max();
        Self { ticks: TICKS.into_iter().zip(&fitting).filter(|(_, n)| Some(*n) == most).map(|(tick, _)| tick).collect() }
    }

    /// How long one takes.
    pub fn tick(&self) -> Span {
        self.ticks[0]
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

fn fits(tick: Span, pause: Span, ticks: i64) -> bool {
    let off = pause - Span::from_nanos(ticks.saturating_mul(tick.nanos()));
    off.abs() <= tick + NOISE + pause.percent(2)
}
