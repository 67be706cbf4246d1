//! Makes a small recording to be kept in a repository from a large one.
//!
//! Almost all of a capture's bytes are ciphertext, which does not compress and which nobody reads: the bodies of encrypted
//! records become zeros at both ends alike. Headers, lengths, clear handshake messages and all stamps stay as they were.
//! (TCP checksums are left alone and no longer fit, as in captures with checksum offload.)

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use serde_json::Value;

use crate::error::{Failed, Why};
use crate::pcap::{Capture, Packet};

#[derive(Parser)]
#[command(about = "Keeps a small part of a recording")]
struct Options {
    /// Folders of cases.
    from: Vec<PathBuf>,
    /// Where the kept ones go.
    #[arg(long)]
    out: PathBuf,
    /// How many cases at most.
    #[arg(long, default_value_t = 60)]
    cases: usize,
    /// How many bytes at most.
    #[arg(long, default_value_t = 6_000_000)]
    bytes: u64,
}

/// What `main` does.
pub fn main() -> ExitCode {
    match keep(&Options::parse()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("zoo-keep: {error}");
            ExitCode::FAILURE
        }
    }
}

fn keep(options: &Options) -> Result<String, Failed> {
    let mut by_class: BTreeMap<char, Vec<PathBuf>> = BTreeMap::new();
    for folder in &options.from {
        for entry in std::fs::read_dir(folder).why(format!("reading {}", folder.display()))?.flatten() {
            let letter = entry.file_name().to_string_lossy().chars().next().unwrap_or('?');
            if entry.path().join("truth.json").exists() {
                by_class.entry(letter).or_default().push(entry.path());
            }
        }
    }
    by_class.values_mut().for_each(|cases| cases.sort());
    // Classes take turns, so that a small budget has some of each.
    let mut order = Vec::new();
    for turn in 0.. {
        let before = order.len();
        order.extend(by_class.values().filter_map(|cases| cases.get(turn)).cloned());
        if order.len() == before {
            break;
        }
    }
    let (mut kept, mut bytes) = (0, 0);
    for case in order {
        if kept >= options.cases {
            break;
        }
        let target = options.out.join(case.file_name().unwrap_or_default());
        let size = one(&case, &target)?;
        if bytes + size > options.bytes {
            std::fs::remove_dir_all(&target).why("removing what is too large")?;
            continue;
        }
        kept += 1;
        bytes += size;
    }
    Ok(format!("{kept} cases, {bytes} bytes"))
}

fn one(case: &Path, target: &Path) -> Result<u64, Failed> {
    std::fs::create_dir_all(target).why(format!("making {}", target.display()))?;
    let mut captures = Vec::new();
    for name in ["client", "edge", "merged"] {
        let packed = case.join(format!("{name}.pcap.zst"));
        if packed.exists() {
            let plain = target.join(format!("{name}.pcap"));
            zstd(&["-d"], &packed, &plain)?;
            captures.push((plain.clone(), Capture::read(&plain)?));
        }
    }
    let ranges = encrypted(captures.iter().flat_map(|(_, c)| &c.packets));
    let mut size = 0;
    for (path, capture) in &mut captures {
        for packet in &mut capture.packets {
            blank(packet, &ranges);
        }
        capture.write(path)?;
        let packed = path.with_extension("pcap.zst");
        zstd(&["-19", "--long=24", "--rm"], path, &packed)?;
        size += std::fs::metadata(&packed).why("reading a size")?.len();
    }
    let text = std::fs::read_to_string(case.join("truth.json")).why("reading the truth")?;
    let mut truth: Value = serde_json::from_str(&text).why("reading the truth")?;
    truth["ciphertext"] = "zeros".into();
    let text = truth.to_string();
    size += text.len() as u64;
    std::fs::write(target.join("truth.json"), text + "\n").why("writing the truth")?;
    Ok(size)
}

fn zstd(options: &[&str], from: &Path, to: &Path) -> Result<(), Failed> {
    let status =
        Command::new("zstd").args(["-q", "-f"]).args(options).arg(from).arg("-o").arg(to).status().why("starting zstd")?;
    if status.success() { Ok(()) } else { Err(Failed(format!("zstd failed on {}", from.display()))) }
}

/// One direction of one connection: addresses and ports.
type Flow = Vec<u8>;

