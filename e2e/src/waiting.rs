//! Waiting for what another process does. In: a question, the seconds in which it must come true. Out: its last answer.

use std::time::{Duration, Instant};

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer, or the time is over.
pub fn wait_some<T>(seconds: u64, mut what: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        let late = Instant::now() >= until;
        let found = what();
        if found.is_some() || late {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks until it is so, or the time is over.
pub fn wait_for(seconds: u64, mut what: impl FnMut() -> bool) -> bool {
    wait_some(seconds, || what().then_some(())).is_some()
}

/// Lets time pass in which something must not happen, or a process must get going.
pub fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
