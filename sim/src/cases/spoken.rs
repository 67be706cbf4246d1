//! Cases about what is said: plaintext before TLS (52–55), HelloRetryRequest's round (56), the edge's last word (57, 58), no TLS (77).

use fastrand::Rng;

use super::{Planned, Setup};
use crate::MS;
use crate::host::{Think, ThreadState};
use crate::path::Deed;
use crate::plaintext::{Plaintext, Protocol, Speech};
use crate::plan::Aim;
use crate::tls::Version;

/// Protocols whose server is late in case 54, and with which of its answers.
const LATE: [(Protocol, usize); 4] = [(Protocol::Postgres, 0), (Protocol::Socks, 1), (Protocol::Mysql, 0), (Protocol::Rdp, 0)];

impl Setup {
    pub(super) fn apply_spoken(&self, planned: &mut Planned, rng: &mut Rng) -> bool {
        let s = self.severity * MS;
        let forms = match self.case {
            52 | 56 | 77 => 3,
            53 => 2,
            54 => LATE.len() as u8,
            55 => 6,
            _ => 1,
        };
        planned.variant = rng.u8(0..forms);
        let form = usize::from(planned.variant);
        let plan = &mut planned.plan;
        let manner = &mut plan.manner;
        let [hello, _, flight, _] = &mut manner.thinks;
        match self.case {
            52 => manner.plaintext = Some(late(Protocol::Smtp, form, s)),
            53 if form == 0 => manner.plaintext = Some(late(Protocol::Connect { refusals: 0 }, 0, s)),
            53 => {
                // NTLM: two refusals, and each exchange takes as long.
                let thinks = vec![asleep(s); 3];
                manner.plaintext = Some(Plaintext { protocol: Protocol::Connect { refusals: 2 }, thinks });
            }
            54 => manner.plaintext = Some(late(LATE[form].0, LATE[form].1, s)),
            55 => {
                let all = [
                    Protocol::Smtp,
                    Protocol::Connect { refusals: 0 },
                    Protocol::Postgres,
                    Protocol::Mysql,
                    Protocol::Socks,
                    Protocol::Rdp,
                ];
                manner.plaintext = Some(Plaintext { protocol: all[form], thinks: Vec::new() });
                hello.push((ThreadState::Asleep, s));
            }
            56 if self.version.is_13() => {
                manner.retry = true;
                manner.retry_thinks = [0, 1].map(|_| vec![(ThreadState::Computing, rng.i64(50..400) * 1_000)]);
                match form {
                    2 => plan.out.push((Aim::Hello, Deed::Drop(1))),
                    late => manner.retry_thinks[late].push((ThreadState::Asleep, s)),
                }
            }
            57 if self.version == Version::Tls12 => manner.settle = asleep(s),
            58 if self.version == Version::Tls13 => {
                manner.client_certificate = true;
                manner.settle = asleep(s);
            }
            77 => {
                manner.speech = [Speech::HttpAnswer, Speech::OpenVpn, Speech::WebSocket][form];
                flight.push((ThreadState::Asleep, s));
            }
            _ => return false,
        }
        true
    }
}

/// A little work, then sleep.
fn asleep(s: i64) -> Think {
    vec![(ThreadState::Computing, 300_000), (ThreadState::Asleep, s)]
}

/// A protocol whose server is late with one of its answers.
fn late(protocol: Protocol, answer: usize, s: i64) -> Plaintext {
    let ordinary = || vec![(ThreadState::Computing, 300_000)];
    let thinks = (0..=answer).map(|n| if n == answer { asleep(s) } else { ordinary() }).collect();
    Plaintext { protocol, thinks }
}
