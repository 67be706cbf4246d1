//! Capture files in: pcap and pcapng, plain or compressed, from a path or a pipe.
//!
//! In: bytes. Out: frames in file order, each with its number, its time in nanoseconds since the epoch, its
//! interface and how its headers begin. A broken or cut file gives everything before the break, then one
//! [`Broken`] that says after which packet it stopped. Memory: one buffer, whatever the file's size.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use analysis::clock::{Instant, Span, Unplaced};
use analysis::wire::packet::LinkType;
use pcap_parser::PcapError;
use pcap_parser::pcapng::{Block, parse_block_be, parse_block_le};

use crate::buffer::Buffer;
use crate::interface::refusal;
pub use crate::interface::{Interface, WAY_OUT};
use crate::source::{Source, open};

/// The largest packet or block that is still read.
const MOST_BLOCK: usize = 64 << 20;
/// The least that a pcapng block has: type, length, and length again.
const LEAST_BLOCK: usize = 12;
/// Block types: Section Header (which reads the same in both byte orders), Enhanced Packet, Simple Packet, the obsolete Packet Block.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const ENHANCED_PACKET: u32 = 6;
const SIMPLE_PACKET: u32 = 3;
const PACKET_BLOCK: u32 = 2;
/// Where a packet's bytes begin in the block of an enhanced or an obsolete packet, and of a simple one.
const PACKET_AT: usize = 28;
const SIMPLE_AT: usize = 12;

/// One frame of a capture file.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its number in the file, from 1, as Wireshark counts.
    pub number: u64,
    /// When it was captured, on the wall clock of whoever captured it.
    pub at: Instant<Unplaced>,
    /// Whether that is known: a Simple Packet Block has no time, and `at` is that of the packet before.
    pub timed: bool,
    /// Which of the file's interfaces saw it (0 in a pcap): those of a later section are counted behind those of earlier ones, whose
    /// numbers they have again (pcapng section 4.1).
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

/// Reads one capture file.
pub struct Reader {
    file: String,
    buffer: Buffer,
    format: Format,
    big_endian: bool,
    /// Those of the section that is read.
    interfaces: Vec<Interface>,
    /// How many interfaces earlier sections described.
    earlier: u32,
    /// Sections of a pcapng begun.
    sections: u64,
    number: u64,
    /// Time of the latest packet.
    last_at: Instant<Unplaced>,
    /// Whether any interface so far has a link type that can be read; else the number of the first one's.
    readable: bool,
    unreadable: Option<i32>,
    /// Packets that interfaces of earlier sections dropped.
    dropped: u64,
}

#[derive(Clone, Copy)]
enum Format {
    /// Every packet has a header of so many bytes before it.
    Pcap { header: usize },
    /// Blocks.
    Pcapng,
}

