//! One ledger → one verdict.
//!
//! Rules (docs/method.md, "Verdict"): what lies beyond the baseline is the *excess*. Below the effect floor the
//! handshake is healthy. An owner of at least 60 % of the excess, ahead of the next by twice the error, is the
//! culprit; another of at least 20 % makes it mixed. Time that the evidence cannot give to anyone makes it
//! inconclusive, with what would settle it.

use std::fmt;

use enumset::EnumSet;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::Span;
use crate::conversation::handshake::Handshake;
use crate::conversation::milestone::Milestone;
pub use crate::conversation::reset::Ended;
use crate::conversation::reset::ended;
use crate::judging::ledger::{Entry, Kind, Ledger, Missing, Owner, Phase};

/// No smaller excess is held against anybody.
pub const LEAST_EFFECT: Span = Span::from_millis(12);
/// A second culprit of less than this and less than a fifth of the excess is not named.
const SECOND: Span = Span::from_millis(100);

/// Round trips up to this are ordinary: within a continent.
const ORDINARY_ROUND_TRIP: Span = Span::from_millis(50);

/// How good the evidence is (docs/verdicts.md, "Evidence grades").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The client program's own clock alone.
    App {
        /// Whether its scheduler evidence is there too.
        host: bool,
    },
    /// The client's own socket: kernel timestamps and counters.
    Socket {
        /// Whether the client's scheduler evidence is there too.
        host: bool,
    },
    /// Packets from one end.
    OneEnd {
        /// Whether that end's scheduler evidence is there too.
        host: bool,
    },
    /// Packets from both ends.
    BothEnds {
        /// Whether the client's scheduler evidence is there too.
        host: bool,
    },
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, host) = match self {
            Grade::App { host } => ("app", host),
            Grade::Socket { host } => ("socket", host),
            Grade::OneEnd { host } => ("one end", host),
            Grade::BothEnds { host } => ("both ends", host),
        };
        write!(f, "{name}{}", if *host { " + host" } else { "" })
    }
}

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It completed.
    Complete,
    /// It was none: what answered ClientHello is not TLS, or the TLS lies inside something else. Read to the first answer.
    NotTls,
    /// It never completed.
    Stopped {
        /// The last milestone proven.
        after: Milestone,
    },
}

/// What the evidence of one grade says of one handshake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The evidence.
    pub grade: Grade,
    /// Where the time went.
    pub ledger: Ledger,
    /// How it ended.
    pub end: End,
}

/// An owner found guilty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Culprit {
    /// Whose time it was.
    pub owner: Owner,
    /// Doing what, for the most part.
    pub kind: Option<Kind>,
    /// Time beyond the baseline.
    pub excess: Span,
    /// How far that may be off.
    pub error: Span,
}

impl Culprit {
    /// `owner/kind`, as scenarios write it.
    pub fn label(&self) -> String {
        match self.kind {
            Some(kind) => format!("{}/{}", snake(&self.owner), snake(&kind)),
            None => snake(&self.owner),
        }
    }

    /// Whether a scenario's `owner` or `owner/kind` names this culprit; `client` and `edge` also name
    /// their app and host.
    fn is(&self, pattern: &str) -> bool {
        let (owner, kind) = pattern.split_once('/').map_or((pattern, None), |(o, k)| (o, Some(k)));
        let own = snake(&self.owner);
        (own == owner || (matches!(owner, "client" | "edge") && own.starts_with(owner)))
            && kind.is_none_or(|k| self.kind.is_some_and(|own| snake(&own) == k))
    }
}

/// What is said of one handshake, or of a cell or a run of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Nothing beyond the baseline and the effect floor.
    Healthy,
    /// One owner did it, perhaps with a second.
    Culprit {
        /// The first.
        primary: Culprit,
        /// The second of a mixed case.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        second: Option<Culprit>,
    },
    /// The evidence cannot tell.
    Inconclusive {
        /// Who it may have been.
        candidates: EnumSet<Owner>,
        /// What would tell.
        missing: EnumSet<Missing>,
        /// The time in question.
        excess: Span,
    },
    /// One side ended it.
    Aborted {
        /// Which: the client or the edge.
        by: Owner,
        /// After which milestone.
        after: Milestone,
    },
}

