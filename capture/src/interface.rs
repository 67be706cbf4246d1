//! What a capture file says of an interface: how its frames begin, and how its times are to be read.

use analysis::clock::{Instant, Span, Unplaced};
use analysis::wire::packet::LinkType;
use pcap_parser::{InterfaceDescriptionBlock, PcapNGOption};

/// A capture's interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name (pcapng), if it has one.
    pub name: Option<String>,
    pub(crate) link: Option<LinkType>,
    pub(crate) link_number: i32,
    /// The most bytes captured of a packet; 0 if there is no limit.
    pub(crate) snap_len: u32,
    /// Ticks per second.
    resolution: u64,
    /// To be added to the packets' times.
    offset: Span,
    /// Packets dropped so far, by the interface and by the operating system (pcapng); absent as long as nothing counts them.
    drops: [Option<u64>; 2],
}

/// Options of an Interface Statistics Block that count drops.
const DROPS: [u16; 2] = [5, 7];

impl Interface {
    pub(crate) fn new(link_number: i32, resolution: u64, offset: Span, name: Option<String>) -> Self {
        let link = u32::try_from(link_number).ok().and_then(LinkType::from_number);
        Self { name, link, link_number, snap_len: 0, resolution: resolution.max(1), offset, drops: [None; 2] }
    }

    pub(crate) fn described(block: &InterfaceDescriptionBlock<'_>) -> Self {
        let name = block.if_name().and_then(Result::ok).map(str::to_owned);
        let offset = Span::from_nanos(block.ts_offset().saturating_mul(1_000_000_000));
        let resolution = block.ts_resolution().unwrap_or(1_000_000);
        Self { snap_len: block.snaplen, ..Self::new(block.linktype.0, resolution, offset, name) }
    }

    /// Takes an option of its statistics: each counts from the beginning of the capture, so that the most that was said counts.
    pub(crate) fn count(&mut self, option: &PcapNGOption<'_>, big_endian: bool) {
        let value = option.value.first_chunk::<8>();
        if let (Some(stage), Some(value)) = (DROPS.iter().position(|code| *code == option.code.0), value) {
            let told = if big_endian { u64::from_be_bytes(*value) } else { u64::from_le_bytes(*value) };
            self.drops[stage] = self.drops[stage].max(Some(told));
        }
    }

    /// Packets that were dropped, at either stage.
    pub(crate) fn dropped(&self) -> u64 {
        self.drops.iter().flatten().fold(0, |sum: u64, drops| sum.saturating_add(*drops))
    }

    /// The time of a pcap's packet: seconds, and microseconds or nanoseconds.
    #[inline]
    pub(crate) fn legacy_time(&self, seconds: u32, fraction: u32) -> Instant<Unplaced> {
        let nanos = i64::from(fraction) * if self.resolution == 1_000_000 { 1_000 } else { 1 };
        Instant::from_nanos(i64::from(seconds) * 1_000_000_000 + nanos)
    }

    /// The time of a pcapng's packet: ticks since the epoch.
    #[inline]
    pub(crate) fn time(&self, ticks: u64) -> Instant<Unplaced> {
        let nanos = match self.resolution {
            1_000_000_000 => i64::try_from(ticks).unwrap_or(i64::MAX),
            1_000_000 => i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(1_000),
            other => i64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(other)).unwrap_or(i64::MAX),
        };
        Instant::from_nanos(nanos) + self.offset
    }
}

/// What to do about frames whose link type nobody here can read.
pub const WAY_OUT: &str =
    "capture again with `tcpdump -y EN10MB`, or, if they begin as Ethernet does, say so with `editcap -T ether`";

/// Why a capture of such frames is refused.
pub(crate) fn refusal(link_number: i32) -> String {
    format!("frames of link type {link_number} cannot be read (`capinfos -E` names it): {WAY_OUT}")
}
