//! How late this machine wakes an ordinary thread while a case is recorded: what other programs took away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Late by less is not noted.
const WORTH: Duration = Duration::from_millis(6);
const STEP: Duration = Duration::from_millis(2);

/// One late waking: when it was over, and how late.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    pub t: f64,
    pub ms: f64,
}

/// A running watch.
pub struct Noise {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Late>>>,
}

impl Noise {
    pub fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut found = Vec::new();
            while !flag.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(STEP);
                let late = begun.elapsed().saturating_sub(STEP);
                if late >= WORTH {
                    let t = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
                    found.push(Late { t, ms: late.as_secs_f64() * 1e3 });
                }
            }
            found
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it and gives what it found.
    pub fn end(mut self) -> Vec<Late> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|t| t.join().ok()).unwrap_or_default()
    }
}
