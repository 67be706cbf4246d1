//! Mistakes that somebody might make in the core: thresholds moved, a comparison turned round, a condition forgotten.

/// One mistake: what the tests of `analysis` and `explain` must notice.
pub(super) struct Mutation {
    /// In words.
    pub what: &'static str,
    /// The file, from the root of the repository.
    pub file: &'static str,
    /// What stands there, once.
    pub from: &'static str,
    /// What is put in its place.
    pub to: &'static str,
}

const fn mutation(what: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { what, file, from, to }
}

const POLICY: &str = "analysis/src/judging/policy.rs";
const DECIDE: &str = "analysis/src/judging/decide.rs";
const LEDGER: &str = "analysis/src/judging/ledger.rs";
const BASELINE: &str = "analysis/src/judging/baseline.rs";
const SIBLINGS: &str = "analysis/src/judging/siblings.rs";
const RUN: &str = "analysis/src/judging/run.rs";
const STANDPOINT: &str = "analysis/src/doubt/standpoint.rs";
const OFFSET: &str = "analysis/src/doubt/offset.rs";
const FOLLOW: &str = "analysis/src/conversation/walk/follow.rs";
const ENTRIES: &str = "analysis/src/conversation/walk/entries.rs";
const GOAL: &str = "analysis/src/conversation/walk/goal.rs";
const LOSSES: &str = "analysis/src/conversation/walk/losses.rs";
const RESET: &str = "analysis/src/conversation/reset.rs";
const IDENTIFICATION: &str = "analysis/src/tcp/identification.rs";

