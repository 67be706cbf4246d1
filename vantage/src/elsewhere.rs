//! What vantages elsewhere have in common, whatever carries the messages: the same questions have the same answers, clocks differ, and an
//! answer may take so long.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use agent::{Answer, Ask, Bundle, Go, Plan, Ready};
use analysis::clock::{Instant as Stamp, Span, Unplaced};
use capture::clock::wall;
use serde::Serialize;

use crate::{Ahead, Error};

/// How long the other side may take beyond what it was asked to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often the time is asked for: the quickest answer tells most.
const ASKED: usize = 5;

/// A line to a vantage elsewhere.
pub trait Line {
    /// Asks, and waits for the answer; one that says what failed is an error.
    ///
    /// # Errors
    /// If it failed over there, the line is dead, or `stop` is set.
    fn ask(&mut self, ask: Ask, patience: Duration, stop: &AtomicBool) -> Result<Answer, Error>;

    /// The error that says what became of the vantage.
    fn gone(&self, what: String) -> Error;

    /// [`crate::Vantage::prepare`] over the line.
    ///
    /// # Errors
    /// Those of [`Line::ask`], and an answer out of turn.
    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error> {
        match self.ask(Ask::Prepare(Box::new(plan.clone())), PATIENCE, stop)? {
            Answer::Ready(ready) => Ok(ready),
            other => Err(self.out_of_turn("that it is ready", &other)),
        }
    }

    /// [`crate::Vantage::go`] over the line; the clients may take `busy`.
    ///
    /// # Errors
    /// As before.
    fn go(&mut self, go: Go, busy: Duration, stop: &AtomicBool) -> Result<(), Error> {
        match self.ask(Ask::Go(go), PATIENCE + busy, stop)? {
            Answer::Gone => Ok(()),
            other => Err(self.out_of_turn("that the clients run", &other)),
        }
    }

    /// [`crate::Vantage::collect`] over the line.
    ///
    /// # Errors
    /// As before.
    fn collect(&mut self, busy: Duration, stop: &AtomicBool) -> Result<Bundle, Error> {
        match self.ask(Ask::Collect, PATIENCE + busy, stop)? {
            Answer::Bundle(bundle) => Ok(*bundle),
            other => Err(self.out_of_turn("a bundle", &other)),
        }
    }

    /// How far the clock over there is ahead of ours; absent if it does not say.
    ///
    /// # Errors
    /// As before.
    fn ahead(&mut self, stop: &AtomicBool) -> Result<Option<Ahead>, Error> {
        compare_clocks(|| match self.ask(Ask::Time, PATIENCE, stop)? {
            Answer::Time { now_ns } => Ok(Some(now_ns)),
            _ => Ok(None),
        })
    }

    /// Another answer came than the one that was due.
    fn out_of_turn(&self, wanted: &str, said: &impl Serialize) -> Error {
        let said: String = serde_json::to_string(said).unwrap_or_default().chars().take(80).collect();
        self.gone(format!("answered out of turn: {wanted} was due, and it said {said}"))
    }
}

/// How far another clock is ahead of ours: of several answers (the wall clock over there; none: it does not say) the quickest,
/// in whose middle it was read (Cristian, 1989).
fn compare_clocks(mut ask: impl FnMut() -> Result<Option<Stamp<Unplaced>>, Error>) -> Result<Option<Ahead>, Error> {
    let mut best: Option<Ahead> = None;
    for _ in 0..ASKED {
        let (before, begun) = (wall(), Instant::now());
        let Some(theirs) = ask()? else { return Ok(None) };
        let half = Span::from_nanos(Span::from(begun.elapsed()).nanos() / 2);
        let ahead = Ahead { by: theirs - (before + half), error: half };
        if best.is_none_or(|best| ahead.error < best.error) {
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
