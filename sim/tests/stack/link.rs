//! Two endpoints and 20 ms of way between them; what is dropped, the test says.

use whostalled_sim::MS;
use whostalled_sim::frame::{End, Packet};
use whostalled_sim::habit::Habit;
use whostalled_sim::tcp::Tcp;

/// One way.
pub const WAY: i64 = 20 * MS;
/// A full segment with timestamps.
pub const FULL: usize = 1_448;

pub struct Link {
    pub ends: [Tcp; 2],
    now: i64,
    under_way: Vec<(i64, Packet)>,
    /// Every packet that left, and when.
    pub left: Vec<(i64, Packet)>,
    drop: Box<dyn Fn(&Packet) -> bool>,
    /// Received data are read at once.
    pub reads: bool,
}

impl Link {
    /// Two of a kind, not yet connected; the link drops what `drop` says.
    pub fn new(habit: Habit, drop: impl Fn(&Packet) -> bool + 'static) -> Self {
        let ends = [End::Client, End::Server].map(|end| Tcp::new(end, habit, 1_000, 0, 1));
        Self { ends, now: 0, under_way: vec![], left: vec![], drop: Box::new(drop), reads: true }
    }

    /// The same, connected: SYN left at 0, and by 100 ms all is quiet.
    pub fn connected(habit: Habit, drop: impl Fn(&Packet) -> bool + 'static) -> Self {
        let mut link = Self::new(habit, drop);
        link.connect();
        link.run(100 * MS);
        link.left.clear();
        link
    }

    pub fn connect(&mut self) {
        let mut out = Vec::new();
        self.ends[0].connect(self.now, &mut out);
        self.send(out);
    }

    pub fn write(&mut self, end: End, bytes: usize) {
        let mut out = Vec::new();
        self.ends[end as usize].write(self.now, &vec![7; bytes], &mut out);
        self.send(out);
    }

    pub fn read(&mut self, end: End) {
        let mut out = Vec::new();
        self.ends[end as usize].read_all(self.now, &mut out);
        self.send(out);
    }

    fn send(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            self.left.push((self.now, packet.clone()));
            if !(self.drop)(&packet) {
                self.under_way.push((self.now + WAY, packet));
            }
        }
    }

    /// Lets time pass until `until`.
    pub fn run(&mut self, until: i64) {
        loop {
            let arrival = self.under_way.iter().map(|(at, _)| *at).min();
            let timers = [0, 1].map(|end| self.ends[end].deadline());
            let Some(next) = [arrival, timers[0], timers[1]].into_iter().flatten().min().filter(|next| *next <= until) else {
                break;
            };
            self.now = next;
            let mut out = Vec::new();
            if arrival == Some(next) {
                let first = self.under_way.iter().position(|(at, _)| *at == next).expect("it is the earliest");
                let (_, packet) = self.under_way.remove(first);
                let to = &mut self.ends[packet.from.peer() as usize];
                to.receive(next, &packet, &mut out);
                if self.reads {
                    to.read_all(next, &mut out);
                }
            } else {
                let due = if timers[0] == Some(next) { 0 } else { 1 };
                self.ends[due].tick(next, &mut out);
            }
            self.send(out);
        }
        self.now = until;
    }

    /// When data of `end` from byte `start` on left, in whole ms.
    pub fn departures(&self, end: End, start: usize) -> Vec<i64> {
        let of = |p: &Packet| p.from == end && p.start == start && !p.payload.is_empty();
        self.left.iter().filter(|(_, p)| of(p)).map(|(at, _)| at / MS).collect()
    }

    /// All data of `end`: when they left in ms, first byte, length.
    pub fn data(&self, end: End) -> Vec<(i64, usize, usize)> {
        let data = self.left.iter().filter(|(_, p)| p.from == end && !p.payload.is_empty());
        data.map(|(at, p)| (at / MS, p.start, p.payload.len())).collect()
    }

    /// Acknowledgements alone of `end`: when they left in ms, and up to where.
    pub fn acks(&self, end: End) -> Vec<(i64, usize)> {
        let acks = self.left.iter().filter(|(_, p)| p.from == end && p.pure_ack());
        acks.map(|(at, p)| (at / MS, p.ack.unwrap_or(0))).collect()
    }
}
