//! Cases about what stacks do by themselves: windows and pacing (73), writes, tickets and Nagle's algorithm (74), how handshakes end (78),
//! ordinary noise (83).

use fastrand::Rng;

use super::{Planned, Setup};
use crate::path::Deed;
use crate::plan::{Abort, Aim};
use crate::tls::Version;

/// What may be late by a little.
const LATE: [Aim; 6] = [Aim::Syn, Aim::FlightBegin, Aim::FlightEnd, Aim::Finished, Aim::FlightAck, Aim::AfterFlightAck];

impl Setup {
    pub(super) fn apply_stacks(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        let full = !self.version.resumed();
        planned.variant = rng.u8(0..if self.case == 74 || self.case == 78 && full { 3 } else { 2 });
        let variant = planned.variant;
        let plan = &mut planned.plan;
        match self.case {
            73 if full => {
                plan.manner.certificate_len = rng.usize(17_000..26_000);
                plan.paced = variant == 0;
                plan.buffers[0] = (variant == 1).then_some(12_288);
            }
            74 if self.version == Version::Tls13 => {
                plan.manner.split_records = true;
                plan.manner.early_ticket = variant == 1;
                plan.edge_nagle = variant != 2;
            }
            78 => {
                // What an edge refuses behind Finished is the client's certificate.
                plan.manner.client_certificate = variant == 2;
                plan.manner.settle = plan.manner.thinks[3].clone();
                plan.abort = Some([Abort::ClientFin, Abort::ClearAlert, Abort::LateServerAlert][usize::from(variant)]);
            }
            83 => {
                plan.jitter = rng.i64(100..700) * 1_000;
                let aims = LATE.len();
                for way in [&mut plan.out, &mut plan.back] {
                    way.push((LATE[rng.usize(..aims)], Deed::Late(rng.i64(500..3_000) * 1_000)));
                }
                // The hypervisor has something else to do for a moment.
                plan.pause = Some((rng.i64(0..2 * plan.delay), rng.i64(1_000..4_000) * 1_000));
            }
            _ => return false,
        }
        true
    }
}
