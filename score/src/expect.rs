//! What may be said of a trial: the fault matrix's expectations, and what the evidence at hand can know.
//!
//! `BothAndHost` sees everything. `Server` sees the edge's capture: without the client's TCP timestamps it cannot tell a
//! client that sent late from a way that took long; without an IP identification that counts, it cannot tell a late packet
//! from a repeated one; without other handshakes over the path, it cannot know that every round trip is longer than usual.

mod found;
mod late;

use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use sim::MS;
use sim::Trial;
use sim::cases::{Grade, Planned, Setup};
use sim::frame::End;
use sim::host::length;

/// What is said of a connection that is no handshake, or of which nothing can be read.
pub const NOTHING: &str = "nothing";
/// The first case that was found on real traffic ([`found`]).
const FOUND: u8 = 52;
/// The first of those in which late, lost and put off look alike ([`late`]).
const LATE: u8 = 84;
/// A round trip that long may be unusual; only other handshakes over the path tell.
const REMARKABLE: i64 = 50 * MS;

/// What is expected of one trial.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The class it is counted in.
    pub class: &'static str,
    /// Verdicts any of which is right ([`analysis::judging::verdict::Verdict::is`]).
    pub right: Vec<String>,
    /// How much time of which family of owners was injected, where that is a number.
    pub truth: Option<(Family, Span)>,
    /// An open verdict must leave room for one of these, if there are any.
    pub among: &'static [Owner],
    /// What it suffers from, those before it do, too: the same may be said of them.
    pub of_all: bool,
}

/// Owners whose time is compared with what was injected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Client, its app or its host: all their time, ordinary work included.
    Client,
    /// Edge, its app or its host.
    Edge,
    /// Loss.
    Loss,
    /// The path, beyond its baseline.
    PathExcess,
}

fn of(class: &'static str, right: &[&str]) -> Expected {
    Expected { class, right: right.iter().map(|s| (*s).to_owned()).collect(), truth: None, among: &[], of_all: false }
}

fn unknowable() -> Expected {
    of("unknowable", &["inconclusive"])
}

impl Expected {
    fn with(self, family: Family, nanos: i64) -> Self {
        Self { truth: Some((family, Span::from_nanos(nanos))), ..self }
    }

    fn among(self, owners: &'static [Owner]) -> Self {
        Self { among: owners, ..self }
    }

    fn of_all(self) -> Self {
        Self { of_all: true, ..self }
    }

    fn or(mut self, label: &str) -> Self {
        if self.class == "unknowable" {
            self.class = "either";
        }
        self.right.push(label.to_owned());
        self
    }
}

/// Expects of amounts of time what the rules make of them: at least 60 % is the culprit's, another of 20 % makes it mixed.
/// Near a threshold either is right.
fn by_share(class: &'static str, mut parts: Vec<(&str, i64)>) -> Expected {
    parts.sort_by_key(|(_, nanos)| std::cmp::Reverse(*nanos));
    let total: i64 = parts.iter().map(|(_, n)| n).sum();
    let [(first, _), (second, less), ..] = parts[..] else { return of(class, &[]) };
    let share = less as f64 / total.max(1) as f64;
    let mixed = format!("{first} + {second}");
    match share {
        s if s > 0.24 => of(class, &[&mixed]),
        s if s > 0.16 || less > 3 * MS && less < 8 * MS => of(class, &[&mixed, first]),
        _ => of(class, &[first]),
    }
}

/// What is expected of a trial.
pub fn expected(setup: &Setup, planned: &Planned, trial: &Trial) -> Expected {
    let facts = Facts { setup, planned, trial, s: setup.severity * MS };
    let (expected, allowed) = match setup.grade {
        Grade::BothAndHost => (facts.alike().unwrap_or_else(|| facts.both()), 0),
        Grade::Client => (facts.of_one_end(|| facts.client_alone()), 20 * MS),
        // Without the client's scheduler, 20 ms of its own are an ordinary client's work.
        Grade::Server => (facts.of_one_end(|| facts.server()), 20 * MS),
    };
    // Below the effect floor (docs/method.md, "Verdict"), or close to it, nothing may be found wrong.
    // A lookup is allowed a round trip as well.
    let ways = if setup.case == 8 { 8 } else { 6 };
    let floor = (12 * MS).max(ways * planned.plan.delay / 10) * 12 / 10;
    match facts.injected() {
        Some(injected) if injected < allowed + floor => {
            let expected = expected.or("healthy");
            if facts.unremarkable() || setup.grade == Grade::BothAndHost { expected } else { expected.or("inconclusive") }
        }
        _ => expected,
    }
}

