//! One observer's packets, in order of time, with the few questions that a reader asks of them.

use crate::clock::{Domain, Span, Unplaced};
use crate::tcp::flow::{Blocks, Seen, Side, View, blocks_of};
use crate::tcp::stamps::Stamps;

/// Segments over Ethernet hold no more, on the paths of today no less; in between, the longest seen counts.
const SEGMENT: [i64; 2] = [1_160, 1_460];

/// What one observer saw.
pub(super) struct Witness {
    /// Where it stood.
    pub end: Side,
    /// In order of time.
    pub packets: Vec<Seen<Unplaced>>,
    /// The numbers of all that it saw, in order.
    numbers: Vec<u64>,
    sacks: Vec<(u64, Blocks)>,
    mss: Option<i64>,
    scales: [Option<u8>; 2],
    ticks: [Option<Span>; 2],
    /// What was sent before each packet by the same side: new bytes lie beyond it.
    reached: Vec<i64>,
}

impl Witness {
    pub fn of<D: Domain>(view: &View<D>, end: Side) -> Self {
        let mut packets: Vec<Seen<Unplaced>> = view.packets.iter().map(|p| p.on_clock_of()).collect();
        packets.sort_by_key(|p| p.at);
        let mut numbers: Vec<u64> = packets.iter().map(|p| p.packet).collect();
        numbers.sort_unstable();
        // What an end's FIN does not acknowledge had passed its observer and not come to it.
        if let Some(fin) = packets.iter().position(|p| p.from == end && p.flags.fin())
            && let Some(had) = packets[fin].ack()
        {
            let at = packets[fin].at;
            packets.retain(|p| p.at > at || p.from == end || p.is_empty() || p.start() > had || p.end() <= had);
        }
        let mut far = [i64::MIN; 2];
        let mut reached = Vec::with_capacity(packets.len());
        for p in &packets {
            let far = &mut far[p.from as usize];
            reached.push(*far);
            if carries(p) {
                *far = (*far).max(p.end());
            }
        }
        Self {
            end,
            numbers,
            reached,
            sacks: view.sacks().to_vec(),
            scales: [Side::Client, Side::Server].map(|side| view.window_scale(side)),
            mss: view.mss(),
            ticks: [Side::Client, Side::Server]
                .map(|side| Stamps::of(view, side))
                .map(|stamps| stamps.tell().then_some(stamps.tick())),
            packets,
        }
    }

    /// From the first packet to the last.
    pub fn watched(&self) -> Span {
        self.packets.first().zip(self.packets.last()).map_or(Span::ZERO, |(first, last)| last.at - first.at)
    }

    /// Whether its view has a packet, whatever became of that behind the observer.
    pub fn has(&self, number: u64) -> bool {
        self.numbers.binary_search(&number).is_ok()
    }

    /// The place of a packet.
    pub fn place(&self, number: u64) -> Option<usize> {
        self.packets.iter().position(|p| p.packet == number)
    }

    pub fn sent_by(&self, side: Side) -> impl DoubleEndedIterator<Item = &Seen<Unplaced>> {
        self.packets.iter().filter(move |p| p.from == side)
    }

    /// Whether a packet carries what its sender had not sent before.
    pub fn is_new(&self, i: usize) -> bool {
        let p = &self.packets[i];
        carries(p) && p.end() > self.reached[i]
    }

    pub fn sack(&self, p: &Seen<Unplaced>) -> &[(i64, i64)] {
        blocks_of(&self.sacks, p.packet)
    }

    /// Whether a side's timestamps count time in a tick that is known.
    pub fn counts_time(&self, side: Side) -> bool {
        self.ticks[side as usize].is_some()
    }

    pub fn tick(&self, side: Side) -> Span {
        self.ticks[side as usize].unwrap_or_default()
    }

    /// How far apart a side's packets left, by its timestamps.
    pub fn left_apart(&self, a: &Seen<Unplaced>, b: &Seen<Unplaced>) -> Option<Span> {
        let ticks = i64::from(b.tsval()?.wrapping_sub(a.tsval()?) as i32);
        Some(Span::from_nanos(ticks.checked_mul(self.ticks[b.from as usize]?.nanos())?))
    }

