//! The ledger: a partition of one handshake's elapsed time among owners.
//!
//! Entries plus `unattributed` sum to the total exactly, by construction: [`Ledger::charge`] never takes
//! more than is left, and [`Ledger::close`] books the rest.

use std::fmt;

use enumset::{EnumSet, EnumSetType};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::Span;
use crate::tcp::flow::Side;

/// Who owns a stretch of time (docs/verdicts.md, "Owners").
#[derive(EnumSetType, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[enumset(serialize_repr = "list")]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Name resolution.
    Resolver,
    /// The client's program: it computed, or slept by its own choice.
    ClientApp,
    /// The client's machine: the program wanted to run and could not.
    ClientHost,
    /// The client's side; the evidence does not split app from host.
    Client,
    /// The network between them.
    Path,
    /// Lost packets and the wait for their repetition.
    Loss,
    /// The edge's machine, its accept queue included.
    EdgeHost,
    /// The edge's program.
    EdgeApp,
    /// The edge's side; the evidence does not split app from host.
    Edge,
    /// What the protocols demand.
    Protocol,
    /// Nobody the evidence can name.
    Unattributed,
}

impl Owner {
    /// The owner without what tells app from host.
    #[must_use]
    pub fn side(self) -> Self {
        match self {
            Owner::ClientApp | Owner::ClientHost => Owner::Client,
            Owner::EdgeApp | Owner::EdgeHost => Owner::Edge,
            other => other,
        }
    }
}

/// What the owner was doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Ready to run, waiting for a CPU.
    CpuStarved,
    /// Stopped by a signal.
    Stopped,
    /// The hypervisor gave the CPU to somebody else.
    CpuStolen,
    /// Asleep by its own choice.
    Asleep,
    /// It had nothing to say yet: what it speaks is not TLS, and nobody knows what it waited for.
    Idle,
    /// Busy on a CPU.
    Computing,
    /// Waiting for somebody else's answer: another connection of the same host began and ended within the time.
    Dependency,
    /// It let data lie in its receive buffer until that was full, and its kernel closed the window.
    ZeroWindow,
    /// Every round trip is longer than the path's baseline.
    Detour,
    /// Some round trips are longer than others.
    Delay,
    /// Client to edge.
    Out,
    /// Edge to client.
    Back,
    /// Full-size packets vanish, small ones pass.
    MtuBlackhole,
    /// The kernel did not hand the connection to the program, or not yet.
    AcceptQueue,
    /// It still held an earlier connection of the same addresses and ports, and answered SYN with that (RFC 5961, section 4).
    OldConnection,
    /// It went on with packets of a size that it was told is too big (RFC 1191).
    IgnoredTooBig,
    /// Looking up a name.
    Lookup,
    /// A round trip for leave to send more than the receiver had room for.
    ReceiveWindow,
    /// A HelloRetryRequest's extra round trip.
    HelloRetry,
    /// The server's flight waited for acknowledgements to open the window.
    InitialWindow,
    /// TCP held a small segment until the one before it was acknowledged (Nagle's algorithm).
    Nagle,
    /// Waiting for an acknowledgement that nothing else waits for.
    FinalAck,
}

/// The stretch of the handshake an entry belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Name resolution.
    Dns,
    /// Other addresses, tried before the one that answered.
    Attempts,
    /// SYN to SYN-ACK.
    Connect,
    /// Plaintext before TLS: a greeting, STARTTLS, CONNECT, SSLRequest.
    BeforeTls,
    /// The client between what let it begin and ClientHello.
    ClientHello,
    /// ClientHello to a HelloRetryRequest.
    HelloRetry,
    /// ClientHello to the end of the server's flight.
    ServerFlight,
    /// The client between the server's flight and its own Finished.
    ClientFinished,
    /// Finished to the edge's answer or acknowledgement.
    Finish,
    /// A request on the finished connection, to the first byte of its answer.
    Request,
}

