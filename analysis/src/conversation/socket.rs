//! The ledger of a handshake seen by the client's own socket: no packets, no privileges.
//!
//! In: what a probe's kernel said of its own connection (docs/method.md, "Sockets"): `tcpi_rtt` of the TCP handshake, when each of our
//! messages left (once per transmission) and was acknowledged by the peer's kernel, when the answer's last byte reached our kernel, and
//! what the scheduler did with our thread. Out: a [`Reading`] by the same ledger and the same verdict rules as for packets.
//!
//! What a socket cannot tell stays open or is said: that the edge's kernel acknowledged a message tells nothing of the answer. One that
//! was lost and repeated, or held up on its way, looks like an edge that thinks; in one handshake nobody can know. Who looks at round
//! after round (`watch`, `compare`) takes it for the edge's ([`round_after_round`]).

use std::net::SocketAddr;

use enumset::{EnumSet, enum_set};

use serde::{Deserialize, Serialize};

use crate::clock::{Client, Instant, Span};
use crate::conversation::ends::client_time;
use crate::conversation::host::HostTrace;
use crate::conversation::milestone::Milestone;
use crate::judging::ledger::{Cited, Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::judging::verdict::{Culprit, End, Grade, Judgement, Reading, Verdict};

/// Software timestamps of one kernel.
const STAMP_ERROR: Span = Span::from_micros(100);
/// A round trip may vary by so much more than its tenth.
const JITTER: Span = Span::from_millis(2);
/// Whose it may be that an answer is late behind an acknowledgement.
const BEHIND_ACK: EnumSet<Owner> = enum_set!(Owner::Edge | Owner::Loss | Owner::Path);
/// What a sender may send at once before anything of it is acknowledged, in bytes (RFC 6928: ten segments; of no more than Ethernet's).
const INITIAL_WINDOW: u64 = 10 * 1_460;

/// A message of ours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// When the program had handed it to the kernel.
    pub written: Instant<Client>,
    /// When its last byte left the kernel, once per transmission; empty without kernel timestamps.
    pub left: Vec<Instant<Client>>,
    /// When the peer's kernel had acknowledged it.
    pub acked: Option<Instant<Client>>,
}

impl Message {
    fn first(&self) -> Instant<Client> {
        self.left.first().copied().unwrap_or(self.written)
    }
}

/// An answer of the edge's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Arrival {
    /// When its last byte reached our kernel; absent without kernel timestamps.
    pub at_kernel: Option<Instant<Client>>,
    /// When its first bytes had reached our kernel, at the latest; absent without kernel timestamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Instant<Client>>,
    /// How many bytes it has; absent if nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When the program had read it.
    pub read: Instant<Client>,
}

/// An address that was tried before the one that answered, and did not answer by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Whose.
    pub server: SocketAddr,
    /// Our end of it, by which its packets are found; absent where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// connect(2) was called.
    pub began: Instant<Client>,
    /// It failed, or the next was tried beside it.
    pub until: Instant<Client>,
}

/// A message and what came back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// Where in the handshake.
    pub phase: Phase,
    /// What the client does before it: the phase that its own time belongs to.
    pub before: Phase,
    /// What was sent.
    pub sent: Message,
    /// What came; absent if nothing did.
    pub answer: Option<Arrival>,
    /// Whether the protocol alone demanded this exchange (HelloRetryRequest).
    pub extra: bool,
}

/// The TCP handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Connect {
    /// connect(2) was called.
    pub began: Instant<Client>,
    /// Its round trip by the kernel's own measure.
    pub round_trip: Option<Span>,
    /// How often SYN was repeated.
    pub repeated: u32,
    /// The program knew of it; absent if it never succeeded.
    pub done: Option<Instant<Client>>,
}

