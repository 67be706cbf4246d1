//! How tshark reads captures. In: captures. Out: one CSV row per TLS connection, in the form that explain's corpus test compares with.
//!
//! A message's time is that of the frame in which its last byte arrived, in seconds from the first SYN (or packet). Each capture is read
//! twice, with TCP reassembled out of order and without; the reading that found more is kept. tshark is a witness, not an oracle: where
//! explain differs, look at the bytes (docs/corpus.md).

mod connection;
mod pdml;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use connection::{Connection, TIMES};
use pdml::Packet;

use crate::Found;

type Rows = BTreeMap<u64, Connection>;

pub(crate) fn truth(captures: &[String], folder: &Path) -> Result<Found> {
    let workers = std::thread::available_parallelism()?.get().min(captures.len());
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Rows)>> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(capture) = captures.get(index) else { return Ok(done) };
            done.push((index, rows(capture, folder)?));
            eprint!("\r{} of {} captures begun", next.load(Ordering::Relaxed).min(captures.len()), captures.len());
        }
    };
    let found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|w| w.join().expect("a worker does not panic")).collect::<Result<Vec<_>>>()
    })?;
    eprintln!();
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    found.sort_by_key(|(index, _)| *index);
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    out.write_record(["file", "stream", "client", "server", "sni", "version", "resumed", "t0_abs"].into_iter().chain(TIMES))?;
    for (index, rows) in &found {
        for (stream, connection) in rows {
            out.write_record([captures[*index].clone(), stream.to_string()].into_iter().chain(connection.record()))?;
        }
    }
    out.flush()?;
    Ok(Found::Good)
}

/// The connections of a capture, by stream: each from the reading that found more of it.
fn rows(capture: &str, folder: &Path) -> Result<Rows> {
    let mut best = Rows::new();
    for out_of_order in ["TRUE", "FALSE"] {
        let mut streams: BTreeMap<u64, Vec<Packet>> = BTreeMap::new();
        for packet in packets(capture, folder, out_of_order)? {
            streams.entry(packet.stream).or_default().push(packet);
        }
        for (stream, packets) in streams {
            let Some(connection) = Connection::of(&packets) else { continue };
            if best.get(&stream).is_none_or(|before| connection.times_known() > before.times_known()) {
                best.insert(stream, connection);
            }
        }
    }
    Ok(best)
}

fn packets(capture: &str, folder: &Path, out_of_order: &str) -> Result<Vec<Packet>> {
    let mut command = Command::new("tshark");
    command.current_dir(folder).args(["-n", "-r", capture, "-o", &format!("tcp.reassemble_out_of_order:{out_of_order}")]);
    command.args(["-T", "pdml", "-J", "frame ip ipv6 tcp tls", "-Y", "tcp && !icmp && !icmpv6"]);
    let mut tshark = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("tshark (apt-get install tshark)")?;
    let output = tshark.stdout.take().context("tshark's output")?;
    let packets = pdml::read(BufReader::new(output));
    tshark.wait()?;
    Ok(packets)
}
