//! A TCP endpoint (RFC 9293) on a virtual clock: as much of it as decides when a handshake's bytes travel.
//!
//! In: what the program writes and reads, packets, and the time of its own timers. Out: packets. It has slow start, SACK,
//! D-SACK, RACK-style loss detection, loss probes, RFC 6298 timers with backoff, delayed acknowledgements, Nagle's
//! algorithm and a receive window.

use crate::frame::{End, Packet};
use crate::habit::{Habit, IpId};

mod receiving;
mod repair;

use repair::MOST_TRIES;

/// Payload of a full-size segment with timestamps; without them 12 more.
const SEGMENT: usize = 1448;
/// What most hosts announce as the largest segment they take.
const MSS: usize = 1460;
/// Segments that Linux lets go before it paces (`tcp_update_skb_after_send`).
const UNPACED: usize = 10;
/// BBR's gain at the start, in hundredths: 2/ln 2.
const PACE: i64 = 289;
/// A window that never matters.
const WIDE: usize = 8 << 20;
/// The window field of SYN, which is never shifted.
const SYN_WINDOW: u16 = 64_240;
/// Shift of the window field once both SYNs have passed.
const SCALE: u32 = 7;

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Tcp {
    end: End,
    habit: Habit,
    isn: u32,
    peer_isn: u32,
    timestamps: bool,
    ts_offset: u32,
    echo: u32,
    ids: u16,
    /// When it last sent anything.
    last_sent: i64,
    /// Full-size payload.
    pub segment: usize,
    /// The largest segment that it announces.
    pub mss: usize,
    /// Whether it paces, as BBR does (sch_fq, or the kernel's own timer).
    pub paced: bool,
    /// Sequence numbers, own first, of an earlier connection of the same addresses and ports that this end still holds.
    pub old: Option<(u32, u32)>,
    /// Whether Nagle's algorithm is on.
    pub nagle: bool,
    /// The kernel ignores everything but SYN before this (a full accept queue).
    pub deaf_until: i64,
    /// Until then it ignores SYN, too.
    pub deaf_to_syn: bool,
    /// The kernel ignores acknowledgements without data before the connection is accepted (`TCP_DEFER_ACCEPT`).
    pub defer_accept: bool,
    /// Shrinks full-size segments after so many timeouts (RFC 4821), to this payload.
    pub probe_mtu: Option<(u32, usize)>,
    /// What the receive buffer holds.
    pub buffer: usize,
    established: bool,
    syn_tries: u32,
    syn_at: Option<i64>,
    dead: bool,

    out: Vec<u8>,
    una: usize,
    nxt: usize,
    sent: Vec<Sent>,
    cwnd: usize,
    peer_window: usize,
    /// Shifts of the window fields, own and the peer's: none without both ends' offer (RFC 7323, section 2.2).
    shifts: [u32; 2],
    /// Segments of data that left.
    departed: usize,
    /// Pacing lets nothing go before this, and wakes then.
    pace_until: i64,
    pace_at: Option<i64>,
    srtt: Option<i64>,
    rttvar: i64,
    backoff: u32,
    rto_at: Option<i64>,
    probe_at: Option<i64>,
    probed: bool,
    reorder_at: Option<i64>,
    syn_sent: i64,

    received: Vec<u8>,
    read: usize,
    beyond: Vec<(usize, Vec<u8>)>,
    unacknowledged: u32,
    quick: u32,
    ack_at: Option<i64>,
    repeated: Option<(usize, usize)>,
    shut: bool,
    fin_sent: bool,
}

#[derive(Clone, Debug)]
struct Sent {
    start: usize,
    end: usize,
    at: i64,
    copies: u32,
    sacked: bool,
    lost: bool,
}

