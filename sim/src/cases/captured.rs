//! Cases about how a handshake was captured: one file of both ends (69), copies (70), order (71), clocks (72), other names (81).
//! Beneath each lies a stall or a loss that the verdict has to find all the same.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use fastrand::Rng;

use super::{Grade, Planned, Setup};
use crate::MS;
use crate::habit::{Habit, IpId};
use crate::host::ThreadState;
use crate::path::Deed;
use crate::plan::{Aim, Plan};
use crate::tap::{Copies, Tap};

/// What lies beneath.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beneath {
    /// Nothing.
    Nothing,
    /// The client's program sleeps before Finished.
    ClientAsleep,
    /// The edge's program sleeps before its flight.
    EdgeAsleep,
    /// The end of the flight is lost.
    FlightLost,
}

impl Planned {
    /// What lies beneath a case about captures; absent for other cases.
    pub fn beneath(&self, case: u8) -> Option<Beneath> {
        use Beneath::{ClientAsleep, EdgeAsleep, FlightLost, Nothing};
        match (case, self.variant) {
            (69 | 71, form) => Some([ClientAsleep, EdgeAsleep, FlightLost][usize::from(form)]),
            (70, form) => Some([ClientAsleep, EdgeAsleep][usize::from(form % 2)]),
            (72, 1) => Some(Nothing),
            (72 | 81, _) => Some(ClientAsleep),
            _ => None,
        }
    }
}

impl Setup {
    pub(super) fn apply_captured(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        let s = self.severity * MS;
        planned.variant = match self.case {
            69 | 71 => rng.u8(0..3),
            // Translation of the server's address happens at the edge.
            70 => rng.u8(0..if self.grade == Grade::Client { 4 } else { 6 }),
            72 => rng.u8(0..4),
            // A proxy's other side is no capture of the client's handshake.
            81 if self.grade == Grade::Server => rng.u8(1..3),
            81 => rng.u8(0..3),
            _ => 0,
        };
        let variant = planned.variant;
        let beneath = planned.beneath(self.case);
        let plan = &mut planned.plan;
        match beneath {
            Some(Beneath::ClientAsleep) => plan.manner.thinks[1].push((ThreadState::Asleep, s)),
            Some(Beneath::EdgeAsleep) => plan.manner.thinks[2].push((ThreadState::Asleep, s)),
            Some(Beneath::FlightLost) => plan.back.push((Aim::FlightEnd, Deed::Drop(1))),
            Some(Beneath::Nothing) | None => {}
        }
        match self.case {
            69 if self.grade == Grade::BothAndHost => {
                plan.one_file = true;
                // Who merges two captures has hosts with clocks that are set.
                plan.edge_tap.offset = plan.client_tap.offset + rng.i64(-500_000..500_000);
                (plan.client_tap.skew_ppm, plan.edge_tap.skew_ppm) = (0, 0);
            }
            70 => {
                let inside = if plan.ipv6 {
                    SocketAddr::new(Ipv6Addr::new(0xfd00, 0x17, 0, 0, 0, 0, 0, 2).into(), 8_443)
                } else {
                    SocketAddr::new(Ipv4Addr::new(172, 17, 0, 2).into(), 8_443)
                };
                let tap = if self.grade == Grade::Client { &mut plan.client_tap } else { &mut plan.edge_tap };
                tap.copies = [Copies::Any(3), Copies::Mirror, Copies::Translated(inside)][usize::from(variant / 2)];
            }
            71 => self.taps(plan).into_iter().for_each(|tap| tap.stirred = true),
            72 if variant == 2 => {
                // Before its time began, or a year ahead.
                let garbage = if rng.bool() { 0 } else { 1_731_536_000_000 * MS };
                self.taps(plan).into_iter().for_each(|tap| tap.garbage = Some(garbage));
            }
            72 => {
                let tick = if variant == 0 { 10 * MS } else { 15_625_000 };
                self.taps(plan).into_iter().for_each(|tap| tap.tick = tick);
            }
            81 if variant == 0 => (plan.proxy, plan.proxy_header) = (true, true),
            81 if variant == 1 => {
                // A translator that sets "do not fragment" numbers nothing (RFC 7915, section 5.1).
                plan.client = Habit { ip_id: IpId::Zero, ..plan.client };
                (plan.ipv6, plan.nat64) = (true, true);
            }
            81 => plan.renumbered = true,
            _ => return false,
        }
        true
    }

    /// The captures that are looked at.
    fn taps<'a>(&self, plan: &'a mut Plan) -> Vec<&'a mut Tap> {
        match self.grade {
            Grade::BothAndHost => vec![&mut plan.client_tap, &mut plan.edge_tap],
            Grade::Client => vec![&mut plan.client_tap],
            Grade::Server => vec![&mut plan.edge_tap],
        }
    }
}