impl Verdict {
    /// Short form: `healthy`, `client_host/cpu_starved`, `path/detour + client_app/asleep`, `inconclusive`.
    pub fn label(&self) -> String {
        match self {
            Verdict::Healthy => "healthy".into(),
            Verdict::Culprit { primary, second: None } => primary.label(),
            Verdict::Culprit { primary, second: Some(second) } => format!("{} + {}", primary.label(), second.label()),
            Verdict::Inconclusive { .. } => "inconclusive".into(),
            Verdict::Aborted { by, .. } => format!("aborted/{}", snake(by)),
        }
    }

    /// Whether this verdict is what a scenario expects: `healthy`, `inconclusive`, `aborted`, `owner`,
    /// `owner/kind`, or two culprits joined by ` + ` in any order.
    pub fn is(&self, expected: &str) -> bool {
        match self {
            Verdict::Culprit { primary, second: None } => primary.is(expected.trim()),
            Verdict::Culprit { primary, second: Some(second) } => expected.split_once('+').is_some_and(|(a, b)| {
                let (a, b) = (a.trim(), b.trim());
                (primary.is(a) && second.is(b)) || (primary.is(b) && second.is(a))
            }),
            Verdict::Aborted { .. } => self.label().starts_with(expected.trim()),
            other => other.label() == expected.trim(),
        }
    }

    /// Whether somebody else than the `end` (client, edge or path) is found guilty.
    fn blames_other_than(&self, end: Owner) -> bool {
        matches!(self, Verdict::Culprit { primary, .. } if primary.owner.side() != end && primary.owner != Owner::Protocol)
    }

    /// Whether `label` (as for [`Self::is`]) is this verdict or names one of its culprits.
    pub fn names(&self, label: &str) -> bool {
        match self {
            Verdict::Culprit { primary, second } => {
                self.is(label) || primary.is(label) || second.as_ref().is_some_and(|s| s.is(label))
            }
            other => other.is(label),
        }
    }
}

/// Whether a scenario's expectation can ever match: catches misspelt owners and kinds.
pub fn is_known_label(label: &str) -> bool {
    fn known<T: serde::de::DeserializeOwned>(word: &str) -> bool {
        T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word)).is_ok()
    }
    matches!(label, "healthy" | "inconclusive" | "aborted" | "aborted/client" | "aborted/edge" | "aborted/path")
        || label.split('+').all(|part| {
            let (owner, kind) = part.trim().split_once('/').map_or((part.trim(), None), |(o, k)| (o, Some(k)));
            known::<Owner>(owner) && kind.is_none_or(known::<Kind>)
        })
}

/// A verdict with the sums behind it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Everything beyond the baseline.
    pub excess: Span,
    /// Below this, nothing is wrong.
    pub floor: Span,
    /// The excess by owner, largest first.
    pub parts: Vec<Culprit>,
    /// What the left-open time needs, if any was left open.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub candidates: EnumSet<Owner>,
    /// What would settle it.
    #[serde(skip_serializing_if = "EnumSet::is_empty", default)]
    pub missing: EnumSet<Missing>,
}

/// Facts beside the ledger that bear on the verdict.
#[derive(Clone, Copy, Default, Debug)]
pub struct Circumstances {
    /// A capture lost packets of this handshake.
    pub capture_incomplete: bool,
    /// The side that ended the handshake by a fatal alert, a reset or FIN; the path, if something on it did.
    pub ended_by: Option<Ended>,
    /// A capture's clock was set while it ran, and by how much is not known.
    pub clock_in_doubt: bool,
    /// Nothing but this handshake tells how long the path's round trip is when well.
    pub path_unknown: bool,
}