    /// What a full segment of a side holds: the longest, if it came twice; else what the ends said they take, less the timestamps.
    pub fn full(&self, side: Side) -> i64 {
        let longest = self.sent_by(side).map(Seen::len).max().unwrap_or(0);
        let places = || self.sent_by(side).filter(|p| p.len() == longest).map(Seen::start);
        let twice = places().any(|start| places().any(|other| other != start));
        let stamps = if self.sent_by(side).any(|p| p.tsval().is_some()) { 12 } else { 0 };
        match self.mss.map(|mss| SEGMENT[1].min(mss - stamps)) {
            Some(most) if !twice || longest < SEGMENT[0] => most,
            Some(most) => longest.max(SEGMENT[0]).min(most),
            None => longest.clamp(SEGMENT[0], SEGMENT[1]),
        }
    }

    /// Up to where a packet lets its receiver send; absent where the scale is not known.
    pub fn right_edge(&self, p: &Seen<Unplaced>) -> Option<i64> {
        let scale = if p.flags.syn() { 0 } else { self.scales[p.from as usize]? };
        Some(p.ack()? + (i64::from(p.window) << scale))
    }

    /// The last word of a side before place `i` that acknowledges.
    pub fn told_before(&self, side: Side, i: usize) -> Option<&Seen<Unplaced>> {
        self.packets[..i].iter().rfind(|p| p.from == side && p.ack().is_some() && !p.flags.rst())
    }

    /// The highest acknowledgement of a side before place `i`.
    pub fn acknowledged_before(&self, side: Side, i: usize) -> i64 {
        self.packets[..i].iter().filter(|p| p.from == side && !p.flags.rst()).filter_map(Seen::ack).max().unwrap_or(0)
    }

    /// Whether anything of a side was acknowledged.
    pub fn acknowledged(&self, side: Side) -> bool {
        self.sent_by(side.peer()).any(|p| !p.flags.rst() && p.ack().is_some_and(|ack| ack >= 0))
    }

    /// The first packet that shows that all of a side's stream before `end` had come: an acknowledgement of it, or, if the observer stood
    /// where it was going, its bytes.
    pub fn arrival(&self, side: Side, end: i64) -> Option<&Seen<Unplaced>> {
        let told = |p: &&Seen<Unplaced>| p.from != side && !p.flags.rst() && p.ack().is_some_and(|ack| ack >= end);
        let acknowledged = self.packets.iter().find(told);
        if self.end == side {
            return acknowledged;
        }
        let mut have: Vec<(i64, i64)> = Vec::new();
        let bytes = self.packets.iter().find(|p| {
            if p.from == side && !p.is_empty() {
                have.push((p.start(), p.end()));
            }
            // What the capture missed may have been acknowledged.
            have.extend(p.ack().filter(|_| p.from != side && !p.flags.rst()).map(|ack| (0, ack)));
            prefix(&mut have) >= end
        });
        [acknowledged, bytes].into_iter().flatten().min_by_key(|p| p.at)
    }

    /// Packets of a side that carry a byte (or SYN, for those that do).
    pub fn copies(&self, of: &Seen<Unplaced>) -> impl Iterator<Item = &Seen<Unplaced>> {
        let (syn, byte) = (of.flags.syn(), of.start());
        self.sent_by(of.from)
            .filter(move |p| p.flags.syn() == syn && (syn || !p.is_empty() && p.start() <= byte && p.end() > byte))
    }
}

/// Whether a packet carries data, or SYN.
pub(super) fn carries(p: &Seen<Unplaced>) -> bool {
    !p.is_empty() || p.flags.syn()
}

/// How far ranges reach from the beginning without a hole.
fn prefix(have: &mut [(i64, i64)]) -> i64 {
    have.sort_unstable();
    have.iter().fold(0, |reached, (start, end)| if *start <= reached { reached.max(*end) } else { reached })
}
