//! The ledger of a handshake seen from the client alone.
//!
//! The client's own turnarounds are read directly. Of each exchange, the TCP handshake's round trip is the path's (a
//! kernel answers SYN by itself), and the rest is divided by what the edge's packets say of themselves
//! ([`crate::far_side`]). The edge's kernel acknowledges ClientHello even while its program stalls: with that
//! acknowledgement the way out is cleared; without it, a late answer may be the edge's or the way's.

use enumset::EnumSet;

use crate::ack_wait::{ack_waits, ack_waits_seen_by_peer};
use crate::both_ends::client_side;
use crate::clock::{Client, Instant, Span};
use crate::copies::{ALWAYS_CARRIED, ALWAYS_CARRIED_BYTES};
use crate::far_side::{FarSide, Stretch, TICK};
use crate::flow::{Seen, Side, View};
use crate::handshake::{Handshake, was_awake};
use crate::ledger::{Entry, Kind, Ledger, Missing, Owner, Phase};
use crate::milestone::Milestone;
use crate::verdict::{End, Grade, Reading};
use crate::window::closed_windows;

/// Two capture timestamps of one host.
const STAMP_ERROR: Span = Span::from_micros(200);
/// Less than this between two packets of a flight is their serialisation.
const AT_ONCE: Span = Span::from_millis(2);
/// A packet that fills a hole sooner than this was overtaken, not repeated.
const REORDERED: Span = Span::from_millis(3);

/// On the paths of today whole packets are at least so long (1,500 bytes less the headers of a tunnel or two).
const FULL_SIZE: u32 = 1_380;
/// A packet that was repeated once comes sooner (RFC 6298: the least timeout is 200 ms in practice, the second is twice the first).
const TWO_TIMEOUTS: Span = Span::from_millis(550);

/// Reads a handshake from the client's capture, from its SYN or (in a capture that began later) its ClientHello on; absent
/// if it shows neither, or one direction only.
pub fn read(handshake: &Handshake) -> Option<Reading> {
    let view = handshake.client.as_ref().filter(|v| v.both_directions() || v.syns(Side::Client).next().is_some())?;
    let d = &handshake.dialogue;
    let syn = view.syns(Side::Client).next();
    let hello = || view.first_copy(Side::Client, d.first_client_hello.or(d.client_hello)?.end);
    let begun = syn.or_else(hello)?;
    let start = handshake.lookup.as_ref().map_or(begun.at, |l| l.start);
    let answered = d.client_finished.and_then(|finished| match d.server_finished.filter(|_| d.server_finishes_last()) {
        Some(last) => view.completed(Side::Server, last.end),
        None => view.first_ack(Side::Client, finished.end),
    });
    let end = answered.map_or_else(|| gave_up(view), |p| p.at);
    let mut reader =
        Reader { handshake, view, ledger: Ledger::open(end - start), at: start, round_trip: None, last: Milestone::Syn };
    let complete = reader.whole(syn).is_some() && answered.is_some();
    reader.ledger.close(Phase::Finish);
    Some(Reading {
        grade: Grade::OneEnd { host: handshake.client_host.is_some() },
        end: if complete { End::Complete } else { End::Stopped { after: reader.last } },
        ledger: reader.ledger,
    })
}

/// Whether an acknowledgement came from much nearer than the edge, whose answer took a round trip like SYN's: an edge slow
/// to answer SYN alone would have answered ClientHello at once.
fn answered_nearer(acknowledged: Span, answered: Span, round_trip: Span) -> bool {
    round_trip > Span::from_millis(2) && acknowledged < round_trip.percent(40) && answered >= round_trip.percent(80)
}

fn gave_up(view: &View<Client>) -> Instant<Client> {
    let ended = view.sent_by(Side::Client).find(|p| p.flags.fin() || p.flags.rst());
    ended.or(view.packets.last()).map_or(Instant::from_nanos(0), |p| p.at)
}