impl Circumstances {
    /// Reads them off a handshake.
    pub fn of(handshake: &Handshake) -> Self {
        Self {
            capture_incomplete: handshake.capture_incomplete(),
            ended_by: ended(handshake),
            clock_in_doubt: handshake.clock_in_doubt,
            path_unknown: false,
        }
    }
}

/// Judges one handshake; its ledger's baselines must be set ([`Ledger::apply`]).
pub fn judge(reading: &Reading, circumstances: Circumstances) -> Judgement {
    let ledger = &reading.ledger;
    let floor = match reading.end {
        // What is ordinary for a server that speaks something else, nobody knows.
        End::NotTls => floor(ledger).max(ORDINARY_ROUND_TRIP),
        End::Complete | End::Stopped { .. } => floor(ledger),
    };
    let parts = excess_by_owner([ledger]);
    let is_open = |e: &&Entry| e.owner_of_excess() == Owner::Unattributed && e.excess() > Span::ZERO;
    let left_open: Span = ledger.entries.iter().filter(is_open).map(Entry::excess).sum();
    // What is a tenth of it or less settles nothing.
    let open = || ledger.entries.iter().filter(is_open).filter(|e| e.excess() * 10 >= left_open);
    let mut candidates: EnumSet<Owner> = whole(open().map(|e| e.candidates).collect());
    let mut missing: EnumSet<Missing> = open().map(|e| e.missing).collect();
    let excess = parts.iter().map(|p| p.excess).sum();
    // Small excesses of several owners are what handshakes are like.
    let most = parts.iter().map(|p| p.excess).max().unwrap_or_default();
    let blamed = if most < floor { Verdict::Healthy } else { decide(&parts, floor, candidates, missing) };
    let verdict = match (reading.end, circumstances.ended_by) {
        // Whoever gave up waiting for the other, or for the network, did not end it.
        (End::Stopped { after }, Some(Ended { by, alert, unproven, waited }))
            if alert
                || by == Owner::Path
                || most < floor
                || gave_up_nothing(ledger, waited, floor)
                || may_have_stalled(ledger, by) && !blamed.blames_other_than(by) =>
        {
            if unproven {
                candidates = by | Owner::Path;
                missing = if by == Owner::Client { Missing::ClientCapture } else { Missing::EdgeCapture }.into();
                Verdict::Inconclusive { candidates, missing, excess }
            } else {
                Verdict::Aborted { by, after }
            }
        }
        _ if most < floor => match reading.end {
            End::Complete | End::NotTls => Verdict::Healthy,
            // Nobody ended it, as far as the capture shows: it may have gone on behind it.
            End::Stopped { after } => {
                candidates = due(after) | Owner::Path | Owner::Loss;
                missing = Missing::LongerCapture.into();
                Verdict::Inconclusive { candidates, missing, excess }
            }
        },
        _ => blamed,
    };
    let mut judgement = Judgement { verdict, excess, floor, parts, candidates: whole(candidates), missing };
    if circumstances.capture_incomplete {
        doubt_lossy_capture(&mut judgement, reading.end);
    }
    if circumstances.clock_in_doubt {
        let candidates = judgement.parts.iter().map(|p| p.owner).collect();
        judgement.leave_open(candidates, Missing::SteadyClock);
    }
    if circumstances.path_unknown {
        doubt_long_path(&mut judgement, ledger);
    }
    judgement
}

/// Owners who may have done something: nobody who is nobody, and no part beside its whole.
fn whole(mut candidates: EnumSet<Owner>) -> EnumSet<Owner> {
    candidates.remove(Owner::Unattributed);
    candidates.remove(Owner::Protocol);
    for (whole, parts) in [(Owner::Client, Owner::ClientApp | Owner::ClientHost), (Owner::Edge, Owner::EdgeApp | Owner::EdgeHost)]
    {
        if candidates.contains(whole) {
            candidates -= parts;
        }
    }
    candidates
}

