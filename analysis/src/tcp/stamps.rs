//! How fast an end's TCP timestamps run (RFC 7323 leaves it to the stack), told by its packets.

use crate::clock::{Domain, Span};
use crate::tcp::flow::{Seen, Side, View};

/// A pause that tells one tick from another.
const LONG: Span = Span::from_millis(4);
/// What no clock shows by itself: jitter of stamps and of the way.
const NOISE: Span = Span::from_millis(2);

/// How long a tick takes: in today's stacks; in older ones that count a kernel's timer of 300, 250 or 100 Hz; and in Linux where it is
/// asked for microseconds (`tcp_usec_ts`).
const TICKS: [Span; 5] =
    [Span::from_millis(1), Span::from_micros(3_333), Span::from_millis(4), Span::from_millis(10), Span::from_micros(1)];
/// What all of a view may be off, per cent of it: clocks that run otherwise, and jitter.
const OFF: i64 = 10;

/// Timestamps that count less of the time than this, per cent, or more, count no time in a tick that is known. What holds packets back
/// makes it more, and a capture that lacks time less.
const COUNTED: [i64; 2] = [5, 200];

/// How the timestamps of one end run.
#[derive(Clone, Copy)]
pub(crate) struct Stamps {
    tick: Span,
    /// Whether they count time in ticks that are known.
    tell: bool,
}

impl Stamps {
    /// As today's stacks do.
    pub fn usual() -> Self {
        Self { tick: TICKS[0], tell: true }
    }

    /// As this view shows: another tick than today's is believed where more pauses fit it, and all of them together by far better. One pause
    /// alone fits whatever jitter makes of it; over all of them jitter is little, and what a wrong tick is off adds up.
    pub fn of<D: Domain>(view: &View<D>, side: Side) -> Self {
        // None fits more than one that fits all.
        if runs_as_usual(view, side) {
            return Self::usual();
        }
        let all = || {
            let mut last = None;
            let stamped = view.sent_by(side).filter_map(|p| Some((p.at, p.tsval()?)));
            let pairs = stamped.filter_map(move |now| last.replace(now).map(|last| (last, now)));
            pairs.map(|((a, x), (b, y))| (b - a, ticks(x, y)))
        };
        let long = || all().filter(|(pause, _)| *pause >= LONG);
        let tick = Self::nearest(all, long);
        Self { tick, tell: Self::counts(tick, all, long) }
    }

    /// Which tick the pauses show, the `long` ones among them most.
    fn nearest<A, L>(all: impl Fn() -> A, long: impl Fn() -> L) -> Span
    where
        A: Iterator<Item = (Span, i64)>,
        L: Iterator<Item = (Span, i64)>,
    {
        let fitting = |tick: Span| long().filter(|(pause, ticks)| fits(tick, *pause, *ticks)).count();
        let usual = fitting(TICKS[0]);
        let better = TICKS.map(|tick| tick != TICKS[0] && fitting(tick) > usual);
        if better == [false; TICKS.len()] {
            return TICKS[0];
        }
        // Without the one that is most off, if all together are so much off that one was spoiled (the capture's clock was set, say).
        let whole: Span = all().map(|(pause, _)| pause).sum();
        let offs = TICKS.map(|tick| {
            let offs = || all().map(|(pause, ticks)| off(tick, pause, ticks));
            let sum: Span = offs().sum();
            (sum.abs(), (sum - offs().max_by_key(|off| off.abs()).unwrap_or_default()).abs())
        });
        let spoiled = offs.iter().all(|(off, _)| *off > whole.percent(OFF)) && all().nth(2).is_some();
        let offs = offs.map(|(off, but_one)| if spoiled { but_one } else { off });
        let others = (0..TICKS.len()).filter(|i| better[*i] && offs[*i].percent(200) < offs[0]);
        others.min_by_key(|i| offs[*i]).map_or(TICKS[0], |i| TICKS[i])
    }

    /// Whether they count time in such ticks: most pauses fit, or all of them but one are about as long. Old stacks count half seconds, and
    /// some stamps never change.
    fn counts<A, L>(tick: Span, all: impl Fn() -> A, long: impl Fn() -> L) -> bool
    where
        A: Iterator<Item = (Span, i64)>,
        L: Iterator<Item = (Span, i64)>,
    {
        if all().all(|(_, ticks)| ticks == 0) {
            return false;
        }
        let (few, many) = (long().filter(|(pause, ticks)| fits(tick, *pause, *ticks)).count(), long().count());
        if 2 * few >= many {
            return true;
        }
        let whole: Span = all().map(|(pause, _)| pause).sum();
        let counted = whole - all().map(|(pause, ticks)| off(tick, pause, ticks)).sum();
        // The one that is most off was late, say, or has a stamp of another origin.
        let (pause, ticks) = all().max_by_key(|(pause, ticks)| off(tick, *pause, *ticks).abs()).unwrap_or_default();
        let (rest, counted_there) = (whole - pause, counted - (pause - off(tick, pause, ticks)));
        let [least, most] = COUNTED;
        let too_little = counted_there < rest.percent(least);
        let too_much = counted > whole.percent(most) && counted_there > rest.percent(most);
        (rest - counted_there).abs() <= tick + NOISE || !too_little && !too_much
    }

    /// Whether they count time at all; if not, they are as good as none.
    pub fn tell(&self) -> bool {
        self.tell
    }

