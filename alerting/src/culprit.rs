//! Whom an alert names: a closed vocabulary, and a row for each.

use std::fmt;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

/// Whose fault, as far as an alert goes: an owner without what tells app from host, or what only whoever alerts can know.
///
/// In JSON, in SQL and in labels it is its name in snake case.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Culprit {
    /// Name resolution.
    Resolver,
    /// The network between prober and edge.
    Path,
    /// Lost packets.
    Loss,
    /// The edge.
    Edge,
    /// What the protocols demand, or that both sides have none in common.
    Protocol,
    /// The prober's own access: the control targets are slow too.
    Access,
    /// The edge's certificate: it expires soon.
    Certificate,
    /// The prober itself.
    Prober,
    /// Nobody the evidence can name.
    Inconclusive,
}

impl Culprit {
    /// All there are.
    pub const ALL: &[Culprit] = <Culprit as strum::VariantArray>::VARIANTS;

    /// Its name in labels, in files and in messages.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Culprit::Resolver => "name lookups are slow or fail",
            Culprit::Path => "the path is longer than usual",
            Culprit::Loss => "packets are lost",
            Culprit::Edge => "the edge is slow or fails",
            Culprit::Protocol => "the protocols cost more round trips than usual, or our client has none in common with the edge",
            Culprit::Access => "our own access is slow: control targets are slow too",
            Culprit::Certificate => "the certificate expires soon",
            Culprit::Prober => "the prober itself",
            Culprit::Inconclusive => "slow, and the evidence does not say who",
        }
    }

    /// Who it is, in words for people.
    pub const fn whose(self) -> &'static str {
        match self {
            Culprit::Resolver => "the resolver",
            Culprit::Path => "the path",
            Culprit::Loss => "packet loss",
            Culprit::Edge | Culprit::Certificate => "the edge",
            Culprit::Protocol => "the protocols",
            Culprit::Access => "our own access",
            Culprit::Prober => "the prober itself",
            Culprit::Inconclusive => "the evidence does not say who",
        }
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl ToSql for Culprit {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.label().to_sql()
    }
}

impl FromSql for Culprit {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|unknown: strum::ParseError| FromSqlError::Other(Box::new(unknown)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_culprit_is_its_label_in_json_in_sql_and_in_text() {
        let db = rusqlite::Connection::open_in_memory().expect("a database in memory");
        for culprit in Culprit::ALL {
            let label = culprit.label();
            assert_eq!(serde_json::to_string(culprit).expect("a word"), format!("\"{label}\""));
            assert_eq!(serde_json::from_str::<Culprit>(&format!("\"{label}\"")).expect("a word"), *culprit);
            assert_eq!((culprit.to_string(), label.parse()), (label.to_owned(), Ok(*culprit)));
            let (text, back): (String, Culprit) =
                db.query_row("SELECT ?1, ?1", [culprit], |r| Ok((r.get(0)?, r.get(1)?))).expect("it is read");
            assert_eq!((text.as_str(), back), (label, *culprit));
        }
        let unknown = db.query_row("SELECT 'edgy'", [], |r| r.get::<_, Culprit>(0));
        assert!(unknown.is_err(), "{unknown:?}");
        assert_eq!(format!("{:<8}|", Culprit::Edge), "edge    |", "tables are aligned by it");
    }

    #[test]
    fn each_has_words_of_its_own() {
        let words: BTreeSet<&str> = Culprit::ALL.iter().map(|culprit| culprit.words()).collect();
        assert_eq!(words.len(), Culprit::ALL.len());
    }
}