impl Tcp {
    /// An endpoint that has done nothing yet.
    pub fn new(end: End, habit: Habit, isn: u32, ts_offset: u32, first_id: u16) -> Self {
        Self {
            end,
            habit,
            isn,
            peer_isn: 0,
            timestamps: habit.timestamps,
            ts_offset,
            echo: 0,
            ids: first_id,
            last_sent: 0,
            segment: SEGMENT,
            mss: MSS,
            paced: false,
            old: None,
            nagle: false,
            deaf_until: i64::MIN,
            deaf_to_syn: false,
            defer_accept: false,
            probe_mtu: None,
            buffer: WIDE,
            established: false,
            syn_tries: 0,
            syn_at: None,
            dead: false,
            out: Vec::new(),
            una: 0,
            nxt: 0,
            sent: Vec::new(),
            cwnd: habit.initial_window * SEGMENT,
            peer_window: WIDE,
            shifts: [SCALE; 2],
            departed: 0,
            pace_until: 0,
            pace_at: None,
            srtt: None,
            rttvar: 0,
            backoff: 0,
            rto_at: None,
            probe_at: None,
            probed: false,
            reorder_at: None,
            syn_sent: 0,
            received: Vec::new(),
            read: 0,
            beyond: Vec::new(),
            unacknowledged: 0,
            quick: habit.quick_acks,
            ack_at: None,
            repeated: None,
            shut: false,
            fin_sent: false,
        }
    }

    /// Sends SYN.
    pub fn connect(&mut self, now: i64, out: &mut Vec<Packet>) {
        self.syn_sent = now;
        self.syn(now, out);
    }

    /// Whether the connection stands for this end.
    pub fn established(&self) -> bool {
        self.established
    }

    /// Contiguous bytes of the peer that have come.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Whether the peer has acknowledged everything written.
    pub fn all_acknowledged(&self) -> bool {
        self.una == self.out.len()
    }

    /// The program takes `bytes` in.
    pub fn write(&mut self, now: i64, bytes: &[u8], out: &mut Vec<Packet>) {
        self.out.extend_from_slice(bytes);
        self.pump(now, out);
    }

    /// The program has read everything that came; a window that was closed opens again.
    pub fn read_all(&mut self, now: i64, out: &mut Vec<Packet>) {
        let before = self.window();
        self.read = self.received.len();
        // A window that was too small for a segment and is not any more is worth telling (RFC 9293, section 3.8.6.2.2).
        if before < self.segment && self.window() >= self.segment && self.established {
            self.ack(now, out);
        }
    }

    /// No more will be written.
    pub fn close(&mut self, now: i64, out: &mut Vec<Packet>) {
        self.shut = true;
        self.pump(now, out);
    }

    /// Ends the connection at once.
    pub fn reset(&mut self, now: i64, out: &mut Vec<Packet>) {
        if self.dead {
            return;
        }
        let packet = Packet { rst: true, ..self.packet(now, self.nxt, Vec::new(), 0) };
        out.push(packet);
        self.die();
    }

    /// Stops doing anything, silently.
    pub fn die(&mut self) {
        self.dead = true;
        (self.rto_at, self.probe_at, self.reorder_at, self.ack_at, self.syn_at) = (None, None, None, None, None);
        self.pace_at = None;
    }

    /// When its next timer is due.
    pub fn deadline(&self) -> Option<i64> {
        [self.rto_at, self.probe_at, self.reorder_at, self.ack_at, self.syn_at, self.pace_at].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: i64, out: &mut Vec<Packet>) {
        let due = |at: Option<i64>| at.is_some_and(|at| at <= now);
        if due(self.syn_at) {
            self.syn(now, out);
        }
        if due(self.ack_at) {
            self.ack(now, out);
        }
        if due(self.pace_at) {
            self.pace_at = None;
            self.pump(now, out);
        }
        if due(self.reorder_at) {
            self.reorder_at = None;
            self.detect_loss(now, true);
            self.pump(now, out);
        }
        if due(self.probe_at) {
            self.probe_at = None;
            self.probed = true;
            self.probe(now, out);
            self.rto_at = Some(now + self.rto());
        } else if due(self.rto_at) {
            self.timeout(now, out);
        }
    }