/// All of them.
pub(super) const ALL: &[Mutation] = &[
    mutation("a culprit needs 40 % of the excess, not 60", POLICY, "CULPRIT_SHARE: f64 = 0.6", "CULPRIT_SHARE: f64 = 0.4"),
    mutation("a second culprit needs 45 %, not 20", POLICY, "SECOND_SHARE: f64 = 0.2", "SECOND_SHARE: f64 = 0.45"),
    mutation("two culprits together need 95 %", POLICY, "BOTH_SHARE: f64 = 0.7", "BOTH_SHARE: f64 = 0.95"),
    mutation("3 ms count", POLICY, "LEAST_EFFECT: Span = Span::from_millis(12)", "LEAST_EFFECT: Span = Span::from_millis(3)"),
    mutation(
        "less than 40 ms does not count",
        POLICY,
        "LEAST_EFFECT: Span = Span::from_millis(12)",
        "LEAST_EFFECT: Span = Span::from_millis(40)",
    ),
    mutation("one standard deviation counts", POLICY, "FLOOR_DEVIATIONS: f64 = 4.0", "FLOOR_DEVIATIONS: f64 = 1.0"),
    mutation(
        "a second's second culprit is hidden",
        POLICY,
        "SECOND: Span = Span::from_millis(100)",
        "SECOND: Span = Span::from_millis(10_000)",
    ),
    mutation("a culprit beside open time needs 80 %", POLICY, "CERTAIN_SHARE: f64 = 0.4", "CERTAIN_SHARE: f64 = 0.8"),
    mutation("a detour's rounds need not agree", POLICY, "DETOUR_EVEN: i64 = 50", "DETOUR_EVEN: i64 = 5"),
    mutation("no detour below 40 ms", POLICY, "LEAST_DETOUR: Span = LEAST_EFFECT", "LEAST_DETOUR: Span = Span::from_millis(40)"),
    mutation(
        "a lookup may take half a second",
        POLICY,
        "ORDINARY_ROUND_TRIP: Span = Span::from_millis(50)",
        "ORDINARY_ROUND_TRIP: Span = Span::from_millis(500)",
    ),
    mutation(
        "a client's 80 ms are ordinary work",
        POLICY,
        "UNSPLIT_CLIENT: Span = Span::from_millis(20)",
        "UNSPLIT_CLIENT: Span = Span::from_millis(80)",
    ),
    mutation(
        "an edge's 100 ms on a CPU are ordinary work",
        POLICY,
        "EDGE_CPU: Span = Span::from_millis(5)",
        "EDGE_CPU: Span = Span::from_millis(100)",
    ),
    mutation(
        "work of any length is ordinary if siblings take as long",
        POLICY,
        "MOST_WORK: Span = Span::from_millis(25)",
        "MOST_WORK: Span = Span::from_millis(2_500)",
    ),
    mutation("a cell is slow if one of eight is", POLICY, "SLOW_PARTS: usize = 4", "SLOW_PARTS: usize = 8"),
    mutation("one slow handshake makes a cell slow", POLICY, "LEAST_SLOW: usize = 2", "LEAST_SLOW: usize = 1"),
    mutation(
        "a target is slow from everywhere if it is from a third",
        POLICY,
        "WHOLE_TARGET: f64 = 0.8",
        "WHOLE_TARGET: f64 = 0.3",
    ),
    mutation(
        "a second culprit below the floor is named",
        DECIDE,
        "p.owner != Owner::Unattributed && p.excess >= floor && (share(p)",
        "p.owner != Owner::Unattributed && (share(p)",
    ),
    mutation(
        "whoever gave up ended it",
        DECIDE,
        "ledger.min_path().is_some_and(|round_trip| waited < round_trip + floor)",
        "ledger.min_path().is_some_and(|_| waited >= Span::ZERO && floor >= Span::ZERO)",
    ),
    mutation(
        "a lossy capture convicts",
        DECIDE,
        "Verdict::Culprit { .. } | Verdict::Aborted { .. } => false,",
        "Verdict::Culprit { .. } | Verdict::Aborted { .. } => true,",
    ),
    mutation(
        "behind the server's flight the edge is due",
        DECIDE,
        "Milestone::SynAck | Milestone::ServerFlightEnd => Owner::Client",
        "Milestone::SynAck => Owner::Client",
    ),
    mutation(
        "what the protocol demands counts beside a stall",
        DECIDE,
        "if most >= floor || protocol.is_empty() { &others } else { &protocol }",
        "if protocol.is_empty() { &others } else { &protocol }",
    ),
    mutation("one round trip is a detour", LEDGER, "least < noise || rounds().nth(1).is_none()", "least < noise"),
    mutation(
        "a round with a repetition is a clean one",
        LEDGER,
        "let clean = |phase| !any || !self",
        "let clean = |phase| any || !self",
    ),
    mutation("each round of work may take what is usual again", BASELINE, "work[at].2 -= taken;", ""),
    mutation("a lookup's usual time counts for every question", BASELINE, "lookup -= taken;", ""),
    mutation("siblings' highest quarter is usual", SIBLINGS, "self.nth(self.len() / 4)", "self.nth(self.len() * 3 / 4)"),
    mutation(
        "a handshake is a sibling of itself",
        SIBLINGS,
        "without: is_there.then_some(own)",
        "without: is_there.then_some(own).filter(|_| false)",
    ),
    mutation("an observer in the middle stands at an end", STANDPOINT, "near > far.percent(25)", "near > far.percent(90)"),
    mutation(
        "the nearer leg leads to the far end",
        STANDPOINT,
        "() if client < server => Standpoint::Client",
        "() if client > server => Standpoint::Client",
    ),
    mutation("TTL 63 is untouched", STANDPOINT, "[64, 128, 255]", "[63, 64, 128]"),
    mutation(
        "a server slow to answer SYN is far away",
        STANDPOINT,
        "(Standpoint::Client, Standpoint::Edge) | (Standpoint::Edge, Standpoint::Client) => Standpoint::Unknown",
        "(Standpoint::Client, Standpoint::Edge) | (Standpoint::Edge, Standpoint::Client) => by_legs",
    ),
    mutation(
        "both ends' clocks need not leap alike",
        OFFSET,
        "let by = same(of(Side::Client)?, of(Side::Server)?, slack)?;",
        "let by = Span::from_nanos(of(Side::Client)?); let _ = (of(Side::Server)?, slack);",
    ),
    mutation(
        "a copy sent twice is not lost",
        FOLLOW,
        "let origin = unseen.unwrap_or(first);",
        "let origin = copy; let _ = (unseen, first);",
    ),
    mutation("a reordered packet was lost", FOLLOW, "const REORDERED: i64 = 4_000_000;", "const REORDERED: i64 = -1;"),
    mutation(
        "no pause within a flight is the program's",
        FOLLOW,
        "const PAUSE: i64 = 10_000_000;",
        "const PAUSE: i64 = 10_000_000_000;",
    ),
    mutation(
        "nobody holds an acknowledgement back",
        FOLLOW,
        "self.push(What::Hold(rule), end, phase,",
        "self.push(What::Work(Work::Head), end, phase,",
    ),
    mutation(
        "the way back's delay is the round trip's",
        ENTRIES,
        "Some(Side::Client) => span(&out),",
        "Some(Side::Client) => Span::ZERO,",
    ),
    mutation(
        "Nagle is the client's fault",
        ENTRIES,
        "Extra::Rule(Rule::Nagle) => (Owner::Protocol, Kind::Nagle)",
        "Extra::Rule(Rule::Nagle) => (Owner::ClientApp, Kind::Nagle)",
    ),
    mutation(
        "a client's certificate is not waited for",
        GOAL,
        "d.client_authenticates() && d.version == Some(Version::Tls13)",
        "d.client_authenticates() && d.version.is_none()",
    ),
    mutation(
        "of what vanished both ways, the client's is named",
        GOAL,
        "(Some(a), Some(b)) if edge.packets(0..b).any(|p| p.other == Some(a as u32)) => by_edge(b),",
        "",
    ),
    mutation("half a flight is the client's turn", GOAL, "filter(|_| half)", "filter(|_| false && half)"),
    mutation(
        "a lost full segment is a black hole",
        LOSSES,
        "often && least > ALWAYS_CARRIED && most < least",
        "least > ALWAYS_CARRIED && (often || most < least)",
    ),
    mutation(
        "a reset with another TTL is the end's own",
        RESET,
        "other.ttl.abs_diff(reset.ttl) >= OTHER_TTL",
        "other.ttl.abs_diff(reset.ttl) > 255 - OTHER_TTL",
    ),
    mutation(
        "a reset without marks is the end's own",
        RESET,
        "None => by(owner(side), false, !own)",
        "None => by(owner(side), false, own && false)",
    ),
    mutation(
        "an identification that counts the host's packets proves loss",
        IDENTIFICATION,
        "let counts = ones > others;",
        "let counts = ones <= others || ones > others;",
    ),
    mutation(
        "starved cells need no common cause",
        RUN,
        "if undecided.len() * 2 > slow.len() {",
        "if undecided.len() * 2 > slow.len() * 4 {",
    ),
    mutation(
        "a control's slowness is the edge's",
        RUN,
        "if slow_edges.is_empty() { verdicts.iter().filter(found).collect() } else { slow_edges }",
        "if slow_edges.is_empty() { slow_edges } else { verdicts.iter().filter(found).collect() }",
    ),
];
