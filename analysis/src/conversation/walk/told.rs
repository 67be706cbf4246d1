//! What the end that was captured knows of the other's own work.
//!
//! In: an arc of the far end's work. Out: its entries, behind those that are there. Its timestamps tell when it left, its acknowledgements
//! when what it answers had come, its IP identifications whether something before it is missing; what none of them tells stays open.

use enumset::EnumSet;

use super::arcs::{Arc, What, Work};
use super::entries::{Evidence, TICK, USUAL_JITTER, direction, entry, reader, span};
use super::tcp::far::put_off;
use super::tcp::tape::{Event, Known};
use super::transport::{Endpoint, Packet};
use crate::clock::{Domain, Span};
use crate::judging::ledger::{Entry, Kind, Missing, Owner};
use crate::tcp::flow::{Side, View};
use crate::tcp::identification::FarSide;

/// Sooner than this no stack repeats a segment by its timer (RFC 6298 as Linux has it), nor by its loss probe on a short path.
pub(super) const LEAST_TIMEOUT: Span = Span::from_millis(150);

/// A loss probe's timer is so much longer than two round trips, or shorter, beside an eighth of them: smoothing, a jiffy or two.
const PROBE_LATE: Span = Span::from_millis(8);

/// No timer of a stack that keeps close to its round trips is longer, for the first repetition (RFC 6298; Linux has 200 ms at least).
const LEAST_VARIANCE: i64 = 200_000_000;
/// Jiffies, and an acknowledgement that was put off into the estimate.
const TIMER_SLACK: i64 = 20_000_000;