/// Below this, nothing is wrong: single packets that come some ms late are ordinary, and each stretch varies by itself.
pub fn floor(ledger: &Ledger) -> Span {
    let variance: f64 = ledger.entries.iter().map(|e| e.spread.millis().powi(2)).sum();
    LEAST_EFFECT.max(Span::from_micros((4_000.0 * variance.sqrt()) as i64))
}

/// Who is due behind this milestone.
fn due(after: Milestone) -> Owner {
    match after {
        Milestone::SynAck | Milestone::ServerFlightEnd => Owner::Client,
        _ => Owner::Edge,
    }
}

/// Whether the last stretch of a handshake that stopped may have been this end's own.
fn may_have_stalled(ledger: &Ledger, end: Owner) -> bool {
    ledger.entries.last().is_none_or(|last| match last.owner {
        // Nothing was waited for when it ended.
        _ if last.round_trip => true,
        Owner::Unattributed => last.candidates.iter().any(|owner| owner.side() == end),
        owner => owner.side() == end,
    })
}

/// Whether whoever ended it had not even waited for a round trip.
fn gave_up_nothing(ledger: &Ledger, waited: Span, floor: Span) -> bool {
    ledger.min_path().is_some_and(|round_trip| waited < round_trip + floor)
}

impl Judgement {
    /// Makes it inconclusive: it may have been any of `candidates`, and `missing` would tell.
    pub fn leave_open(&mut self, candidates: EnumSet<Owner>, missing: Missing) {
        let candidates = whole(candidates);
        (self.candidates, self.missing) = (candidates, missing.into());
        self.verdict = Verdict::Inconclusive { candidates, missing: self.missing, excess: self.excess };
    }
}

/// A lone handshake cannot know that all its round trips are longer than usual; where they are long, it should not
/// say that all is well.
fn doubt_long_path(judgement: &mut Judgement, ledger: &Ledger) {
    let long = ledger.min_path().is_some_and(|least| least >= ORDINARY_ROUND_TRIP);
    if long && judgement.verdict == Verdict::Healthy {
        judgement.excess = ledger.path_spans().map(|span| span - ORDINARY_ROUND_TRIP).sum();
        judgement.leave_open(Owner::Path.into(), Missing::PathBaseline);
    }
}

/// A capture that lost packets cannot convict anybody of losing or delaying what it may have missed itself. What it shows of the
/// client between two packets that it did see stands.
fn doubt_lossy_capture(judgement: &mut Judgement, end: End) {
    let stands = match &judgement.verdict {
        Verdict::Culprit { primary, second: None } => {
            matches!(primary.owner.side(), Owner::Client | Owner::Resolver) && end == End::Complete
        }
        Verdict::Culprit { .. } | Verdict::Aborted { .. } => false,
        Verdict::Healthy | Verdict::Inconclusive { .. } => true,
    };
    if !stands {
        let owners = judgement.parts.iter().map(|p| p.owner).filter(|o| *o != Owner::Unattributed).collect();
        judgement.leave_open(owners, Missing::LosslessCapture);
    }
}