/// What a socket saw of one handshake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SocketTrace {
    /// The probe began.
    pub started: Instant<Client>,
    /// The name was asked for, and the answer known; absent for an address.
    pub lookup: Option<(Instant<Client>, Option<Instant<Client>>)>,
    /// Addresses that were tried before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Attempt>,
    /// The TCP handshake; absent if it never began.
    pub connect: Option<Connect>,
    /// Messages and answers, in order.
    pub exchanges: Vec<Exchange>,
    /// Our Finished, where nothing of the handshake answers it (TLS 1.3).
    pub finished: Option<Message>,
    /// The end of it all.
    pub ended: Instant<Client>,
    /// Whether it came to its end.
    pub complete: bool,
    /// Whether the kernel stamped the traffic.
    pub stamped: bool,
    /// Whether segments of the edge's arrived out of order: one before them was lost or overtaken.
    pub out_of_order: bool,
    /// Whether the edge is on the same host: nothing is lost or held up on the way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_host: bool,
    /// What the scheduler did with the probe's thread.
    pub host: Option<HostTrace<Client>>,
}

/// Reads a handshake from the client's socket.
pub fn read(trace: &SocketTrace) -> Reading {
    let ledger = Ledger::open(trace.ended - trace.started);
    let mut reader = Reader { trace, ledger, at: trace.started, round_trip: None, last: Milestone::DnsStart };
    let complete = reader.whole().is_some() && trace.complete;
    let host = trace.host.is_some();
    // What is left after the last answer is the client's.
    reader.client(Phase::Finish, trace.ended);
    reader.ledger.close(Phase::Finish);
    Reading {
        grade: if trace.stamped { Grade::Socket { host } } else { Grade::App { host } },
        end: if complete { End::Complete } else { End::Stopped { after: reader.last } },
        ledger: reader.ledger,
    }
}

/// The same reading without the client's own time: what remains to be said of the edge and the way to it, however busy the prober was.
#[must_use]
pub fn without_client(reading: &Reading) -> Reading {
    let entries: Vec<Entry> = reading.ledger.entries.iter().filter(|e| e.owner.side() != Owner::Client).cloned().collect();
    let total = entries.iter().map(|e| e.span).sum();
    Reading { ledger: Ledger { total, entries }, ..reading.clone() }
}

/// The same reading where it is one of many, and they are looked at together: an answer that is late round after round behind a prompt
/// acknowledgement is the edge's; that it is lost or held up each time would be a strange network.
pub fn round_after_round(reading: &mut Reading) {
    let open = |e: &&mut Entry| e.owner == Owner::Unattributed && e.candidates == BEHIND_ACK && e.phase != Phase::Attempts;
    for entry in reading.ledger.entries.iter_mut().filter(open) {
        (entry.owner, entry.candidates, entry.missing) = (Owner::Edge, EnumSet::empty(), EnumSet::empty());
        entry.error = JITTER.min(entry.span);
    }
}

struct Reader<'a> {
    trace: &'a SocketTrace,
    ledger: Ledger,
    at: Instant<Client>,
    round_trip: Option<Span>,
    last: Milestone,
}

