//! One direction of a path: delay, jitter, loss, and faults that know what a packet carries.

use fastrand::Rng;

use crate::MS;
use crate::frame::Packet;

/// Which packets a fault means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All.
    All,
    /// SYN (or SYN-ACK).
    Syn,
    /// All others.
    BehindSyn,
    /// Those that carry the byte at this position.
    Carrying(usize),
    /// Those that carry the byte at this position, or come after the one that did.
    From(usize),
    /// Pure acknowledgements that reach this position of the peer's stream.
    Acknowledging(usize),
    /// Data sent after a pure acknowledgement that reaches this position, or with one.
    AfterAcknowledging(usize),
    /// All that acknowledges more than this of the peer's stream.
    Beyond(usize),
    /// The same, of pure acknowledgements.
    BareBeyond(usize),
    /// IP packets longer than this.
    LongerThan(usize),
}

/// What is done to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// The first so many copies never arrive.
    Drop(u32),
    /// Nor do the copies from this one on, counted from 0.
    DropFrom(u32),
    /// None arrives for so long, from the first one on.
    Mute(i64),
    /// They take so much longer; what follows waits behind them.
    Hold(i64),
    /// They take so much longer, and others overtake them.
    Late(i64),
    /// This copy alone does, counted from 0.
    LateCopy(u32, i64),
}

/// A fault of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which packets.
    pub which: Which,
    /// What happens to them.
    pub deed: Deed,
}

/// One direction.
#[derive(Clone, Debug)]
pub struct Path {
    /// One way, well.
    pub delay: i64,
    /// Mean of the exponential jitter on top.
    pub jitter: i64,
    /// Share of packets lost by chance.
    pub loss: f64,
    /// Routers on the way.
    pub hops: u8,
    /// This share of packets takes so much longer, and others overtake them: several ways side by side.
    pub reorders: Option<(f64, i64)>,
    /// Faults.
    pub faults: Vec<Fault>,
    pub(crate) ipv6: bool,
    /// No packet arrives before the one before it.
    last: i64,
    acknowledged: usize,
    reached: usize,
    mute_until: Option<i64>,
}

impl Path {
    /// A path without faults.
    pub fn new(delay: i64, jitter: i64, hops: u8, ipv6: bool) -> Self {
        Self {
            delay,
            jitter,
            loss: 0.0,
            hops,
            reorders: None,
            faults: Vec::new(),
            ipv6,
            last: 0,
            acknowledged: 0,
            reached: 0,
            mute_until: None,
        }
    }

    /// When a packet sent now arrives; never, if it is lost.
    pub fn carry(&mut self, now: i64, packet: &Packet, rng: &mut Rng) -> Option<i64> {
        if packet.pure_ack() {
            self.acknowledged = self.acknowledged.max(packet.ack.unwrap_or(0));
        }
        let chance = rng.f64() < self.loss;
        let jitter = (self.jitter as f64 * -(1.0 - rng.f64()).ln()) as i64;
        let mut at = now + self.delay + jitter.min(20 * self.jitter);
        let mut overtaken = false;
        if let Some((share, by)) = self.reorders
            && rng.f64() < share
        {
            (at, overtaken) = (at + by, true);
        }
        let mut gone = chance;
        for fault in self.faults.clone() {
            if !self.means(fault.which, packet) {
                continue;
            }
            match fault.deed {
                Deed::Drop(copies) => gone |= packet.copy < copies,
                Deed::DropFrom(copy) => gone |= packet.copy >= copy,
                Deed::Mute(by) => gone |= now < *self.mute_until.get_or_insert(now + by),
                Deed::Hold(by) => at += by,
                Deed::LateCopy(copy, _) if packet.copy != copy => {}
                Deed::Late(by) | Deed::LateCopy(_, by) => (at, overtaken) = (at + by, true),
            }
        }
        self.reached = self.reached.max(packet.end());
        if gone {
            return None;
        }
        if overtaken {
            return Some(at);
        }
        self.last = at.max(self.last + MS / 1_000);
        Some(self.last)
    }

    fn means(&self, which: Which, packet: &Packet) -> bool {
        let carries = |at: usize| packet.start <= at && at < packet.end();
        match which {
            Which::All => true,
            Which::Syn => packet.syn,
            Which::BehindSyn => !packet.syn,
            Which::Carrying(at) => carries(at),
            Which::From(at) => carries(at) || self.reached > at,
            Which::Acknowledging(at) => packet.pure_ack() && packet.ack.is_some_and(|a| a >= at) && self.acknowledged <= at,
            Which::AfterAcknowledging(at) => !packet.pure_ack() && packet.ack.is_some_and(|a| a >= at && at > 0),
            Which::Beyond(at) => !packet.syn && packet.ack.is_some_and(|a| a > at),
            Which::BareBeyond(at) => packet.pure_ack() && packet.ack.is_some_and(|a| a > at),
            Which::LongerThan(len) => packet.ip_len(self.ipv6) > len,
        }
    }
}
