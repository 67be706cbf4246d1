//! The fault matrix: 91 cases, each a plan. What is injected here is what the verdict is held against.
//!
//! From 52 on they were found on real traffic and in public reports. By family: what is spoken ([`spoken`]), what lies around a
//! connection ([`around`]), what its path does ([`path`]), how it was captured ([`captured`]), what stacks do by themselves ([`stacks`]), what
//! is late, lost or put off and looks alike ([`late`]).

mod around;
mod captured;
mod first;
mod late;
mod path;
mod spoken;
mod stacks;

pub use captured::Beneath;
use fastrand::Rng;

use crate::MS;
use crate::habit::{Habit, IpId, LINUX, MACOS, OLD_LINUX, WINDOWS, WINDOWS_STAMPED};
use crate::host::ThreadState;
use crate::plan::Plan;
use crate::tls::Version;

/// Number of cases.
pub const CASES: u8 = 91;

/// The cases' names, in order.
pub const NAMES: [&str; CASES as usize] = [
    "nothing wrong",
    "client app sleeps before Finished",
    "client starved of CPU",
    "client process stopped",
    "whole client VM paused",
    "client app sleeps before ClientHello",
    "client asks somebody before Finished",
    "slow name lookup",
    "slow client key",
    "client→edge delay, constant",
    "edge→client delay, constant",
    "client→edge spike after the flight's ACK",
    "client Finished lost",
    "server-flight segment lost",
    "SYN lost",
    "SYN-ACK lost",
    "only an ACK lost",
    "spurious retransmission",
    "reordering",
    "MTU blackhole, edge→client",
    "MTU blackhole, client→edge",
    "detour, right edge",
    "another site answers",
    "constant asymmetry",
    "edge starved of CPU",
    "edge app sleeps",
    "accept queue full",
    "TCP_DEFER_ACCEPT",
    "edge waits on upstream",
    "flight larger than the initial window",
    "delayed ACK",
    "Nagle with delayed ACK",
    "zero window",
    "HelloRetryRequest",
    "0-RTT rejected",
    "early session ticket",
    "clock step during capture",
    "200 ppm skew",
    "capture drops",
    "offloads on",
    "NAT",
    "TCP-terminating proxy",
    "client aborts",
    "edge sends an alert",
    "middlebox resets",
    "never completes",
    "client stall and loss",
    "detour and edge CPU",
    "stall after a retransmission",
    "TCP timestamps stripped",
    "one vantage, no control",
    "greeting or STARTTLS answered late",
    "CONNECT answered late, 407 rounds",
    "SSLRequest, SOCKS, MySQL, RDP answered late",
    "client pauses before ClientHello, behind a go-ahead",
    "inside HelloRetryRequest's round",
    "edge late with its own Finished",
    "client certificate, first answer late",
    "SYN answered by an old connection",
    "SYN proxy's window of 0, scale stripped",
    "lookup: an answer lost, a dead server, search domains",
    "an address tried in vain",
    "ClientHello with one name never arrives",
    "resets in both ends' names, near TTL",
    "one piece of a message never passes",
    "one packet above the path's MTU",
    "ICMP \"too big\" ignored",
    "a dependency that nobody answers",
    "both ends in one file",
    "copies in one capture",
    "file order is not time order",
    "coarse clock, a garbage stamp",
    "flight beyond the initial window, paced or window-limited",
    "early ticket, several writes, Nagle",
    "detour on one of several addresses",
    "all the client says lost for a while",
    "the answer is not TLS",
    "FIN, alerts in clear, alert after Finished",
    "spare connections",
    "long flight, loss in its middle or tail",
    "PROXY header, NAT64, numbers rewritten",
    "throttled per client address",
    "ordinary noise",
    "a copy that is late beside one that is lost, or behind it",
    "acknowledgements lost or late",
    "half a message, the rest written late or lost",
    "a loss probe behind a delayed acknowledgement",
    "a late copy behind a close",
    "the other family tried first, its answer late or none",
    "packets that change places, by 8 to 10 ms",
    "accept queue full from SYN on, or a firewall",
];

/// Who sees what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grade {
    /// Both captures, both hosts' schedulers.
    BothAndHost,
    /// The client's capture only.
    Client,
    /// The edge's capture only.
    Server,
}

