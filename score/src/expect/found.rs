//! What may be said of the cases that were found on real traffic and in public reports, 52 to 83.
//!
//! Case 51 is about runs: here only its lone handshake is played. What one end cannot know is written beside each case.

use sim::MS;
use sim::cases::{Beneath, Grade};
use sim::frame::End;
use sim::host::length;
use sim::tls::Version;

use super::Family::{Client, Edge, Loss};
use super::{Expected, Facts, NOTHING, of, unknowable};

/// The form of case 54 in which the server greets.
const MYSQL: u8 = 2;
/// Of what is no TLS, the least floor (docs/method.md, "Verdict"), with what is close to it.
const NO_TLS_FLOOR: i64 = 65 * MS;

impl Facts<'_> {
    /// See [`Facts::injected`].
    pub(super) fn found_injected(&self) -> Option<i64> {
        let variant = self.planned.variant;
        match self.setup.case {
            53 if variant == 1 => Some(3 * self.s),
            52..=55 | 57 | 58 | 72 | 81 | 82 => Some(self.s),
            56 if variant == 2 => Some(self.hello_lost()),
            56 => Some(self.s),
            59 => Some(self.trial.syn_lost_for(End::Client)),
            60 if variant == 0 => Some(self.s),
            // Each of five names is allowed a round trip.
            61 if variant == 3 => Some(2 * self.s - 5 * 2 * self.planned.plan.delay),
            69..=71 if self.beneath() == Beneath::FlightLost => Some(self.back_lost()),
            69..=71 => Some(self.s),
            76 => Some(self.out_lost()),
            80 => Some(self.back_lost()),
            _ => None,
        }
    }

    /// What is expected whatever the evidence.
    pub(super) fn found_alike(&self) -> Option<Expected> {
        let variant = self.planned.variant;
        let lone = self.setup.grade != Grade::BothAndHost && !self.unremarkable();
        Some(match self.setup.case {
            64 => of("aborted", &["aborted/path"]),
            // Nobody stalled; a lone handshake over a long path may be over a detour.
            73 if lone => of("protocol", &["protocol", "healthy", "inconclusive"]),
            73 => of("protocol", &["protocol", "healthy"]),
            74 if lone => of("protocol", &["protocol/nagle", "healthy", "inconclusive"]),
            74 => of("protocol", &["protocol/nagle", "healthy"]),
            78 if variant == 2 => of("aborted", &["aborted/edge"]),
            78 => of("aborted", &["aborted/client"]),
            79 if variant == 0 => unknowable().or("healthy").or(NOTHING),
            79 | 83 => of("healthy", &["healthy"]),
            _ => return None,
        })
    }

    pub(super) fn found_both(&self) -> Expected {
        let variant = self.planned.variant;
        match self.setup.case {
            52..=54 => of("edge_app", &["edge_app/asleep"]).with(Edge, self.edge_in_all()),
            55 => of("client_app", &["client_app/asleep"]).with(Client, self.client_in_all()),
            56 => match variant {
                0 => of("edge_app", &["edge_app/asleep"]).with(Edge, self.edge_in_all()),
                1 => of("client_app", &["client_app/asleep"]).with(Client, self.client_in_all()),
                _ => of("loss", &["loss/out"]).with(Loss, self.hello_lost()),
            },
            57 | 58 => of("edge_app", &["edge_app/asleep"]).with(Edge, self.edge_in_all()),
            59 => of("edge_host", &["edge_host/old_connection"]),
            60 if variant == 0 => of("path", &["path", "edge", "protocol/receive_window"]),
            60 => of("protocol", &["protocol/receive_window", "path/receive_window"]),
            61 => of("resolver", &["resolver/lookup"]),
            62 => in_vain(),
            63 | 65 => of("path", &["path", "loss"]),
            66 => of("path", &["path/mtu_blackhole"]),
            67 => of("edge_host", &["edge"]),
            68 if variant < 2 => of("edge_app", &["edge_app/dependency"]).with(Edge, self.edge()),
            68 => of("client_app", &["client_app/dependency"]).with(Client, self.client()),
            69..=72 | 81 => self.doubted(match self.beneath() {
                Beneath::Nothing => of("healthy", &["healthy"]),
                Beneath::ClientAsleep => of("client_app", &["client_app/asleep"]).with(Client, self.client()),
                Beneath::EdgeAsleep => of("edge_app", &["edge_app/asleep"]).with(Edge, self.edge()),
                Beneath::FlightLost => of("loss", &["loss/back"]).with(Loss, self.back_lost()),
            }),
            75 => of("path", &["path/detour"]),
            76 => of("loss", &["loss/out"]).with(Loss, self.out_lost()),
            77 => self.no_tls(of("edge_app", &["edge_app/asleep"])),
            80 => of("loss", &["loss/back"]).with(Loss, self.back_lost()),
            82 => of("edge_app", &["edge_app/asleep"]).with(Edge, self.edge()),
            other => unreachable!("case {other} has no expectation from both ends"),
        }
    }

    pub(super) fn found_client(&self) -> Expected {
        let variant = self.planned.variant;
        match self.setup.case {
            // The edge speaks first: that it had the client's acknowledgement in time, nothing tells.
            52 if variant == 0 => unknowable().or("edge"),
            54 if variant == MYSQL => unknowable().or("edge"),
            52..=54 | 57 | 58 => self.edge_late(self.s).with(Edge, self.edge_in_all()),
            55 => of("client", &["client"]).with(Client, self.client_in_all()),
            56 => match variant {
                0 => self.edge_late(self.s).with(Edge, self.edge_in_all()),
                1 => of("client", &["client"]).with(Client, self.client_in_all()),
                // An edge whose accept queue is full drops it as well.
                _ => unknowable().or("loss"),
            },
            // Whether the edge or something before it holds the old connection, the client cannot tell.
            59 => unknowable().or("edge_host/old_connection"),
            60 if variant == 0 => unknowable().or("path").or("edge").or("protocol/receive_window"),
            60 => of("protocol", &["protocol/receive_window", "path/receive_window"]),
            61 => of("resolver", &["resolver/lookup"]),
            62 => in_vain(),
            63 | 65 => unknowable().or("path").or("loss"),
            // That the one packet which never came was too big, the client cannot know.
            66 => unknowable().or("path/mtu_blackhole").or("loss/back"),
            67 => unknowable().or("path/mtu_blackhole"),
            68 if variant < 2 => self.edge_late(10 * self.s).with(Edge, self.edge()),
            68 => of("client", &["client_app/dependency"]).with(Client, self.client()),
            70..=72 | 81 => self.doubted(match self.beneath() {
                Beneath::Nothing => of("healthy", &["healthy"]),
                Beneath::ClientAsleep => of("client", &["client"]).with(Client, self.client()),
                Beneath::EdgeAsleep => self.edge_late(self.s).with(Edge, self.edge()),
                Beneath::FlightLost => self.back_lost_for_client(),
            }),
            // Addresses that only share a name, used one after the other, may be different sites.
            75 => unknowable().or("path/detour"),
            76 => of("loss", &["loss"]).with(Loss, self.out_lost()),
            77 => self.no_tls(self.edge_late(self.s)),
            80 => self.back_lost_for_client(),
            82 => self.edge_late(self.s).with(Edge, self.edge()),
            other => unreachable!("case {other} has no expectation from the client"),
        }
    }

    pub(super) fn found_server(&self) -> Expected {
        let variant = self.planned.variant;
        let witnessed = self.planned.timestamps && self.planned.counts;
        match self.setup.case {
            52..=54 | 57 | 58 => of("edge", &["edge"]).with(Edge, self.edge_in_all()),
            55 => self.client_late(self.s + self.client_in_all()),
            56 => match variant {
                0 => of("edge", &["edge"]).with(Edge, self.edge_in_all()),
                1 => self.client_late(self.s + self.client_in_all()),
                _ if witnessed => of("loss", &["loss/out"]).with(Loss, self.hello_lost()),
                _ => unknowable().or("loss/out"),
            },
            59 => of("edge", &["edge_host/old_connection"]),
            // Behind a SYN proxy the edge sees a connection that began late, and nothing of what was before.
            60 if variant == 0 => unknowable().or("path").or("edge").or("protocol").or("healthy"),
            // Its own capture shows the scale that it offered, not that it was stripped.
            60 => unknowable().or("protocol/receive_window").or("path/receive_window"),
            61 | 62 => of("healthy", &["healthy"]),
            63 | 65 => unknowable().or("path").or("loss"),
            66 if variant == 0 => of("path", &["path/mtu_blackhole"]),
            // The only packet that never came may have been lost, or its client is gone.
            66 => unknowable().or("path/mtu_blackhole").or("loss/back"),
            67 => of("edge", &["edge"]),
            68 if variant < 2 => of("edge", &["edge_app/dependency"]).with(Edge, self.edge()),
            68 => self.client_late(10 * self.s + self.client()),
            70..=72 | 81 => self.doubted(match self.beneath() {
                Beneath::Nothing => of("healthy", &["healthy"]),
                Beneath::ClientAsleep => self.client_late(self.s + self.client()),
                Beneath::EdgeAsleep => of("edge", &["edge"]).with(Edge, self.edge()),
                Beneath::FlightLost => of("loss", &["loss/back"]).with(Loss, self.back_lost()),
            }),
            75 => of("path", &["path/detour"]),
            76 if witnessed => of("loss", &["loss/out"]).with(Loss, self.out_lost()),
            76 => unknowable().or("loss/out"),
            77 => self.no_tls(of("edge", &["edge"])),
            80 => of("loss", &["loss/back"]).with(Loss, self.back_lost()),
            82 => of("edge", &["edge"]).with(Edge, self.edge()),
            other => unreachable!("case {other} has no expectation from the edge"),
        }
    }

    fn beneath(&self) -> Beneath {
        self.planned.beneath(self.setup.case).unwrap_or(Beneath::Nothing)
    }

    /// A clock that is coarse, or a stamp that means nothing, may be doubted; of a stall that a tick could be, nothing need be said.
    fn doubted(&self, expected: Expected) -> Expected {
        match (self.setup.case, self.planned.variant) {
            (72, 2) => expected.or("inconclusive"),
            (72, _) if self.s < 80 * MS => expected.or("inconclusive").or("healthy"),
            (72, _) => expected.or("inconclusive"),
            // To a client, all behind a proxy's address is the edge.
            _ => expected,
        }
    }

    /// An answer that is no TLS has a greater floor; TLS that lies inside something else need not be found.
    fn no_tls(&self, expected: Expected) -> Expected {
        let expected = if self.s < NO_TLS_FLOOR { expected.or("healthy").or("inconclusive") } else { expected };
        if self.planned.variant == 0 { expected } else { expected.or("healthy").or("inconclusive").or(NOTHING) }
    }

    /// The edge sent its message late, by `late`: can the client know that? Nobody repeats a packet sooner than one round trip after it.
    pub(super) fn edge_late(&self, late: i64) -> Expected {
        let planned = self.planned;
        let witnessed = planned.timestamps && planned.server_counts;
        if witnessed || planned.timestamps && late + self.edge() < 2 * planned.plan.delay {
            of("edge", &["edge"])
        } else {
            unknowable().or("edge")
        }
    }

    /// A hole shows where something comes behind it.
    fn back_lost_for_client(&self) -> Expected {
        let witnessed = self.planned.timestamps && self.planned.server_counts;
        let middle = self.setup.case == 80 && self.planned.variant == 0;
        if witnessed || middle { of("loss", &["loss/back"]).with(Loss, self.back_lost()) } else { unknowable().or("loss") }
    }

    pub(super) fn hello_lost(&self) -> i64 {
        self.trial.lost_for(End::Client, self.trial.marks.hello_end)
    }

    /// All the edge's thinking that the client waits for, what was before TLS and behind Finished included.
    fn edge_in_all(&self) -> i64 {
        let manner = &self.planned.plan.manner;
        let settles = self.setup.case == 58 || manner.version == Version::Tls12;
        self.edge()
            + self.before_tls(End::Server)
            + length(&manner.retry_thinks[0])
            + if settles { length(&manner.settle) } else { 0 }
    }

    fn client_in_all(&self) -> i64 {
        self.client() + self.before_tls(End::Client) + length(&self.planned.plan.manner.retry_thinks[1])
    }

    fn before_tls(&self, end: End) -> i64 {
        self.planned.plan.manner.plaintext.as_ref().map_or(0, |spoken| spoken.thought(end))
    }
}

/// The wait for an address that never answered is the path's or that address's; the evidence need not tell.
pub(super) fn in_vain() -> Expected {
    unknowable().or("path").or("edge").or("loss")
}
