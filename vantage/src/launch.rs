//! Client processes of one batch: started behind a barrier, waited for, ended at their timeout, read.

use std::fs::{File, OpenOptions, remove_file};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent::{ClientEnd, ClientKind, Clients};
use lab::cpu::StopCycle;

use crate::Error;
use crate::clients::Place;
use crate::command_line::command_line;

/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// What a client gets beyond its own timeout before it is ended.
const GRACE: Duration = Duration::from_secs(2);
/// Characters of a client's words that are kept.
const WORDS: usize = 400;

/// A client that runs, and ends with this.
pub(crate) struct Launched {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Launched {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it start.
    pub(crate) fn lift_barrier(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // One that was waited for is left alone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts clients at `place`; they wait for the barrier.
pub(crate) fn launch(place: &Place<'_>, clients: &Clients, may_ask: bool, stop: &AtomicBool) -> Result<Vec<Launched>, Error> {
    let line = command_line(clients, place.roots.as_deref())?;
    let mut placement = place.placement.clone();
    placement.barrier = true;
    let mut launched = Vec::new();
    for i in 0..clients.client.concurrency {
        pause(Duration::ZERO, stop)?;
        // The first alone may call again to learn why it was turned away: what a target has to bear is what was asked for.
        let once = (clients.client.kind == ClientKind::Probe && !(i == 0 && may_ask)).then(|| "--once".to_owned());
        let args: Vec<String> = line.args.iter().cloned().chain(once).collect();
        let file = |end: &str| place.scratch.join(format!("{}-client-{i}.{end}", place.host));
        let (out, err) = (file("out"), file("err"));
        let create = |path: &Path| new_file(path).map_err(|source| Error::Write { path: path.display().to_string(), source });
        let child = placement
            .command(&line.program, &args)?
            .stdin(Stdio::piped())
            .stdout(create(&out)?)
            .stderr(create(&err)?)
            .spawn()
            .map_err(lab::Error::system(format!("starting {}", line.program)))?;
        place.sampler.watch(child.id(), true);
        launched.push(Launched { child, out, err });
    }
    // Let every child reach the barrier, so that starting them is no part of what is measured.
    pause(Duration::from_millis(60 + 15 * clients.client.concurrency as u64), stop)?;
    Ok(launched)
}

/// A file of our own, for us alone, in place of that of the batch before: never what somebody else laid there.
fn new_file(path: &Path) -> std::io::Result<File> {
    // What stays in the way is told by the next line.
    let _ = remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Waits for the clients, ends those that outstay their timeout, and reaps them; `stops` end with the waiting.
pub(crate) fn collect(
    place: &Place<'_>,
    mut launched: Vec<Launched>,
    timeout: Duration,
    stops: Option<StopCycle>,
    stop: &AtomicBool,
) -> Result<Vec<ClientEnd>, Error> {
    let sampler = place.sampler;
    let deadline = Instant::now() + timeout + GRACE;
    let mut late = false;
    while !launched.iter().all(|l| sampler.ended(l.pid())) {
        if stop.load(Ordering::Relaxed) || Instant::now() > deadline {
            late = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(stops);
    let mut ends = Vec::new();
    for client in &mut launched {
        let pid = client.pid();
        let timed_out = late && !sampler.ended(pid);
        if timed_out {
            let _ = client.child.kill();
        }
        let trace = sampler.take(pid).trace;
        sampler.forget(pid);
        let status = client.child.wait().map_err(lab::Error::system("waiting for a client"))?;
        let said = std::fs::read_to_string(&client.out).unwrap_or_default();
        let complained = std::fs::read_to_string(&client.err).unwrap_or_default();
        ends.push(ClientEnd {
            pid,
            code: status.code(),
            timed_out,
            said: serde_json::from_str(&said).unwrap_or(serde_json::Value::String(tail(&said))),
            complained: tail(&complained),
            trace,
        });
    }
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(ends) }
}

fn tail(text: &str) -> String {
    let text = text.trim();
    text.chars().skip(text.chars().count().saturating_sub(WORDS)).collect()
}

/// Sleeps, and wakes when told to stop.
///
/// # Errors
/// If `stop` is set.
pub fn pause(length: Duration, stop: &AtomicBool) -> Result<(), Error> {
    let end = Instant::now() + length;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return Ok(()),
            left => std::thread::sleep(left.min(LOOK)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_goes_into_a_new_file() {
        let folder = tempfile::tempdir().expect("room");
        let (precious, out) = (folder.path().join("precious"), folder.path().join("out"));
        std::fs::write(&precious, "root's own").expect("our own folder");
        std::os::unix::fs::symlink(&precious, &out).expect("our own folder");
        for _ in 0..2 {
            std::io::Write::write_all(&mut new_file(&out).expect("room"), b"said").expect("room");
            assert_eq!(std::fs::read_to_string(&out).expect("it is there"), "said");
        }
        assert_eq!(std::fs::read_to_string(&precious).expect("it is there"), "root's own");
    }

    #[test]
    fn a_pause_of_months_ends_when_told_to_stop() {
        let (told, begun) = (AtomicBool::new(false), Instant::now());
        let paused = std::thread::scope(|scope| {
            let paused = scope.spawn(|| pause(Duration::from_secs(9_999_999), &told));
            std::thread::sleep(LOOK);
            told.store(true, Ordering::Relaxed);
            paused.join().expect("it does not panic")
        });
        assert!(matches!(paused, Err(Error::Interrupted)) && begun.elapsed() < Duration::from_secs(60));
        assert!(pause(Duration::from_millis(1), &AtomicBool::new(false)).is_ok());
    }
}
