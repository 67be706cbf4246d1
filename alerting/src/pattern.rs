//! What the rounds of a check show together, where no round shows it alone: a vocabulary. Who finds it: `watch`.

use serde::{Deserialize, Serialize};

/// A pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pattern {
    /// Which.
    pub kind: PatternKind,
    /// Rounds within which it comes again.
    pub gap: u32,
}

/// Kinds of patterns; a later one tells more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PatternKind {
    /// A share of the rounds fails, in no order.
    Share,
    /// Connections are refused or reset in spells, and are well between.
    Spells,
    /// Every n-th round fails.
    EveryNth,
    /// Rounds that one backend answers fail, others do not.
    Backend,
}

impl PatternKind {
    /// Its name in files and messages.
    pub fn label(self) -> &'static str {
        self.into()
    }
}
