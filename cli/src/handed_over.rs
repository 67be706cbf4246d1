//! What this process had brought up, and what becomes of it when a second signal ends this process at once: the providers are started to take
//! it down, and nobody waits for them.
//!
//! The first signal stops a run, and what was brought up is taken down in order. While anything may be up a thread counts signals, as no more
//! than a flag can be set in a handler; until then a second signal ends this process in its handler, as there is nothing to start.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use provider::Request;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::unregister;

use crate::exit;
use crate::providing::Program;
use crate::saying::aside;

/// What tells this process to stop.
pub(crate) const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// An order that may be up.
struct Up {
    run: String,
    order: String,
    program: Program,
    down: Request,
}

/// All that may be up.
static ALL: Mutex<Vec<Up>> = Mutex::new(Vec::new());
/// Handlers that end this process at the second signal.
static AT_ONCE: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handler that ends this process at the second signal, as long as nothing is up.
pub(crate) fn at_once(handler: SigId) {
    held(&AT_ONCE).push(handler);
}

/// From now on an order may be up, which `down` takes down. `stop`: whether the first signal was there already.
///
/// # Errors
/// If nobody can count signals: then nothing may begin.
pub(crate) fn begins(run: &str, order: &str, program: &Program, down: Request, stop: &AtomicBool) -> std::io::Result<()> {
    let handlers = std::mem::take(&mut *held(&AT_ONCE));
    if !handlers.is_empty() {
        let mut signals = Signals::new(SIGNALS)?;
        // What comes between these two lines is in both, and is one signal.
        let mut told = stop.load(Ordering::Relaxed);
        told |= signals.pending().count() > 0;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                if told {
                    hand_over();
                    std::process::exit(i32::from(exit::HARNESS));
                }
                told = true;
            }
        })?;
        for handler in handlers {
            unregister(handler);
        }
    }
    held(&ALL).push(Up { run: run.to_owned(), order: order.to_owned(), program: program.clone(), down });
    Ok(())
}

/// Nothing of it is up any more, or somebody else takes it down.
pub(crate) fn ended(order: &str) {
    held(&ALL).retain(|up| up.order != order);
}

/// Starts whoever takes down what may be up.
fn hand_over() {
    for Up { run, program, down, .. } in &*held(&ALL) {
        match program.start(down, Stdio::null()) {
            Ok(_) => aside(format_args!("{}: taking down what is up; nobody waits for it", program.name)),
            Err(error) => aside(format_args!(
                "whostalled: {error}; {run} is up until its own end, or `whostalled vantage down {run}` with its settings"
            )),
        }
    }
}