struct Reader<'a> {
    handshake: &'a Handshake,
    view: &'a View<Client>,
    ledger: Ledger,
    /// How far the walk has come.
    at: Instant<Client>,
    /// Of the TCP handshake; absent if that lies before the capture.
    round_trip: Option<Span>,
    last: Milestone,
}

impl<'a> Reader<'a> {
    fn whole(&mut self, syn: Option<&'a Seen<Client>>) -> Option<()> {
        let d = &self.handshake.dialogue;
        if let Some(syn) = syn {
            self.lookup(syn);
            self.connect(syn)?;
            self.last = Milestone::SynAck;
        }
        if let (Some(first), Some(retry)) = (d.first_client_hello, d.hello_retry) {
            self.turnaround(Phase::ClientHello, first.end)?;
            let arrived = self.view.completed(Side::Server, retry.end)?;
            let span = arrived.at - self.at;
            let entry = Entry::new(Phase::ServerFlight, Owner::Protocol, Kind::HelloRetry, span, STAMP_ERROR);
            self.ledger.charge(entry.between([arrived.packet]));
            self.at = arrived.at;
        }
        let hello = self.or_client(Phase::ClientHello, d.client_hello)?;
        self.turnaround(Phase::ClientHello, hello.end)?;
        self.last = Milestone::ClientHello;
        self.exchange(Phase::ServerFlight, hello.end, d.server_flight.map(|e| e.end), false)?;
        self.last = Milestone::ServerFlightEnd;
        let finished = self.or_client(Phase::ClientFinished, d.client_finished)?;
        self.turnaround(Phase::ClientFinished, finished.end)?;
        self.last = Milestone::ClientFinished;
        match d.server_finished.filter(|_| d.server_finishes_last()) {
            Some(last) => self.exchange(Phase::Finish, finished.end, Some(last.end), false),
            None if d.server_finishes_last() => self.exchange(Phase::Finish, finished.end, None, false),
            None => self.exchange(Phase::Finish, finished.end, None, true),
        }
    }

    fn lookup(&mut self, syn: &Seen<Client>) {
        let Some(lookup) = &self.handshake.lookup else { return };
        let Some(answer) = lookup.end() else { return };
        self.client(Phase::Dns, answer.asked, [lookup.start_packet]);
        let wait = Entry::new(Phase::Dns, Owner::Resolver, Kind::Lookup, answer.at - answer.asked, STAMP_ERROR);
        self.ledger.charge(wait.between([lookup.start_packet, answer.packet]));
        self.at = answer.at;
        self.client(Phase::Dns, syn.at, [syn.packet]);
    }

    /// SYN to SYN-ACK. Why a SYN had to be repeated, the client alone cannot know: it or its answer was lost, or the edge
    /// did not want it (a full accept queue).
    fn connect(&mut self, syn: &'a Seen<Client>) -> Option<()> {
        self.at = syn.at;
        let copies: Vec<&Seen<Client>> = self.view.syns(Side::Client).collect();
        let Some(syn_ack) = self.view.syns(Side::Server).next() else {
            let rest = self.ledger.remaining();
            self.undecided(
                Phase::Connect,
                rest,
                Owner::Loss | Owner::Edge,
                Missing::EdgeCapture,
                copies.iter().take(2).map(|c| c.packet),
            );
            return None;
        };
        let through = copies.iter().rev().find(|c| syn_ack.at > c.at).copied().unwrap_or(syn);
        if through.packet != syn.packet {
            let candidates = Owner::Loss | Owner::EdgeHost;
            let cited = [syn.packet, through.packet];
            self.undecided(Phase::Connect, through.at - syn.at, candidates, Missing::EdgeCapture, cited);
        }
        let round_trip = syn_ack.at - through.at;
        self.round_trip = Some(round_trip);
        let entry = Entry::round_trip(Phase::Connect, round_trip, STAMP_ERROR);
        self.ledger.charge(entry.between([through.packet, syn_ack.packet]));
        self.at = syn_ack.at;
        Some(())
    }

