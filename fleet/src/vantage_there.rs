//! An agent of the fleet as a vantage.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::{Answer, Ask, Bundle, Go, Hello, Plan, Ready};
use async_nats::connection::State;
use tokio::task::AbortHandle;
use vantage::{Ahead, Error, PATIENCE, Vantage, how_long};

use crate::hand_over::store;
use crate::line::Line;
use crate::message::{Asked, KeptId, Reply};
use crate::{Fleet, Name, SILENCE};

/// How long one that is not there is waited for.
const OPENING: Duration = Duration::from_secs(6);
/// How long taking down may take: clients are killed, groups removed.
const CLOSING: Duration = Duration::from_secs(5);

/// An agent of the fleet. Dropping it ends the session.
pub struct There<'f> {
    fleet: &'f Fleet,
    line: Line,
    hello: Hello,
    ahead: Option<Ahead>,
    /// How long the clients of the plan may take.
    busy: Duration,
    /// The batch that was handed over last, and the question that it answered.
    last: (u64, u64),
    signs_of_life: AbortHandle,
}

impl<'f> There<'f> {
    pub(crate) fn open(fleet: &'f Fleet, agent: &Name, name: &str, capture: bool, stop: &AtomicBool) -> Result<Self, Error> {
        let gone = |what: String| Error::Gone { vantage: name.to_owned(), what };
        let mut line = Line::to(fleet, agent, name)?;
        let (hello, kept) = match fleet.runtime.block_on(line.ask(Asked::Open { capture }, OPENING, stop))? {
            Reply::Opened { hello, kept } => (Hello { name: name.to_owned(), ..*hello }, kept),
            Reply::Busy { with, heard_ms } => {
                let ago = Duration::from_millis(heard_ms).as_secs_f64();
                return Err(gone(format!(
                    "is busy with another run, of {with}, which was heard {ago:.1} s ago; one that is silent for {} s is given up",
                    SILENCE.as_secs()
                )));
            }
            other => {
                let never = AtomicBool::new(false);
                let _ = fleet.runtime.block_on(line.ask(Asked::Close, CLOSING, &never));
                return Err(match other {
                    Reply::Answer(Answer::Failed { why }) => Error::Failed { vantage: name.to_owned(), why },
                    other => line.unexpected("that a session begins", &other),
                });
            }
        };
        let signs_of_life = fleet.runtime.spawn(line.sign_of_life()).abort_handle();
        let mut there = Self { fleet, line, hello, ahead: None, busy: Duration::ZERO, last: (0, 0), signs_of_life };
        there.hello.check()?;
        there.ahead = vantage::Line::ahead(&mut there, stop)?;
        for id in kept {
            there.take_over(id, stop)?;
        }
        Ok(there)
    }

    /// Stores a bundle that an earlier controller did not live to store.
    fn take_over(&mut self, id: KeptId, stop: &AtomicBool) -> Result<(), Error> {
        match self.fleet.runtime.block_on(self.line.ask(Asked::Kept(id.clone()), PATIENCE, stop))? {
            Reply::Answer(Answer::Bundle(bundle)) => {
                let stored = store(&self.fleet.handed_over, &self.line.agent, &id, &bundle);
                let path = stored.map_err(|e| self.line.gone(format!("has a bundle for us that cannot be stored: {e}")))?;
                let name = &self.line.agent;
                (self.line.log)(&format!("{name}: a bundle that no earlier controller stored lies in {}", path.display()));
                self.fleet.runtime.block_on(self.line.ask(Asked::Taken(id), PATIENCE, stop)).map(drop)
            }
            // Somebody else has stored it meanwhile.
            _ => Ok(()),
        }
    }
}

impl vantage::Line for There<'_> {
    fn ask(&mut self, ask: Ask, patience: Duration, stop: &AtomicBool) -> Result<Answer, Error> {
        match self.fleet.runtime.block_on(self.line.ask(Asked::Do(ask), patience, stop))? {
            Reply::Answer(Answer::Failed { why }) => Err(Error::Failed { vantage: self.line.vantage.clone(), why }),
            Reply::Answer(answer) => Ok(answer),
            Reply::NoSession => Err(self.line.gone("was started anew, or has given this run up".into())),
            other => Err(self.line.unexpected("an answer", &other)),
        }
    }

    fn gone(&self, what: String) -> Error {
        self.line.gone(what)
    }
}

impl Vantage for There<'_> {
    fn hello(&self) -> Hello {
        self.hello.clone()
    }

    fn ahead(&self) -> Option<Ahead> {
        self.ahead
    }

    fn compare(&mut self, stop: &AtomicBool) -> Result<Option<Ahead>, Error> {
        vantage::Line::ahead(self, stop)
    }

    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error> {
        self.busy = how_long(plan);
        vantage::Line::prepare(self, plan, stop)
    }

    fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error> {
        vantage::Line::go(self, go, self.busy, stop)
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        let bundle = vantage::Line::collect(self, self.busy, stop)?;
        self.last = (bundle.batch, self.line.number);
        Ok(bundle)
    }

    fn stored(&mut self, batch: u64) {
        if self.last.0 == batch {
            self.line.stored.store(self.last.1, Ordering::Relaxed);
        }
    }
}

impl Drop for There<'_> {
    fn drop(&mut self) {
        // Where this does not arrive, our silence does the same.
        if !self.line.dead && self.line.client.connection_state() == State::Connected {
            let never = AtomicBool::new(false);
            let _ = self.fleet.runtime.block_on(self.line.ask(Asked::Close, CLOSING, &never));
        }
        self.signs_of_life.abort();
    }
}