impl Reader<'_> {
    /// Absent if it stopped on the way.
    fn whole(&mut self) -> Option<()> {
        if let Some((asked, answered)) = self.trace.lookup {
            self.client(Phase::Dns, asked);
            // User space alone sees a lookup: what the scheduler took of it is not the resolver's.
            self.other(Phase::Dns, answered.unwrap_or(self.trace.ended), Owner::Resolver, Kind::Lookup);
            answered?;
            self.last = Milestone::DnsEnd;
        }
        self.connect()?;
        self.last = Milestone::SynAck;
        for exchange in &self.trace.exchanges {
            if exchange.phase == Phase::Request {
                self.finished();
            }
            self.client(exchange.before, exchange.sent.first());
            self.exchange(exchange)?;
            self.last = match exchange.phase {
                _ if exchange.extra => Milestone::ClientHello,
                Phase::ServerFlight => Milestone::ServerFlightEnd,
                Phase::Finish => Milestone::ServerFinished,
                _ => Milestone::FirstResponse,
            };
        }
        self.finished();
        Some(())
    }

    /// The client before its last message of the handshake.
    fn finished(&mut self) {
        if let Some(finished) = &self.trace.finished {
            self.client(Phase::ClientFinished, finished.first());
        }
    }

    fn connect(&mut self) -> Option<()> {
        let connect = self.trace.connect?;
        for attempt in &self.trace.tried {
            self.client(Phase::Attempts, attempt.began);
            let own = self.starved(self.at, attempt.until);
            self.open(Phase::Attempts, attempt.until - self.at - own, BEHIND_ACK, Missing::OtherAddress.into());
            self.host_took(Phase::Attempts, own);
            self.at = self.at.max(attempt.until);
        }
        self.client(Phase::Connect, connect.began);
        self.last = Milestone::Syn;
        let Some(done) = connect.done else {
            self.undecided(Phase::Connect, self.ledger.remaining(), Owner::Loss | Owner::Path | Owner::Edge);
            return None;
        };
        match connect.round_trip {
            Some(round_trip) => {
                let round_trip = round_trip.min(done - connect.began);
                if connect.repeated > 0 {
                    // The wait for the SYN that got through; then its round trip, then our own wait for a CPU.
                    let wait = done - connect.began - round_trip;
                    let own = self.starved(connect.began, done).min(wait);
                    self.undecided(Phase::Connect, wait - own, Owner::Loss | Owner::EdgeHost);
                    self.at = self.at + (wait - own);
                }
                self.ledger.charge(Entry::round_trip(Phase::Connect, round_trip, STAMP_ERROR));
                self.round_trip = Some(round_trip);
                self.at = self.at + round_trip;
                self.client(Phase::Connect, done);
            }
            None => {
                let own = self.starved(connect.began, done);
                self.ledger.charge(Entry::round_trip(Phase::Connect, done - connect.began - own, own + STAMP_ERROR));
                self.host_took(Phase::Connect, own);
                self.at = done;
            }
        }
        Some(())
    }

    fn exchange(&mut self, exchange: &Exchange) -> Option<()> {
        let Exchange { phase, sent, answer, .. } = exchange;
        let left = sent.first();
        self.at = self.at.max(left);
        let Some(answer) = answer else {
            let candidates: EnumSet<Owner> =
                if sent.acked.is_some() { Owner::Edge | Owner::Loss } else { Owner::Loss | Owner::Path | Owner::Edge };
            self.undecided(*phase, self.ledger.remaining(), candidates);
            return None;
        };
        let arrived = answer.at_kernel.unwrap_or(answer.read).max(left);
        if exchange.extra {
            self.ledger.charge(Entry::new(*phase, Owner::Protocol, Kind::HelloRetry, arrived - left, STAMP_ERROR));
        } else {
            self.divide(*phase, sent, left, arrived, answer);
        }
        self.at = arrived;
        if answer.at_kernel.is_none() {
            // It may have waited in the kernel for as long as the thread waited for a CPU.
            return Some(());
        }
        self.client(if *phase == Phase::ServerFlight { Phase::ClientFinished } else { Phase::Finish }, answer.read);
        Some(())
    }

    /// Between our message and its answer, on the wire: repetition, round trip, the edge.
    fn divide(&mut self, phase: Phase, sent: &Message, left: Instant<Client>, arrived: Instant<Client>, answer: &Arrival) {
        let acked = sent.acked.filter(|at| *at <= arrived && *at >= left);
        let heard = acked.unwrap_or(arrived);
        let least = self.round_trip.unwrap_or_default().percent(50).max(Span::from_micros(50));
        let through = sent.left.iter().rev().find(|at| heard - **at >= least).copied().unwrap_or(left);
        self.ledger.charge(Entry::new(phase, Owner::Loss, Kind::Out, through - left, STAMP_ERROR));
        let gap = arrived - through;
        let own = if self.trace.stamped { Span::ZERO } else { self.starved(through, arrived) };
        self.host_took(phase, own);
        let gap = gap - own;
        let way = heard - through;
        let usual = self.round_trip.unwrap_or(way);
        let long = |span: Span| span > usual + usual.percent(10).max(JITTER);
        let path = if long(way) { usual } else { way }.min(gap);
        self.ledger.charge(Entry::round_trip(phase, path, STAMP_ERROR));
        let late_ack = (way - path).at_least_zero().min(gap - path);
        match acked.is_some() || !self.trace.stamped {
            // The edge's kernel is prompt while its program thinks, or lets the acknowledgement go with the answer (RFC 1122, 4.2.3.2):
            // a late one is the way's, its machine's or its program's.
            true if self.trace.stamped => self.undecided(phase, late_ack, Owner::Path | Owner::Edge),
            true => self.behind_ack(phase, late_ack),
            false if late_ack <= Span::from_millis(5) => self.edge(phase, late_ack),
            false => self.undecided(phase, late_ack, Owner::Edge | Owner::Path),
        }
        let mut late = gap - path - late_ack;
        for round in windows(answer, usual, late) {
            let entry = Entry::new(phase, Owner::Protocol, Kind::InitialWindow, round, STAMP_ERROR);
            self.ledger.charge(Entry { extra_round: true, ..entry });
            late -= round;
        }
        if self.trace.out_of_order && late > Span::from_millis(5) {
            self.ledger.charge(Entry::new(phase, Owner::Loss, Kind::Back, late, usual.min(late)));
        } else {
            self.behind_ack(phase, late);
        }
    }

    /// An answer that is late by so much.
    fn behind_ack(&mut self, phase: Phase, span: Span) {
        if span <= JITTER || self.trace.same_host {
            // An edge's ordinary work; or there is no way on which anything could be.
            self.edge(phase, span);
        } else {
            self.open(phase, span, BEHIND_ACK, Missing::ClientCapture | Missing::EdgeCapture);
        }
    }

    fn edge(&mut self, phase: Phase, span: Span) {
        self.ledger.charge(Entry::new(phase, Owner::Edge, None, span, JITTER.min(span)));
    }

    /// Charges `owner` until `to`, less what the scheduler took.
    fn other(&mut self, phase: Phase, to: Instant<Client>, owner: Owner, kind: Kind) {
        let own = self.starved(self.at, to);
        self.ledger.charge(Entry::new(phase, owner, kind, to - self.at - own, own + STAMP_ERROR));
        self.host_took(phase, own);
        self.at = self.at.max(to);
    }

    /// How long the thread stood without a CPU.
    fn starved(&self, from: Instant<Client>, to: Instant<Client>) -> Span {
        let usage = self.trace.host.as_ref().map(|host| host.usage(from, to)).unwrap_or_default();
        usage.busy().min((to - from).at_least_zero())
    }

    fn host_took(&mut self, phase: Phase, span: Span) {
        self.ledger.charge(Entry::new(phase, Owner::ClientHost, Kind::CpuStarved, span, STAMP_ERROR));
    }

    fn client(&mut self, phase: Phase, to: Instant<Client>) {
        if to > self.at {
            let mut own = Vec::new();
            client_time(self.trace.host.as_ref(), None, phase, self.at, to, Cited::new(), &mut own);
            own.into_iter().for_each(|entry| self.ledger.charge(entry));
            self.at = to;
        }
    }

    fn undecided(&mut self, phase: Phase, span: Span, candidates: EnumSet<Owner>) {
        self.open(phase, span, candidates, Missing::EdgeCapture.into());
    }

    fn open(&mut self, phase: Phase, span: Span, candidates: EnumSet<Owner>, missing: EnumSet<Missing>) {
        let entry = Entry::new(phase, Owner::Unattributed, None, span, Span::ZERO);
        self.ledger.charge(Entry { candidates, missing, ..entry });
    }
}