    /// How long one takes.
    pub fn tick(&self) -> Span {
        self.tick
    }

    /// How far a packet's time is ahead of its timestamp's, from an origin of its own; absent where that counts no time.
    pub fn lag<D: Domain>(&self, p: &Seen<D>) -> Option<i64> {
        if self.tell { self.ahead(p) } else { None }
    }

    #[inline]
    fn ahead<D: Domain>(&self, p: &Seen<D>) -> Option<i64> {
        Some(p.at.nanos().saturating_sub(i64::from(p.tsval()?) * self.tick().nanos()))
    }

    /// How much that changes in a view.
    pub fn spread<D: Domain>(&self, view: &View<D>, side: Side) -> Option<Span> {
        let mut lags = view.sent_by(side).filter_map(|p| self.lag(p));
        let first = lags.next()?;
        let (mut least, mut most) = (first, first);
        for lag in lags {
            (least, most) = (least.min(lag), most.max(lag));
        }
        Some(Span::from_nanos(most.saturating_sub(least)))
    }
}

/// Whether every pause of an end fits the ticks of today's stacks: nearly always, so that no other tick needs to be tried.
fn runs_as_usual<D: Domain>(view: &View<D>, side: Side) -> bool {
    let mut last = None;
    for packet in view.sent_by(side) {
        let Some(stamp) = packet.tsval() else { continue };
        if let Some((at, before)) = last {
            let pause = packet.at - at;
            if pause >= LONG && !fits(TICKS[0], pause, ticks(before, stamp)) {
                return false;
            }
        }
        last = Some((packet.at, stamp));
    }
    true
}

fn ticks(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from) as i32)
}

/// By how much a pause is longer than so many ticks.
fn off(tick: Span, pause: Span, ticks: i64) -> Span {
    pause - Span::from_nanos(ticks.saturating_mul(tick.nanos()))
}

/// Whether that is no more than chance.
fn fits(tick: Span, pause: Span, ticks: i64) -> bool {
    off(tick, pause, ticks).abs() <= tick + NOISE + pause.percent(2)
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

    /// Jitter of 20 ms on a round trip of 80, a packet in each and a short one now and then.
    #[test]
    fn jitter_makes_no_other_tick_of_todays() {
        let jittered = [(40.0, 7), (87.2, 60), (102.4, 62), (153.2, 124), (157.3, 125), (208.4, 177), (252.7, 231), (304.3, 276)];
        assert_eq!(tick(&jittered), Span::from_millis(1));
        let slower = jittered.map(|(at, stamp)| (at, stamp / 10));
        assert_eq!(tick(&slower), Span::from_millis(10), "a clock that is slower stays so, whatever the way does");
        // The capture's clock was set by a minute in their midst.
        let set = |(at, stamp)| (if at > 200.0 { at + 60_000.0 } else { at }, stamp);
        assert_eq!((tick(&jittered.map(set)), tick(&slower.map(set))), (Span::from_millis(1), Span::from_millis(10)));
    }

    #[test]
    fn what_fits_no_tick_counts_no_time() {
        let tell = |stamped: &[(f64, u32)]| {
            let packets = stamped.iter().map(|(at, stamp)| ack(S, *at, 0, 0).stamped(*stamp, 0));
            let packets: Vec<_> = [syn(C, 0.0)].into_iter().chain(packets).collect();
            Stamps::of(&view::<Unplaced>(&packets), S).tell()
        };
        // Half seconds, where one ended within a pause or none did; a stamp that never changes; one that is made anew for each packet.
        assert!(!tell(&[(40.0, 7), (80.0, 7), (122.0, 7), (522.0, 8)]));
        assert!(!tell(&[(40.0, 7), (80.0, 8), (122.0, 8), (522.0, 8)]));
        assert!(!tell(&[(40.0, 7), (41.0, 7), (441.0, 7)]));
        assert!(!tell(&[(40.0, 7), (80.0, 3_000_000), (122.0, 77), (522.0, 900_000)]));
        assert!(!tell(&[(40.0, 7), (80.0, 407), (122.0, 827), (522.0, 4_827)]), "tenths of a millisecond");
        // One packet that was late, two, or the first of all; a capture's clock that was set; a stamp of another origin (SYN cookies).
        assert!(tell(&[(40.0, 7), (80.0, 47), (522.0, 89)]));
        assert!(tell(&[(40.0, 7), (480.0, 47), (922.0, 89)]));
        assert!(tell(&[(40.0, 7), (480.0, 47)]));
        assert!(tell(&[(40.0, 7), (80.0, 47), (60_122.0, 89)]));
        assert!(tell(&[(40.0, 1_000_000), (80.0, 47), (122.0, 89), (522.0, 489)]));
        assert!(tell(&[(40.0, 7), (42.0, 7)]), "nobody knows, but it tells of no more than jitter");
    }

    #[test]
    fn the_longest_pause_tells_most() {
        // Among short ones 3.33 ms would do as well.
        assert_eq!(tick(&[(40.0, 7), (46.6, 9), (50.0, 10), (5_050.0, 1_260)]), Span::from_millis(4));
    }

    #[test]
    fn microseconds_are_counted_where_linux_is_asked_to() {
        assert_eq!(tick(&[(40.0, 7), (90.0, 50_107), (201.5, 161_200)]), Span::from_micros(1));
    }
}