    /// The client between what it got and the first copy of what it says next.
    fn turnaround(&mut self, phase: Phase, end: i64) -> Option<()> {
        let sent = self.view.first_copy(Side::Client, end)?;
        for wait in ack_waits(self.view, Side::Client, self.at, sent.at) {
            self.client(phase, wait.sent.at, wait.packets());
            let entry = Entry::new(phase, Owner::Protocol, wait.kind, wait.ack.at - self.at, STAMP_ERROR);
            self.ledger.charge(entry.between(wait.packets()));
            self.at = wait.ack.at;
        }
        self.client(phase, sent.at, [sent.packet]);
        Some(())
    }

    /// Charges the client until `to`.
    fn client(&mut self, phase: Phase, to: Instant<Client>, packets: impl IntoIterator<Item = u64>) {
        for entry in client_side(self.handshake, phase, self.at, to, packets.into_iter().collect()) {
            self.ledger.charge(entry);
        }
        self.at = self.at.max(to);
    }

    /// What the client owes next, or, if it never came, all time until it gave up charged to it: but not while a piece of it waits for
    /// its acknowledgement, for then TCP may hold the rest (Nagle's algorithm).
    fn or_client<T>(&mut self, phase: Phase, next: Option<T>) -> Option<T> {
        if next.is_none() {
            let gave_up = gave_up(self.view);
            if let Some(piece) = self.view.sent_by(Side::Client).rfind(|p| !p.is_empty() && p.at >= self.at) {
                self.client(phase, piece.at, [piece.packet]);
                let until = self.view.first_ack(Side::Client, piece.end()).map_or(gave_up, |ack| ack.at);
                let candidates = Owner::Client | Owner::Path | Owner::Loss;
                self.undecided(phase, until - piece.at, candidates, Missing::LongerCapture, [piece.packet]);
                self.at = until;
            }
            self.client(phase, gave_up, []);
        }
        next
    }

    /// From the client's message to the edge's answer: `end` of its bytes, or its acknowledgement alone.
    fn exchange(&mut self, phase: Phase, sent_end: i64, end: Option<i64>, last: bool) -> Option<()> {
        let sent = self.view.first_copy(Side::Client, sent_end)?;
        let Some(acknowledged) = self.view.first_ack(Side::Client, sent_end) else {
            self.unanswered(phase, sent, Owner::Loss | Owner::Path | Owner::Edge);
            return None;
        };
        let through = self.repeated(phase, sent, acknowledged, sent_end);
        let gap = acknowledged.at - through.at;
        let data = end.and_then(|end| {
            let arrived = self.view.completed(Side::Server, end)?;
            let first = self.view.sent_by(Side::Server).find(|p| !p.is_empty() && p.at >= acknowledged.at)?;
            Some((first, arrived))
        });
        let answered = data.map(|(_, arrived)| arrived.at - through.at);
        if !last
            && let (Some(round_trip), Some(answered)) = (self.round_trip, answered)
            && answered_nearer(gap, answered, round_trip)
        {
            return self.beyond_proxy(phase, through, data?.1, round_trip);
        }
        let by_itself = acknowledged.is_empty() || last;
        match self.round_trip {
            Some(round_trip) if gap > round_trip + TICK => self.late_answer(phase, through, acknowledged, round_trip),
            None if !by_itself => {
                let candidates = Owner::Path | Owner::Edge | Owner::Loss;
                self.undecided(phase, gap, candidates, Missing::Syn, [through.packet, acknowledged.packet]);
            }
            known => {
                // What answers sooner than the edge can is no measure of the way to it.
                let whole = known.is_none_or(|round_trip| gap >= round_trip.percent(40));
                let entry = Entry { round_trip: whole, ..Entry::round_trip(phase, gap, STAMP_ERROR) };
                self.ledger.charge(entry.between([through.packet, acknowledged.packet]));
            }
        }
        self.at = acknowledged.at;
        if last {
            return Some(());
        }
        let Some((_, arrived)) = data else {
            self.unanswered(phase, acknowledged, Owner::Edge | Owner::Loss | Owner::Path);
            return None;
        };
        self.arrival(phase, acknowledged, arrived);
        Some(())
    }