/// The rounds of a long answer behind its first: its sender waits for an acknowledgement of ten segments, then of twenty, and so on. No
/// more than its tail took, and `late` all in all.
fn windows(answer: &Arrival, usual: Span, late: Span) -> Vec<Span> {
    let (Some(bytes), Some(first), Some(last)) = (answer.bytes, answer.first, answer.at_kernel) else { return Vec::new() };
    let (mut left, mut window) = ((last - first).at_least_zero().min(late), INITIAL_WINDOW);
    let (mut sent, mut rounds) = (INITIAL_WINDOW, Vec::new());
    while sent < bytes && left > Span::ZERO && usual > Span::ZERO {
        let round = left.min(usual);
        rounds.push(round);
        (left, window) = (left - round, window.saturating_mul(2));
        sent = sent.saturating_add(window);
    }
    rounds
}

/// A verdict in one sentence, with the quantities behind it.
pub fn sentence(trace: &SocketTrace, reading: &Reading, judgement: &Judgement) -> String {
    let ended = match reading.end {
        End::Complete | End::NotTls => String::new(),
        End::Stopped { after } => format!(" It never completed; the last thing proven is {}.", after.words()),
    };
    let said = match &judgement.verdict {
        Verdict::Healthy => format!("Healthy: {} in all, {} beyond the baseline.", reading.ledger.total, judgement.excess),
        Verdict::Culprit { primary, second } => {
            let mut said = culprit(trace, reading, primary);
            if let Some(second) = second {
                said = format!("{said} And: {}", culprit(trace, reading, second));
            }
            said
        }
        Verdict::Inconclusive { candidates, missing, excess } => {
            let who: Vec<&str> = candidates.iter().map(|o| o.words()).collect();
            let what: Vec<String> = missing.iter().map(|m| m.to_string()).collect();
            let tell = if what.is_empty() { String::new() } else { format!(" To tell: {}.", what.join("; ")) };
            let known = open(trace, reading);
            format!("{excess} beyond the baseline{known} could be any of: {}.{tell}", who.join(", "))
        }
        Verdict::Aborted { by, after } => format!("The {} ended the handshake after {}.", by.words(), after.words()),
    };
    said + &ended
}