impl Phase {
    /// Its name in files and labels.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Attempts => "attempts",
            Phase::Connect => "connect",
            Phase::BeforeTls => "before_tls",
            Phase::ClientHello => "client_hello",
            Phase::HelloRetry => "hello_retry",
            Phase::ServerFlight => "server_flight",
            Phase::ClientFinished => "client_finished",
            Phase::Finish => "finish",
            Phase::Request => "request",
        }
    }
}

/// What would settle a question that the evidence left open.
#[derive(EnumSetType, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[enumset(serialize_repr = "list")]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// A capture at the client's end.
    ClientCapture,
    /// TCP timestamps from the client.
    ClientTimestamps,
    /// An IPv4 identification that counts packets.
    ClientIpId,
    /// A capture at the edge's end.
    EdgeCapture,
    /// TCP timestamps from the edge.
    EdgeTimestamps,
    /// An IPv4 identification that counts the edge's packets.
    EdgeIpId,
    /// Scheduler evidence from the client's host.
    ClientHost,
    /// Scheduler evidence from the edge's host.
    EdgeHost,
    /// A capture at another address, that was tried before.
    OtherAddress,
    /// At which end the capture was taken.
    Standpoint,
    /// The connection on the other side of a proxy.
    OtherLeg,
    /// A capture without losses.
    LosslessCapture,
    /// A capture that began before the connection did.
    Syn,
    /// The path's round trip when well.
    PathBaseline,
    /// A capture that goes on for longer.
    LongerCapture,
    /// A capture whose clock nobody set meanwhile.
    SteadyClock,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::ClientCapture => "a capture at the client's end",
            Missing::ClientTimestamps => "TCP timestamps from the client",
            Missing::ClientIpId => "an IP identification that counts the client's packets (IPv6 has none)",
            Missing::EdgeCapture => "a capture at the edge's end",
            Missing::EdgeTimestamps => "TCP timestamps from the edge",
            Missing::EdgeIpId => "an IP identification that counts the edge's packets (IPv6 has none)",
            Missing::OtherLeg => "the verdict of the proxy's other connection",
            Missing::OtherAddress => "a capture at the address that did not answer",
            Missing::Standpoint => "at which end the capture was taken (--client-side, --edge-side)",
            Missing::ClientHost => "scheduler evidence from the client's host",
            Missing::EdgeHost => "scheduler evidence from the edge's host",
            Missing::Syn => "a capture that began before the connection (its SYN shows the round trip)",
            Missing::LongerCapture => "a capture that goes on for longer",
            Missing::SteadyClock => "a capture whose clock was not set meanwhile (or TCP timestamps, which show by how much)",
            Missing::PathBaseline => "the path's usual round trip (other handshakes over it, or a control target)",
            Missing::LosslessCapture => "a capture that dropped nothing",
        })
    }
}

/// Of whose own work an entry is a part: the same work of sibling handshakes tells how long it takes when nothing is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Worked {
    /// Which end worked.
    pub side: Side,
    /// Whether it lies behind the first segment of its turn: a flight that is written in several pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tail: bool,
}

/// One line of a ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Where in the handshake.
    pub phase: Phase,
    /// Whose time it was.
    pub owner: Owner,
    /// Doing what; absent where nothing more is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<Kind>,
    /// Path only: it holds one whole round trip, which a healthy path takes too.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub round_trip: bool,
    /// A round trip that only a rule of TCP's or TLS's asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub extra_round: bool,
    /// One end of it was not captured and stands where it usually does: it tells nothing of what is usual.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub filled_in: bool,
    /// Whose work it is a part of, if anybody's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worked: Option<Worked>,
    /// How long, in nanoseconds.
    pub span: Span,
    /// How coarse the clock was that measured it, where that matters.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub grain: Span,
    /// How much that varies among healthy handshakes: one standard deviation.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub spread: Span,
    /// How much of it a healthy handshake takes as well.
    pub baseline: Span,
    /// How far `span` may be off.
    pub error: Span,
    /// Frames that bound it.
    #[serde(skip_serializing_if = "SmallVec::is_empty", default)]
    pub packets: SmallVec<[u64; 2]>,
    /// Unattributed only: who it may have been.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub candidates: EnumSet<Owner>,
    /// Unattributed only: what would tell.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub missing: EnumSet<Missing>,
}

