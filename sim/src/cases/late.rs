//! Cases about what is late, lost, or put off, where these look alike: copies of one message (84), acknowledgements (85), half a message
//! (86), a delayed acknowledgement (87), what comes behind a close (88), the other family's answer (89), packets that change places (90),
//! a full accept queue or a firewall (91).

use fastrand::Rng;

use super::around::NEXT_ADDRESS;
use super::{Planned, Setup};
use crate::MS;
use crate::host::ThreadState;
use crate::lookup::{Course, Lookup};
use crate::path::Deed;
use crate::plaintext::{Plaintext, Protocol};
use crate::plan::{Aim, InVain};

/// A program that pauses within a message does so for so much longer than the severity: an acknowledgement that was put off is no end of it.
const PAUSE: i64 = 13 * MS;

impl Setup {
    pub(super) fn apply_late(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        let s = self.severity * MS;
        let full = !self.version.resumed();
        // Who waits for acknowledgements of a flight has more to say than one window holds.
        let of_a_flight = if full { 0 } else { 2 };
        planned.variant = match self.case {
            84 => rng.u8(0..6),
            85 => rng.u8(of_a_flight..4),
            86 => rng.u8(0..3),
            87 => rng.u8(of_a_flight..4),
            88 | 91 => rng.u8(0..4),
            _ => rng.u8(0..2),
        };
        // A window of one segment with timestamps holds none without.
        if (self.case, planned.variant) == (87, 1) && !(planned.plan.client.timestamps && planned.plan.server.timestamps) {
            planned.variant = 0;
        }
        let variant = planned.variant;
        let plan = &mut planned.plan;
        match self.case {
            84 => {
                let (ways, aim) = match variant % 2 {
                    0 => (&mut plan.out, Aim::Finished),
                    _ => (&mut plan.back, Aim::FlightEnd),
                };
                match variant / 2 {
                    // The first copy comes late; no other comes.
                    0 => {
                        ways.push((aim, Deed::LateCopy(0, s + 100 * MS)));
                        ways.push((aim, Deed::DropFrom(1)));
                    }
                    // Its repetition comes first, if there is one by then.
                    1 => ways.push((aim, Deed::LateCopy(0, s + rng.i64(250..2_000) * MS))),
                    // The first is lost, the second late, and no other comes.
                    _ => {
                        ways.push((aim, Deed::Drop(1)));
                        ways.push((aim, Deed::LateCopy(1, s)));
                        ways.push((aim, Deed::DropFrom(2)));
                    }
                }
                (plan.client.dsack, plan.server.dsack) = (rng.bool(), rng.bool());
            }
            85 => {
                if variant < 2 {
                    plan.manner.certificate_len = rng.usize(17_000..26_000);
                } else {
                    (plan.manner.split_writes, plan.nagle) = (true, true);
                }
                plan.client.quick_acks = plan.client.quick_acks.max(16);
                plan.server.quick_acks = plan.server.quick_acks.max(16);
                let deed =
                    if variant.is_multiple_of(2) { Deed::Mute(plan.delay / 2 + 10 * MS + s) } else { Deed::Hold(300 * MS + s) };
                match variant {
                    0 | 1 => plan.out.push((Aim::FlightAcks, deed)),
                    _ => plan.back.push((Aim::FinishedAcks, deed)),
                }
            }
            86 => match variant {
                0 => plan.manner.hello_pause = vec![(ThreadState::Asleep, s + PAUSE)],
                1 => {
                    plan.manner.hello_len = 1_790;
                    plan.out.push((Aim::Hello, Deed::Drop(1)));
                }
                _ => plan.manner.flight_pause = vec![(ThreadState::Asleep, s + PAUSE)],
            },
            87 => {
                // Linux puts off for 40 ms, and for no longer than 200; its least timer is as long.
                let delayed = [40, 200][rng.usize(0..2)] * MS;
                let receiver = if variant == 2 { &mut plan.server } else { &mut plan.client };
                (receiver.quick_acks, receiver.delayed_ack) = (0, delayed);
                match variant {
                    0 => {
                        (plan.manner.split_flight, plan.edge_nagle) = (true, true);
                        plan.manner.certificate_len = 600;
                    }
                    // As behind a SYN that was lost (RFC 5681, section 3.1).
                    1 => plan.server.initial_window = 1,
                    2 => (plan.manner.split_writes, plan.nagle) = (true, true),
                    // What was put off before made the estimate, and so the probe's timer, longer: the client is slow, and the tail of the flight lost.
                    _ => {
                        plan.manner.plaintext = Some(Plaintext { protocol: Protocol::Smtp, thinks: Vec::new() });
                        plan.manner.thinks[0] = vec![(ThreadState::Asleep, delayed + 10 * MS)];
                        plan.back.push((Aim::FlightEnd, Deed::Drop(1)));
                    }
                }
            }
            88 => {
                plan.closes = true;
                match variant {
                    0 => plan.back.push((Aim::FlightEnd, Deed::Late(2_000 * MS + s))),
                    1 => plan.out.push((Aim::Hello, Deed::Late(2_000 * MS + s))),
                    // It was repeated and all went well: when it comes, both have closed.
                    2 => plan.out.push((Aim::Finished, Deed::LateCopy(0, 3_000 * MS + s))),
                    _ => plan.back.push((Aim::FlightEnd, Deed::LateCopy(0, 3_000 * MS + s))),
                }
                plan.patience = (variant < 2).then_some(2_000 * MS);
            }
            89 => {
                plan.ipv6 = false;
                plan.lookup = Some(Lookup { course: Course::BothFamilies, took: 10 * MS });
                let answers = (variant == 1).then_some(NEXT_ADDRESS + s);
                plan.in_vain = Some(InVain { wait: NEXT_ADDRESS, overlaps: true, answers });
            }
            90 => plan.reorders = Some(([0.25, 0.75][usize::from(variant)], rng.i64(8_000..10_000) * 1_000)),
            91 => match variant {
                0 => (plan.deaf, plan.deaf_to_syn) = (s + rng.i64(600..2_500) * MS, true),
                1 => (plan.deaf, plan.closes) = (120_000 * MS, true),
                // A firewall before the edge that knows no connection behind its SYN, or none at all.
                2 => {
                    plan.out.push((Aim::BehindSyn, Deed::DropFrom(0)));
                    plan.closes = true;
                }
                _ => plan.out.push((Aim::All, Deed::DropFrom(0))),
            },
            _ => return false,
        }
        true
    }
}
