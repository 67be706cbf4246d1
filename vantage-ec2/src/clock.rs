//! Time as an argument. In: a clock and whether we were told to stop. Out: seconds, and pauses that end early when we are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use provider::{Fault, Wrong};

/// We were told to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

impl From<Stopped> for Wrong {
    fn from(_: Stopped) -> Self {
        Self { fault: Fault::Interrupted, what: "told to stop".into(), todo: None, left: Vec::new() }
    }
}

/// A clock that one can wait by.
pub trait Clock {
    /// Seconds since the epoch.
    fn now(&self) -> u64;

    /// Whether we are told to stop.
    ///
    /// # Errors
    /// If we are.
    fn go_on(&self) -> Result<(), Stopped>;

    /// Waits.
    ///
    /// # Errors
    /// If we are told to stop.
    fn pause(&self, length: Duration) -> Result<(), Stopped>;

    /// Waits, although we were told to stop: what is taken down is taken down.
    fn insist(&self, length: Duration);
}

/// The same clock for whoever takes something down: nobody tells it to stop, but its time is over once.
pub struct Insisting<'a> {
    /// The clock.
    pub clock: &'a dyn Clock,
    /// When its time is over, in seconds since the epoch.
    pub until: u64,
}

impl Clock for Insisting<'_> {
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn go_on(&self) -> Result<(), Stopped> {
        if self.now() < self.until { Ok(()) } else { Err(Stopped) }
    }

    fn pause(&self, length: Duration) -> Result<(), Stopped> {
        // What would come after its time need not be waited for.
        if self.now() + length.as_secs() >= self.until {
            return Err(Stopped);
        }
        self.clock.insist(length);
        self.go_on()
    }

    fn insist(&self, length: Duration) {
        self.clock.insist(length);
    }
}

/// How long it may be before it is noticed that we are to stop.
const LOOK: Duration = Duration::from_millis(50);

/// This machine's.
pub struct System<'a>(pub &'a AtomicBool);

impl Clock for System<'_> {
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn go_on(&self) -> Result<(), Stopped> {
        if self.0.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    fn pause(&self, length: Duration) -> Result<(), Stopped> {
        let until = std::time::Instant::now() + length;
        loop {
            self.go_on()?;
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn insist(&self, length: Duration) {
        std::thread::sleep(length);
    }
}
