//! A trial's captures, and what its hosts' counters said, as `explain` takes them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use analysis::clock::{Domain, Instant};
use analysis::conversation::host::{HostTrace, Sample};
use explain::Options;
use explain::placing::Placed;
use sim::Trial;
use sim::cases::Grade;
use sim::trial::write_pcap;

/// Frames, and when they were captured: nanoseconds since 1970.
pub type Frames = Vec<(i64, Vec<u8>)>;

/// Writes a capture below `folder`.
///
/// # Panics
/// If `folder` takes no files.
#[must_use]
pub fn write(folder: &Path, name: &str, frames: &Frames) -> PathBuf {
    let path = folder.join(name);
    let out = BufWriter::new(File::create(&path).expect("the trial's folder takes files"));
    write_pcap(out, frames).expect("the trial's folder takes files");
    path
}

/// The captures of the ends that a grade knows, written below `folder`.
///
/// # Panics
/// If `folder` takes no files.
#[must_use]
pub fn captures(trial: &Trial, grade: Grade, folder: &Path) -> Options {
    let client = || vec![write(folder, "client.pcap", &trial.client)];
    let edge = || vec![write(folder, "edge.pcap", &trial.edge)];
    match grade {
        Grade::BothAndHost if trial.one_file.is_some() => {
            let both = trial.one_file.iter().map(|frames| write(folder, "both.pcap", frames));
            Options { captures: both.collect(), ..Options::default() }
        }
        Grade::BothAndHost => Options { captures: [client(), edge()].concat(), ..Options::default() },
        Grade::Client => Options { client_side: client(), ..Options::default() },
        Grade::Server => Options { edge_side: edge(), ..Options::default() },
    }
}

/// Gives a handshake the samples of both hosts, where their ends were captured.
pub fn add_hosts(trial: &Trial, placed: &mut Placed) {
    let handshake = &mut placed.handshake;
    handshake.client_host = handshake.client.as_ref().map(|_| trace(&trial.client_samples));
    handshake.edge_host = handshake.edge.as_ref().map(|_| trace(&trial.edge_samples));
}

fn trace<D: Domain>(samples: &[sim::host::Sample]) -> HostTrace<D> {
    let convert = |s: &sim::host::Sample| Sample {
        at: Instant::from_nanos(s.at),
        tid: 1,
        cpu: s.cpu,
        run_delay: s.run_delay,
        state: s.state,
        steal: s.steal,
    };
    HostTrace { samples: samples.iter().map(convert).collect(), nodelay: None }
}