/// Where in the reader's buffer a frame lies, and what else is known of it.
pub(crate) struct Place {
    pub at: Instant<Unplaced>,
    timed: bool,
    interface: u32,
    link: Option<LinkType>,
    link_number: i32,
    start: usize,
    len: usize,
    wire_len: u32,
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
        let mut reader = Self {
            file,
            buffer: Buffer::new(source),
            format: Format::Pcapng,
            big_endian: false,
            interfaces: Vec::new(),
            earlier: 0,
            sections: 0,
            number: 0,
            last_at: Instant::from_nanos(0),
            readable: false,
            unreadable: None,
            dropped: 0,
        };
        let whole = reader.want(24)?;
        let data = reader.buffer.data();
        let magic = data.first_chunk::<4>().map(|magic| u32::from_be_bytes(*magic));
        match magic {
            None if data.is_empty() => return reader.broken("the file is empty".into()),
            None | Some(SECTION_HEADER) => {}
            Some(magic) => reader.begin_pcap(magic)?,
        }
        if whole { Ok(reader) } else { reader.broken("the file ends inside its header".into()) }
    }

    /// The header of a pcap: byte order, unit of time and the shape of packet headers by its magic number, then one link type.
    fn begin_pcap(&mut self, magic: u32) -> Result<(), Broken> {
        let (big_endian, resolution, header) = match magic {
            0xa1b2_c3d4 => (true, 1_000_000, 16),
            0xd4c3_b2a1 => (false, 1_000_000, 16),
            0xa1b2_3c4d => (true, 1_000_000_000, 16),
            0x4d3c_b2a1 => (false, 1_000_000_000, 16),
            // "modified": eight more bytes in each packet header.
            0xa1b2_cd34 => (true, 1_000_000, 24),
            0x34cd_b2a1 => (false, 1_000_000, 24),
            _ => return self.broken(neither(magic)),
        };
        self.big_endian = big_endian;
        self.format = Format::Pcap { header };
        let network = self.word(20).unwrap_or_default();
        // Its upper bits tell the length of a frame check sequence.
        let interface = Interface::new((network & 0x03ff_ffff) as i32, resolution, Span::ZERO, None);
        if interface.link.is_none() {
            return self.broken(refusal(interface.link_number));
        }
        self.interfaces = vec![interface];
        self.buffer.take(24);
        Ok(())
    }

    /// The interfaces of the section that is read, as far as they are described.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Packets that the capture itself says it dropped (pcapng Interface Statistics).
    pub fn dropped(&self) -> u64 {
        self.interfaces.iter().fold(self.dropped, |sum, interface| sum.saturating_add(interface.dropped()))
    }

    /// How many sections of a pcapng have begun: each is a capture of its own.
    pub fn sections(&self) -> u64 {
        self.sections
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
        Ok(self.advance()?.map(|place| self.frame(&place)))
    }

    /// The frame that [`Self::advance`] came to, until it goes on.
    #[inline]
    pub(crate) fn frame(&self, place: &Place) -> Frame<'_> {
        Frame {
            number: self.number,
            at: place.at,
            timed: place.timed,
            interface: self.earlier.saturating_add(place.interface),
            link: place.link,
            link_number: place.link_number,
            wire_len: place.wire_len,
            bytes: self.buffer.at(place.start, place.len),
        }
    }

    /// Goes on to the next frame; gives where it lies, or nothing at the end of the file.
    ///
    /// # Errors
    /// If the file breaks off or cannot be read on.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<Option<Place>, Broken> {
        match self.buffered() {
            Some(place) => Ok(Some(self.counted(place))),
            None => Ok(self.advance_slowly()?.map(|place| self.counted(place))),
        }
    }

    #[inline]
    fn counted(&mut self, place: Place) -> Place {
        self.number += 1;
        self.last_at = place.at;
        place
    }

    /// The next packet, if the buffer holds all of it and nothing is wrong with it: what nearly always happens.
    #[inline]
    fn buffered(&mut self) -> Option<Place> {
        let (data, interface, header, [high, low, len, wire_len], whole) = match self.format {
            Format::Pcap { header } => {
                let data = self.buffer.data();
                let fields = self.words(data.first_chunk::<16>()?);
                (data, 0, header, fields, header + fields[2] as usize)
            }
            Format::Pcapng => {
                let data = self.buffer.data();
                let [kind, block, interface] = self.words(data.first_chunk::<12>()?);
                let fields = self.words(data.get(12..)?.first_chunk::<16>()?);
                let block = block as usize;
                let repeated = self.words::<4, 1>(data.get(block.checked_sub(4)?..)?.first_chunk()?);
                if kind != ENHANCED_PACKET || PACKET_AT + fields[2] as usize + 4 > block || repeated[0] as usize != block {
                    return None;
                }
                (data, interface, PACKET_AT, fields, block)
            }
        };
        if whole > data.len() {
            return None;
        }
        let described = self.interfaces.get(interface as usize)?;
        let at = match self.format {
            Format::Pcap { .. } => described.legacy_time(high, low),
            Format::Pcapng => described.time(u64::from(high) << 32 | u64::from(low)),
        };
        let (link, link_number) = (described.link, described.link_number);
        let start = self.buffer.take(whole) + header;
        Some(Place { at, timed: true, interface, link, link_number, start, len: len as usize, wire_len })
    }

    #[inline]
    fn words<const BYTES: usize, const WORDS: usize>(&self, bytes: &[u8; BYTES]) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
            *word = if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        }
        words
    }

    /// What [`Self::buffered`] leaves: reads on, and finds out what is wrong.
    #[cold]
    fn advance_slowly(&mut self) -> Result<Option<Place>, Broken> {
        match self.format {
            Format::Pcap { header } => self.next_record(header),
            Format::Pcapng => loop {
                match self.next_block()? {
                    Step::Frame(place) => return Ok(Some(place)),
                    Step::Other => {}
                    Step::End => return self.end(),
                }
            },
        }
    }

    /// The next packet of a pcap.
    fn next_record(&mut self, header: usize) -> Result<Option<Place>, Broken> {
        if !self.begins(header)? {
            return Ok(None);
        }
        let len = self.word(8).unwrap_or_default();
        self.whole(header, len)?;
        Ok(self.buffered())
    }

    /// The end of a pcapng. Its interfaces may be described as late as their packets come: only now is it known that none can be read.
    fn end(&self) -> Result<Option<Place>, Broken> {
        match self.unreadable {
            Some(number) if self.number > 0 && !self.readable => {
                Err(Broken { file: self.file.clone(), after: 0, what: refusal(number) })
            }
            _ => Ok(None),
        }
    }

    /// The next block of a pcapng.
    fn next_block(&mut self) -> Result<Step, Broken> {
        if !self.begins(LEAST_BLOCK)? {
            return Ok(Step::End);
        }
        let kind = self.word(0).unwrap_or_default();
        if kind == SECTION_HEADER {
            // What follows is in the byte order of its own magic number.
            self.big_endian = self.buffer.data().get(8) == Some(&0x1a);
        }
        let len = self.word(4).unwrap_or_default();
        if (len as usize) < LEAST_BLOCK {
            return self.broken(NO_BLOCK.into());
        }
        self.whole(0, len)?;
        let step = match kind {
            ENHANCED_PACKET => self.buffered().map(Step::Frame).ok_or_else(|| self.what_is_wrong(len as usize)),
            SIMPLE_PACKET => self.simple_packet(len as usize),
            PACKET_BLOCK => self.obsolete_packet(len as usize),
            _ => self.other_block(len as usize).map(|()| Step::Other),
        };
        step.or_else(|what| self.broken(what))
    }

    /// Whether another packet or block begins, and its header is there.
    fn begins(&mut self, header: usize) -> Result<bool, Broken> {
        match self.want(header)? {
            true => Ok(true),
            false if self.buffer.data().is_empty() => Ok(false),
            false => self.broken(CUT.into()),
        }
    }

    /// Reads until a packet or block of `len` bytes behind `header` is there.
    fn whole(&mut self, header: usize, len: u32) -> Result<(), Broken> {
        let whole = header + len as usize;
        if whole > MOST_BLOCK {
            return self.broken(format!("what follows claims to have {whole} bytes, and no packet has more than {MOST_BLOCK}"));
        }
        if self.want(whole)? { Ok(()) } else { self.broken(CUT.into()) }
    }

    fn want(&mut self, len: usize) -> Result<bool, Broken> {
        match self.buffer.want(len) {
            Ok(there) => Ok(there),
            Err(_) => self.broken("reading failed, or the compressed data is damaged".into()),
        }
    }

    /// Four bytes of what is not used up yet, in the file's byte order.
    fn word(&self, at: usize) -> Option<u32> {
        let bytes = *self.buffer.data().get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn broken<T>(&self, what: String) -> Result<T, Broken> {
        Err(Broken { file: self.file.clone(), after: self.number, what })
    }

    /// Why [`Self::buffered`] does not take an Enhanced Packet Block that is there, all of it.
    fn what_is_wrong(&self, block: usize) -> String {
        let [interface, len, repeated] = [8, 20, block - 4].map(|at| self.word(at).unwrap_or_default());
        if repeated as usize != block {
            NO_BLOCK.into()
        } else if PACKET_AT + len as usize + 4 > block {
            TOO_LONG.into()
        } else {
            undescribed(interface)
        }
    }

    /// A packet without a time, of the first interface. How much of it was captured, its block does not say.
    fn simple_packet(&mut self, block: usize) -> Result<Step, String> {
        let wire_len = self.word(8).unwrap_or_default();
        let Some(described) = self.interfaces.first() else {
            return Err(undescribed(0));
        };
        let room = block.checked_sub(SIMPLE_AT + 4).ok_or(TOO_LONG)?;
        let limit = if described.snap_len == 0 { usize::MAX } else { described.snap_len as usize };
        let len = room.min(wire_len as usize).min(limit);
        let (link, link_number) = (described.link, described.link_number);
        let start = self.buffer.take(block) + SIMPLE_AT;
        Ok(Step::Frame(Place { at: self.last_at, timed: false, interface: 0, link, link_number, start, len, wire_len }))
    }

    /// The Packet Block that the Enhanced Packet Block replaced (pcapng draft, appendix A).
    fn obsolete_packet(&mut self, block: usize) -> Result<Step, String> {
        let [ids, high, low, len, wire_len] = [8, 12, 16, 20, 24].map(|at| self.word(at).unwrap_or_default());
        let interface = if self.big_endian { ids >> 16 } else { ids & 0xffff };
        if PACKET_AT + len as usize + 4 > block {
            return Err(TOO_LONG.into());
        }
        let Some(described) = self.interfaces.get(interface as usize) else {
            return Err(undescribed(interface));
        };
        let at = described.time(u64::from(high) << 32 | u64::from(low));
        let (link, link_number) = (described.link, described.link_number);
        let start = self.buffer.take(block) + PACKET_AT;
        Ok(Step::Frame(Place { at, timed: true, interface, link, link_number, start, len: len as usize, wire_len }))
    }

    /// A block that is no packet.
    fn other_block(&mut self, len: usize) -> Result<(), String> {
        let bytes = self.buffer.data().get(..len).unwrap_or_default();
        let parse = if self.big_endian { parse_block_be } else { parse_block_le };
        match parse(bytes).map_err(|e| explain(&e))?.1 {
            Block::SectionHeader(_) => {
                self.dropped = self.dropped();
                self.earlier = self.earlier.saturating_add(self.interfaces.len() as u32);
                self.sections += 1;
                self.interfaces.clear();
            }
            Block::InterfaceDescription(described) => {
                let interface = Interface::described(&described);
                self.readable |= interface.link.is_some();
                self.unreadable.get_or_insert(interface.link_number);
                self.interfaces.push(interface);
            }
            Block::InterfaceStatistics(statistics) => {
                if let Some(interface) = self.interfaces.get_mut(statistics.if_id as usize) {
                    statistics.options.iter().for_each(|option| interface.count(option, self.big_endian));
                }
            }
            _ => {}
        }
        self.buffer.take(len);
        Ok(())
    }
}

