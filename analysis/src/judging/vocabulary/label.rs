//! Labels as people write them: `path/detour`, `client + path`, `aborted/edge`.
//!
//! In: text of a scenario or of a command line. Out: a [`Label`], or an [`UnknownLabel`] that says what could be meant.

use std::fmt;
use std::str::FromStr;

use enumset::EnumSet;

use super::{Kind, Owner};

/// `owner` or `owner/kind`, as scenarios write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    /// Whose time.
    pub owner: Owner,
    /// Doing what; any kind if absent.
    pub kind: Option<Kind>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.owner.label())?;
        self.kind.map_or(Ok(()), |kind| write!(f, "/{}", kind.label()))
    }
}

impl Label {
    /// Whether it names this owner and kind; `client` and `edge` also name their app and host.
    pub fn names(self, owner: Owner, kind: Option<Kind>) -> bool {
        owner.is_of(self.owner) && self.kind.is_none_or(|k| kind == Some(k))
    }

    /// Whether a verdict can bear it: no path is ever asleep.
    fn is_possible(self) -> bool {
        self.kind.is_none_or(|kind| kind.owners().iter().any(|owner| owner.is_of(self.owner)))
    }

    /// Checks what a scenario expects of a verdict, or a filter asks for: whether any verdict can be that.
    ///
    /// # Errors
    /// Says what could be meant.
    pub fn check(expected: &str) -> Result<(), UnknownLabel> {
        let whole = ["healthy", "inconclusive", "aborted", "aborted/client", "aborted/edge", "aborted/path", "aborted/resolver"];
        if whole.contains(&expected) {
            return Ok(());
        }
        match expected.split_once('+') {
            Some((a, b)) => a.parse::<Label>().and(b.parse()),
            None => expected.parse::<Label>(),
        }
        .map(|_| ())
    }
}

/// A verdict's label in words for people: `edge_app/asleep` is "edge app, asleep". What is no label stays as it is.
pub fn in_words(label: &str) -> String {
    let one = |label: &str| match label.split_once('/') {
        Some(("aborted", by)) => Some(format!("ended by the {by}")),
        _ => label.parse::<Label>().ok().map(|Label { owner, kind }| match kind {
            Some(kind) => format!("{}, {}", owner.words(), kind.words()),
            None => owner.words().to_owned(),
        }),
    };
    let all: Vec<String> = label.split(" + ").map(|part| one(part).unwrap_or_else(|| part.replace('_', " "))).collect();
    all.join(" and ")
}

/// What is no label.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnknownLabel {
    /// Nobody is called so.
    #[error("{word:?} is no owner; owners are {}", owners(EnumSet::all()))]
    Owner {
        /// What was written.
        word: String,
    },
    /// Nothing is called so.
    #[error("{word:?} is no kind; {}", kinds(.owner))]
    Kind {
        /// Of whom it was said.
        owner: Owner,
        /// What was written.
        word: String,
    },
    /// This owner never does that.
    #[error("{} is never {:?}, which {} may have; {}", .owner.label(), .kind.label(), owners(.kind.owners()), kinds(.owner))]
    Pair {
        /// Whose time.
        owner: Owner,
        /// Doing what.
        kind: Kind,
    },
}

fn list(labels: impl Iterator<Item = &'static str>) -> String {
    labels.collect::<Vec<_>>().join(", ")
}

fn owners(owners: EnumSet<Owner>) -> String {
    list(owners.iter().map(Owner::label))
}

/// What an owner may have.
fn kinds(owner: &Owner) -> String {
    let of = |kind: &&Kind| Label { owner: *owner, kind: Some(**kind) }.is_possible();
    match list(Kind::ALL.iter().filter(of).map(|kind| kind.label())) {
        none if none.is_empty() => format!("{} has no kinds", owner.label()),
        some => format!("{} may have {some}", owner.label()),
    }
}

impl FromStr for Label {
    type Err = UnknownLabel;

    fn from_str(text: &str) -> Result<Self, UnknownLabel> {
        let (owner, kind) = text.trim().split_once('/').map_or((text.trim(), None), |(owner, kind)| (owner, Some(kind)));
        let owner = owner.parse::<Owner>().map_err(|_| UnknownLabel::Owner { word: owner.to_owned() })?;
        let kind = kind.map(|kind| kind.parse::<Kind>().map_err(|_| UnknownLabel::Kind { owner, word: kind.to_owned() }));
        let label = Label { owner, kind: kind.transpose()? };
        match label.kind.filter(|_| !label.is_possible()) {
            Some(kind) => Err(UnknownLabel::Pair { owner, kind }),
            None => Ok(label),
        }
    }
}
