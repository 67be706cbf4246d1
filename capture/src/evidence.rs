//! Evidence files: pcapng that stock Wireshark opens, both ends side by side.
//!
//! One interface per observer, nanosecond stamps, comments at milestones, `epb_packetid` joining the same
//! packet at both ends (PCAP Next Generation, draft-ietf-opsawg-pcapng, section 4.3), Interface Statistics at the end
//! so that a reader can see what the captures lost.

use std::borrow::Cow;
use std::io::Write;

use analysis::clock::{Instant, Unplaced};
use analysis::wire::packet::{LinkType, ip_of};
use pcap_file::DataLink;
use pcap_file::Endianness;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriter, RawBlock};

use crate::live::Losses;
use crate::ring::Captured;

/// `if_tsresol` of nanoseconds.
const NANOSECONDS: u8 = 9;
/// Block type of an Enhanced Packet Block.
const ENHANCED_PACKET: u32 = 6;
/// Block type of a systemd Journal Export Block.
const JOURNAL_EXPORT: u32 = 9;
/// Option code of `opt_comment`.
const COMMENT: u16 = 1;
/// Option code of `epb_flags`, whose two lowest bits tell the direction.
const FLAGS: u16 = 2;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// Option code of `epb_packetid`.
const PACKET_ID: u16 = 5;

/// Writes one evidence file as packets come.
pub struct Evidence<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: usize,
    packets: u64,
}

impl<W: Write> Evidence<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn begin(out: W, comment: &str) -> std::io::Result<Self> {
        Self::begin_with(out, &[comment.to_owned()])
    }

    /// Begins a file with several comments.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn begin_with(out: W, comments: &[String]) -> std::io::Result<Self> {
        let mut options: Vec<SectionHeaderOption<'_>> =
            comments.iter().map(|comment| SectionHeaderOption::Comment(comment.to_owned().into())).collect();
        options.push(SectionHeaderOption::UserApplication(concat!("whostalled ", env!("CARGO_PKG_VERSION")).into()));
        let section = SectionHeaderBlock { options, endianness: Endianness::Little, ..SectionHeaderBlock::default() };
        let writer = PcapNgWriter::with_section_header(out, section).map_err(io)?;
        Ok(Self { writer, interfaces: 0, packets: 0 })
    }

    /// Describes one more interface, whose frames begin as `link_number` says (`LINKTYPE_` registry); gives its number.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn interface(&mut self, name: &str, link_number: i32) -> std::io::Result<usize> {
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::from(link_number.unsigned_abs()),
            snaplen: 65_535,
            options: vec![
                InterfaceDescriptionOption::IfName(name.to_owned().into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        self.writer.write_pcapng_block(block).map_err(io)?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Appends a journal entry, in systemd's Journal Export Format (the draft's section 4.7).
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn journal(&mut self, entry: &[u8]) -> std::io::Result<()> {
        let mut body = Vec::with_capacity(entry.len() + 4);
        padded(&mut body, entry);
        self.raw(JOURNAL_EXPORT, body)
    }

    fn raw(&mut self, type_: u32, body: Vec<u8>) -> std::io::Result<()> {
        let length = body.len() as u32 + 12;
        let block = RawBlock { type_, initial_len: length, trailer_len: length, body: Cow::Owned(body) };
        self.writer.write_raw_block(&block).map(|_| ()).map_err(io)
    }

    /// Hands what is written to the system: it survives this process.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// How many packets are written; the next one's number (Wireshark's `frame.number`) is one more.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Appends a frame of interface number `interface`, which begins as `link` says, with comments.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn packet(
        &mut self,
        interface: usize,
        link: Option<LinkType>,
        frame: &Captured,
        comments: &[String],
    ) -> std::io::Result<()> {
        let at = frame.at.nanos().unsigned_abs();
        let mut body = Vec::with_capacity(frame.bytes.len() + 64);
        for word in [interface as u32, (at >> 32) as u32, at as u32, frame.bytes.len() as u32, frame.wire_len] {
            body.extend(word.to_le_bytes());
        }
        padded(&mut body, &frame.bytes);
        for comment in comments {
            option(&mut body, COMMENT, comment.as_bytes());
        }
        if let Some(outgoing) = frame.outgoing {
            option(&mut body, FLAGS, &if outgoing { OUTBOUND } else { INBOUND }.to_le_bytes());
        }
        option(&mut body, PACKET_ID, &packet_id(link, &frame.bytes).to_le_bytes());
        option(&mut body, 0, &[]);
        self.raw(ENHANCED_PACKET, body)?;
        self.packets += 1;
        Ok(())
    }

    /// Ends the file with each interface's statistics as of `at`, in the order of the interfaces.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self, at: Instant<Unplaced>, losses: &[Losses]) -> std::io::Result<()> {
        for (interface, losses) in (0..self.interfaces).zip(losses) {
            let at = at.nanos().unsigned_abs();
            let block = InterfaceStatisticsBlock {
                interface_id: interface as u32,
                // The timestamp is two 32-bit words, high first, whatever the byte order of the file.
                timestamp: at.rotate_left(32),
                options: vec![
                    InterfaceStatisticsOption::IsbIfRecv(losses.received),
                    InterfaceStatisticsOption::IsbIfDrop(losses.evicted),
                    InterfaceStatisticsOption::IsbOsDrop(losses.dropped),
                ],
            };
            self.writer.write_pcapng_block(block).map_err(io)?;
        }
        self.writer.get_mut().flush()
    }
}

/// `pcap-file` writes these blocks too, but offers no way to set `epb_packetid`.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    padded(body, value);
}

fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// A number that the same IP packet has at both ends: FNV-1a of everything a router leaves alone.
fn packet_id(link: Option<LinkType>, frame: &[u8]) -> u64 {
    let mut ip = link.and_then(|link| ip_of(link, frame).ok()).unwrap_or(frame).to_vec();
    match ip.first().map(|b| b >> 4) {
        // TTL and header checksum; the transport checksum may be left to hardware at the sender.
        Some(4) => zero(&mut ip, &[8, 10, 11]),
        Some(6) => zero(&mut ip, &[7]),
        _ => {}
    }
    let transport = match ip.first().map(|b| b >> 4) {
        Some(4) => usize::from(ip[0] & 15) * 4,
        _ => 40,
    };
    match (ip.get(9), ip.get(6)) {
        (Some(6), _) | (_, Some(6)) => zero(&mut ip, &[transport + 16, transport + 17]),
        (Some(17), _) | (_, Some(17)) => zero(&mut ip, &[transport + 6, transport + 7]),
        _ => {}
    }
    ip.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn zero(bytes: &mut [u8], at: &[usize]) {
    for i in at {
        if let Some(byte) = bytes.get_mut(*i) {
            *byte = 0;
        }
    }
}

fn io(error: pcap_file::PcapError) -> std::io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => std::io::Error::other(other),
    }
}