enum Step {
    Frame(Place),
    Other,
    End,
}

const NO_BLOCK: &str = "what follows is no packet or block";
const CUT: &str = "the file ends inside a packet";
const TOO_LONG: &str = "a packet is longer than its block";

/// What begins neither as pcap nor as pcapng, and as nothing else that is read.
fn neither(magic: u32) -> String {
    let read = "nor anything else that is read: curl's -w '%{json}', a HAR, a NetLog, lines of HAProxy, nginx, Envoy, ALB or NLB";
    // With its byte order mark, or a letter of ASCII first.
    match magic.to_be_bytes() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'\t'..=b'~', 0, b'\t'..=b'~', 0] | [0, b'\t'..=b'~', 0, b'\t'..=b'~'] => {
            "this is neither pcap nor pcapng, but text in UTF-16, as PowerShell's `>` writes it: save it as UTF-8".into()
        }
        _ => format!("this is neither pcap nor pcapng, {read}"),
    }
}

fn undescribed(interface: u32) -> String {
    format!("the packet names interface {interface}, which nobody described")
}

fn explain<I: std::fmt::Debug>(error: &pcap_parser::nom::Err<PcapError<I>>) -> String {
    use pcap_parser::nom::Err;
    match error {
        Err::Incomplete(_) => "a block is shorter than what it says it holds".into(),
        Err::Error(PcapError::NomError(..) | PcapError::OwnedNomError(..)) => NO_BLOCK.into(),
        Err::Error(other) | Err::Failure(other) => format!("it cannot be read on ({other:?})"),
    }
}
