//! The policy of verdicts: every threshold that decides who is named, when, and in whose comparison.
//!
//! In: nothing. Out: constants, each with its reason. `explain`, `repro`, `watch` and `recorder` take theirs from here. Thresholds of
//! *reading* packets (what is a pause, a tick, a copy) stand beside the code that reads; what a user may set has its default here.

use std::time::Duration;

use crate::clock::Span;
use crate::judging::baseline::Normal;

// ---- What counts. ----

/// No smaller excess is held against anybody: single packets that come some ms late are ordinary.
pub const LEAST_EFFECT: Span = Span::from_millis(12);
/// Standard deviations of a healthy handshake that an excess must reach: each stretch varies by itself.
pub const FLOOR_DEVIATIONS: f64 = 4.0;
/// Round trips up to this are ordinary: within a continent. Longer ones need siblings before all is called well, and what is no TLS
/// has no lower floor.
pub const ORDINARY_ROUND_TRIP: Span = Span::from_millis(50);

// ---- Who is named. ----

/// Of the excess, a culprit's share.
pub const CULPRIT_SHARE: f64 = 0.6;
/// Of the excess, the share of two culprits together.
pub const BOTH_SHARE: f64 = 0.7;
/// Of the excess, the share of a second culprit.
pub const SECOND_SHARE: f64 = 0.2;
/// A second culprit of so much is named whatever its share: a lost SYN's second must not hide it.
pub const SECOND: Span = Span::from_millis(100);
/// Of the excess, the share of whoever is named beside time that is left open: it is one of two at least.
pub const CERTAIN_SHARE: f64 = 0.4;
/// A culprit is clear if it leads the next by so many percent of its error.
pub const CLEAR_LEAD: i64 = 200;
/// Of that error counts at most so many percent of its excess.
pub const MOST_ERROR: i64 = 20;
/// No greater lead is asked for than so many percent of its excess.
pub const MOST_LEAD: i64 = 50;
/// What is less than one in so many parts of all the time that is left open settles nothing.
pub const OPEN_PARTS: i64 = 10;

// ---- What is usual of a round trip. ----

/// How much a round trip varies at least: stamps, softirqs, a scheduler's tick.
pub const ROUND_SPREAD: Span = Span::from_micros(500);
/// A round trip that a protocol asked for is the path's beyond so many percent of the spread.
pub const EXTRA_ROUND_SPREADS: i64 = 400;
/// How long an acknowledgement is put off at most (RFC 9293, section 3.8.6.3; Linux: 40 ms), and something for its timer.
pub const PUT_OFF: Span = Span::from_millis(60);
/// Every round trip's excess is at least so many percent of the largest: a detour, not a delay.
pub const DETOUR_EVEN: i64 = 50;
/// A detour is longer than so many percent of what a round trip varies by.
pub const DETOUR_SPREADS: i64 = 200;
/// No detour is shorter: where several ways lie side by side, single packets take 8 to 10 ms more, in any round and in siblings' alike.
pub const LEAST_DETOUR: Span = LEAST_EFFECT;

// ---- What is usual of an end's own work. ----

/// What an end's ordinary work takes where no sibling tells: a signature, a chain to verify, a key share.
pub const ORDINARY_WORK: Normal = Normal { location: Span::from_millis(12), spread: Span::from_millis(3) };
/// Time on a CPU that is an edge's ordinary work: a signature and a key share, on a machine of any speed.
pub const EDGE_CPU: Span = Span::from_millis(5);
/// Time on a CPU that is an ordinary client's own work.
pub const CLIENT_CPU: Span = Span::from_millis(5);
/// Time of the client's own that is never held against it where only the edge's packets speak: an ordinary client computes for some
/// milliseconds before ClientHello and Finished (curl with a full bundle: up to 30).
pub const UNSPLIT_CLIENT: Span = Span::from_millis(20);
/// A prober's own work in one handshake, on a machine of any speed.
pub const PROBER_WORK: Span = Span::from_millis(20);

// ---- What siblings tell. ----

/// With fewer siblings (handshakes over a path, rounds of a check), there is no saying what is usual.
pub const ENOUGH: usize = 3;
/// Work beyond this is not ordinary, however many siblings take as long; [`ORDINARY_WORK`] is taken for it then.
pub const MOST_WORK: Span = Span::from_millis(25);
/// Less than this no schedule promises.
pub const LEAST_SPREAD: Span = Span::from_micros(500);
/// A spread may hide no more than a quarter of a tenth of a second.
pub const MOST_SPREAD: Span = Span::from_millis(6);
/// Siblings that vary by more than so many percent of their middle, and by more than [`DISAGREE`], disagree: the lower quarter counts.
pub const DISAGREE_PERCENT: i64 = 30;
/// See [`DISAGREE_PERCENT`].
pub const DISAGREE: Span = Span::from_millis(3);

// ---- Cells and runs. ----

/// So many percent of the least CPU time that any handshake of a vantage took is a client's own work: short of CPU it may run slower.
pub const OWN_CPU: i64 = 200;
/// Less client CPU than this is always a client's ordinary work.
pub const LEAST_CLIENT_CPU: Span = Span::from_millis(3);
/// More client CPU than this never is.
pub const MOST_CLIENT_CPU: Span = Span::from_millis(60);
/// A cell is slow if one in so many of its handshakes is: a quarter.
pub const SLOW_PARTS: usize = 4;
/// In a slow cell at least so many handshakes are slow: one is noise on a busy machine.
pub const LEAST_SLOW: usize = 2;
/// Of fewer handshakes than this, more than half must be slow.
pub const FEW: usize = 4;
/// A target is slow from everywhere if it is so from this share of the vantages.
pub const WHOLE_TARGET: f64 = 0.8;

// ---- When somebody is told, unless the user says otherwise. ----

/// A handshake with so much excess is recorded as slow.
pub const SLOW_HANDSHAKE: Duration = Duration::from_millis(200);
/// A round of a check in which a culprit has so much excess is bad.
pub const BAD_ROUND: Duration = Duration::from_millis(100);
