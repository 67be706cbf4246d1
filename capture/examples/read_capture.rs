//! A capture file → its TCP segments: `cargo run -p whostalled-capture --example read_capture [FILE]`
//!
//! Any pcap or pcapng file, compressed or not; without one, a recording of the zoo.

use std::error::Error;
use std::path::PathBuf;

use analysis::wire::packet::{Transport, decode};
use whostalled_capture::file::Reader;

/// So many segments are printed.
const SHOWN: usize = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/../zoo/recorded/c022-java-go-client-stalls/edge.pcap.zst");
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(recorded), PathBuf::from);
    let mut reader = Reader::open(&path, None)?;
    let (mut begun, mut segments) = (None, 0);
    while let Some(frame) = reader.next_frame()? {
        // A link type that nobody here can read has no `link`; what is no TCP is left out.
        let Some(Ok(Transport::Tcp(segment))) = frame.link.map(|link| decode(link, frame.bytes)) else { continue };
        segments += 1;
        if segments <= SHOWN {
            let since = (frame.at - *begun.get_or_insert(frame.at)).to_string();
            let (from, to) = (segment.source(), segment.destination());
            let syn = if segment.flags.syn() { ", SYN" } else { "" };
            println!("packet {:>3}, {since:>8}: {from} → {to}, {} bytes{syn}", frame.number, segment.len);
        }
    }
    println!(
        "{}: {} packets, {segments} TCP segments; the capture dropped {}",
        path.display(),
        reader.packets(),
        reader.dropped()
    );
    Ok(())
}