/// The excess of some ledgers by owner, largest first; each with the kind that most of it is.
pub fn excess_by_owner<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>) -> Vec<Culprit> {
    // A handful of owners and kinds: looking through them is quicker than any map.
    let mut parts: Vec<Culprit> = Vec::new();
    let mut kinds: SmallVec<[(Owner, Option<Kind>, Span); 8]> = SmallVec::new();
    for entry in ledgers.into_iter().flat_map(|l| &l.entries).filter(|e| e.excess() > Span::ZERO) {
        let (owner, kind, excess) = (entry.owner_of_excess(), entry.kind, entry.excess());
        match parts.iter_mut().find(|p| p.owner == owner) {
            Some(part) => {
                part.excess += excess;
                part.error += entry.error;
            }
            None => parts.push(Culprit { owner, kind: None, excess, error: entry.error }),
        }
        match kinds.iter_mut().find(|(o, k, _)| (*o, *k) == (owner, kind)) {
            Some((_, _, sum)) => *sum += excess,
            None => kinds.push((owner, kind, excess)),
        }
    }
    for part in &mut parts {
        let of_owner = kinds.iter().filter(|(owner, ..)| *owner == part.owner);
        part.kind = of_owner.max_by_key(|(_, kind, sum)| (*sum, *kind)).and_then(|(_, kind, _)| *kind);
    }
    parts.sort_unstable_by_key(|p| (std::cmp::Reverse(p.excess), p.owner));
    parts
}

/// Applies the 60 % and 20 % rules to an excess that is above the floor.
///
/// What the protocols demand is nobody's stall: it is named only where all else together is below the floor.
pub fn decide(parts: &[Culprit], floor: Span, candidates: EnumSet<Owner>, missing: EnumSet<Missing>) -> Verdict {
    let (protocol, others): (Vec<Culprit>, Vec<Culprit>) = parts.iter().cloned().partition(|p| p.owner == Owner::Protocol);
    let most = others.iter().map(|p| p.excess).max().unwrap_or_default();
    let parts = if most >= floor || protocol.is_empty() { &others } else { &protocol };
    let total: Span = parts.iter().map(|p| p.excess).sum();
    let share = |p: &Culprit| p.excess.fraction_of(total);
    let inconclusive = || Verdict::Inconclusive { candidates, missing, excess: total };
    let Some(first) = parts.first() else { return Verdict::Healthy };
    let next = parts.get(1);
    // Whoever the open time belongs to, an owner of so much of the rest is one of two at least.
    let certain = || {
        let named = parts.iter().find(|p| p.owner != Owner::Unattributed)?;
        let open = parts.iter().any(|p| p.owner == Owner::Unattributed);
        (open && named.excess >= floor && share(named) >= 0.4).then(|| Verdict::Culprit { primary: named.clone(), second: None })
    };
    if first.owner == Owner::Unattributed {
        return certain().unwrap_or_else(inconclusive);
    }
    let weighty = |p: &Culprit| p.owner != Owner::Unattributed && p.excess >= floor && (share(p) >= 0.2 || p.excess >= SECOND);
    let second = next.filter(|p| weighty(p)).cloned();
    let clear = next.is_none_or(|n| {
        first.excess - n.excess >= (first.error.min(first.excess.percent(20))).percent(200).min(first.excess.percent(50))
    });
    let both = share(first) + second.as_ref().map_or(0.0, share);
    if (share(first) >= 0.6 && (clear || second.is_some())) || both >= 0.7 {
        Verdict::Culprit { primary: first.clone(), second }
    } else {
        certain().unwrap_or_else(inconclusive)
    }
}