    /// Something on the way acknowledges for the edge (a NAT or a proxy that ends TCP): only the answer itself comes from the
    /// edge, a round trip like SYN's away.
    fn beyond_proxy(&mut self, phase: Phase, sent: &Seen<Client>, answer: &Seen<Client>, round_trip: Span) -> Option<()> {
        let cited = [sent.packet, answer.packet];
        self.ledger.charge(Entry::round_trip(phase, round_trip, STAMP_ERROR).between(cited));
        let rest = answer.at - sent.at - round_trip;
        self.undecided(phase, rest, Owner::Edge | Owner::Path | Owner::Loss, Missing::OtherLeg, cited);
        self.at = answer.at;
        Some(())
    }

    /// The acknowledgement came late: a way was long, or the edge thought long before it answered, or puts acknowledgements off
    /// (RFC 9293, section 3.8.6.3).
    fn late_answer(&mut self, phase: Phase, sent: &Seen<Client>, answer: &Seen<Client>, round_trip: Span) {
        self.ledger.charge(Entry::round_trip(phase, round_trip, STAMP_ERROR).between([sent.packet, answer.packet]));
        let Some(before) = self.view.sent_by(Side::Server).rfind(|p| p.packet < answer.packet) else { return };
        let innocent = sent.at - before.at + round_trip;
        let edge = FarSide { view: self.view, side: Side::Server };
        for mut entry in edge.divide(Stretch { phase, before, next: answer, innocent, round_trip }) {
            // Sent late it may have been because ClientHello came late.
            if entry.owner == Owner::Edge && entry.span > Span::from_millis(5) {
                entry = Entry { owner: Owner::Unattributed, error: Span::ZERO, ..entry };
                entry.candidates = Owner::Edge | Owner::Path;
                entry.missing = Missing::EdgeCapture.into();
            }
            let entry = self.unless_asleep(entry, before, answer);
            self.ledger.charge(entry);
        }
    }

    /// What the edge sent in time and what came late was long on its way, or lay here before a host that stood still: only one that is
    /// known to have been awake leaves it to the path.
    fn unless_asleep(&self, entry: Entry, before: &Seen<Client>, next: &Seen<Client>) -> Entry {
        let on_the_way = entry.owner == Owner::Path && !entry.round_trip && entry.span > Span::from_millis(5);
        let awake = || self.handshake.client_host.is_some() || was_awake(&self.handshake.client_pulse, before.at, next.at);
        if !on_the_way || awake() {
            return entry;
        }
        let mut open = Entry { owner: Owner::Unattributed, error: Span::ZERO, ..entry };
        (open.candidates, open.missing) = (Owner::Path | Owner::Client, Missing::ClientHost.into());
        open
    }