    /// A packet of the peer's has come.
    pub fn receive(&mut self, now: i64, packet: &Packet, out: &mut Vec<Packet>) {
        if self.dead {
            return;
        }
        if let Some(old) = self.old {
            return self.receive_as_old(now, old, packet, out);
        }
        if packet.rst {
            return self.die();
        }
        if packet.syn && self.deaf_to_syn && now < self.deaf_until {
            return;
        }
        if packet.syn {
            return self.receive_syn(now, packet, out);
        }
        if self.end == End::Client && !self.established {
            return self.refuse(now, packet, out);
        }
        if now < self.deaf_until {
            return;
        }
        if !self.established {
            if self.defer_accept && packet.payload.is_empty() {
                return;
            }
            self.establish();
            if self.syn_tries == 1 {
                self.measure(now - self.syn_sent);
            }
        }
        if let Some((value, _)) = packet.timestamps {
            self.echo = value;
        }
        self.acknowledged(now, packet);
        if !packet.payload.is_empty() {
            self.take(now, packet, out);
        } else if packet.fin || packet.start < self.received.len() && packet.pure_ack() {
            // FIN, or a keep-alive: both want an answer.
            self.ack(now, out);
        }
        self.pump(now, out);
    }

    fn establish(&mut self) {
        self.established = true;
        self.syn_at = None;
    }

    fn syn(&mut self, now: i64, out: &mut Vec<Packet>) {
        if self.syn_tries > MOST_TRIES {
            return self.die();
        }
        let server = self.end == End::Server;
        let mut packet = Packet { syn: true, copy: self.syn_tries, window: SYN_WINDOW, ..self.packet(now, 0, Vec::new(), 0) };
        packet.ack = server.then_some(0);
        if server && self.habit.ip_id == IpId::PerConnection {
            packet.ip_id = 0;
            self.ids = self.ids.wrapping_sub(1);
        }
        out.push(packet);
        self.syn_at = Some(now + (self.habit.first_rto << self.syn_tries.min(6)));
        self.syn_tries += 1;
    }

    /// How many packets the host's other connections sent since this one's last, if they are counted as well.
    fn others_until(&mut self, now: i64) -> u16 {
        let sent = |at: i64| at * self.habit.others / (1_000 * crate::MS);
        let others = if self.habit.ip_id == IpId::PerHost { sent(now) - sent(self.last_sent) } else { 0 };
        self.last_sent = now;
        others as u16
    }

    /// A packet with everything that all packets have; counts it.
    fn packet(&mut self, now: i64, start: usize, payload: Vec<u8>, copy: u32) -> Packet {
        self.ids = self.ids.wrapping_add(self.others_until(now)).wrapping_add(1);
        let ticks = self.ts_offset.wrapping_add((now / self.habit.tick) as u32);
        let acknowledges = self.established || self.end == End::Server;
        Packet {
            from: self.end,
            syn: false,
            fin: false,
            rst: false,
            start,
            payload,
            ack: acknowledges.then_some(self.received.len()),
            sack: Vec::new(),
            window: (self.window() >> self.shifts[0]).min(usize::from(u16::MAX)) as u16,
            mss: self.mss as u16,
            scaled: self.shifts[0] > 0,
            timestamps: self.timestamps.then_some((ticks, self.echo)),
            ip_id: if self.habit.ip_id == IpId::Zero { 0 } else { self.ids },
            ttl: self.habit.ttl,
            isn: (self.isn, self.peer_isn),
            copy,
        }
    }

    fn window(&self) -> usize {
        let free = self.buffer.saturating_sub(self.received.len() - self.read);
        // Less than a segment is not worth telling (RFC 9293, section 3.8.6.2.2).
        if free < self.segment.min(self.buffer / 2) { 0 } else { free }
    }

    fn flight(&self) -> usize {
        self.sent.iter().filter(|s| !s.sacked && !s.lost).map(|s| s.end - s.start).sum()
    }

