//! The packets of chosen handshakes as one pcapng, with comments at the milestones and the verdict at the first packet.
//!
//! In: which packets ([`Selection`], gathered while the captures were read), and the capture files, which are read once
//! more. Out: an evidence file. Memory: a number per packet chosen.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::PathBuf;

use analysis::clock::Instant;
use capture::Captured;
use capture::evidence::Evidence;
use capture::live::Losses;
use capture::set::Set;
use records::lanes::comments;

use crate::judging::Finding;

/// Packets of chosen handshakes.
#[derive(Default)]
pub struct Selection {
    packets: Vec<u64>,
    comments: BTreeMap<u64, Vec<String>>,
}

impl Selection {
    /// Adds a handshake's packets.
    pub fn add(&mut self, finding: &Finding) {
        let h = &finding.placed.handshake;
        let before = self.packets.len();
        self.packets.extend(h.client.iter().flat_map(|view| view.frames()));
        self.packets.extend(h.edge.iter().flat_map(|view| view.frames()));
        let verdict = finding.judged.as_ref().map_or_else(|_| "not judged".to_owned(), |j| j.judgement.verdict.label());
        if let Some(first) = self.packets[before..].iter().min() {
            self.comments.entry(*first).or_default().push(format!("whostalled: handshake {}: {verdict}", finding.id));
        }
        for (packet, comment) in comments(h) {
            self.comments.entry(packet).or_default().push(comment);
        }
    }
}

/// Whether captures can be read a second time: not if any is a pipe.
pub fn readable_twice(paths: &[PathBuf]) -> bool {
    paths.iter().all(|p| p.is_file())
}

/// Reads the captures again and writes the chosen packets to `out`.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(mut selection: Selection, paths: &[PathBuf], out: impl Write) -> std::io::Result<u64> {
    selection.packets.sort_unstable();
    selection.packets.dedup();
    let mut evidence = Evidence::begin(out, "handshakes chosen by whostalled explain; one interface per capture and interface")?;
    let mut interfaces: HashMap<(usize, u32), usize> = HashMap::new();
    let mut losses: Vec<Losses> = Vec::new();
    let mut set = Set::open(paths, None);
    let mut last_at = Instant::from_nanos(0);
    while let Some((capture, frame)) = set.next_frame() {
        if selection.packets.binary_search(&frame.number).is_err() {
            continue;
        }
        let captured = Captured { at: frame.at, wire_len: frame.wire_len, outgoing: None, bytes: frame.bytes.to_vec() };
        let (number, link, link_number, place) = (frame.number, frame.link, frame.link_number, (capture, frame.interface));
        last_at = captured.at.max(last_at);
        let interface = match interfaces.get(&place) {
            Some(interface) => *interface,
            None => {
                let files = &set.captures()[capture].files;
                let name = files.first().map_or_else(String::new, |f| f.display().to_string());
                losses.push(Losses::default());
                let interface = evidence.interface(&format!("{name} interface {}", place.1), link_number)?;
                interfaces.insert(place, interface);
                interface
            }
        };
        losses[interface].received += 1;
        let said = selection.comments.get(&number).map_or(&[][..], Vec::as_slice);
        evidence.packet(interface, link, &captured, said)?;
    }
    let written = evidence.packets();
    evidence.finish(last_at, &losses)?;
    Ok(written)
}
