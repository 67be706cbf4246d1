//! What may be said of the cases in which late, lost and put off look alike, 84 to 91.
//!
//! Where the evidence cannot tell, an open verdict is right only if what was injected is among its candidates.

use analysis::judging::ledger::Owner;
use sim::MS;
use sim::cases::Grade;
use sim::frame::End;

use super::Family::{Client, Edge, Loss, PathExcess};
use super::{Expected, Facts, NOTHING, by_share, of, unknowable};

/// The form of case 87 in which the tail of a flight is lost.
const TAIL: u8 = 3;

/// The way of one direction's messages, as labels have it.
fn lost(from: End) -> &'static str {
    if from == End::Client { "loss/out" } else { "loss/back" }
}

/// In case 84, whose message it is, and which of three forms.
fn copies(variant: u8) -> (End, u8) {
    (if variant.is_multiple_of(2) { End::Client } else { End::Server }, variant / 2)
}

/// In cases 85 and 88, whose packets are lost or late.
fn whose(case: u8, variant: u8) -> End {
    match (case, variant) {
        (85, 0 | 1) | (88, 1 | 2) => End::Client,
        _ => End::Server,
    }
}

impl Facts<'_> {
    /// See [`Facts::injected`].
    pub(super) fn late_injected(&self) -> Option<i64> {
        let variant = self.planned.variant;
        match (self.setup.case, variant) {
            (84, _) => Some(self.message_late(copies(variant).0)),
            (85, _) => Some(self.acknowledgements_missed()),
            (86, 1) => Some(self.hello_lost()),
            (86, _) => Some(self.s),
            (88, 2 | 3) => Some(self.message_late(whose(88, variant))),
            _ => None,
        }
    }

    /// What is expected whatever the evidence.
    pub(super) fn late_alike(&self) -> Option<Expected> {
        let lone = self.setup.grade != Grade::BothAndHost;
        Some(match self.setup.case {
            // The rule that held the data costs what the acknowledgement was put off, and nobody stalled.
            87 if self.planned.variant == TAIL => return None,
            87 if lone => of("protocol", &["protocol", "healthy", "inconclusive"]).of_all(),
            87 => of("protocol", &["protocol", "healthy"]).of_all(),
            90 if lone => of("either", &["healthy", "path/delay", "inconclusive"]).of_all(),
            90 => of("healthy", &["healthy", "path/delay"]).of_all(),
            89 if self.setup.grade == Grade::Server => of("healthy", &["healthy"]),
            89 => super::found::in_vain().among(&[Owner::Path]),
            _ => return None,
        })
    }

    pub(super) fn late_both(&self) -> Expected {
        let variant = self.planned.variant;
        match (self.setup.case, variant) {
            (84, _) => match copies(variant) {
                // Which of two copies came that look alike, nothing tells: one delay explains more than a loss and a delay.
                (from, 2) if !self.planned.timestamps => self.lost_and_late(from).or("path/delay"),
                (from, 2) => self.lost_and_late(from),
                (from, _) => of("path", &["path/delay"]).with(PathExcess, self.message_late(from)),
            },
            (85, 0 | 2) => self.unless_the_rule(of("loss", &[lost(whose(85, variant))])),
            (85, _) => self.unless_the_rule(of("path", &["path"])),
            (86, 0) => of("client_app", &["client_app/asleep"]).with(Client, self.client() + self.s),
            (86, 1) => of("loss", &["loss/out"]).with(Loss, self.hello_lost()),
            (86, _) => of("edge_app", &["edge_app/asleep"]).with(Edge, self.edge() + self.s),
            (87, _) => self.slow_and_lost("client_app/asleep"),
            (88, _) => of("path", &["path"]),
            (91, 0 | 1) => of("edge_host", &["edge_host/accept_queue"]),
            (91, 2) => of("path", &["path", "loss"]),
            // That nothing of it came to the edge is no packet of any capture.
            (91, _) => unknowable().or("path").or("loss").among(&[Owner::Loss]),
            (other, _) => unreachable!("case {other} has no expectation from both ends"),
        }
    }

    pub(super) fn late_client(&self) -> Expected {
        let variant = self.planned.variant;
        match (self.setup.case, variant) {
            (84 | 88, _) => self.late_at(End::Client),
            (85, _) => self.acknowledgements(),
            (86, 0) => of("client", &["client"]).with(Client, self.client() + self.s),
            (86, 1) => of("loss", &["loss"]).with(Loss, self.hello_lost()),
            (86, _) => self.edge_late(self.s),
            (87, _) if self.planned.timestamps && self.planned.server_counts => self.slow_and_lost("client"),
            (87, _) => {
                unknowable().or("client").or("loss/back").or("client + loss/back").or("loss/back + client").among(&[Owner::Loss])
            }
            // A full queue, a firewall and a way that loses all look alike.
            (91, 0) => unknowable().or("edge_host/accept_queue").or("loss/out").among(&[Owner::Edge]),
            (91, 1) => unknowable().or("edge").or("path").or("loss").among(&[Owner::Edge]),
            (91, _) => unknowable().or("edge").or("path").or("loss").among(&[Owner::Loss]),
            (other, _) => unreachable!("case {other} has no expectation from the client"),
        }
    }

    pub(super) fn late_server(&self) -> Expected {
        let variant = self.planned.variant;
        let witnessed = self.planned.timestamps && self.planned.counts;
        match (self.setup.case, variant) {
            (84 | 88, _) => self.late_at(End::Server),
            (85, _) => self.acknowledgements(),
            (86, 0) => self.client_late(self.s + self.client()),
            (86, 1) if witnessed => of("loss", &["loss/out"]).with(Loss, self.hello_lost()),
            (86, 1) => unknowable().or("loss/out"),
            (86, _) => of("edge", &["edge"]).with(Edge, self.edge() + self.s),
            // What a kernel put off looks like the way's.
            (87, _) if witnessed => self.slow_and_lost("client").or("loss/back"),
            (87, _) => unknowable().or("loss/back").or("client + loss/back").or("loss/back + client"),
            (91, 0 | 1) => of("edge", &["edge"]),
            (91, 2) => unknowable().or("path").or("loss").among(&[Owner::Loss]),
            (91, _) => of("nothing", &[NOTHING]),
            (other, _) => unreachable!("case {other} has no expectation from the edge"),
        }
    }

    /// A message of which a copy is late, as the capture at one end can know it.
    fn late_at(&self, end: End) -> Expected {
        let planned = self.planned;
        let (from, form) = match self.setup.case {
            84 => copies(planned.variant),
            _ => (whose(88, planned.variant), if planned.variant < 2 { 0 } else { 1 }),
        };
        let counts = if end == End::Client { planned.server_counts } else { planned.counts };
        let (here, witnessed) = (from != end, planned.timestamps && counts);
        match form {
            2 if here && witnessed && end == End::Server => self.lost_and_late(from),
            // Whether its own machine stood still, a client's capture does not show.
            2 if here && witnessed => self.lost_and_late(from).or(lost(from)).or("inconclusive").among(&[Owner::Path]),
            2 => {
                let expected = ["loss", "path", "loss + path", "path + loss"].into_iter().fold(unknowable(), Expected::or);
                let expected = expected.among(&[Owner::Loss, Owner::Path]);
                // Its sender may take a late acknowledgement for one that was put off.
                if here || self.s > 60 * MS { expected } else { expected.or("healthy") }
            }
            // Its stamp tells that it left long before it came; its sender hears which copy was acknowledged, where stamps tell.
            0 if planned.timestamps => unknowable().or("path").among(&[Owner::Path]),
            0 if here => unknowable().among(&[Owner::Path]),
            // What comes behind its repetition is lost to TCP.
            _ => unknowable().or("path").or("loss").among(&[Owner::Path, Owner::Loss]),
        }
    }

    /// What one end can know of acknowledgements that were lost or late.
    fn acknowledgements(&self) -> Expected {
        let expected = match self.planned.variant {
            0 | 2 => unknowable().or("loss").among(&[Owner::Loss]),
            _ if self.planned.timestamps => unknowable().or("path").among(&[Owner::Path]),
            // What was sent again meanwhile looks lost.
            _ => unknowable().or("path").or("loss").among(&[Owner::Path]),
        };
        self.unless_the_rule(expected)
    }

    /// What costs little more than the rule that waits for an acknowledgement is that rule's.
    fn unless_the_rule(&self, expected: Expected) -> Expected {
        let little = (12 * MS).max(12 * self.planned.plan.delay / 10) * 12 / 10;
        let one_end = if self.setup.grade == Grade::BothAndHost { 0 } else { 20 * MS };
        if self.acknowledgements_missed() < little + one_end { expected.or("protocol") } else { expected }
    }

    /// In case 87: the client before its ClientHello, and what was lost of the flight.
    fn slow_and_lost(&self, client: &'static str) -> Expected {
        by_share("mixed", vec![(client, self.client()), ("loss/back", self.back_lost())])
    }

    /// The first copy lost, the second late.
    fn lost_and_late(&self, from: End) -> Expected {
        let waited = self.trial.lost_for(from, self.message(from));
        by_share("mixed", vec![(lost(from), waited), ("path/delay", self.message_late(from) - waited)])
    }

    /// Where the message ends that is late.
    fn message(&self, from: End) -> usize {
        let marks = &self.trial.marks;
        if from == End::Client { marks.finished_end } else { marks.flight_end }
    }

    /// How much later it came than its first copy would have.
    fn message_late(&self, from: End) -> i64 {
        (self.trial.under_way(from, self.message(from)) - self.planned.plan.delay).max(0)
    }

    /// How much longer the data took whose acknowledgements were lost or late: without that, one round trip, and the way of the last.
    fn acknowledgements_missed(&self) -> i64 {
        let (from, marks) = (whose(85, self.planned.variant).peer(), &self.trial.marks);
        let (start, end) = match from {
            End::Server => (marks.flight_start, marks.flight_end),
            End::Client => (marks.finished_start, marks.finished_end),
        };
        (self.trial.took(from, start, end) - 3 * self.planned.plan.delay).max(0)
    }
}
