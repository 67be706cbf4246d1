//! `kind = "detour"` beside the fields, as files have it, and `detour = { fields }`, as serde reads it without losing the lines.
//!
//! An enum that serde itself tags inside collects the fields first and forgets where they stood.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer, ser::Error};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error as TomlError, ValueDeserializer};

use super::Fault;

/// Puts the fields of each of `root`'s faults below its kind.
///
/// # Errors
/// If a fault has no kind, with its place.
pub(crate) fn by_kind(root: &mut DeTable<'_>) -> Result<(), TomlError> {
    #[derive(Deserialize)]
    #[serde(expecting = "a table with a `kind`")]
    struct Kinded {
        kind: String,
    }
    let Some(DeValue::Table(faults)) = root.get_mut("faults").map(Spanned::get_mut) else { return Ok(()) };
    for (_, fault) in faults.iter_mut() {
        let Kinded { kind } = Kinded::deserialize(ValueDeserializer::from(fault.clone()))?;
        let span = fault.span();
        let DeValue::Table(fields) = fault.get_mut() else { continue };
        let place = fields.remove("kind").map_or_else(|| span.clone(), |value| value.span());
        let fields = Spanned::new(span, DeValue::Table(std::mem::take(fields)));
        let mut below = DeTable::new();
        below.insert(Spanned::new(place, Cow::Owned(kind)), fields);
        *fault.get_mut() = DeValue::Table(below);
    }
    Ok(())
}

/// Writes faults as files have them, the kind first.
///
/// # Errors
/// If the serializer fails.
pub(crate) fn with_kind<S: Serializer>(faults: &BTreeMap<String, Fault>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut written = BTreeMap::new();
    for (name, fault) in faults {
        let value = serde_json::to_value(fault).map_err(S::Error::custom)?;
        let mut flat = Map::new();
        for (kind, fields) in value.as_object().into_iter().flatten() {
            flat.insert("kind".into(), Value::String(kind.clone()));
            flat.extend(fields.as_object().cloned().unwrap_or_default());
        }
        written.insert(name, flat);
    }
    written.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::Length;
    use crate::faults::{Detour, Direction};

    #[test]
    fn faults_are_written_as_they_are_read() {
        #[derive(Serialize)]
        struct Root(#[serde(serialize_with = "with_kind")] BTreeMap<String, Fault>);
        let detour = Detour { from: None, to: "edge".into(), extra_rtt: Length::millis(60), direction: Direction::Both };
        let written =
            serde_json::to_value(Root(BTreeMap::from([("d".to_owned(), Fault::Detour(detour))]))).expect("it is plain data");
        let meant = serde_json::json!({"d": {"kind": "detour", "to": "edge", "extra_rtt": "60ms", "direction": "both"}});
        assert_eq!(written, meant);
    }
}