impl Entry {
    /// An entry with nothing known but its owner and length.
    pub fn new(phase: Phase, owner: Owner, kind: impl Into<Option<Kind>>, span: Span, error: Span) -> Self {
        Self {
            phase,
            owner,
            kind: kind.into(),
            round_trip: false,
            extra_round: false,
            filled_in: false,
            worked: None,
            span,
            grain: Span::ZERO,
            spread: Span::ZERO,
            baseline: Span::ZERO,
            error,
            packets: SmallVec::new(),
            candidates: EnumSet::empty(),
            missing: EnumSet::empty(),
        }
    }

    /// One round trip of the path.
    pub fn round_trip(phase: Phase, span: Span, error: Span) -> Self {
        Self { round_trip: true, ..Self::new(phase, Owner::Path, Kind::Delay, span, error) }
    }

    /// Cites the frames that bound it.
    #[must_use]
    pub fn between(mut self, packets: impl IntoIterator<Item = u64>) -> Self {
        self.packets = packets.into_iter().collect();
        self
    }

    /// Whether it is the client's time, or may be.
    fn may_be_client(&self) -> bool {
        self.owner == Owner::Client || self.candidates.contains(Owner::Client)
    }

    /// Whose it is that it took longer than usual: a round trip that one end saw grow may be somebody else's.
    pub fn owner_of_excess(&self) -> Owner {
        if self.owner == Owner::Path && !self.candidates.is_empty() { Owner::Unattributed } else { self.owner }
    }

    /// Time beyond the baseline.
    pub fn excess(&self) -> Span {
        (self.span - self.baseline).at_least_zero()
    }
}

fn is_zero(span: &Span) -> bool {
    *span == Span::ZERO
}

/// Time on a CPU that is an edge's ordinary work: a signature and a key share, on a machine of any speed.
const EDGE_CPU: Span = Span::from_millis(5);

/// Lines of most ledgers, at most.
const USUAL_ENTRIES: usize = 6;