    fn pump(&mut self, now: i64, out: &mut Vec<Packet>) {
        if !self.established || self.dead {
            return;
        }
        while let Some(lost) = self.sent.iter().position(|s| s.lost) {
            if self.flight() + self.sent[lost].end - self.sent[lost].start > self.cwnd {
                return;
            }
            self.resend(now, lost, out);
        }
        while self.nxt < self.out.len() {
            let len = self.segment.min(self.out.len() - self.nxt);
            let flight = self.nxt - self.una;
            let small = || self.sent.iter().any(|s| s.end > self.una && s.end - s.start < self.segment);
            let held = self.nagle && len < self.segment && if self.habit.minshall { small() } else { flight > 0 };
            if held || self.flight() + len > self.cwnd || self.nxt + len > self.una + self.peer_window {
                break;
            }
            if self.paced && self.departed >= UNPACED && now < self.pace_until {
                self.pace_at = Some(self.pace_until);
                break;
            }
            self.send_new(now, len, out);
        }
        // The window is shut, or too small for a segment: ask, or send what fits, when the timer says so (RFC 9293, section 3.8.6).
        if self.nxt < self.out.len() && self.sent.is_empty() && self.pace_at.is_none() {
            self.rto_at = self.rto_at.or(Some(now + self.rto()));
        }
        if self.shut && !self.fin_sent && self.nxt == self.out.len() {
            self.fin_sent = true;
            let packet = Packet { fin: true, ..self.packet(now, self.nxt, Vec::new(), 0) };
            out.push(packet);
        }
    }

    /// Lets `len` bytes go that never went before.
    fn send_new(&mut self, now: i64, len: usize, out: &mut Vec<Packet>) {
        let payload = self.out[self.nxt..self.nxt + len].to_vec();
        let packet = self.packet(now, self.nxt, payload, 0);
        out.push(packet);
        self.acked();
        self.sent.push(Sent { start: self.nxt, end: self.nxt + len, at: now, copies: 1, sacked: false, lost: false });
        self.nxt += len;
        self.departed += 1;
        let apart = self.srtt.map_or(0, |srtt| len as i64 * srtt * 100 / (PACE * self.cwnd as i64));
        self.pace_until = now + apart;
        self.arm(now);
    }

    fn arm(&mut self, now: i64) {
        self.rto_at = Some(now + self.rto());
        self.probe_at = self.srtt.filter(|_| self.habit.loss_probe && !self.probed && self.backoff == 0).map(|srtt| {
            let alone = self.sent.len() == 1;
            now + (2 * srtt + if alone { self.habit.probe_slack } else { 4 * crate::MS }).min(self.rto())
        });
    }

    fn rto(&self) -> i64 {
        let base = self.srtt.map_or(self.habit.first_rto, |srtt| srtt + (4 * self.rttvar).max(self.habit.least_rto));
        base << self.backoff.min(6)
    }

    fn measure(&mut self, rtt: i64) {
        match self.srtt {
            None => (self.srtt, self.rttvar) = (Some(rtt), rtt / 2),
            Some(srtt) => {
                self.rttvar = (3 * self.rttvar + (srtt - rtt).abs()) / 4;
                self.srtt = Some((7 * srtt + rtt) / 8);
            }
        }
    }

    fn acknowledged(&mut self, now: i64, packet: &Packet) {
        let Some(ack) = packet.ack else { return };
        self.peer_window = usize::from(packet.window) << self.shifts[1];
        let ack = ack.min(self.nxt);
        for (left, right) in &packet.sack {
            for sent in self.sent.iter_mut().filter(|s| s.start >= *left && s.end <= *right) {
                (sent.sacked, sent.lost) = (true, false);
            }
        }
        if ack > self.una {
            let newest = self.sent.iter().filter(|s| s.end <= ack && s.copies == 1 && !s.sacked).map(|s| s.at).max();
            if let Some(at) = newest {
                self.measure(now - at);
            }
            self.cwnd += ack - self.una;
            self.una = ack;
            self.sent.retain(|s| s.end > ack);
            (self.backoff, self.probed) = (0, false);
            if self.sent.is_empty() {
                (self.rto_at, self.probe_at, self.reorder_at) = (None, None, None);
            } else {
                self.arm(now);
            }
        }
        self.detect_loss(now, false);
    }
}