    /// If the client repeated some of a message, the wait until the copy that was acknowledged is loss; gives that copy.
    fn repeated(&mut self, phase: Phase, sent: &'a Seen<Client>, ack: &Seen<Client>, end: i64) -> &'a Seen<Client> {
        let least = self.round_trip.unwrap_or_default().percent(50).max(Span::from_micros(50));
        // All of the message had been sent: what is sent of it now is sent again.
        let data = || self.view.sent_by(Side::Client).filter(|p| !p.is_empty());
        let again = || data().filter(|p| p.packet > sent.packet && p.at <= ack.at && p.start() < end);
        let Some(through) = again().rfind(|c| ack.at - c.at >= least) else { return sent };
        let cited = [sent.packet, through.packet];
        if self.answers_the_first(sent, through, ack) {
            return sent; // it was late, not lost
        }
        let biggest = data().map(|p| p.ip_len).max().unwrap_or(0);
        let original = |piece: &Seen<Client>| data().find(|p| p.start() <= piece.start() && p.end() > piece.start());
        let smaller = |piece: &Seen<Client>| original(piece).is_some_and(|p| p.ip_len == biggest && p.end() > piece.end());
        let shrank = biggest > ALWAYS_CARRIED && again().any(smaller);
        // Before it has acknowledged any data, an edge whose accept queue is full drops it just as the way does.
        let took = |p: &Seen<Client>| p.ack().is_some_and(|a| a > 0) || !self.view.sack(p).is_empty();
        let taken =
            self.view.sent_by(Side::Server).any(|p| again().next().is_some_and(|first| p.packet < first.packet) && took(p));
        let twice = self.view.came_twice(ack).is_some();
        if !taken && !shrank && !twice {
            self.undecided(phase, through.at - sent.at, Owner::Loss | Owner::EdgeHost, Missing::EdgeCapture, cited);
            return through;
        }
        let entry = match () {
            () if shrank => Entry::new(phase, Owner::Path, Kind::MtuBlackhole, through.at - sent.at, STAMP_ERROR),
            // Told of a copy that came twice (RFC 2883), the client knows that the first one had arrived.
            () if twice => Entry::new(phase, Owner::Loss, Kind::Back, through.at - sent.at, self.round_trip.unwrap_or_default()),
            () => Entry::new(phase, Owner::Loss, Kind::Out, through.at - sent.at, STAMP_ERROR),
        };
        self.ledger.charge(entry.between(cited));
        through
    }

    /// Whether an acknowledgement was for the first copy of what was sent twice: by the timestamp that it echoes, or because the edge
    /// tells of the second copy only afterwards.
    fn answers_the_first(&self, first: &Seen<Client>, second: &Seen<Client>, ack: &Seen<Client>) -> bool {
        let twice = |p: &Seen<Client>| self.view.came_twice(p).is_some();
        let told_later = || !twice(ack) && self.view.sent_by(Side::Server).any(|p| p.packet > ack.packet && twice(p));
        self.view.answers_the_first([first, second], ack).unwrap_or_else(told_later)
    }

    /// From the edge's first sign of life to the packet that completed its answer: each pause is divided.
    fn arrival(&mut self, phase: Phase, first: &'a Seen<Client>, arrived: &'a Seen<Client>) {
        let round_trip = self.round_trip.or(self.ledger.min_path()).unwrap_or_default();
        let waits = ack_waits_seen_by_peer(self.view, Side::Server, first.at, arrived.at, round_trip, first.start()..i64::MAX);
        let edge = FarSide { view: self.view, side: Side::Server };
        let packets: Vec<&Seen<Client>> =
            self.view.sent_by(Side::Server).filter(|p| p.packet >= first.packet && p.packet <= arrived.packet).collect();
        for pair in packets.windows(2) {
            let [before, next] = [pair[0], pair[1]];
            let pause = next.at - before.at;
            if pause <= AT_ONCE {
                continue;
            }
            if self.own_window(phase, before, next, round_trip) {
                continue;
            }
            if let Some(wait) = waits.iter().find(|w| w.released.packet == next.packet) {
                self.ledger.charge(Entry::new(phase, Owner::Protocol, wait.kind, pause, TICK).between(wait.packets()));
                continue;
            }
            if let Some(entry) = filled_hole(phase, &packets, before, next, round_trip) {
                self.ledger.charge(entry);
                continue;
            }
            for entry in edge.divide(Stretch { phase, before, next, innocent: Span::ZERO, round_trip }) {
                let entry = self.unless_asleep(entry, before, next);
                self.ledger.charge(entry);
            }
        }
        // What is left are packets close behind each other.
        let rest = (arrived.at - first.at).at_least_zero()
            - packets.windows(2).map(|p| p[1].at - p[0].at).filter(|pause| *pause > AT_ONCE).sum::<Span>();
        self.ledger.charge(Entry::new(phase, Owner::Edge, None, rest, STAMP_ERROR).between([first.packet, arrived.packet]));
        self.at = arrived.at;
    }

    /// If the client's own window was closed between two packets of the edge, it made it wait; gives whether it was.
    fn own_window(&mut self, phase: Phase, before: &Seen<Client>, next: &Seen<Client>, round_trip: Span) -> bool {
        let windows = closed_windows(self.view, Side::Server, before.at - round_trip, next.at);
        let Some(last) = windows.last() else { return false };
        let cited = [last.shut.packet, last.opened.packet, next.packet];
        let stood: Span = windows.iter().map(|c| (c.opened.at - c.shut.at.max(before.at)).at_least_zero()).sum();
        self.ledger.charge(Entry::new(phase, Owner::ClientApp, Kind::ZeroWindow, stood, STAMP_ERROR).between(cited));
        // That it is open the edge hears half a round trip later, and its data takes as long.
        let rest = next.at - before.at - stood;
        let due = last.opened.at + round_trip + AT_ONCE;
        let told = rest - (next.at - due.max(before.at)).at_least_zero();
        self.ledger.charge(Entry::new(phase, Owner::Protocol, Kind::ReceiveWindow, told, STAMP_ERROR).between(cited));
        self.undecided(phase, rest - told, Owner::Edge | Owner::Path | Owner::Loss, Missing::EdgeCapture, cited);
        true
    }

    /// Nothing more came of the edge.
    fn unanswered(&mut self, phase: Phase, from: &Seen<Client>, candidates: EnumSet<Owner>) {
        let rest = self.ledger.remaining();
        let pieces = || self.view.sent_by(Side::Server).filter(|p| !p.is_empty());
        let reached = |start: i64| pieces().filter(|p| p.start() < start).map(Seen::end).max().unwrap_or(0);
        let big_hole = pieces().any(|p| p.start() - reached(p.start()) > ALWAYS_CARRIED_BYTES);
        let big_arrived = pieces().any(|p| p.ip_len >= FULL_SIZE);
        if big_hole && !big_arrived {
            self.ledger.charge(Entry::new(phase, Owner::Path, Kind::MtuBlackhole, rest, STAMP_ERROR).between([from.packet]));
        } else {
            self.undecided(phase, rest, candidates, Missing::EdgeCapture, [from.packet]);
        }
    }

    fn undecided(
        &mut self,
        phase: Phase,
        span: Span,
        candidates: EnumSet<Owner>,
        missing: Missing,
        packets: impl IntoIterator<Item = u64>,
    ) {
        let mut entry = Entry::new(phase, Owner::Unattributed, None, span, Span::ZERO).between(packets);
        entry.candidates = candidates;
        entry.missing = missing.into();
        self.ledger.charge(entry);
    }
}

/// If a packet of the edge's answer fills a hole before others that came, what the pause before it was: it was overtaken, or repeated
/// because it was lost, or cut up because it was too big for the way.
fn filled_hole(
    phase: Phase,
    answer: &[&Seen<Client>],
    before: &Seen<Client>,
    next: &Seen<Client>,
    round_trip: Span,
) -> Option<Entry> {
    let pause = next.at - before.at;
    let earlier = || answer.iter().filter(|p| p.packet < next.packet && !p.is_empty());
    let beyond = || earlier().filter(|p| p.start() > next.start());
    let first = beyond().next().filter(|_| !next.is_empty())?;
    // Only when it has heard of the hole, a round trip later, the edge fills it.
    if next.at - first.at < REORDERED.max(round_trip.percent(90)) {
        return Some(Entry::new(phase, Owner::Path, Kind::Delay, pause, STAMP_ERROR).between([first.packet, next.packet]));
    }
    let hole = beyond().map(|p| p.start()).min()? - next.start();
    let all_below = |size: u32| earlier().all(|p| p.ip_len < size);
    let biggest = answer.iter().map(|p| p.ip_len).max().unwrap_or(0);
    // What was missing comes in pieces smaller than usual, after more than one timeout; or nothing of its size came for long.
    let cut_up = hole > next.len() && next.ip_len < FULL_SIZE && all_below(FULL_SIZE) && pause > TWO_TIMEOUTS;
    let too_big = all_below(biggest.max(1_000)) && pause > Span::from_millis(1_500);
    let (owner, kind) = if hole > ALWAYS_CARRIED_BYTES && (cut_up || too_big) {
        (Owner::Path, Kind::MtuBlackhole)
    } else {
        (Owner::Loss, Kind::Back)
    };
    Some(Entry::new(phase, owner, kind, pause, STAMP_ERROR).between([before.packet, next.packet]))
}