/// The partition of one handshake's time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ledger {
    /// The handshake's elapsed time.
    pub total: Span,
    /// Its parts; they sum to `total`.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// A ledger in which nothing is charged yet.
    pub fn open(total: Span) -> Self {
        Self { total: total.at_least_zero(), entries: Vec::with_capacity(USUAL_ENTRIES) }
    }

    /// Books an entry, at most what is left; entries of no length are dropped.
    pub fn charge(&mut self, mut entry: Entry) {
        entry.span = entry.span.at_least_zero().min(self.remaining());
        if entry.span > Span::ZERO {
            self.entries.push(entry);
        }
    }

    /// Books what is left as unattributed in `phase`.
    pub fn close(&mut self, phase: Phase) {
        let rest = self.remaining();
        self.charge(Entry::new(phase, Owner::Unattributed, None, rest, Span::ZERO));
    }

    /// Time not yet charged.
    pub fn remaining(&self) -> Span {
        self.total - self.entries.iter().map(|e| e.span).sum()
    }

    /// Time of one owner.
    pub fn of(&self, owner: Owner) -> Span {
        self.entries.iter().filter(|e| e.owner == owner).map(|e| e.span).sum()
    }

    /// What a healthy handshake would have taken.
    pub fn baseline(&self) -> Span {
        self.entries.iter().map(|e| e.baseline.min(e.span)).sum()
    }

    /// The path's part of each exchange: round-trip times without anybody's turnaround.
    pub fn path_spans(&self) -> impl Iterator<Item = Span> {
        self.entries.iter().filter(|e| e.round_trip).map(|e| e.span)
    }

    /// The least path time of any exchange: the handshake's own measure of its round trip, clean if it has a clean one.
    pub fn min_path(&self) -> Option<Span> {
        self.clean_path().or_else(|| self.path_spans().min())
    }

    /// The least path time of an exchange in which nothing was sent twice: of two copies nobody knows which one an acknowledgement
    /// answers (Karn's algorithm; RFC 6298, section 3).
    pub fn clean_path(&self) -> Option<Span> {
        let twice = |e: &Entry| e.owner == Owner::Loss || matches!(e.kind, Some(Kind::MtuBlackhole | Kind::AcceptQueue));
        let any = self.entries.iter().any(twice);
        let clean = |phase| !any || !self.entries.iter().any(|e| e.phase == phase && twice(e));
        self.entries.iter().filter(|e| e.round_trip && clean(e.phase)).map(|e| e.span).min()
    }

    /// Sets every entry's baseline, and how much that varies, from what is known of this path and these ends when well.
    pub fn apply(&mut self, baseline: &Baseline) {
        let own = self.min_path().unwrap_or_default();
        let path = baseline.path.unwrap_or(Normal { location: own, spread: Span::ZERO });
        let round_spread = path.spread.max(ROUND_SPREAD);
        let (mut client_cpu, mut unsplit_client) = (baseline.client_cpu, baseline.client_unsplit);
        let mut edge_cpu = EDGE_CPU;
        let mut work: SmallVec<[(Phase, Worked, Span); 8]> = SmallVec::new();
        for entry in &mut self.entries {
            let grain = entry.grain;
            entry.spread =
                if entry.round_trip || entry.extra_round { round_spread.max(entry.error).max(grain) } else { Span::ZERO };
            entry.baseline = match (entry.owner, entry.kind) {
                _ if entry.worked.is_some() && !baseline.work.is_empty() => {
                    let Some(worked) = entry.worked else { continue };
                    let known = work.iter().position(|(phase, w, _)| (*phase, *w) == (entry.phase, worked));
                    let at = known.unwrap_or_else(|| {
                        let normal = baseline.work_of(entry.phase, worked);
                        entry.spread = normal.spread.max(grain);
                        work.push((entry.phase, worked, normal.location));
                        work.len() - 1
                    });
                    let taken = entry.span.min(work[at].2);
                    work[at].2 -= taken;
                    taken
                }
                (Owner::Path, _) if entry.round_trip => entry.span.min(path.location),
                (Owner::Resolver, _) => entry.span.min(path.location),
                (Owner::Protocol, Some(Kind::FinalAck)) | (_, Some(Kind::Idle)) => entry.span,
                // A delay that may be a host asleep is nobody's work.
                (Owner::Client, _) | (Owner::Unattributed, None) if entry.may_be_client() => {
                    let taken = entry.span.min(unsplit_client);
                    unsplit_client -= taken;
                    taken
                }
                (Owner::ClientApp, Some(Kind::Computing)) => {
                    let taken = entry.span.min(client_cpu);
                    client_cpu -= taken;
                    taken
                }
                (Owner::EdgeApp, Some(Kind::Computing)) => {
                    let taken = entry.span.min(edge_cpu);
                    edge_cpu -= taken;
                    taken
                }
                _ => Span::ZERO,
            };
        }
        self.split_extra_rounds(path.location, round_spread);
        let detour = {
            let rounds = self.entries.iter().filter(|e| e.round_trip && e.owner == Owner::Path);
            let excess: SmallVec<[Span; 6]> = rounds.map(Entry::excess).collect();
            let most = excess.iter().copied().max().unwrap_or_default();
            excess.len() > 1 && most >= Span::from_millis(1) && excess.iter().all(|x| *x >= most.percent(50))
        };
        for entry in self.entries.iter_mut().filter(|e| e.owner == Owner::Path && (e.round_trip || e.extra_round)) {
            entry.kind = Some(if detour { Kind::Detour } else { Kind::Delay });
            if detour {
                entry.candidates = EnumSet::empty(); // no machine stands still for each round alike
            }
        }
    }

    /// A round that a protocol asked for is as long as any other; what is more is the path's.
    fn split_extra_rounds(&mut self, path: Span, spread: Span) {
        let mut longer = Vec::new();
        for (i, entry) in self.entries.iter_mut().enumerate() {
            if !entry.extra_round || entry.owner != Owner::Protocol || path == Span::ZERO {
                continue;
            }
            let more = entry.span - path;
            // Seen from one end, the other's kernel may have put its acknowledgement off.
            let put_off = if entry.candidates.is_empty() { Span::ZERO } else { PUT_OFF };
            if more > spread.percent(400).max(put_off) {
                entry.span -= more;
                longer.push((
                    i,
                    Entry { owner: Owner::Path, kind: Some(Kind::Delay), round_trip: false, span: more, ..entry.clone() },
                ));
            }
            (entry.candidates, entry.missing) = (EnumSet::empty(), EnumSet::empty());
        }
        for (i, rest) in longer.into_iter().rev() {
            self.entries.insert(i + 1, rest);
        }
    }
}

