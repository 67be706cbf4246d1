//! A controller: its threads, and the check file read again when it changes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use agent::{Delivered, Handout, Stored};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch as latest;

use super::controller::{Controller, Parts};
use super::handout::hand_out;
use super::matrix::Matrix;
use super::metrics::FleetMetrics;
use crate::checks::CheckFile;
use crate::clock::second;
use crate::error::{FileError, Invalid, WatchError};
use crate::opened::Face;
use crate::probing::Steady;
use crate::server::Shown;
use crate::status::Status;
use crate::store::History;
use crate::watching::{Common, Reloading, Start, allow_sockets, named};

/// Messages of agents that wait for the controller; what finds no room is said again.
const MOST_DELIVERED: usize = 4_096;

/// A controller's end of whatever carries checks to agents and their rounds back.
pub struct Line {
    /// The controller's name.
    pub controller: String,
    /// The checks, as they change.
    pub checks: latest::Receiver<Arc<Handout>>,
    /// Takes what agents say. What finds no room may be dropped.
    pub delivered: SyncSender<Delivered>,
    /// What agents may forget.
    pub stored: UnboundedReceiver<Stored>,
    /// Is told why agents cannot be reached, or that they can.
    pub reached: Box<dyn Fn(Option<String>) + Send + Sync>,
}

/// Judges what agents report until `stop` is set; reads the check file again when it changes or `reload` is set. `ready` is told where the
/// page is. `carry` carries, in a thread of its own, until `stop` is set.
///
/// # Errors
/// If it cannot begin, or a part of it broke: it says which, and why.
pub fn watch<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    stop: &AtomicBool,
    reload: &AtomicBool,
    ready: impl FnOnce(&CheckFile),
    carry: impl FnOnce(Line) -> Result<(), E> + Send + 'static,
) -> Result<(), WatchError> {
    let (file, face, handout) = load(path)?;
    allow_sockets();
    let (status, metrics) = (Arc::new(Status::default()), Arc::new(FleetMetrics::default()));
    let clock = Steady::start();
    let matrix = Arc::new(Mutex::new(Matrix::new(Arc::clone(&file), second(clock.now()))));
    let shown = Shown::Fleet { metrics: Arc::clone(&metrics), matrix: Arc::clone(&matrix) };
    let common = Common::begin(&file, face, &status, shown, &metrics.delivery)?;
    let (stored_out, stored) = unbounded_channel();
    let controller = Controller::open(Parts {
        store: History::open(&file.watch.store)?,
        config: Arc::clone(&file),
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        matrix,
        direct: common.direct.clone(),
        stored: stored_out,
        handout: handout.sha256.clone(),
        clock: Box::new(move || clock.now()),
    })?;
    let (checks_out, checks) = latest::channel(Arc::new(handout));
    let (changes_out, changes) = channel();
    let (delivered_out, delivered) = sync_channel(MOST_DELIVERED);
    let of_line = Arc::clone(&status);
    let line = Line {
        controller: file.watch.vantage.clone(),
        checks,
        delivered: delivered_out,
        stored,
        reached: Box::new(move |what| of_line.trouble("broker", what)),
    };
    let carrying = named("line", move || carry(line))?;
    let judging = named("controller", move || controller.run(&delivered, &changes))?;
    ready(&file);

    let next = |file: Arc<CheckFile>, handout: Handout| {
        // Whoever is gone shows below.
        let _ = changes_out.send((file, handout.sha256.clone()));
        checks_out.send_replace(Arc::new(handout));
    };
    let told = |worked: bool| {
        metrics.reload.set(i64::from(worked));
    };
    let start = Start::of(&file);
    Reloading { path, load, next, common: &common, status: &status, told: &told, start }
        .look_until(reload, || stop.load(Ordering::Relaxed) || carrying.is_finished() || judging.is_finished());
    // The line ends when `stop` is set, or has; then nobody delivers, and the controller writes what it has.
    stop.store(true, Ordering::Relaxed);
    let carried = carrying.join().map_err(|_| WatchError::Broken("the line's thread"))?;
    judging.join().map_err(|_| WatchError::Broken("the controller's thread"))?;
    carried.map_err(|error| WatchError::Line(Box::new(error)))
}

fn load(path: &Path) -> Result<(Arc<CheckFile>, Face, Handout), FileError> {
    FileError::read(path, |text| {
        let file = CheckFile::parse(text)?;
        let face = Face::open(&file).map_err(|wrong| Invalid(wrong.said(text)))?;
        let handout = hand_out(text, &file)?;
        Ok((Arc::new(file), face, handout))
    })
}

/// Reads all that [`watch`] would, and begins nothing.
///
/// # Errors
/// As [`watch`].
pub fn validate(path: &Path) -> Result<(usize, Vec<String>), WatchError> {
    load(path)?;
    crate::watching::validate(path)
}
