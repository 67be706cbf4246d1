//! What could be lost: on a full disk, and when the recorder is killed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::checks::Checks;
use e2e::disk::Disk;
use e2e::waiting::{pause, wait_for, wait_some};
use nix::sys::signal::Signal;

use crate::recorder::{Config, Place, SOON, is_unfinished};

#[test]
fn a_full_disk() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let small = place.path("small");
    let _disk = Disk::mount(&small, "64k");
    let mut recorder = place.begin(&Config { evidence: small.join("evidence"), ..place.config() });
    let filler = small.join("filler");
    std::fs::write(&filler, [b'x'; 61_000]).expect("there is room for it");
    let client = place.edge.handshake().to_string();
    let said = wait_some(SOON, || Some(place.ask(&["trigger", &client])).filter(|said| !said.err.contains("memory")));
    let refused = said.as_ref().is_some_and(|said| said.refused(2, "space"));
    t.check("a full disk is said to whoever asked", refused, || said);
    t.check("and on the page", place.status_text("trouble").contains("space"), || place.status());
    std::fs::remove_file(filler).expect("our own file");
    let kept = place.kept(place.edge.handshake());
    let half = half_written(&small.join("evidence"));
    t.check("when there is room again it goes on", kept.is_some() && half.is_empty(), || (kept, half));
    let over = wait_for(SOON, || place.trouble("evidence") == Some(false));
    t.check("and the trouble is over", over, || place.status());
    recorder.end(Signal::SIGTERM);
}

#[test]
fn kills() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let kills: usize = std::env::var("KILLS").map_or(20, |n| n.parse().expect("KILLS is a number"));
    let acknowledged = Mutex::new(Vec::new());
    for _ in 0..kills {
        let mut recorder = place.begin(&place.config());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let said = place.ask(&["trigger", &place.edge.handshake().to_string()]);
                        if said.code == Some(0) {
                            acknowledged.lock().expect("no holder panicked").push(PathBuf::from(said.out.trim()));
                        }
                    }
                });
            }
            pause(fastrand::u64(50..600));
            recorder.signal(Signal::SIGKILL);
            stop.store(true, Ordering::SeqCst);
            recorder.wait(SOON);
        });
    }
    let (acknowledged, files) = (acknowledged.into_inner().expect("no holder panicked"), place.evidence());
    // A file may be replaced by one with another verdict when more of its packets have come: same time, same client.
    let stems: HashSet<String> = files.iter().map(|file| stem(file)).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|file| !stems.contains(&stem(file))).collect();
    let words = format!("{kills} kills: none of {} acknowledged triggers is lost", acknowledged.len());
    t.check(words, !acknowledged.is_empty() && lost.is_empty(), || lost);
    let torn: Vec<_> = files.iter().filter(|file| !place.is_whole(file)).collect();
    t.check(format!("{kills} kills: none of {} files is torn", files.len()), !files.is_empty() && torn.is_empty(), || torn);
    let mut recorder = place.begin(&place.config());
    let half = half_written(&place.path("evidence"));
    let gone = recorder.is_running() && half.is_empty();
    t.check("what was half written is gone at the next start", gone, || (half, place.log()));
    recorder.end(Signal::SIGTERM);
}

/// Time and client of an evidence file's name.
fn stem(file: &Path) -> String {
    let name = file.file_name().expect("a file").to_string_lossy();
    name.split('_').take(2).collect::<Vec<_>>().join("_")
}

fn half_written(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the recorder made it").flatten();
    entries.map(|entry| entry.path()).filter(|path| is_unfinished(path)).collect()
}