struct Facts<'a> {
    setup: &'a Setup,
    planned: &'a Planned,
    trial: &'a Trial,
    s: i64,
}

impl Facts<'_> {
    /// The time that a single fault costs, where that is one number.
    fn injected(&self) -> Option<i64> {
        match self.setup.case {
            LATE.. => self.late_injected(),
            FOUND.. => self.found_injected(),
            13 => Some(self.out_lost()),
            14 => Some(self.back_lost()),
            2..=7 | 9 | 12 | 25 | 26 | 29 | 33 | 37 | 38 | 40..=42 | 50 => Some(self.s),
            8 => Some(self.s - 2 * self.planned.plan.delay),
            _ => None,
        }
    }

    /// All the client's thinking until Finished.
    fn client(&self) -> i64 {
        self.planned.plan.manner.thinks[..2].iter().map(length).sum()
    }

    fn edge(&self) -> i64 {
        length(&self.planned.plan.manner.thinks[2])
    }

    fn back_lost(&self) -> i64 {
        self.trial.lost_for(End::Server, self.trial.marks.flight_end)
    }

    fn out_lost(&self) -> i64 {
        self.trial.lost_for(End::Client, self.trial.marks.finished_end)
    }

    /// What is expected whatever the evidence.
    fn alike(&self) -> Option<Expected> {
        Some(match self.setup.case {
            LATE.. => return self.late_alike(),
            FOUND.. => return self.found_alike(),
            1 | 17 | 36 => of("healthy", &["healthy"]),
            19 => of("healthy", &["healthy", "path"]),
            30 => self.if_seen("protocol/initial_window"),
            31 | 32 => of("protocol", &["protocol/nagle"]),
            34 => self.if_seen("protocol/hello_retry"),
            35 if self.planned.variant == 0 => self.if_seen("protocol/hello_retry"),
            35 => of("healthy", &["healthy"]),
            // A reset in the other end's name that bears no mark of its stack may be anybody's.
            43 if self.setup.grade == Grade::Server && !self.planned.timestamps => {
                of("aborted", &["aborted/client", "inconclusive"])
            }
            43 => of("aborted", &["aborted/client"]),
            44 => of("aborted", &["aborted/edge"]),
            45 => of("aborted", &["aborted/path"]),
            _ => return None,
        })
    }

    /// A lone handshake over a long path may be over a detour: that all is well nobody at one end can say.
    fn of_one_end(&self, by_case: impl FnOnce() -> Expected) -> Expected {
        let expected = self.alike().unwrap_or_else(by_case);
        if expected.class == "healthy" && !self.unremarkable() { unknowable().or("healthy") } else { expected }
    }

    fn both(&self) -> Expected {
        use Family::{Client, Edge, Loss, PathExcess};
        let (s, variant) = (self.s, self.planned.variant);
        match self.setup.case {
            2 | 6 | 38 | 40 | 41 | 50 => of("client_app", &["client_app/asleep"]).with(Client, self.client()),
            37 => of("client_app", &["client_app/asleep"]),
            3 => of("client_host", &["client_host/cpu_starved"]).with(Client, self.client()),
            4 => of("client_host", &["client_host/stopped"]).with(Client, self.client()),
            5 => of("client_host", &["client_host/cpu_stolen"]),
            7 => of("client_app", &["client_app/dependency"]).with(Client, self.client()),
            8 => of("resolver", &["resolver/lookup"]),
            9 => of("client_app", &["client_app/computing"]).with(Client, self.client()),
            10 | 11 | 22..=24 => of("path", &["path"]).with(PathExcess, 3 * s),
            12 => of("path", &["path/delay"]).with(PathExcess, s),
            13 => of("loss", &["loss/out"]).with(Loss, self.out_lost()),
            14 => of("loss", &["loss/back"]).with(Loss, self.back_lost()),
            15 => of("loss", &["loss/out"]).with(Loss, self.trial.syn_lost_for(End::Client)),
            16 => of("loss", &["loss/back"]).with(Loss, self.trial.syn_lost_for(End::Server)),
            18 => of("path", &["path/delay"]),
            20 | 21 => of("path", &["path/mtu_blackhole"]),
            25 => of("edge_host", &["edge_host/cpu_starved"]).with(Edge, self.edge()),
            26 => of("edge_app", &["edge_app/asleep"]).with(Edge, self.edge()),
            27 => of("edge_host", &["edge_host/accept_queue"]),
            28 => of("client_app", &["client_app/asleep"]).with(Client, self.client()),
            29 => of("edge_app", &["edge_app/dependency"]).with(Edge, self.edge()),
            33 => of("client_app", &["client_app/zero_window"]),
            39 if variant == 0 => of("client_app", &["client_app/asleep", "inconclusive"]),
            39 => of("healthy", &["healthy", "inconclusive"]),
            42 if variant == 0 => of("client_app", &["client_app/asleep"]),
            42 => unknowable(),
            46 if variant == 0 => of("edge_app", &["edge"]),
            46 => of("either", &["client", "aborted/client", "inconclusive"]),
            47 => by_share("mixed", vec![("client_app/asleep", s.max(150 * MS)), ("loss/back", self.back_lost())]),
            48 => by_share("mixed", vec![("path/detour", 3 * s), ("edge_host/cpu_starved", s)]),
            49 => by_share("mixed", vec![("loss/back", self.back_lost()), ("client_host/stopped", self.unhidden())]),
            51 => unknowable(),
            LATE.. => self.late_both(),
            FOUND.. => self.found_both(),
            other => unreachable!("case {other} has no expectation from both ends"),
        }
    }

    fn server(&self) -> Expected {
        use Family::{Edge, Loss, PathExcess};
        let Planned { timestamps, counts, variant, ref plan, .. } = *self.planned;
        let (s, known_path) = (self.s, plan.before > 0);
        match self.setup.case {
            8 | 15 => of("healthy", &["healthy"]),
            2..=4 | 6 | 7 | 9 | 28 | 38 | 40 | 41 => self.client_late(s + self.client()),
            37 if timestamps => self.client_late(s + self.client()),
            5 | 50 => unknowable(),
            // Without timestamps a clock that jumps cannot be told from time that passes.
            37 => unknowable(),
            10 | 11 | 22 | 24 if known_path => of("path", &["path"]).with(PathExcess, 2 * s),
            10 | 11 | 22 | 24 => unknowable(),
            12 | 18 if timestamps => of("path", &["path/delay"]),
            12 | 18 => unknowable(),
            13 if timestamps && counts => of("loss", &["loss/out"]).with(Loss, self.out_lost()),
            // What filled a hole, and by its marks left behind what lay beyond it, was sent again: it was lost.
            13 => unknowable().or("loss/out"),
            14 => of("loss", &["loss/back"]).with(Loss, self.back_lost()),
            16 => of("loss", &["loss/back"]),
            20 => of("path", &["path/mtu_blackhole"]),
            21 => of("path", &["path/mtu_blackhole", "inconclusive"]),
            25 | 26 | 29 => of("edge", &["edge"]).with(Edge, self.edge()),
            27 => of("edge", &["edge_host/accept_queue"]),
            33 => of("client", &["client_app/zero_window"]),
            39 if variant == 0 => of("client", &["client", "inconclusive"]),
            39 => of("healthy", &["healthy", "inconclusive"]),
            46 if variant == 0 => of("edge", &["edge"]),
            46 => unknowable(),
            47 if timestamps && counts => by_share("mixed", vec![("client", s.max(150 * MS)), ("loss/back", self.back_lost())]),
            47 => unknowable().or("client + loss/back").or("loss/back"),
            48 if known_path => by_share("mixed", vec![("path/detour", 2 * s), ("edge", s)]),
            48 => of("edge", &["edge", "inconclusive"]),
            49 if timestamps && counts => by_share("mixed", vec![("loss/back", self.back_lost()), ("client", self.unhidden())]),
            49 => of("loss", &["loss/back", "inconclusive", "loss/back + client"]),
            LATE.. => self.late_server(),
            FOUND.. => self.found_server(),
            other => unreachable!("case {other} has no expectation from the edge"),
        }
    }

    fn unremarkable(&self) -> bool {
        let plan = &self.planned.plan;
        plan.before > 0 || 2 * plan.delay < REMARKABLE - 3 * MS
    }

    fn client_alone(&self) -> Expected {
        use Family::{Client, Edge, Loss, PathExcess};
        let Planned { timestamps, server_counts, variant, ref plan, .. } = *self.planned;
        let (s, known_path) = (self.s, plan.before > 0);
        let witnessed = timestamps && server_counts;
        match self.setup.case {
            2..=4 | 6 | 7 | 9 | 28 | 38 | 40 | 41 | 50 => of("client", &["client"]).with(Client, self.client()),
            8 => of("resolver", &["resolver/lookup"]),
            // The capture slept as well: packets that waited for it look as if they had been long on their way.
            5 => unknowable().or("client"),
            37 => of("client", &["client", "inconclusive"]),
            10 | 11 | 22 | 24 if known_path => of("path", &["path"]).with(PathExcess, 3 * s),
            10 | 11 | 22 | 24 => unknowable(),
            // That only the way to the edge was long, the client cannot tell from an edge that answers late.
            12 if timestamps => unknowable().or("path"),
            // An edge whose kernel puts acknowledgements off looks the same.
            12 => unknowable().or("path").or("loss/out").or("healthy"),
            // What comes behind its repetition is lost to TCP; the client hears that it came (D-SACK) long after, if at all.
            18 => unknowable().or("path").or("loss/out"),
            // Its answer may have been lost as well, together with the acknowledgement.
            13 => of("loss", &["loss"]).with(Loss, self.out_lost()),
            // A hole shows where something comes behind it.
            14 if !witnessed && (variant == 1 || self.setup.version.resumed()) => unknowable().or("loss"),
            47 | 49 if !witnessed => unknowable().or("loss/back").or("client").or("client + loss/back").or("loss/back + client"),
            14 => of("loss", &["loss/back"]).with(Loss, self.back_lost()),
            // A SYN that an edge with a full accept queue drops looks the same.
            15 => unknowable().or("loss/out"),
            16 => unknowable().or("loss"),
            20 | 21 => unknowable().or("path/mtu_blackhole"),
            // Nobody repeats a packet sooner than one round trip after it.
            25 | 26 | 29 if witnessed || timestamps && s + self.edge() < 2 * plan.delay => {
                of("edge", &["edge"]).with(Edge, self.edge())
            }
            25 | 26 | 29 => unknowable().or("edge"),
            27 => unknowable().or("edge_host/accept_queue"),
            33 => of("client", &["client_app/zero_window"]),
            39 if variant == 0 => of("client", &["client", "inconclusive"]),
            39 => of("healthy", &["healthy", "inconclusive"]),
            42 if variant == 0 => of("client", &["client"]).with(Client, self.client()),
            // To a client, all behind the address is the edge.
            42 => unknowable().or("edge"),
            46 if variant == 0 => unknowable(),
            46 => of("either", &["client", "aborted/client", "inconclusive"]),
            47 => by_share("mixed", vec![("client", s.max(150 * MS)), ("loss/back", self.back_lost())]),
            48 if known_path && witnessed => by_share("mixed", vec![("path/detour", 3 * s), ("edge", s)]),
            48 => unknowable().or("path").or("edge").or("path/detour + edge").or("edge + path/detour"),
            49 => by_share("mixed", vec![("loss/back", self.back_lost()), ("client", self.unhidden())]),
            LATE.. => self.late_client(),
            FOUND.. => self.found_client(),
            other => unreachable!("case {other} has no expectation from the client"),
        }
    }

    /// The client sent its message late, by `late`: can the edge know that?
    fn client_late(&self, late: i64) -> Expected {
        let Planned { timestamps, counts, ref plan, .. } = *self.planned;
        // Nobody repeats a packet sooner than one round trip after it.
        let too_soon_for_loss = late < 2 * plan.delay;
        match () {
            () if timestamps && (counts || too_soon_for_loss) => of("client", &["client"]).with(Family::Client, self.client()),
            () => unknowable().or("client"),
        }
    }

    /// A protocol's extra round trip shows where it is longer than the floor.
    fn if_seen(&self, label: &str) -> Expected {
        let expected = of("protocol", &[label]);
        if 2 * self.planned.plan.delay < 14 * MS { expected.or("healthy") } else { expected }
    }

    /// What of a stop lies behind the arrival of the whole flight.
    fn unhidden(&self) -> i64 {
        let arrivals = || self.trial.log.iter().filter(|s| s.from == End::Server && !s.syn && s.end > s.start);
        let first = arrivals().filter_map(|s| s.arrived).min().unwrap_or(0);
        let done = self.trial.steps[0].get(self.trial.marks.finishing_step).copied().unwrap_or(0);
        let flight = done - length(&self.planned.plan.manner.thinks[1]);
        let whole = arrivals().filter(|s| s.end >= self.trial.marks.flight_end).filter_map(|s| s.arrived).min().unwrap_or(0);
        (first + self.s).min(flight) - whole.min(flight)
    }
}
