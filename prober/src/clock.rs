//! The clock of a probe.

use std::time::{SystemTime, UNIX_EPOCH};

use analysis::clock::{Client, Instant, Span};

/// Two clocks of one machine differ by less unless somebody sets one.
const STEP: Span = Span::from_millis(1);

/// Wall time that nobody can set back during a probe.
pub(crate) struct Clock {
    real: Instant<Client>,
    begun: std::time::Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self { real: real(), begun: std::time::Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Instant<Client> {
        self.real + Span::from_nanos(i64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    /// Whether somebody set the machine's clock meanwhile.
    pub fn stepped(&self) -> bool {
        (real() - self.now()).abs() > STEP
    }
}

fn real() -> Instant<Client> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Instant::from_nanos(since.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
}
