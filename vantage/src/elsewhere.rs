//! What vantages elsewhere have in common, whatever carries the messages: clocks that differ, and how long an answer may take.

use std::time::{Duration, Instant};

use agent::Plan;

use crate::{Ahead, Error, host};

/// How often the time is asked for: the quickest answer tells most.
const ASKED: usize = 5;

/// How far another clock is ahead of ours: of several answers (nanoseconds since the epoch over there; none: it does not say) the quickest,
/// in whose middle it was read (Cristian, 1989).
///
/// # Errors
/// Those of `ask`.
pub fn compare_clocks(mut ask: impl FnMut() -> Result<Option<i64>, Error>) -> Result<Option<Ahead>, Error> {
    let mut best: Option<Ahead> = None;
    for _ in 0..ASKED {
        let (before, begun) = (host::now_ns(), Instant::now());
        let Some(now_ns) = ask()? else { return Ok(None) };
        let taken = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let ahead = Ahead { ns: now_ns.saturating_sub(before.saturating_add(taken / 2)), error_ns: taken / 2 };
        if best.is_none_or(|best| ahead.error_ns < best.error_ns) {
            best = Some(ahead);
        }
    }
    Ok(best)
}

/// How long the clients of a plan may take.
pub fn how_long(plan: &Plan) -> Duration {
    plan.clients.as_ref().map_or(Duration::ZERO, |c| {
        c.client.timeout.0 + c.settle.0 + c.client.spread.0 * u32::try_from(c.client.concurrency).unwrap_or(u32::MAX)
    })
}
