//! What the scheduler did with the thread that probes.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use analysis::clock::{Client, Instant};
use analysis::conversation::host::Sample;

/// Nanoseconds that the hypervisor took from this machine's CPUs, as [`refresh_steal`] read it last.
static STEAL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static SCHEDSTAT: RefCell<Option<File>> = RefCell::new(File::open("/proc/thread-self/schedstat").ok());
}

/// This thread's counters; absent where the kernel keeps none. `idle`: it will sleep next.
pub fn sample(at: Instant<Client>, idle: bool) -> Option<Sample<Client>> {
    let (cpu, run_delay) = counters()?;
    let state = if idle { 'S' } else { 'R' };
    Some(Sample { at, tid: 1, cpu, run_delay, state, steal: STEAL.load(Ordering::Relaxed) })
}

/// Nanoseconds on a CPU, and ready without one, since this thread began.
fn counters() -> Option<(u64, u64)> {
    SCHEDSTAT.with_borrow(|file| {
        let mut bytes = [0; 64];
        let n = file.as_ref()?.read_at(&mut bytes, 0).ok()?;
        let mut words = std::str::from_utf8(bytes.get(..n)?).ok()?.split_ascii_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    })
}

/// Reads how much the hypervisor has taken since boot.
pub fn refresh_steal() {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = text.lines().next().and_then(|line| line.split_ascii_whitespace().nth(8)).and_then(|t| t.parse::<u64>().ok());
    // USER_HZ is 100 on every architecture Linux runs on today (time(7)).
    STEAL.store(ticks.unwrap_or(0) * 10_000_000, Ordering::Relaxed);
}