/// What a trial is made from.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Row of the matrix, from 1.
    pub case: u8,
    /// Severity, milliseconds.
    pub severity: i64,
    /// Handshake.
    pub version: Version,
    /// Evidence.
    pub grade: Grade,
    /// Seed.
    pub seed: u64,
}

/// A trial's plan with the facts that decide what can be known of it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// TCP timestamps pass.
    pub timestamps: bool,
    /// The client's IP identification counts this connection's packets.
    pub counts: bool,
    /// The server's does.
    pub server_counts: bool,
    /// Which of several forms of the case: two of the first 51, as many as there are of the others.
    pub variant: u8,
}

/// A host that has something else to do as well, or not.
fn busy(habit: Habit, rng: &mut Rng) -> Habit {
    Habit { others: [0, 10, 100, 1_000][rng.usize(0..4)], ..habit }
}

impl Setup {
    /// What of this trial is drawn by its seed, before anything goes wrong.
    fn base(&self, rng: &mut Rng) -> Planned {
        let mut plan = Plan::healthy(self.version, "edge.test");
        // Round trips from 4 to 180 ms, as many short as long.
        plan.delay = (2.0 * f64::powf(45.0, rng.f64()) * MS as f64) as i64;
        plan.jitter = rng.i64(5_000..200_000).min(plan.delay / 100);
        plan.hops = rng.u8(5..20);
        let (client, ipv6): (Habit, bool) = match rng.u8(0..6) {
            0 => (if rng.u8(0..4) == 0 { OLD_LINUX } else { LINUX }, false),
            1 => (LINUX, false),
            2 => (LINUX, true),
            3 => (WINDOWS, false),
            4 => (busy(WINDOWS_STAMPED, rng), false),
            _ => (MACOS, rng.bool()),
        };
        (plan.client, plan.ipv6) = (client, ipv6);
        match rng.u8(0..8) {
            0 => plan.server = WINDOWS,
            1 => plan.server = busy(WINDOWS_STAMPED, rng),
            2 => plan.server = OLD_LINUX,
            _ => {}
        }
        if rng.u8(0..4) == 0 {
            plan.manner.hello_len = 1_790; // a post-quantum key share
        }
        plan.manner.certificate_len = rng.usize(1_900..4_500);
        for (think, most) in plan.manner.thinks.iter_mut().zip([900, 3_000, 2_500, 900]) {
            *think = vec![(ThreadState::Computing, rng.i64(50..most) * 1_000)];
        }
        // Both clocks are wrong, by anything.
        plan.client_tap.offset = rng.i64(-5_000..5_000) * MS;
        plan.edge_tap.offset = rng.i64(-5_000..5_000) * MS;
        plan.client_tap.skew_ppm = rng.i64(-20..20);
        plan.edge_tap.skew_ppm = rng.i64(-20..20);
        plan.before = if self.grade == Grade::BothAndHost || rng.bool() { 3 } else { 0 };
        Planned { timestamps: false, counts: false, server_counts: false, variant: rng.u8(0..2), plan }
    }

    /// The plan; absent where the case makes no sense for the version or the evidence.
    pub fn plan(&self) -> Option<Planned> {
        let mut rng = Rng::with_seed(self.seed);
        let mut planned = self.base(&mut rng);
        if !self.apply(&mut planned, &mut rng) {
            return None;
        }
        let plan = &planned.plan;
        planned.timestamps = plan.client.timestamps && plan.server.timestamps;
        let counts = |habit: &Habit| habit.ip_id == IpId::PerConnection && !plan.ipv6;
        (planned.counts, planned.server_counts) = (counts(&plan.client), counts(&plan.server));
        Some(planned)
    }

    fn apply(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        match self.case {
            1..=51 => self.apply_first(planned, rng),
            52..=58 | 77 => self.apply_spoken(planned, rng),
            59 | 61 | 62 | 68 | 75 | 79 | 82 => self.apply_around(planned, rng),
            60 | 63..=67 | 76 | 80 => self.apply_path(planned, rng),
            69..=72 | 81 => self.apply_captured(planned, rng),
            73 | 74 | 78 | 83 => self.apply_stacks(planned, rng),
            84..=91 => self.apply_late(planned, rng),
            _ => false,
        }
    }
}
