//! How an endpoint finds out that something was lost, and sends it again.

use super::Tcp;
use crate::frame::Packet;

/// Retransmissions of one thing before an endpoint gives up.
pub(super) const MOST_TRIES: u32 = 8;

impl Tcp {
    pub(super) fn resend(&mut self, now: i64, index: usize, out: &mut Vec<Packet>) {
        let (start, end, copies) = (self.sent[index].start, self.sent[index].end, self.sent[index].copies);
        let mut at = start;
        while at < end {
            let len = self.segment.min(end - at);
            let packet = self.packet(now, at, self.out[at..at + len].to_vec(), copies);
            out.push(packet);
            at += len;
        }
        self.acked();
        let sent = &mut self.sent[index];
        (sent.at, sent.copies, sent.lost) = (now, copies + 1, false);
    }

    /// A loss probe: new data tell as much as a repetition, and neither the congestion window nor Nagle's algorithm holds them (RFC 8985,
    /// section 7.3).
    pub(super) fn probe(&mut self, now: i64, out: &mut Vec<Packet>) {
        let len = self.segment.min(self.out.len() - self.nxt);
        if len > 0 && self.nxt + len <= self.una + self.peer_window {
            self.send_new(now, len, out);
        } else if let Some(last) = self.sent.iter().rposition(|s| !s.sacked) {
            self.resend(now, last, out);
        }
    }

    pub(super) fn timeout(&mut self, now: i64, out: &mut Vec<Packet>) {
        self.backoff += 1;
        self.rto_at = Some(now + self.rto());
        if self.backoff > MOST_TRIES {
            return self.die();
        }
        if self.sent.is_empty() {
            let fits = self.peer_window.min(self.segment).min(self.out.len() - self.nxt);
            if fits > 0 {
                return self.send_new(now, fits, out);
            }
            // A closed window: ask with a byte that the peer has.
            let packet = self.packet(now, self.una.saturating_sub(1), Vec::new(), 0);
            out.push(packet);
            return;
        }
        if let Some((after, payload)) = self.probe_mtu
            && self.backoff >= after
        {
            self.segment = self.segment.min(payload);
        }
        self.cwnd = self.segment;
        self.sent.iter_mut().filter(|s| !s.sacked).for_each(|s| s.lost = true);
        if let Some(first) = self.sent.iter().position(|s| s.lost) {
            self.resend(now, first, out);
        }
    }

    /// A segment is lost if three later ones, or one sent later and a quarter of a round trip ago, have come.
    pub(super) fn detect_loss(&mut self, now: i64, waited: bool) {
        let newest_sacked = self.sent.iter().filter(|s| s.sacked).map(|s| s.at).max();
        let Some(newest) = newest_sacked else { return };
        let mut waiting = false;
        for i in 0..self.sent.len() {
            let above = self.sent[i + 1..].iter().filter(|s| s.sacked).count();
            let sent = &mut self.sent[i];
            if sent.sacked || sent.lost || above == 0 || sent.at > newest {
                continue;
            }
            if above >= 3 || waited {
                sent.lost = true;
            } else {
                waiting = true;
            }
        }
        if waiting && self.reorder_at.is_none() {
            self.reorder_at = Some(now + self.srtt.unwrap_or(4 * crate::MS) / 4);
        }
    }
}
