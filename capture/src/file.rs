//! Capture files in: pcap and pcapng, plain or compressed, from a path or a pipe.
//!
//! In: bytes. Out: frames in file order, each with its number, its time in nanoseconds since the epoch, its
//! interface and how its headers begin. A broken or cut file gives everything before the break, then one
//! [`Broken`] that says after which packet it stopped. Memory: one buffer, whatever the file's size.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use analysis::packet::LinkType;
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, InterfaceDescriptionBlock, PcapBlockOwned, PcapError, PcapNGOption, create_reader};

use crate::source::{Source, open};

/// Bytes read at once: few enough to stay in the CPU's cache until they are decoded.
const BUFFER: usize = 256 << 10;
/// The largest packet or block that is still read.
const MOST_BLOCK: usize = 64 << 20;
/// Block type of the obsolete Packet Block.
const PACKET_BLOCK: u32 = 2;
/// Options of an Interface Statistics Block that count drops.
const DROPS: [u16; 2] = [5, 7];

/// One frame of a capture file.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its number in the file, from 1, as Wireshark counts.
    pub number: u64,
    /// When it was captured, in nanoseconds since the epoch.
    pub at: i64,
    /// Which of the file's interfaces saw it (0 in a pcap).
    pub interface: u32,
    /// How it begins; absent for a link type nobody here can read.
    pub link: Option<LinkType>,
    /// The number of its link type.
    pub link_number: i32,
    /// Length on the wire.
    pub wire_len: u32,
    /// What was captured of it.
    pub bytes: &'a [u8],
}

/// Why and where reading ended early.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}: {}{what}", place(*.after))]
pub struct Broken {
    /// The file.
    pub file: String,
    /// Packets that were read before.
    pub after: u64,
    /// What is wrong.
    pub what: String,
}

fn place(after: u64) -> String {
    if after == 0 { String::new() } else { format!("broken after packet {after}, which still counts: ") }
}

/// A capture's interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name (pcapng), if it has one.
    pub name: Option<String>,
    link: Option<LinkType>,
    link_number: i32,
    /// Ticks per second.
    resolution: u64,
    /// Nanoseconds to add.
    offset: i64,
}

/// Reads one capture file.
pub struct Reader {
    file: String,
    blocks: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    big_endian: bool,
    /// Whether this is a pcap, whose packets all have the same 16-byte header; else it is a pcapng.
    legacy: bool,
    number: u64,
    /// Bytes of the buffer that were handed out already.
    pending: usize,
    capacity: usize,
    dropped: u64,
    current: Option<Place>,
}

/// Where in the reader's buffer a frame lies.
struct Place {
    number: u64,
    at: i64,
    interface: u32,
    start: usize,
    len: usize,
    wire_len: u32,
}

enum Step {
    Frame(Place),
    Other,
    More,
    Grow,
    End,
    Broken(String),
}

impl Reader {
    /// Opens `path` (`-`: standard input). With `follow`, the end of the file is where more will come, until it is set.
    ///
    /// # Errors
    /// If it cannot be opened or is no capture.
    pub fn open(path: &Path, follow: Option<Arc<AtomicBool>>) -> Result<Self, Broken> {
        let file = path.display().to_string();
        let source = open(path, follow).map_err(|e| Broken { file: file.clone(), after: 0, what: e.to_string() })?;
        Self::from_source(file, source)
    }

    /// Reads a capture that is in memory, as `file`.
    ///
    /// # Errors
    /// If it is no capture.
    pub fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<Self, Broken> {
        let broken = |what: std::io::Error| Broken { file: file.to_owned(), after: 0, what: what.to_string() };
        let source = Source::new(Box::new(std::io::Cursor::new(bytes))).map_err(broken)?;
        Self::from_source(file.to_owned(), source)
    }

    fn from_source(file: String, source: Source) -> Result<Self, Broken> {
        match create_reader(BUFFER, source) {
            Ok(blocks) => Ok(Self {
                file,
                blocks,
                interfaces: Vec::new(),
                big_endian: false,
                legacy: false,
                number: 0,
                pending: 0,
                capacity: BUFFER,
                dropped: 0,
                current: None,
            }),
            Err(PcapError::Eof) => Err(Broken { file, after: 0, what: "the file is empty".into() }),
            Err(PcapError::Incomplete(_)) => Err(Broken { file, after: 0, what: "the file ends inside its header".into() }),
            Err(e) => Err(Broken { file, after: 0, what: explain(&e) }),
        }
    }