impl Evidence<'_> {
    /// What the near end knows of the far end's work.
    pub(super) fn far_work(&self, arc: &Arc, work: Work, neighbours: [Option<&Arc>; 2], entries: &mut Vec<Entry>) {
        let h = self.handshake;
        match (&h.client, &h.edge) {
            (Some(view), None) => self.told_of(view, arc, work, neighbours, entries),
            (None, Some(view)) => self.told_of(view, arc, work, neighbours, entries),
            _ => {}
        }
    }

    fn told_of<D: Domain>(
        &self,
        view: &View<D>,
        arc: &Arc,
        work: Work,
        [before, behind]: [Option<&Arc>; 2],
        entries: &mut Vec<Entry>,
    ) {
        let (own, capture, timestamps, ip_id) = match arc.side {
            Side::Client => (Owner::Client, Missing::ClientCapture, Missing::ClientTimestamps, Missing::ClientIpId),
            Side::Server => (Owner::Edge, Missing::EdgeCapture, Missing::EdgeTimestamps, Missing::EdgeIpId),
        };
        if work == Work::Unread {
            return entries.push(entry(arc, reader(arc.side), Kind::ZeroWindow, TICK));
        }
        let open = |span: Span, candidates: EnumSet<Owner>, missing: EnumSet<Missing>| {
            let mut open =
                Entry::new(arc.phase, Owner::Unattributed, None, span, Span::ZERO).between(arc.packets.into_iter().flatten());
            (open.candidates, open.missing) = (candidates, missing);
            open
        };
        if work == Work::Silence {
            return entries.push(open(span(arc), own | Owner::Path | Owner::Loss, capture.into()));
        }
        let told = span(arc);
        let mut rest = told;
        // What of it may have been the way towards this end's peer: an acknowledgement would have told.
        let answer = behind.and_then(|b| b.packets[0]).and_then(|n| self.near().events.iter().find(|e| e.seen.packet == n));
        if before.is_some_and(|b| b.what == What::Way && b.known == Known::Guessed) && work == Work::Head {
            let unsure = answer.map_or(told, |a| Span::from_nanos(put_off(a)).min(told));
            let prompt = self.acknowledged_before(arc);
            let unsure = if prompt { unsure } else { told };
            // Its first copy may have been the answer that nobody saw.
            let lost = unsure >= LEAST_TIMEOUT || before.is_some_and(|way| self.may_have_lost_its_answer(way, Span::ZERO));
            let lost = if lost { Owner::Loss.into() } else { EnumSet::empty() };
            entries.push(open(unsure, own | Owner::Path | lost, capture.into()));
            rest -= unsure;
        }
        if rest <= Span::ZERO {
            return;
        }
        if self.repeats_in_vain(arc) {
            return entries.push(open(rest, own | Owner::Path | Owner::Loss, capture.into()));
        }
        if rest.nanos() > self.round_trip + USUAL_JITTER && self.acknowledged_unheard(arc) {
            return entries.push(open(rest, own | Owner::Path | Owner::Loss, capture.into()));
        }
        // When it left, its timestamps tell; when what it answered came, was said above.
        let stamped = |e: &&Event| e.seen.from == arc.side && e.seen.tsval().is_some();
        let last = self.near().events.iter().find(|e| Some(e.seen.packet) == arc.packets[1]).filter(stamped);
        let told_late =
            last.is_some_and(|last| self.near().events.iter().filter(stamped).any(|e| e.seen.packet < last.seen.packet));
        // Nobody repeats a packet sooner than a round trip behind it; what counts the packets tells whether one is missing since before
        // the work began, and where nothing does, only what is no shorter than a timer may be a repetition.
        let far_side = FarSide { view, side: arc.side };
        let theirs = || self.tapes[arc.side as usize].events.iter().filter(|e| e.seen.from == arc.side && !e.seen.flags.syn());
        let counted = || {
            // What left with the beginning of the work left before it: a number that is missing before that one is no part of this. Of
            // several at that moment, no order is sure.
            let begun = theirs().rfind(|e| e.at() < arc.from).or_else(|| theirs().next());
            let since = [begun, theirs().rfind(|e| e.at() <= arc.from)].into_iter().flatten();
            since.filter_map(|since| far_side.lost_between(since.seen.packet, arc.packets[1]?)).min()
        };
        let missing = match () {
            () if self.was_sent_before(arc) => Some(1),
            () if rest < Span::from_nanos(self.round_trip).max(Span::from_millis(5)) => Some(0),
            () => counted().or((rest < LEAST_TIMEOUT && !self.may_be_probe(work, rest)).then_some(0)),
        };
        let between = |entry: Entry| entry.between(arc.packets.into_iter().flatten());
        let lost = |span: Span| {
            let error = Span::from_nanos(self.round_trip).min(span);
            between(Entry::new(super::follow::transit(arc.phase), Owner::Loss, direction(arc.side), span, error))
        };
        match (told_late, missing) {
            // What is missing lay before it, and a timer would have repeated that: when it left, within one timer nobody can say.
            // So would it have let new data go that TCP held until then (Nagle's algorithm, a loss probe).
            (true, lacking)
                if (lacking != Some(0) || rest >= Span::from_nanos(2 * self.round_trip))
                    && self.is_behind_hole(arc, lacking.filter(|n| *n > 0)) =>
            {
                let unsure = if self.syn_was_repeated() { rest } else { rest.min(self.longest_timers(1, arc.from)) };
                entries.push(open(unsure, own | Owner::Loss, capture.into()));
                if rest > unsure {
                    entries.push(between(Entry::new(arc.phase, own, None, rest - unsure, TICK)));
                }
            }
            (true, Some(0)) => entries.push(between(Entry::new(arc.phase, own, None, rest, TICK))),
            (true, Some(_)) => {
                // So many copies as are missing, no timers repeat later than that: the first may have left late.
                let most = self.longest_timers(counted().filter(|n| *n > 0).unwrap_or(1), arc.from);
                if self.syn_was_repeated() || rest <= most + most.percent(25) {
                    entries.push(lost(rest));
                } else {
                    entries.push(open(rest - most, own | Owner::Loss, capture.into()));
                    entries.push(lost(most));
                }
            }
            (true, None) if far_side.counts() => entries.push(open(rest, own | Owner::Loss, capture.into())),
            (true, None) => entries.push(open(rest, own | Owner::Loss, ip_id | capture)),
            // Within a turn it may have waited for an acknowledgement, which was lost, until its timer ran out.
            (false, Some(0)) if work != Work::Tail || rest < LEAST_TIMEOUT => {
                entries.push(open(rest, own | Owner::Path, timestamps | capture))
            }
            (false, _) => entries.push(open(rest, own | Owner::Path | Owner::Loss, timestamps | capture)),
        }
    }

    /// Whether the far end sent again meanwhile what had been acknowledged a round trip before or earlier: those acknowledgements were lost
    /// or late, or it is deaf to them.
    fn repeats_in_vain(&self, arc: &Arc) -> bool {
        let near = self.near();
        let acknowledged = |before: i64| {
            let own = near.events.iter().filter(|e| e.seen.from == near.end && e.at() <= before);
            own.filter_map(|e| e.seen.ack()).max()
        };
        let [from, to] = [arc.from, arc.to].map(|at| near.events.partition_point(|e| e.at() <= at));
        let meanwhile = &near.events[from..to.max(from)];
        let again = |e: &&Event| e.seen.from == arc.side && !e.is_full_of_nothing() && !e.is_news();
        meanwhile.iter().filter(again).any(|e| Some(e.range().1) <= acknowledged(e.at() - self.round_trip - USUAL_JITTER))
    }

    /// Whether an acknowledgement of the near end's had not come, by the stamp that the far end echoed a round trip later (RFC 7323,
    /// section 4.3): its sender may have waited for that, and for its timer at last.
    fn acknowledged_unheard(&self, arc: &Arc) -> bool {
        let near = self.near();
        let Some(i) = near.events.iter().position(|e| Some(e.seen.packet) == arc.packets[1]) else { return false };
        let last = &near.events[i];
        // What was never sent is no echo: stamps may be rewritten on the way.
        let sent = |echo: &u32| near.events[..i].iter().any(|e| e.seen.from == near.end && e.seen.tsval() == Some(*echo));
        let Some(echo) = last.seen.tsecr().filter(sent) else { return false };
        // What has a place behind data that the far end had not acknowledged is not echoed.
        let theirs = near.events[..i].iter().filter(|e| e.seen.from == arc.side);
        let heard = theirs.filter_map(|e| e.seen.ack()).max();
        let answers =
            |e: &&Event| e.seen.from == near.end && e.at() >= arc.from && e.at() <= last.at() - self.round_trip - USUAL_JITTER;
        let unheard = |e: &Event| {
            let newer = e.seen.tsval().is_some_and(|stamp| stamp.wrapping_sub(echo) as i32 > 0);
            newer && e.is_full_of_nothing() && Some(e.seen.start()) <= heard
        };
        near.events[..i].iter().filter(answers).any(unheard)
    }

    /// Whether the packet with which the far end's work ended was a repetition: something that left before it has a place in the stream
    /// behind all that it carries.
    fn was_sent_before(&self, arc: &Arc) -> bool {
        let theirs = &self.tapes[arc.side as usize];
        let Some(i) = theirs.events.iter().position(|e| Some(e.seen.packet) == arc.packets[1]) else { return false };
        let end = theirs.events[i].range().1;
        // What comes before SYN-ACK is an earlier connection's.
        let begun =
            theirs.events[..i].iter().position(|e| e.seen.from == arc.side && e.seen.flags.syn()).map_or(0, |syn| syn + 1);
        !theirs.events[i].seen.flags.syn()
            && theirs.events[begun..i].iter().any(|e| e.seen.from == arc.side && e.seen.start() >= end)
    }

    /// Whether a wait within a turn is as long as Linux leaves the tail of what it sent unacknowledged before it sends that again: two
    /// round trips and a little (RFC 8985, section 7.2).
    fn may_be_probe(&self, work: Work, waited: Span) -> bool {
        let probe = Span::from_nanos(2 * self.round_trip);
        work == Work::Tail && (waited - probe).abs() <= PROBE_LATE + probe.percent(12)
    }

    /// Whether a pure acknowledgement told, before the answer itself, that what the far end worked on had come.
    fn acknowledged_before(&self, arc: &Arc) -> bool {
        let near = self.near();
        let place = |packet: Option<u64>| near.events.iter().position(|e| Some(e.seen.packet) == packet);
        let (Some(asked), Some(answer)) = (place(arc.packets[0]), place(arc.packets[1])) else { return false };
        let end = near.events[asked].range().1;
        near.events[asked.min(answer)..answer]
            .iter()
            .any(|e| e.seen.from == arc.side && e.is_full_of_nothing() && e.seen.ack().is_some_and(|ack| ack >= end))
    }

    /// Whether new bytes ended the far end's work behind a hole, and no more is missing than what lay in it.
    fn is_behind_hole(&self, arc: &Arc, lacking: Option<u16>) -> bool {
        let near = self.near();
        let Some(i) = near.events.iter().position(|e| Some(e.seen.packet) == arc.packets[1]) else { return false };
        let came = near.packet(i);
        let hole = came.range.0 - came.before.max(0);
        let full = self.tapes[arc.side as usize].full();
        let segments = (hole + full - 1) / full;
        hole > 0 && !came.opens && lacking.is_none_or(|n| i64::from(n) <= segments) && !self.was_sent_before(arc)
    }

    /// How long timers wait at most until so many copies have left (RFC 6298: each twice as long as the one before), by the longest round
    /// trip until then: an estimate forgets it slowly.
    fn longest_timers(&self, copies: u16, until: i64) -> Span {
        let near = self.near();
        // What was sent later is acknowledged no sooner.
        let mut answer = 0;
        let own = (0..near.len()).map(|i| (i, near.packet(i))).filter(|(_, p)| p.from == near.end && p.is_news());
        let trips = own.filter_map(|(i, sent)| {
            let tells = |p: &Packet| p.from != near.end && p.told >= Some(sent.range.1);
            answer = (answer.max(i)..near.len()).find(|k| tells(&near.packet(*k))).unwrap_or(near.len());
            let told = (answer < near.len()).then(|| near.packet(answer))?;
            (told.at <= until).then_some(told.at - sent.at)
        });
        let trip = trips.max().unwrap_or(0).max(self.round_trip);
        let first = trip + trip / 8 + LEAST_VARIANCE.max(2 * trip) + TIMER_SLACK;
        Span::from_nanos(first.saturating_mul((1_i64 << copies.min(12)) - 1))
    }

    /// Behind a SYN that was repeated, the first timer is longer, for no round trip was measured (RFC 6298, section 5.7).
    fn syn_was_repeated(&self) -> bool {
        self.near().events.iter().filter(|e| e.seen.flags.syn()).count() > 2
    }
}
