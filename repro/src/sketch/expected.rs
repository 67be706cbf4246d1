//! What a run of a sketch must come to: what the evidence said.
//!
//! In: a verdict, or what a report takes for granted. Out: `[expect]` of the scenario, and in words where it is from.

use analysis::judging::verdict::{End, Verdict};
use analysis::judging::vocabulary::Owner;
use enumset::EnumSet;
use records::explained::SeenFrom;
use records::handshake::Judged;
use toml::Spanned;

use super::Piece;
use crate::scenario::{Expect, OneOrMore};

/// Where an expectation is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The evidence says it.
    Said,
    /// The evidence says that all is well, and faults stand for what was ordinary there.
    Ordinary,
    /// The evidence leaves open who it was: any of these.
    LeftOpen,
    /// A report says what was slow, and somebody is suspected of it.
    Suspected,
    /// A report says what was slow; who has that usually is taken.
    Guessed,
}

impl Expected {
    /// Of an expectation in a file, for whoever reads it.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Said => "What the evidence says. `run` ends with exit code 1 when this is no longer what comes out.",
            Self::Ordinary => {
                "The evidence says that all was well: so long was ordinary there. A run has nothing to learn that from, and may blame \
                 whose work the faults above stand for."
            }
            Self::LeftOpen => {
                "The evidence leaves open who it was: any of those whom it may have been will do, and so will that it stays open."
            }
            Self::Suspected => "The suspect of the report: the fault above is that one's.",
            Self::Guessed => "A guess, as the fault above is: a report does not say whose time it was.",
        }
    }
}

/// Of what was judged, and what stands for it. What only the edge's end saw is asked of the edge's end of a run, too.
pub(super) fn of(judged: &Judged, pieces: &[Piece], seen_from: SeenFrom) -> (Expected, Spanned<Expect>) {
    let verdict = &judged.judgement.verdict;
    let (expected, labels) = match verdict {
        Verdict::Inconclusive { candidates, .. } => {
            // Who ended one that never completed is part of what is open.
            let ended = matches!(judged.reading.end, End::Stopped { .. }).then_some("aborted");
            (Expected::LeftOpen, or_any(["inconclusive"].into_iter().chain(ended), candidates.iter()))
        }
        Verdict::Healthy if !pieces.is_empty() => {
            (Expected::Ordinary, or_any(["healthy"], pieces.iter().map(|piece| piece.owner)))
        }
        Verdict::Healthy | Verdict::Culprit { .. } | Verdict::Aborted { .. } => (Expected::Said, OneOrMore::One(verdict.label())),
    };
    let edge_only = (seen_from == SeenFrom::EdgeEnd).then(|| labels.clone());
    (expected, Spanned::new(0..0, Expect { verdict: labels, edge_only, control: None }))
}

/// Of a label.
pub(super) fn of_label(label: String) -> Spanned<Expect> {
    Spanned::new(0..0, Expect { verdict: OneOrMore::One(label), edge_only: None, control: None })
}

/// That, one of those whom it may have been, or two of them.
fn or_any<'a>(said: impl IntoIterator<Item = &'a str>, owners: impl Iterator<Item = Owner>) -> OneOrMore {
    let sides: Vec<Owner> = owners.map(Owner::side).collect::<EnumSet<Owner>>().iter().collect();
    let one = sides.iter().map(|owner| owner.label().to_owned());
    let pairs = sides.iter().enumerate().flat_map(|(n, a)| sides[..n].iter().map(move |b| (b, a)));
    let two = pairs.map(|(a, b)| format!("{} + {}", a.label(), b.label()));
    OneOrMore::More(said.into_iter().map(str::to_owned).chain(one).chain(two).collect())
}
