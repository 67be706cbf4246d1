//! Whose time it was: the owners, and a row for each.

use enumset::EnumSetType;
use serde::{Deserialize, Serialize};

/// Who owns a stretch of time (docs/verdicts.md, "Owners").
#[derive(EnumSetType, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, strum::EnumString, strum::IntoStaticStr)]
#[enumset(serialize_repr = "list")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Owner {
    /// Name resolution.
    Resolver,
    /// The client's program: it computed, or slept by its own choice.
    ClientApp,
    /// The client's machine: the program wanted to run and could not.
    ClientHost,
    /// The client's side; the evidence does not split app from host.
    Client,
    /// The network between them.
    Path,
    /// Lost packets and the wait for their repetition.
    Loss,
    /// The edge's machine, its accept queue included.
    EdgeHost,
    /// The edge's program.
    EdgeApp,
    /// The edge's side; the evidence does not split app from host.
    Edge,
    /// What the protocols demand.
    Protocol,
    /// Nobody the evidence can name.
    Unattributed,
}

/// What is said of an owner: its words, and the owner without what tells app from host.
struct Row(&'static str, Owner);

impl Owner {
    #[inline]
    const fn row(self) -> Row {
        match self {
            Owner::Resolver => Row("resolver", Owner::Resolver),
            Owner::ClientApp => Row("client app", Owner::Client),
            Owner::ClientHost => Row("client host", Owner::Client),
            Owner::Client => Row("client (app or host)", Owner::Client),
            Owner::Path => Row("path", Owner::Path),
            Owner::Loss => Row("loss", Owner::Loss),
            Owner::EdgeHost => Row("edge host", Owner::Edge),
            Owner::EdgeApp => Row("edge app", Owner::Edge),
            Owner::Edge => Row("edge (host or app)", Owner::Edge),
            Owner::Protocol => Row("protocol", Owner::Protocol),
            Owner::Unattributed => Row("unattributed", Owner::Unattributed),
        }
    }

    /// Its name in labels and in files.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// The first owner that the label of a verdict names; absent if it names none (`healthy`, `inconclusive`).
    ///
    /// ```
    /// # use whostalled_analysis::judging::ledger::Owner;
    /// assert_eq!(Owner::named_by("edge_app/asleep + path/detour"), Some(Owner::EdgeApp));
    /// assert_eq!(Owner::named_by("aborted/path"), Some(Owner::Path));
    /// assert_eq!(Owner::named_by("healthy"), None);
    /// ```
    pub fn named_by(label: &str) -> Option<Self> {
        let label = label.strip_prefix("aborted/").or_else(|| label.strip_prefix("aborted_")).unwrap_or(label);
        label.split(['/', ' ']).next()?.parse().ok()
    }

    /// Words for people.
    pub const fn words(self) -> &'static str {
        self.row().0
    }

    /// The owner without what tells app from host.
    #[must_use]
    #[inline]
    pub const fn side(self) -> Self {
        self.row().1
    }

    /// Whether it is `whole`, or the part of it that app or host is.
    pub fn is_of(self, whole: Owner) -> bool {
        self == whole || self.side() == whole
    }
}
