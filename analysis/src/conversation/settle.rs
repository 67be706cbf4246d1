//! When a connection has shown all that matters of its handshake.
//!
//! In: a [`View`] that grows. Out: whether to go on watching. What is decided here bounds memory: behind the first
//! answer to the first request a connection is only bulk.

use crate::clock::Domain;
use crate::conversation::turns;
use crate::tcp::flow::{Seen, Side, View};
use crate::tls::Dialogue;
use crate::wire::packet::Flags;

/// A handshake with more packets than this is read as far as it came.
const MOST_PACKETS: usize = 2_000;

/// Turns of speaking in the longest handshake that is told by them.
const MOST_TURNS: usize = 4;

/// What to do with a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More may come.
    Going,
    /// The handshake is over, or as much of it as can be read is there.
    Over,
    /// This is no TLS.
    NotTls,
}

impl<D: Domain> View<D> {
    /// Where this connection stands after its last packet.
    pub fn progress(&mut self) -> Progress {
        let Some(last) = self.packets.last() else { return Progress::Going };
        if last.from == Side::Client && self.told_with.is_some_and(|end| last.ack().is_some_and(|ack| ack >= end)) {
            return Progress::Over;
        }
        let (flags, data_from_server) = (last.flags, !last.is_empty() && last.from == Side::Server);
        // An answer that left before Finished came (a ticket) does not tell that it came.
        let acknowledged = last.from == Side::Server && self.awaits.is_some_and(|end| last.ack().is_some_and(|ack| ack >= end));
        if last.is_empty() && !acknowledged && !flags.fin() && !flags.rst() && self.packets.len() < MOST_PACKETS {
            return Progress::Going; // it adds nothing to either stream
        }
        let (client, server) = (self.half(Side::Client), self.half(Side::Server));
        let begun = client.records.start().is_some() || server.records.start().is_some();
        if !begun && (client.records.hopeless() || server.records.hopeless()) {
            return Progress::NotTls;
        }
        if self.packets.len() >= MOST_PACKETS || client.stream.full() || server.stream.full() {
            return if begun { Progress::Over } else { Progress::NotTls };
        }
        if flags.fin() || flags.rst() {
            return self.ended(flags);
        }
        if client.stream.has_holes() && client.stream.captured() == 0 && turns::count(self) > MOST_TURNS {
            return Progress::Over;
        }
        // Finished and a request, a flight and an answer; where Finished is no protected record, one less of each.
        let least = if client.records.handshake_behind_change() { 1 } else { 2 };
        let (asked, answered_by) = (client.records.protected(), server.records.protected());
        let seen = asked + answered_by;
        if !acknowledged && (!data_from_server || seen < self.next_look || asked < least || answered_by < least) {
            return Progress::Going;
        }
        if self.told_with.is_some() {
            return Progress::Going; // it was read; only the client's word is missing
        }
        let dialogue = self.dialogue();
        if answered(&dialogue) {
            if let Some(end) = self.unacknowledged(&dialogue) {
                self.awaits = Some(end);
                return Progress::Going;
            }
            self.awaits = None;
            if let Some(end) = self.repeated(&dialogue) {
                // Whether what was sent twice had come the first time, the client tells (D-SACK) until it has this answer.
                self.told_with = Some(end);
                return Progress::Going;
            }
            self.settled = Some(Box::new(dialogue));
            return Progress::Over;
        }
        self.next_look = (seen + 1).max(seen * 3 / 2);
        Progress::Going
    }

    /// Where the client's Finished ends, if the server has not told that it came; behind a client's certificate, by data.
    fn unacknowledged(&self, dialogue: &Dialogue) -> Option<i64> {
        let end = dialogue.client_finished?.end;
        let tells = |p: &Seen<D>| p.ack().is_some_and(|ack| ack >= end) && !(dialogue.client_authenticates() && p.is_empty());
        (!self.sent_by(Side::Server).rev().any(tells)).then_some(end)
    }

    /// Where the answer to the first request ends, if the server sent some of its flight more than once before.
    fn repeated(&self, dialogue: &Dialogue) -> Option<i64> {
        if !self.may_repeat() {
            return None;
        }
        let (flight, answer) = (dialogue.server_flight?, dialogue.first_response?);
        let mut reached = 0;
        let mut sent = self.sent_by(Side::Server).filter(|p| !p.is_empty() && p.start() < flight.end);
        let again = sent.any(|p| {
            let again = p.start() < reached;
            reached = reached.max(p.end());
            again
        });
        again.then_some(answer.end)
    }

    /// After FIN of both sides, and all before it, nothing matters. A reset may be a middlebox's, and the connection go on: it ends only a
    /// handshake that is complete.
    fn ended(&self, flags: Flags) -> Progress {
        // FIN behind a hole: what is missing may be sent again.
        let whole = |side, end| self.half(side).stream.end() as i64 >= end || self.first_ack(side, end).is_some();
        let fin = |side| self.sent_by(side).any(|p| p.flags.fin() && whole(side, p.end()));
        let over = if flags.rst() { answered(&self.dialogue()) } else { fin(Side::Client) && fin(Side::Server) };
        if over { Progress::Over } else { Progress::Going }
    }
}

fn answered(dialogue: &Dialogue) -> bool {
    dialogue.client_finished.is_some() && dialogue.first_request.is_some() && dialogue.first_response.is_some()
}
