//! One ledger → one verdict.
//!
//! Rules (docs/method.md, "Verdict"): what lies beyond the baseline is the *excess*. Below the effect floor the
//! handshake is healthy. An owner of at least 60 % of the excess, ahead of the next by twice the error, is the
//! culprit; another of at least 20 % makes it mixed. Time that the evidence cannot give to anyone makes it
//! inconclusive, with what would settle it. The numbers are [`policy`]'s.

use enumset::EnumSet;
use smallvec::SmallVec;

use crate::clock::Span;
use crate::conversation::handshake::Handshake;
use crate::conversation::milestone::Milestone;
use crate::conversation::reset::{Ended, ended};
use crate::judging::ledger::{Entry, Ledger};
use crate::judging::policy;
use crate::judging::verdict::{Culprit, End, Judgement, Reading, Verdict, whole};
use crate::judging::vocabulary::{Kind, Missing, Owner};

/// Facts beside the ledger that bear on the verdict.
#[derive(Clone, Copy, Default, Debug)]
pub struct Circumstances {
    /// A capture lost packets of this handshake.
    pub capture_incomplete: bool,
    /// Packets were cut off, and what they held nothing else told.
    pub cut_off: bool,
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
            cut_off: handshake.dialogue.cut,
            ended_by: ended(handshake),
            clock_in_doubt: handshake.clock_in_doubt,
            path_unknown: false,
        }
    }
}

/// Judges one handshake; its ledger's baselines must be set ([`Ledger::apply`]).
///
/// ```
/// use whostalled_analysis::clock::Span;
/// use whostalled_analysis::judging::ledger::{Baseline, Entry, Ledger, Owner, Phase};
/// use whostalled_analysis::judging::verdict::{Circumstances, End, Grade, Reading, judge};
///
/// let mut ledger = Ledger::open(Span::from_millis(340));
/// ledger.charge(Entry::round_trip(Phase::Connect, Span::from_millis(40), Span::ZERO));
/// ledger.charge(Entry::new(Phase::ServerFlight, Owner::Edge, None, Span::from_millis(300), Span::ZERO));
/// ledger.apply(&Baseline::default());
/// let reading = Reading { grade: Grade::BothEnds { host: false }, ledger, end: End::Complete };
/// assert_eq!(judge(&reading, Circumstances::default()).verdict.label(), "edge");
/// ```
pub fn judge(reading: &Reading, circumstances: Circumstances) -> Judgement {
    let ledger = &reading.ledger;
    let floor = match reading.end {
        // What is ordinary for a server that speaks something else, nobody knows.
        End::NotTls => floor(ledger).max(policy::ORDINARY_ROUND_TRIP),
        End::Complete | End::Stopped { .. } => floor(ledger),
    };
    let parts = excess_by_owner([ledger]);
    let is_open = |e: &&Entry| e.owner_of_excess() == Owner::Unattributed && e.excess() > Span::ZERO;
    let left_open: Span = ledger.entries.iter().filter(is_open).map(Entry::excess).sum();
    // What is less than a tenth of it settles nothing.
    let open = || ledger.entries.iter().filter(is_open).filter(|e| e.excess() * policy::OPEN_PARTS >= left_open);
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
    let stands = matches!(judgement.verdict, Verdict::Inconclusive { .. });
    if circumstances.cut_off && matches!(reading.end, End::Stopped { .. }) && !stands {
        leave_end_open(&mut judgement, Missing::WholePackets);
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

/// Below this, nothing is wrong: single packets that come some ms late are ordinary, and each stretch varies by itself.
pub fn floor(ledger: &Ledger) -> Span {
    let variance: f64 = ledger.entries.iter().map(|e| e.spread.millis().powi(2)).sum();
    policy::LEAST_EFFECT.max(Span::from_micros((policy::FLOOR_DEVIATIONS * 1_000.0 * variance.sqrt()) as i64))
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
    // The rounds behind it are the way to whoever was waited for.
    ledger.entries.iter().rfind(|e| !e.round_trip).is_none_or(|last| match last.owner {
        // Nothing was waited for when it ended.
        _ if last.excess() < policy::LEAST_EFFECT => true,
        Owner::Unattributed => last.candidates.iter().any(|owner| owner.side() == end),
        owner => owner.side() == end,
    })
}

/// Whether whoever ended it had not even waited for a round trip.
fn gave_up_nothing(ledger: &Ledger, waited: Span, floor: Span) -> bool {
    ledger.min_path().is_some_and(|round_trip| waited < round_trip + floor)
}

/// A lone handshake cannot know that all its round trips are longer than usual; where they are long, it should not
/// say that all is well.
fn doubt_long_path(judgement: &mut Judgement, ledger: &Ledger) {
    let long = ledger.min_path().is_some_and(|least| least >= policy::ORDINARY_ROUND_TRIP);
    if long && judgement.verdict == Verdict::Healthy {
        judgement.excess = ledger.path_spans().map(|span| span - policy::ORDINARY_ROUND_TRIP).sum();
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
        leave_end_open(judgement, Missing::LosslessCapture);
    }
}

/// What the capture shows is not all that was said.
fn leave_end_open(judgement: &mut Judgement, missing: Missing) {
    let owners: EnumSet<Owner> = judgement.parts.iter().map(|p| p.owner).filter(|o| *o != Owner::Unattributed).collect();
    // Where nothing was slow, it is its end that is not known: any may have brought it about.
    let any = if judgement.was_slow() { EnumSet::empty() } else { Owner::Client | Owner::Edge | Owner::Path };
    judgement.leave_open(owners | any, missing);
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

/// Applies the rules of shares to an excess that is above the floor.
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
        (open && named.excess >= floor && share(named) >= policy::CERTAIN_SHARE)
            .then(|| Verdict::Culprit { primary: named.clone(), second: None })
    };
    if first.owner == Owner::Unattributed {
        return certain().unwrap_or_else(inconclusive);
    }
    let weighty = |p: &Culprit| {
        p.owner != Owner::Unattributed && p.excess >= floor && (share(p) >= policy::SECOND_SHARE || p.excess >= policy::SECOND)
    };
    let second = next.filter(|p| weighty(p)).cloned();
    let clear = next.is_none_or(|n| {
        let error = first.error.min(first.excess.percent(policy::MOST_ERROR));
        first.excess - n.excess >= error.percent(policy::CLEAR_LEAD).min(first.excess.percent(policy::MOST_LEAD))
    });
    let both = share(first) + second.as_ref().map_or(0.0, share);
    if (share(first) >= policy::CULPRIT_SHARE && (clear || second.is_some())) || both >= policy::BOTH_SHARE {
        Verdict::Culprit { primary: first.clone(), second }
    } else {
        certain().unwrap_or_else(inconclusive)
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
    fn an_aborted_verdict_is_named_in_full() {
        let aborted = Verdict::Aborted { by: Owner::Edge, after: Milestone::ClientHello };
        assert!(aborted.is("aborted") && aborted.is(" aborted/edge "));
        assert!(["", "abort", "aborted/", "aborted/e", "aborted/client"].iter().all(|pattern| !aborted.is(pattern)));
    }
}
