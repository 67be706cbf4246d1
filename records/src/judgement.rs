//! A judgement as files have it → [`Judgement`].
//!
//! A verdict's fields lie beside the judgement's own. Those of an inconclusive one (`candidates`, `missing`, `excess`) have the same names:
//! they are written twice, the verdict's first, and serde's own reader refuses that. Where some other program has kept only one, it is both.

use std::fmt;

use analysis::judging::verdict::{Judgement, Verdict};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a judgement; for fields of records.
pub(crate) fn judgement<'de, D: Deserializer<'de>>(from: D) -> Result<Judgement, D::Error> {
    from.deserialize_map(Fields)
}

/// As serde reads it, for what may be absent.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Written(#[serde(deserialize_with = "judgement")] pub Judgement);

/// A field that comes once or twice.
struct Twice<T> {
    of_verdict: Option<T>,
    last: Option<T>,
}

impl<T: Clone> Twice<T> {
    const NONE: Self = Self { of_verdict: None, last: None };

    fn put(&mut self, value: T) {
        self.of_verdict.get_or_insert_with(|| value.clone());
        self.last = Some(value);
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Judgement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a judgement")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Judgement, A::Error> {
        let (mut verdict, mut primary, mut second, mut by, mut after) = (None::<String>, None, None, None, None);
        let (mut candidates, mut missing, mut excess) = (Twice::NONE, Twice::NONE, Twice::NONE);
        let (mut floor, mut parts) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "verdict" => verdict = Some(map.next_value()?),
                "primary" => primary = Some(map.next_value()?),
                "second" => second = map.next_value()?,
                "by" => by = Some(map.next_value()?),
                "after" => after = Some(map.next_value()?),
                "candidates" => candidates.put(map.next_value()?),
                "missing" => missing.put(map.next_value()?),
                "excess" => excess.put(map.next_value()?),
                "floor" => floor = Some(map.next_value()?),
                "parts" => parts = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let verdict = match verdict.ok_or_else(|| A::Error::missing_field("verdict"))?.as_str() {
            "healthy" => Verdict::Healthy,
            "culprit" => Verdict::Culprit { primary: there(primary, "primary")?, second },
            "inconclusive" => Verdict::Inconclusive {
                candidates: there(candidates.of_verdict, "candidates")?,
                missing: there(missing.of_verdict, "missing")?,
                excess: there(excess.of_verdict, "excess")?,
            },
            "aborted" => Verdict::Aborted { by: there(by, "by")?, after: there(after, "after")? },
            other => return Err(A::Error::unknown_variant(other, &["healthy", "culprit", "inconclusive", "aborted"])),
        };
        Ok(Judgement {
            verdict,
            excess: there(excess.last, "excess")?,
            floor: there(floor, "floor")?,
            parts: there(parts, "parts")?,
            candidates: candidates.last.unwrap_or_default(),
            missing: missing.last.unwrap_or_default(),
        })
    }
}

fn there<T, E: Error>(field: Option<T>, name: &'static str) -> Result<T, E> {
    field.ok_or_else(|| E::missing_field(name))
}