/// How long an acknowledgement is put off at most (RFC 9293, section 3.8.6.3; Linux: 40 ms), and something for its timer.
const PUT_OFF: Span = Span::from_millis(60);
/// How much a round trip varies at least: stamps, softirqs, a scheduler's tick.
const ROUND_SPREAD: Span = Span::from_micros(500);
/// What an end's ordinary work takes where no sibling tells: a signature, a chain to verify, a key share.
pub const ORDINARY_WORK: Normal = Normal { location: Span::from_millis(12), spread: Span::from_millis(3) };

/// A quantity when nothing is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Normal {
    /// Its usual size.
    pub location: Span,
    /// How much it varies: one standard deviation.
    pub spread: Span,
}

/// What a handshake takes when nothing is wrong.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// A round trip of the path; absent: the handshake's own least.
    pub path: Option<Normal>,
    /// Each end's own work, where siblings tell; empty: by the two numbers below.
    pub work: Vec<(Phase, Worked, Normal)>,
    /// CPU time the client itself needs (it is its work, not a stall).
    pub client_cpu: Span,
    /// Time the client takes for itself where nothing tells its work from its waiting.
    pub client_unsplit: Span,
}

impl Baseline {
    /// A path of which only the least round trip is known.
    pub fn of_path(rtt: Option<Span>) -> Option<Normal> {
        rtt.map(|location| Normal { location, spread: Span::ZERO })
    }

    fn work_of(&self, phase: Phase, worked: Worked) -> Normal {
        self.work.iter().find(|(p, w, _)| (*p, *w) == (phase, worked)).map_or(ORDINARY_WORK, |(.., normal)| *normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_round_trip_behind_a_repetition_is_no_measure() {
        let mut ledger = Ledger::open(Span::from_millis(700));
        ledger.charge(Entry::round_trip(Phase::Connect, Span::from_millis(60), Span::ZERO));
        ledger.charge(Entry::new(Phase::ServerFlight, Owner::Loss, Kind::Back, Span::from_millis(520), Span::ZERO));
        ledger.charge(Entry::round_trip(Phase::ServerFlight, Span::from_millis(42), Span::ZERO));
        assert_eq!(ledger.clean_path(), Some(Span::from_millis(60)));
        assert_eq!(ledger.min_path(), Some(Span::from_millis(60)));
        ledger.entries.remove(0);
        assert_eq!((ledger.clean_path(), ledger.min_path()), (None, Some(Span::from_millis(42))));
    }

    proptest! {
        #[test]
        fn the_ledger_sums_to_its_total_whatever_is_charged(
            total in -5i64..10_000, charges in prop::collection::vec((0usize..6, -50i64..4_000), 0..12), path in 0i64..300,
        ) {
            let owners = [Owner::Client, Owner::Path, Owner::Loss, Owner::EdgeHost, Owner::Resolver, Owner::Protocol];
            let mut ledger = Ledger::open(Span::from_micros(total));
            for (owner, span) in charges {
                ledger.charge(Entry::new(Phase::Connect, owners[owner], None, Span::from_micros(span), Span::ZERO));
            }
            ledger.close(Phase::Finish);
            ledger.apply(&Baseline { path: Baseline::of_path(Some(Span::from_micros(path))), ..Baseline::default() });
            prop_assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
            prop_assert!(ledger.entries.iter().all(|e| e.span > Span::ZERO && e.baseline <= e.span));
        }
    }
}
