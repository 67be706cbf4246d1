//! Cases 1 to 51: one thing goes wrong between two ordinary ends.

use fastrand::Rng;

use super::{Grade, Planned, Setup};
use crate::MS;
use crate::host::{Think, ThreadState};
use crate::lookup::{Course, Lookup};
use crate::path::Deed;
use crate::plan::{Abort, Aim, Asks, Plan};
use crate::tls::Version;

impl Setup {
    pub(super) fn apply_first(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        let s = self.severity * MS;
        let variant = planned.variant;
        let plan = &mut planned.plan;
        let full = !self.version.resumed();
        let [hello, finished, flight, _] = &mut plan.manner.thinks;
        match self.case {
            1 => {}
            2 => finished.push((ThreadState::Asleep, s)),
            3 => starve(finished, s),
            4 => finished.push((ThreadState::Stopped, s)),
            // It goes to sleep when ClientHello has reached the edge, and wakes so long after the flight has come.
            5 => plan.pause = Some((plan.delay, plan.delay + 4 * MS + s)),
            6 => hello.push((ThreadState::Asleep, s)),
            7 => {
                finished.push((ThreadState::Asleep, s));
                plan.client_asks = Some(Asks::Answered);
            }
            8 => plan.lookup = Some(Lookup { course: Course::Plain, took: s }),
            9 if full => {
                plan.manner.client_certificate = true;
                finished.push((ThreadState::Computing, s));
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
            26 => flight.push((ThreadState::Asleep, s)),
            27 => plan.deaf = s + rng.i64(300..900) * MS,
            28 => {
                plan.defer_accept = true;
                hello.push((ThreadState::Asleep, s + 1_100 * MS));
            }
            29 => {
                flight.push((ThreadState::Asleep, s));
                plan.edge_asks = Some(Asks::Answered);
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
                finished.push((ThreadState::Asleep, s));
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
                finished.push((ThreadState::Asleep, s));
                plan.client_tap.skew_ppm = 200;
                plan.edge_tap.skew_ppm = -200;
            }
            39 => {
                if variant == 0 {
                    finished.push((ThreadState::Asleep, 150 * MS));
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
                finished.push((ThreadState::Asleep, s));
                (plan.client_tap.merges, plan.edge_tap.merges) = (true, true);
            }
            41 => {
                finished.push((ThreadState::Asleep, s));
                plan.nat = true;
            }
            42 if self.grade != Grade::Server => {
                (if variant == 0 { finished } else { flight }).push((ThreadState::Asleep, s));
                plan.proxy = true;
            }
            43 => {
                finished.push((ThreadState::Computing, 2 * MS));
                plan.abort = Some(if variant == 0 { Abort::ClientAlert } else { Abort::ClientReset });
            }
            44 => plan.abort = Some(Abort::ServerAlert),
            45 => plan.abort = Some(Abort::Middlebox),
            46 => plan.abort = Some(if variant == 0 { Abort::ServerSilent } else { Abort::ClientVanishes }),
            47 => {
                finished.push((ThreadState::Asleep, s.max(150 * MS)));
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
                finished.push((ThreadState::Asleep, s));
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
pub(super) fn detour(plan: &mut Plan, s: i64) {
    plan.out.push((Aim::All, Deed::Hold(s / 2)));
    plan.back.push((Aim::All, Deed::Hold(s - s / 2)));
}

/// Between its pieces of work the thread waits for a CPU, `s` in all.
pub(super) fn starve(think: &mut Think, s: i64) {
    let work = crate::host::length(think) / 3;
    let part = s / 3;
    *think = vec![
        (ThreadState::Waiting, part),
        (ThreadState::Computing, work),
        (ThreadState::Waiting, part),
        (ThreadState::Computing, work),
        (ThreadState::Waiting, s - 2 * part),
        (ThreadState::Computing, work),
    ];
}