    /// The interfaces described so far.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Packets that the capture itself says it dropped (pcapng Interface Statistics).
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Packets read so far.
    pub fn packets(&self) -> u64 {
        self.number
    }

    /// The next frame; absent at the end of the file.
    ///
    /// # Errors
    /// If the file breaks off or cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Broken> {
        self.advance()?;
        Ok(self.frame())
    }

    /// The frame that [`Self::advance`] came to; absent at the end of the file.
    pub fn frame(&self) -> Option<Frame<'_>> {
        let place = self.current.as_ref()?;
        let bytes = self.blocks.data().get(place.start..place.start + place.len)?;
        let interface = &self.interfaces[place.interface as usize];
        Some(Frame {
            number: place.number,
            at: place.at,
            interface: place.interface,
            link: interface.link,
            link_number: interface.link_number,
            wire_len: place.wire_len,
            bytes,
        })
    }

    /// Goes on to the next frame; gives its time, or nothing at the end of the file.
    ///
    /// # Errors
    /// If the file breaks off or cannot be read on.
    pub fn advance(&mut self) -> Result<Option<i64>, Broken> {
        self.current = None;
        let place = loop {
            if let Some(place) = self.next_legacy() {
                break place;
            }
            if self.pending > 0 {
                self.blocks.consume(self.pending);
                self.pending = 0;
            }
            match self.step() {
                Step::Frame(place) => break place,
                Step::Other => {}
                Step::End => return Ok(None),
                Step::More => self.blocks.refill().map_err(|e| explain(&e)).or_else(|what| self.broken(what))?,
                Step::Grow => {
                    self.capacity *= 2;
                    if self.capacity > MOST_BLOCK || !self.blocks.grow(self.capacity) {
                        return self.broken(format!("a packet or block is larger than {MOST_BLOCK} bytes"));
                    }
                    self.blocks.refill().map_err(|e| explain(&e)).or_else(|what| self.broken(what))?;
                }
                Step::Broken(what) => return self.broken(what),
            }
        };
        if self.blocks.data().len() < place.start + place.len {
            return self.broken("a packet is shorter than its own header says".into());
        }
        let at = place.at;
        self.current = Some(place);
        Ok(Some(at))
    }

    /// The next packet of a pcap if the buffer holds all of it: what nearly always happens, and not worth a parser of blocks.
    fn next_legacy(&mut self) -> Option<Place> {
        let header = self.blocks.data().get(self.pending..).filter(|_| self.legacy)?.first_chunk::<16>()?;
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let (seconds, fraction, len, wire_len) = (word(0), word(4), word(8), word(12));
        let start = self.pending + header.len();
        let end = start.checked_add(len as usize).filter(|end| *end <= self.blocks.data().len())?;
        let at = self.interfaces.first()?.legacy_time(seconds, fraction);
        self.number += 1;
        self.pending = end;
        Some(Place { number: self.number, at, interface: 0, start, len: len as usize, wire_len })
    }

    fn broken<T>(&self, what: String) -> Result<T, Broken> {
        Err(Broken { file: self.file.clone(), after: self.number, what })
    }

    fn step(&mut self) -> Step {
        let (size, block) = match self.blocks.next() {
            Ok(found) => found,
            Err(PcapError::Eof) => return Step::End,
            Err(PcapError::Incomplete(_)) => return Step::More,
            Err(PcapError::BufferTooSmall) => return Step::Grow,
            Err(e) => return Step::Broken(explain(&e)),
        };
        self.pending = size;
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
                self.interfaces = vec![Interface::new(header.network.0, resolution, 0, None)];
                (self.legacy, self.big_endian) = (!header.is_modified_format(), header.is_bigendian());
                Step::Other
            }
            PcapBlockOwned::Legacy(packet) => {
                self.number += 1;
                let Some(interface) = self.interfaces.first() else { return Step::Other };
                let at = interface.legacy_time(packet.ts_sec, packet.ts_usec);
                Step::Frame(Place {
                    number: self.number,
                    at,
                    interface: 0,
                    start: 16,
                    len: packet.data.len(),
                    wire_len: packet.origlen,
                })
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                self.big_endian = section.big_endian();
                self.interfaces.clear();
                Step::Other
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
                self.interfaces.push(Interface::described(&described));
                Step::Other
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                self.number += 1;
                let ticks = (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
                let Some(interface) = self.interfaces.get(packet.if_id as usize) else {
                    return Step::Broken(format!("the packet names interface {}, which nobody described", packet.if_id));
                };
                let len = packet.data.len().min(packet.caplen as usize);
                let at = interface.time(ticks);
                Step::Frame(Place { number: self.number, at, interface: packet.if_id, start: 28, len, wire_len: packet.origlen })
            }
            PcapBlockOwned::NG(Block::SimplePacket(_)) => {
                // It has no time: nothing can be measured with it, but later packets keep their numbers.
                self.number += 1;
                Step::Other
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(statistics)) => {
                let big_endian = self.big_endian;
                self.dropped += statistics.options.iter().map(|option| drops(option, big_endian)).sum::<u64>();
                Step::Other
            }
            PcapBlockOwned::NG(Block::Unknown(block)) if block.block_type == PACKET_BLOCK => {
                self.number += 1;
                let (number, big_endian) = (self.number, self.big_endian);
                obsolete_packet(block.data, big_endian, number, &self.interfaces)
            }
            PcapBlockOwned::NG(_) => Step::Other,
        }
    }
}

