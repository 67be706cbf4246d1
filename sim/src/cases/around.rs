//! Cases about what lies around a connection: an old one (59), lookups (61), addresses tried in vain (62), others whom an end asks (68),
//! several addresses (75), spare connections (79), a queue per client (82).

use fastrand::Rng;

use super::first::detour;
use super::{Planned, Setup};
use crate::MS;
use crate::host::ThreadState;
use crate::lookup::{Course, Lookup};
use crate::plaintext::Speech;
use crate::plan::{Asks, InVain};

/// What a resolver library waits before it asks again (resolv.conf(5)).
const RESOLVER_TIMER: i64 = 5_000 * MS;
/// What happy eyeballs wait before they try the next address (RFC 8305, section 5).
pub(super) const NEXT_ADDRESS: i64 = 250 * MS;

impl Setup {
    pub(super) fn apply_around(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        let s = self.severity * MS;
        planned.variant = rng.u8(0..if matches!(self.case, 61 | 68) { 4 } else { 2 });
        let variant = planned.variant;
        let plan = &mut planned.plan;
        let [hello, finished, flight, _] = &mut plan.manner.thinks;
        match self.case {
            59 => plan.old_connection = true,
            61 => {
                plan.lookup = Some(match variant {
                    0 | 1 => Lookup { course: Course::OneLost { aaaa: variant == 0 }, took: RESOLVER_TIMER + 10 * MS },
                    2 => Lookup { course: Course::DeadServer, took: RESOLVER_TIMER + 10 * MS },
                    _ => Lookup { course: Course::SearchDomains(4), took: 2 * s },
                });
            }
            62 => {
                plan.ipv6 = false;
                plan.lookup = Some(Lookup { course: Course::BothFamilies, took: 10 * MS });
                let overlaps = variant == 1;
                plan.in_vain = Some(InVain { wait: if overlaps { NEXT_ADDRESS } else { 20 * s }, overlaps, answers: None });
            }
            68 => {
                let asks = Some(if variant.is_multiple_of(2) { Asks::Unanswered } else { Asks::NameServer });
                let (think, who) = if variant < 2 { (flight, &mut plan.edge_asks) } else { (finished, &mut plan.client_asks) };
                think.push((ThreadState::Asleep, 10 * s));
                *who = asks;
            }
            75 => {
                detour(plan, s);
                (plan.before, plan.before_elsewhere) = (3, true);
            }
            79 if variant == 0 => {
                plan.manner.speech = Speech::Silence;
                *hello = vec![(ThreadState::Asleep, 20 * s)];
            }
            79 => plan.spare = 2,
            82 => {
                flight.push((ThreadState::Asleep, s));
                (plan.queued, plan.before, plan.before_of_another) = (2, 3, true);
            }
            _ => return false,
        }
        true
    }
}