/// A TCP packet's place in the frame.
struct Segment {
    flow: Flow,
    seq: u32,
    syn: bool,
    payload: std::ops::Range<usize>,
}

fn segment(frame: &[u8]) -> Option<Segment> {
    let ip = frame.get(14..)?;
    let (addresses, header, length) = match ip.first()? >> 4 {
        4 => (ip.get(12..20)?, usize::from(ip[0] & 15) * 4, usize::from(u16::from_be_bytes(ip.get(2..4)?.try_into().ok()?))),
        6 => (ip.get(8..40)?, 40, 40 + usize::from(u16::from_be_bytes(ip.get(4..6)?.try_into().ok()?))),
        _ => return None,
    };
    let tcp = ip.get(header..)?;
    let begin = header + usize::from(tcp.get(12)? >> 4) * 4;
    let end = if length <= begin { ip.len().min(begin.max(length)) } else { length.min(ip.len()) };
    let mut flow = addresses.to_vec();
    flow.extend_from_slice(tcp.get(..4)?);
    let seq = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    Some(Segment { flow, seq, syn: tcp.get(13)? & 2 != 0, payload: 14 + begin..14 + end.max(begin) })
}

/// Ranges of encrypted bytes by flow, as sequence numbers relative to the first byte, with that byte's number.
type Ranges = HashMap<Flow, (u32, Vec<std::ops::Range<usize>>)>;

fn encrypted<'a>(packets: impl Iterator<Item = &'a Packet>) -> Ranges {
    let mut firsts: HashMap<Flow, u32> = HashMap::new();
    let mut pieces: HashMap<Flow, Vec<(u32, &[u8])>> = HashMap::new();
    for packet in packets {
        let Some(s) = segment(&packet.data) else { continue };
        if s.syn {
            firsts.insert(s.flow, s.seq.wrapping_add(1));
        } else if let Some(bytes) = packet.data.get(s.payload.clone()).filter(|b| !b.is_empty()) {
            pieces.entry(s.flow).or_default().push((s.seq, bytes));
        }
    }
    let mut ranges = Ranges::new();
    for (flow, first) in firsts {
        let mut stream: Vec<Option<u8>> = Vec::new();
        for (seq, bytes) in pieces.get(&flow).into_iter().flatten() {
            let at = seq.wrapping_sub(first) as usize;
            if at > 1 << 20 {
                continue;
            }
            stream.resize(stream.len().max(at + bytes.len()), None);
            for (place, byte) in stream.iter_mut().skip(at).zip(*bytes) {
                *place = Some(*byte);
            }
        }
        ranges.insert(flow, (first, bodies(&stream)));
    }
    ranges
}

/// Bodies of application-data records; what stands before TLS is passed over.
fn bodies(stream: &[Option<u8>]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut begun = false;
    while let Some([Some(kind), Some(major), _, Some(high), Some(low)]) = stream.get(at..at + 5) {
        let valid = (20..=23).contains(kind) && *major == 3;
        if !valid || (!begun && *kind != 22) {
            if begun {
                break;
            }
            at += 1;
            continue;
        }
        begun = true;
        let length = usize::from(*high) << 8 | usize::from(*low);
        if *kind == 23 {
            found.push(at + 5..at + 5 + length);
        }
        at += 5 + length;
    }
    found
}

fn blank(packet: &mut Packet, ranges: &Ranges) {
    let Some(s) = segment(&packet.data) else { return };
    let Some((first, bodies)) = ranges.get(&s.flow) else { return };
    let from = s.seq.wrapping_sub(*first) as usize;
    if s.syn || from > 1 << 20 {
        return;
    }
    let Some(payload) = packet.data.get_mut(s.payload) else { return };
    for (i, byte) in payload.iter_mut().enumerate() {
        // Few records a connection: a search would not pay.
        if bodies.iter().any(|r| r.contains(&(from + i))) {
            *byte = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_bodies_of_encrypted_records_are_named() {
        let stream: Vec<Option<u8>> =
            b"220 hi\r\n\x16\x03\x03\x00\x02ab\x17\x03\x03\x00\x03xyz\x17\x03\x03\x00\x01q".iter().map(|b| Some(*b)).collect();
        assert_eq!(super::bodies(&stream), vec![20..23, 28..29]);
    }
}
