//! Cases about what a path does to some packets and not to others: windows (60), one name (63), resets (64), one piece (65), big packets
//! (66, 67), one direction for a while (76), a segment of a long flight (80).

use fastrand::Rng;

use super::{Planned, Setup};
use crate::MS;
use crate::path::Deed;
use crate::plan::{Abort, Aim, Squeeze};

/// More copies than anybody sends.
const ALL: Deed = Deed::Drop(99);
/// A receive buffer whose shifted window field is a window of 500 bytes to who does not shift it.
const EDGE_BUFFER: usize = 64_000;

impl Setup {
    pub(super) fn apply_path(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        let s = self.severity * MS;
        let full = !self.version.resumed();
        planned.variant = rng.u8(0..2);
        // Their second forms need a large message.
        if matches!(self.case, 60 | 65) && !full {
            planned.variant = 0;
        }
        let variant = planned.variant;
        let plan = &mut planned.plan;
        plan.closes = true;
        match self.case {
            60 if variant == 0 => plan.squeeze = Some(Squeeze::SynProxy(s)),
            60 => {
                plan.squeeze = Some(Squeeze::Unscaled);
                plan.buffers[1] = Some(EDGE_BUFFER);
                plan.manner.client_certificate = true;
            }
            63 => {
                plan.manner.hello_len = 517;
                plan.out.push((Aim::Hello, ALL));
                (plan.before, plan.before_name, plan.again) = (3, Some("other.test"), 2);
            }
            64 => plan.abort = Some(Abort::NearMiddlebox),
            65 if variant == 0 => {
                plan.manner.hello_len = 1_790;
                plan.out.push((Aim::Hello, ALL));
            }
            65 => plan.back.push((Aim::FlightEnd, ALL)),
            66 if full => {
                plan.jumbo = Some(8_960);
                plan.back.push((Aim::LongerThan(1_500), ALL));
                plan.probe_mtu = (variant == 0).then_some((2, 1_200));
            }
            67 if full => {
                plan.back.push((Aim::LongerThan(1_400), ALL));
                plan.too_big = Some(1_400);
                plan.probe_mtu = (variant == 0).then_some((2, 1_200));
            }
            76 => plan.out.push((Aim::BehindFlight, Deed::Mute(600 * MS + s))),
            80 if full => {
                plan.manner.certificate_len = rng.usize(17_000..26_000);
                let place = if variant == 0 { rng.usize(30..60) } else { rng.usize(85..101) };
                plan.back.push((Aim::FlightAt(place), Deed::Drop(1)));
            }
            _ => return false,
        }
        true
    }
}