/// What is known of the longest stretch that is left open.
fn open(trace: &SocketTrace, reading: &Reading) -> String {
    let open = reading.ledger.entries.iter().filter(|e| e.owner_of_excess() == Owner::Unattributed && e.excess() > Span::ZERO);
    let Some(longest) = open.max_by_key(|e| e.excess()) else { return String::new() };
    let phase = longest.phase.words();
    if longest.phase == Phase::Attempts {
        let servers: Vec<String> = trace.tried.iter().map(|attempt| attempt.server.to_string()).collect();
        return format!(" ({phase}: {} had not answered)", servers.join(", "));
    }
    let nothing = if longest.candidates == BEHIND_ACK { ", which says nothing of the answer" } else { "" };
    let acked = acknowledged(trace, longest.phase)
        .map_or(String::new(), |after| format!("; the edge's kernel acknowledged our message after {after}{nothing}"));
    format!(" ({phase}{acked})")
}

/// How soon the peer's kernel had acknowledged our message of a phase.
fn acknowledged(trace: &SocketTrace, phase: Phase) -> Option<Span> {
    let sent = trace.exchanges.iter().find(|e| e.phase == phase && !e.extra).map(|e| &e.sent)?;
    Some(sent.acked? - sent.left.last().copied()?)
}

fn culprit(trace: &SocketTrace, reading: &Reading, culprit: &Culprit) -> String {
    let of_owner = reading.ledger.entries.iter().filter(|e| e.owner == culprit.owner);
    let Some(largest) = of_owner.max_by_key(|e| e.excess()) else {
        return format!("{}: {}.", culprit.owner.words(), culprit.excess);
    };
    let (phase, span) = (largest.phase.words(), largest.span);
    let round_trip = reading.ledger.min_path().map_or(String::new(), |rtt| format!("; the round trip is {rtt}"));
    match culprit.owner.side() {
        Owner::Edge => {
            let acked = acknowledged(trace, largest.phase)
                .map_or(String::new(), |span| format!(", although its kernel acknowledged our message after {span}"));
            let alone = if trace.same_host { "" } else { " One alone might have been lost or held up on its way." };
            format!("The edge took {span} ({phase}){acked}{round_trip}.{alone}")
        }
        Owner::Client => {
            format!("The prober itself took {span} ({phase}): its thread had no CPU or was busy; not the edge's doing.")
        }
        Owner::Path if largest.kind == Some(Kind::Detour) => {
            format!("Every round trip is longer than usual: {span} ({phase}), usual is {}.", largest.baseline)
        }
        Owner::Path => format!("The path took {span} ({phase}), usual is {}.", largest.baseline),
        Owner::Loss => format!("A packet was lost and retransmitted: {span} ({phase}){round_trip}."),
        Owner::Resolver => format!("The name lookup took {span}."),
        other => format!("{}: {span} ({phase}){round_trip}.", other.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::host::Sample;
    use crate::judging::ledger::Baseline;
    use crate::judging::verdict::{Circumstances, judge};
    use proptest::prelude::*;

    fn at(ms: i64) -> Instant<Client> {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn message(ms: i64, acked: Option<i64>) -> Message {
        Message { written: at(ms), left: vec![at(ms)], acked: acked.map(at) }
    }

    /// A handshake over a way of 10 ms: ClientHello at 12, its answer at `kernel` and read at `read`.
    fn trace(acked: i64, kernel: i64, read: i64) -> SocketTrace {
        let answer = Some(Arrival { at_kernel: Some(at(kernel)), first: None, bytes: None, read: at(read) });
        let (phase, before) = (Phase::ServerFlight, Phase::ClientHello);
        SocketTrace {
            started: at(0),
            lookup: None,
            tried: Vec::new(),
            connect: Some(Connect { began: at(1), round_trip: Some(Span::from_millis(10)), repeated: 0, done: Some(at(12)) }),
            exchanges: vec![Exchange { phase, before, sent: message(12, Some(acked)), answer, extra: false }],
            finished: None,
            ended: at(read + 1),
            complete: true,
            stamped: true,
            out_of_order: false,
            same_host: false,
            host: None,
        }
    }

    fn judged(trace: &SocketTrace) -> (Reading, Judgement) {
        let mut reading = read(trace);
        let client_unsplit = Span::from_millis(20);
        reading.ledger.apply(&Baseline {
            path: Baseline::of_path(Some(Span::from_millis(10))),
            client_unsplit,
            ..Baseline::default()
        });
        let judgement = judge(&reading, Circumstances::default());
        (reading, judgement)
    }

    fn verdict(trace: &SocketTrace) -> String {
        judged(trace).1.verdict.label()
    }

    /// Kept as files: a change that moves a number or a word shows in the diff (`make golden`).
    #[test]
    fn readings_are_as_they_were() {
        let mut lost = trace(222, 223, 224);
        lost.exchanges[0].sent.left = vec![at(12), at(212)];
        let cases = [
            ("socket-healthy", trace(22, 24, 25)),
            ("socket-edge-slow", trace(22, 322, 323)),
            ("socket-read-late", trace(22, 24, 330)),
            ("socket-hello-lost", lost),
            ("socket-acknowledged-late", trace(322, 323, 324)),
        ];
        for (name, trace) in cases {
            let (reading, judgement) = judged(&trace);
            let sentence = sentence(&trace, &reading, &judgement);
            insta::assert_json_snapshot!(
                name,
                serde_json::json!({ "reading": reading, "judgement": judgement, "sentence": sentence })
            );
        }
    }

    #[test]
    fn a_prompt_acknowledgement_says_nothing_of_a_late_answer() {
        let (mut reading, judgement) = judged(&trace(22, 322, 323));
        let Verdict::Inconclusive { candidates, missing, .. } = judgement.verdict else { panic!("{judgement:?}") };
        assert_eq!((candidates, missing), (BEHIND_ACK, Missing::ClientCapture | Missing::EdgeCapture));
        round_after_round(&mut reading);
        assert_eq!(judge(&reading, Circumstances::default()).verdict.label(), "edge", "in round after round");
        assert_eq!(verdict(&trace(22, 24, 25)), "healthy");
        let mut blind = trace(22, 322, 323);
        (blind.stamped, blind.exchanges[0].sent.acked) = (false, None);
        assert_eq!(verdict(&blind), "inconclusive", "without kernel timestamps still less is known");
        assert_eq!(verdict(&SocketTrace { same_host: true, ..trace(22, 322, 323) }), "edge", "there is no way to it");
    }

    #[test]
    fn a_long_chain_takes_rounds_that_the_protocol_asks_for() {
        let long = |bytes: u64, last: i64| {
            let mut long = trace(22, last, last + 1);
            let answer = long.exchanges[0].answer.as_mut().expect("it has one");
            (answer.first, answer.bytes) = (Some(at(23)), Some(bytes));
            judged(&long)
        };
        let of = |(reading, _): (Reading, Judgement)| reading.ledger.of(Owner::Protocol);
        assert_eq!(of(long(14_000, 33)), Span::ZERO, "it fits into the first window");
        assert_eq!(of(long(26_000, 33)), Span::from_millis(10));
        assert_eq!(of(long(60_000, 43)), Span::from_millis(20), "ten segments, twenty, forty");
        assert_eq!(of(long(26_000, 300)), Span::from_millis(10), "no more than a round trip of it");
        assert_eq!(long(26_000, 33).1.verdict.label(), "healthy");
        assert_eq!(long(26_000, 300).1.verdict.label(), "inconclusive");
    }

    #[test]
    fn an_address_that_did_not_answer_is_not_the_clients_time() {
        let mut late = trace(272, 274, 275);
        late.tried = vec![Attempt { server: SocketAddr::from(([192, 0, 2, 3], 443)), local: None, began: at(1), until: at(251) }];
        late.connect = Some(Connect { began: at(251), done: Some(at(262)), ..late.connect.expect("it has one") });
        late.exchanges[0].sent = message(262, Some(272));
        let (mut reading, judgement) = judged(&late);
        let Verdict::Inconclusive { candidates, missing, .. } = judgement.verdict else { panic!("{judgement:?}") };
        assert_eq!((candidates, missing), (BEHIND_ACK, Missing::OtherAddress.into()));
        assert!(sentence(&late, &reading, &judgement).contains("192.0.2.3:443 had not answered"));
        round_after_round(&mut reading);
        assert_eq!(
            judge(&reading, Circumstances::default()).verdict.label(),
            "inconclusive",
            "nor the edge's, round after round"
        );
    }

    #[test]
    fn an_answer_that_lay_in_our_kernel_is_the_client() {
        assert_eq!(verdict(&trace(22, 24, 330)), "client");
        let mut starved = trace(22, 24, 330);
        let sample = |ms, cpu: u64, delay: u64| Sample { at: at(ms), tid: 1, cpu, run_delay: delay, state: 'R', steal: 0 };
        starved.host =
            Some(HostTrace { samples: vec![sample(0, 0, 0), sample(12, 0, 0), sample(330, 1, 300_000_000)], nodelay: None });
        assert_eq!(verdict(&starved), "client_host/cpu_starved");
    }

    #[test]
    fn without_the_clients_time_a_slow_edge_stands_alone() {
        let reading = read(&trace(22, 322, 900));
        let target = without_client(&reading);
        assert!(target.ledger.total < Span::from_millis(330));
        assert!(target.ledger.entries.iter().all(|e| e.owner != Owner::Client));
        assert_eq!(target.ledger.entries.iter().map(|e| e.span).sum::<Span>(), target.ledger.total);
    }

    #[test]
    fn a_repeated_hello_is_loss() {
        let mut lost = trace(222, 223, 224);
        lost.exchanges[0].sent.left = vec![at(12), at(212)];
        assert_eq!(verdict(&lost), "loss/out");
    }

    #[test]
    fn a_late_acknowledgement_without_another_witness_is_open() {
        assert_eq!(verdict(&trace(322, 323, 324)), "inconclusive");
    }

    proptest! {
        #[test]
        fn the_ledger_sums_to_its_total(acked in 0i64..900, kernel in 0i64..900, read_at in 0i64..900, ended in 0i64..900) {
            let mut trace = trace(acked, kernel, read_at);
            trace.ended = at(ended);
            let ledger = read(&trace).ledger;
            prop_assert_eq!(ledger.entries.iter().map(|e| e.span).sum::<Span>(), ledger.total);
        }
    }
}
