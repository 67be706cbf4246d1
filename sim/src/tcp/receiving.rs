//! What an endpoint makes of a packet: SYN, data in order, data behind a hole, data that came before; and what it acknowledges when.

use super::Tcp;
use crate::frame::{End, Packet};

/// How soon Linux sends its SYN again after an acknowledgement that fits nothing (`TCP_TIMEOUT_MIN`: two ticks of 250 Hz).
const SYN_AGAIN: i64 = 8 * crate::MS;

impl Tcp {
    pub(super) fn receive_syn(&mut self, now: i64, packet: &Packet, out: &mut Vec<Packet>) {
        self.peer_isn = packet.isn.0;
        self.timestamps &= packet.timestamps.is_some();
        self.segment = self.mss.min(usize::from(packet.mss)) - if self.timestamps { 12 } else { 0 };
        self.peer_window = usize::from(packet.window);
        if !packet.scaled {
            self.shifts = [0, 0];
        }
        if let Some((value, _)) = packet.timestamps {
            self.echo = value;
        }
        match self.end {
            End::Server => {
                self.syn_sent = now;
                // A SYN that comes again does not start the timer anew.
                let at = self.syn_at;
                self.syn(now, out);
                self.syn_at = at.or(self.syn_at);
            }
            End::Client => {
                if !self.established {
                    self.establish();
                    if self.syn_tries == 1 {
                        self.measure(now - self.syn_sent);
                    }
                }
                self.ack(now, out);
                self.pump(now, out);
            }
        }
    }

    /// An end that still holds an earlier connection: SYN is answered with that one's acknowledgement (RFC 5961, section 4), and a
    /// reset ends it.
    pub(super) fn receive_as_old(&mut self, now: i64, old: (u32, u32), packet: &Packet, out: &mut Vec<Packet>) {
        if packet.rst {
            self.old = None;
        } else if packet.syn {
            let challenge = Packet { isn: old, ..self.packet(now, 0, Vec::new(), 0) };
            out.push(challenge);
        }
    }

    /// What is no answer to SYN is reset (RFC 9293, section 3.10.7.3). Linux asks again at once, the first time.
    pub(super) fn refuse(&mut self, now: i64, packet: &Packet, out: &mut Vec<Packet>) {
        let reset = self.packet(now, packet.ack.unwrap_or(0), Vec::new(), 0);
        out.push(Packet { rst: true, isn: (packet.isn.1, packet.isn.0), window: 0, timestamps: None, ..reset });
        if self.syn_tries == 1 && self.habit.hasty_syn {
            self.syn_at = Some(now + SYN_AGAIN);
        }
    }

    pub(super) fn take(&mut self, now: i64, packet: &Packet, out: &mut Vec<Packet>) {
        let have = self.received.len();
        if packet.end() <= have {
            self.repeated = self.habit.dsack.then_some((packet.start, packet.end()));
            return self.ack(now, out);
        }
        if packet.start > have {
            if self.beyond.iter().any(|(start, bytes)| *start == packet.start && bytes.len() == packet.payload.len()) {
                self.repeated = self.habit.dsack.then_some((packet.start, packet.end()));
            } else {
                self.beyond.push((packet.start, packet.payload.clone()));
            }
            return self.ack(now, out);
        }
        self.received.extend_from_slice(&packet.payload[have - packet.start..]);
        let filled = !self.beyond.is_empty();
        self.beyond.sort_by_key(|(start, _)| *start);
        while let Some(at) = self.beyond.iter().position(|(start, _)| *start <= self.received.len()) {
            let (start, bytes) = self.beyond.remove(at);
            let known = self.received.len() - start;
            self.received.extend_from_slice(bytes.get(known..).unwrap_or_default());
        }
        self.unacknowledged += 1;
        if filled || self.quick > 0 || self.unacknowledged >= 2 {
            self.quick = self.quick.saturating_sub(1);
            self.ack(now, out);
        } else {
            self.ack_at = self.ack_at.or(Some(now + self.habit.delayed_ack));
        }
    }

    pub(super) fn ack(&mut self, now: i64, out: &mut Vec<Packet>) {
        let mut packet = self.packet(now, self.nxt, Vec::new(), 0);
        packet.sack = self.blocks();
        out.push(packet);
        self.acked();
    }

    pub(super) fn acked(&mut self) {
        (self.unacknowledged, self.ack_at, self.repeated) = (0, None, None);
    }

    pub(super) fn blocks(&self) -> Vec<(usize, usize)> {
        let mut ranges: Vec<(usize, usize)> = self.beyond.iter().map(|(s, b)| (*s, s + b.len())).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for (s, e) in ranges {
            match merged.last_mut() {
                Some(last) if s <= last.1 => last.1 = last.1.max(e),
                _ => merged.push((s, e)),
            }
        }
        self.repeated.into_iter().chain(merged).collect()
    }
}
