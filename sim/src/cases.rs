//! The fault matrix: 51 cases, each a plan. What is injected here is what the verdict is held against.

use fastrand::Rng;

use crate::MS;
use crate::habit::{Habit, IpId, LINUX, MACOS, OLD_LINUX, WINDOWS, WINDOWS_STAMPED};
use crate::host::{Doing, Think};
use crate::path::Deed;
use crate::plan::{Abort, Aim, Plan};
use crate::tls::Version;

/// Number of cases.
pub const CASES: u8 = 51;

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
    "stall behind a retransmission",
    "TCP timestamps stripped",
    "one vantage, no control",
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
    /// Which of several forms of the case.
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
            *think = vec![(Doing::Computing, rng.i64(50..most) * 1_000)];
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
        let s = self.severity * MS;
        let variant = planned.variant;
        let plan = &mut planned.plan;
        let full = !self.version.resumed();
        let [hello, finished, flight, _] = &mut plan.manner.thinks;
        match self.case {
            1 => {}
            2 => finished.push((Doing::Asleep, s)),
            3 => starve(finished, s),
            4 => finished.push((Doing::Stopped, s)),
            // It goes to sleep when ClientHello has reached the edge, and wakes so long after the flight has come.
            5 => plan.pause = Some((plan.delay, plan.delay + 4 * MS + s)),
            6 => hello.push((Doing::Asleep, s)),
            7 => {
                finished.push((Doing::Asleep, s));
                plan.client_asks = true;
            }
            8 => plan.lookup = Some(s),
            9 if full => {
                plan.manner.client_certificate = true;
                finished.push((Doing::Computing, s));
            }
            10 | 24 => plan.out.push((Aim::All, Deed::Hold(s))),
            11 => plan.back.push((Aim::All, Deed::Hold(s))),
            12 => plan.out.push((Aim::AfterFlightAck, Deed::Hold(s))),
            13 => plan.out.push((Aim::Finished, Deed::Drop(1))),
            14 => plan.back.push((if variant == 0 { Aim::FlightBegin } else { Aim::FlightEnd }, Deed::Drop(1))),
            15 => plan.out.push((Aim::Syn, Deed::Drop(1))),
            16 => plan.back.push((Aim::Syn, Deed::Drop(1))),
            17 => plan.out.push((Aim::FlightAck, Deed::Drop(1))),
            18 => plan.out.push((Aim::Finished, Deed::Late(s + 900 * MS))),
            19 => plan.back.push((Aim::FlightBegin, Deed::Late(rng.i64(1..4) * MS))),
            20 if full => {
                plan.back.push((Aim::LongerThan(1_400), Deed::Drop(99)));
                plan.probe_mtu = (variant == 0).then_some((2, 1_200));
            }
            21 => {
                plan.manner.hello_len = 1_790;
                plan.out.push((Aim::LongerThan(1_400), Deed::Drop(99)));
                plan.probe_mtu = (variant == 0).then_some((2, 1_200));
            }
            22 => detour(plan, s),
            23 if self.grade == Grade::BothAndHost => {
                detour(plan, s);
                plan.elsewhere = true;
            }
            25 => starve(flight, s),
            26 => flight.push((Doing::Asleep, s)),
            27 => plan.deaf = s + rng.i64(300..900) * MS,
            28 => {
                plan.defer_accept = true;
                hello.push((Doing::Asleep, s + 1_100 * MS));
            }
            29 => {
                flight.push((Doing::Asleep, s));
                plan.edge_asks = true;
            }
            30 if full => plan.manner.certificate_len = rng.usize(17_000..26_000),
            31 if full => {
                (plan.manner.split_flight, plan.edge_nagle) = (true, true);
                plan.manner.certificate_len = 600;
                (plan.client.quick_acks, plan.client.delayed_ack) = (0, 40 * MS);
            }
            32 => {
                (plan.manner.split_writes, plan.nagle) = (true, true);
                (plan.server.quick_acks, plan.server.delayed_ack) = (0, 40 * MS);
            }
            33 if full => {
                plan.manner.certificate_len = 4_000;
                plan.slow_reader = Some((3_072, s)); // two segments
            }
            34 if self.version.is_13() => plan.manner.retry = true,
            35 if self.version == Version::Tls13Resumed => {
                plan.manner.early_data = 300;
                plan.manner.retry = variant == 0;
            }
            36 if self.version == Version::Tls13 => plan.manner.early_ticket = true,
            37 => {
                finished.push((Doing::Asleep, s));
                let by = rng.i64(100..3_000) * MS * if rng.bool() { 1 } else { -1 };
                let begin = 10 * MS + 2_000 * MS * plan.before as i64;
                let within = rng.i64(0..6 * plan.delay + s);
                let tap = match self.grade {
                    Grade::Server => &mut plan.edge_tap,
                    Grade::BothAndHost if variant == 0 => &mut plan.edge_tap,
                    _ => &mut plan.client_tap,
                };
                tap.step = Some((begin + within, by));
            }
            38 => {
                finished.push((Doing::Asleep, s));
                plan.client_tap.skew_ppm = 200;
                plan.edge_tap.skew_ppm = -200;
            }
            39 => {
                if variant == 0 {
                    finished.push((Doing::Asleep, 150 * MS));
                }
                // The severities of this case are 1, 5 and 20 %.
                let share = match self.severity {
                    50 => 0.01,
                    150 => 0.05,
                    _ => 0.2,
                };
                (plan.client_tap.drops, plan.edge_tap.drops) = (share, share);
            }
            40 => {
                finished.push((Doing::Asleep, s));
                (plan.client_tap.merges, plan.edge_tap.merges) = (true, true);
            }
            41 => {
                finished.push((Doing::Asleep, s));
                plan.nat = true;
            }
            42 if self.grade != Grade::Server => {
                (if variant == 0 { finished } else { flight }).push((Doing::Asleep, s));
                plan.proxy = true;
            }
            43 => {
                finished.push((Doing::Computing, 2 * MS));
                plan.abort = Some(if variant == 0 { Abort::ClientAlert } else { Abort::ClientReset });
            }
            44 => plan.abort = Some(Abort::ServerAlert),
            45 => plan.abort = Some(Abort::Middlebox),
            46 => plan.abort = Some(if variant == 0 { Abort::ServerSilent } else { Abort::ClientVanishes }),
            47 => {
                finished.push((Doing::Asleep, s.max(150 * MS)));
                plan.back.push((Aim::FlightEnd, Deed::Drop(1)));
            }
            48 => {
                starve(flight, s);
                detour(plan, s);
            }
            49 => {
                plan.back.push((Aim::FlightEnd, Deed::Drop(1)));
                plan.stopped = Some(s);
            }
            50 => {
                finished.push((Doing::Asleep, s));
                plan.client.timestamps = false;
            }
            51 if self.grade == Grade::BothAndHost => {
                detour(plan, s);
                plan.before = 0;
            }
            _ => return false,
        }
        true
    }
}

/// Both ways longer; the round trip grows by `s`.
fn detour(plan: &mut Plan, s: i64) {
    plan.out.push((Aim::All, Deed::Hold(s / 2)));
    plan.back.push((Aim::All, Deed::Hold(s - s / 2)));
}

/// Between its pieces of work the thread waits for a CPU, `s` in all.
fn starve(think: &mut Think, s: i64) {
    let work = crate::host::length(think) / 3;
    let part = s / 3;
    *think = vec![
        (Doing::Waiting, part),
        (Doing::Computing, work),
        (Doing::Waiting, part),
        (Doing::Computing, work),
        (Doing::Waiting, s - 2 * part),
        (Doing::Computing, work),
    ];
}