/// The `snake_case` name that serde gives a unit variant.
pub(crate) fn snake<T: Serialize + fmt::Debug>(value: &T) -> String {
    let mut name = String::new();
    for c in format!("{value:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

/// Words for an owner, for people.
pub fn owner_words(owner: Owner) -> &'static str {
    match owner {
        Owner::Resolver => "resolver",
        Owner::ClientApp => "client app",
        Owner::ClientHost => "client host",
        Owner::Client => "client (app or host)",
        Owner::Path => "path",
        Owner::Loss => "loss",
        Owner::EdgeHost => "edge host",
        Owner::EdgeApp => "edge app",
        Owner::Edge => "edge (host or app)",
        Owner::Protocol => "protocol",
        Owner::Unattributed => "unattributed",
    }
}

/// Words for a kind, for people.
pub fn kind_words(kind: Kind) -> &'static str {
    match kind {
        Kind::CpuStarved => "waiting for a CPU",
        Kind::Stopped => "stopped",
        Kind::CpuStolen => "CPU taken by the hypervisor",
        Kind::Asleep => "asleep",
        Kind::Idle => "had nothing to say yet",
        Kind::Computing => "computing",
        Kind::Dependency => "waiting for somebody else's answer",
        Kind::ZeroWindow => "receive window closed",
        Kind::Detour => "round trip, longer throughout",
        Kind::Delay => "round trip",
        Kind::Out => "from the client",
        Kind::Back => "from the edge",
        Kind::MtuBlackhole => "full-size packets vanish",
        Kind::AcceptQueue => "accept queue",
        Kind::OldConnection => "held an old connection",
        Kind::IgnoredTooBig => "deaf to ICMP",
        Kind::Lookup => "lookup",
        Kind::ReceiveWindow => "small receive window",
        Kind::HelloRetry => "HelloRetryRequest",
        Kind::InitialWindow => "initial window",
        Kind::Nagle => "small segment held (Nagle)",
        Kind::FinalAck => "last acknowledgement",
    }
}

/// Words for a phase, for people.
pub fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "name lookup",
        Phase::Attempts => "other addresses",
        Phase::Connect => "TCP connect",
        Phase::BeforeTls => "plaintext before TLS",
        Phase::ClientHello => "client before ClientHello",
        Phase::HelloRetry => "ClientHello to HelloRetryRequest",
        Phase::ServerFlight => "ClientHello to server flight",
        Phase::ClientFinished => "client before Finished",
        Phase::Finish => "Finished to the edge",
        Phase::Request => "request to its first answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn culprit(owner: Owner, ms: i64) -> Culprit {
        Culprit { owner, kind: None, excess: Span::from_millis(ms), error: Span::from_millis(1) }
    }
    fn verdict(parts: &[Culprit]) -> String {
        decide(parts, Span::from_millis(5), EnumSet::empty(), EnumSet::empty()).label()
    }

    #[test]
    fn sixty_percent_convicts_and_twenty_makes_it_mixed() {
        assert_eq!(verdict(&[culprit(Owner::Client, 90), culprit(Owner::Path, 10)]), "client");
        assert_eq!(verdict(&[culprit(Owner::Client, 70), culprit(Owner::Path, 30)]), "client + path");
        assert_eq!(verdict(&[culprit(Owner::Unattributed, 70), culprit(Owner::Path, 30)]), "inconclusive");
        assert_eq!(verdict(&[culprit(Owner::Client, 30), culprit(Owner::Path, 29), culprit(Owner::Loss, 28)]), "inconclusive");
    }

    #[test]
    fn expectations_match_in_any_order_and_by_family() {
        let mixed =
            decide(&[culprit(Owner::ClientApp, 60), culprit(Owner::Path, 40)], Span::ZERO, EnumSet::empty(), EnumSet::empty());
        assert!(mixed.is("path + client") && mixed.is("client_app + path"));
        assert!(!mixed.is("client") && !mixed.is("path"));
        assert!(!decide(&[culprit(Owner::ClientApp, 60)], Span::ZERO, EnumSet::empty(), EnumSet::empty()).is("client_host"));
    }

    #[test]
    fn names_agree_with_serde() {
        for owner in [Owner::ClientApp, Owner::Unattributed, Owner::EdgeHost] {
            assert_eq!(format!("\"{}\"", snake(&owner)), serde_json::to_string(&owner).expect("owners serialise"));
        }
        for phase in [Phase::Dns, Phase::BeforeTls, Phase::HelloRetry, Phase::ServerFlight, Phase::Finish] {
            assert_eq!(format!("\"{}\"", phase.name()), serde_json::to_string(&phase).expect("phases serialise"));
        }
        assert!(is_known_label("client_host/cpu_starved") && is_known_label("path/detour + client"));
        assert!(!is_known_label("clinet") && !is_known_label("path/detuor"));
    }
}