impl Interface {
    fn new(link_number: i32, resolution: u64, offset: i64, name: Option<String>) -> Self {
        let link = u32::try_from(link_number).ok().and_then(LinkType::from_number);
        Self { name, link, link_number, resolution: resolution.max(1), offset }
    }

    fn described(block: &InterfaceDescriptionBlock<'_>) -> Self {
        let name = block.if_name().and_then(Result::ok).map(str::to_owned);
        let offset = block.ts_offset().saturating_mul(1_000_000_000);
        Self::new(block.linktype.0, block.ts_resolution().unwrap_or(1_000_000), offset, name)
    }

    /// The time of a pcap's packet: seconds, and microseconds or nanoseconds.
    fn legacy_time(&self, seconds: u32, fraction: u32) -> i64 {
        let nanos = i64::from(fraction) * if self.resolution == 1_000_000 { 1_000 } else { 1 };
        i64::from(seconds) * 1_000_000_000 + nanos
    }

    fn time(&self, ticks: u64) -> i64 {
        let nanos = match self.resolution {
            1_000_000_000 => i64::try_from(ticks).unwrap_or(i64::MAX),
            1_000_000 => i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(1_000),
            other => i64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(other)).unwrap_or(i64::MAX),
        };
        nanos.saturating_add(self.offset)
    }
}

fn drops(option: &PcapNGOption<'_>, big_endian: bool) -> u64 {
    let Ok(value) = <[u8; 8]>::try_from(option.value.get(..8).unwrap_or_default()) else { return 0 };
    match DROPS.contains(&option.code.0) {
        false => 0,
        true if big_endian => u64::from_be_bytes(value),
        true => u64::from_le_bytes(value),
    }
}

/// The Packet Block that the Enhanced Packet Block replaced (pcapng draft, appendix A).
fn obsolete_packet(body: &[u8], big_endian: bool, number: u64, interfaces: &[Interface]) -> Step {
    let word = |at: usize| -> Option<u32> {
        let bytes: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
        Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let (Some(ids), Some(high), Some(low), Some(len), Some(wire_len)) = (word(0), word(4), word(8), word(12), word(16)) else {
        return Step::Broken("a packet block is cut short".into());
    };
    let id = if big_endian { ids >> 16 } else { ids & 0xffff };
    let Some(interface) = interfaces.get(id as usize) else {
        return Step::Broken(format!("the packet names interface {id}, which nobody described"));
    };
    let at = interface.time((u64::from(high) << 32) | u64::from(low));
    Step::Frame(Place { number, at, interface: id, start: 28, len: len as usize, wire_len })
}

fn explain<I: std::fmt::Debug>(error: &PcapError<I>) -> String {
    match error {
        PcapError::HeaderNotRecognized => "this is neither pcap nor pcapng".into(),
        PcapError::UnexpectedEof => "the file ends inside a packet".into(),
        PcapError::ReadError => "reading failed, or the compressed data is damaged".into(),
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "what follows is no packet or block".into(),
        other => format!("it cannot be read on ({other:?})"),
    }
}
