//! Capture files: just enough of the classic format to edit stamps, leave packets out and merge two files.

use std::path::Path;

use fastrand::Rng;

use crate::case::Edit;
use crate::error::{Failed, Why};

/// A packet: nanoseconds since the epoch, captured bytes, length on the wire.
#[derive(Clone, Debug)]
pub struct Packet {
    pub t: i64,
    pub data: Vec<u8>,
    pub length: u32,
}

/// A file in memory.
#[derive(Clone, Debug)]
pub struct Capture {
    header: [u8; 24],
    nanoseconds: bool,
    pub packets: Vec<Packet>,
}

impl Capture {
    /// Reads a little-endian classic file, as `tcpdump` writes it here.
    ///
    /// # Errors
    /// If it is something else.
    pub fn read(path: &Path) -> Result<Self, Failed> {
        let bytes = std::fs::read(path).why(format!("reading {}", path.display()))?;
        Self::parse(&bytes).ok_or_else(|| Failed(format!("{} is no capture file", path.display())))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let header: [u8; 24] = bytes.get(..24)?.try_into().ok()?;
        let nanoseconds = match header.get(..4)? {
            [0xd4, 0xc3, 0xb2, 0xa1] => false,
            [0x4d, 0x3c, 0xb2, 0xa1] => true,
            _ => return None,
        };
        let mut packets = Vec::new();
        let mut rest = bytes.get(24..)?;
        while !rest.is_empty() {
            // Cut within a packet: no whole recording.
            let head = rest.get(..16)?;
            let word = |i: usize| head.get(i * 4..i * 4 + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
            let (seconds, part, kept) = (word(0)?, word(1)?, word(2)? as usize);
            let data = rest.get(16..16 + kept)?;
            let t = i64::from(seconds) * 1_000_000_000 + i64::from(part) * if nanoseconds { 1 } else { 1_000 };
            packets.push(Packet { t, data: data.to_vec(), length: word(3)? });
            rest = &rest[16 + kept..];
        }
        Some(Self { header, nanoseconds, packets })
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failed> {
        let mut out = self.header.to_vec();
        for p in &self.packets {
            let part = p.t.rem_euclid(1_000_000_000) / if self.nanoseconds { 1 } else { 1_000 };
            for word in [p.t.div_euclid(1_000_000_000) as u32, part as u32, p.data.len() as u32, p.length] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&p.data);
        }
        std::fs::write(path, out).why(format!("writing {}", path.display()))
    }

    /// Both files' packets in order of time, in the format of this one.
    pub fn merged(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.packets.extend(other.packets.iter().cloned());
        all.packets.sort_by_key(|p| p.t);
        all
    }
}

/// Does an edit; says what was done for the truth.
///
/// # Errors
/// If a file cannot be read or written.
pub fn edit(edit: Edit, folder: &Path, seed: u64) -> Result<serde_json::Value, Failed> {
    let (client, nanos) = match edit {
        Edit::Offset { client, ms } | Edit::Step { client, ms, .. } | Edit::Round { client, ms } => (client, (ms * 1e6) as i64),
        Edit::Skew { client, .. } | Edit::Drop { client, .. } => (client, 0),
        Edit::Merged => {
            let (a, b) = (Capture::read(&folder.join("client.pcap"))?, Capture::read(&folder.join("edge.pcap"))?);
            a.merged(&b).write(&folder.join("merged.pcap"))?;
            return Ok(serde_json::json!([{ "side": "both", "kind": "merged", "file": "merged.pcap" }]));
        }
    };
    let side = if client { "client" } else { "edge" };
    let path = folder.join(format!("{side}.pcap"));
    let mut capture = Capture::read(&path)?;
    let (first, last) = (capture.packets.first().map_or(0, |p| p.t), capture.packets.last().map_or(0, |p| p.t));
    let said = match edit {
        Edit::Offset { ms, .. } => {
            capture.packets.iter_mut().for_each(|p| p.t += nanos);
            serde_json::json!({ "side": side, "kind": "offset", "ms": ms })
        }
        Edit::Step { ms, at, .. } => {
            let from = first + ((last - first) as f64 * at) as i64;
            capture.packets.iter_mut().filter(|p| p.t >= from).for_each(|p| p.t += nanos);
            serde_json::json!({ "side": side, "kind": "step", "ms": ms, "at": at, "step_at_true_time": from as f64 / 1e9 })
        }
        Edit::Round { ms, .. } => {
            capture.packets.iter_mut().for_each(|p| p.t -= p.t.rem_euclid(nanos));
            serde_json::json!({ "side": side, "kind": "round", "ms": ms })
        }
        Edit::Skew { ppm, .. } => {
            capture.packets.iter_mut().for_each(|p| p.t += ((p.t - first) as f64 * ppm / 1e6) as i64);
            serde_json::json!({ "side": side, "kind": "skew", "ppm": ppm })
        }
        Edit::Drop { fraction, .. } => {
            let mut r = Rng::with_seed(seed);
            let before = capture.packets.len();
            capture.packets.retain(|_| r.f64() >= fraction);
            let gone = before - capture.packets.len();
            serde_json::json!({ "side": side, "kind": "drop", "fraction": fraction, "packets": gone })
        }
        Edit::Merged => serde_json::Value::Null,
    };
    capture.write(&path)?;
    Ok(serde_json::json!([said]))
}
