//! Where in a TOML file something is wrong.
//!
//! Rules that no type knows (two checks of one name, a port without a host) are found after the file was read, when lines are gone. A
//! [`Wrong`] names the place by keys and numbers; [`Wrong::said`] finds its line in the text again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A step on the way to a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list, from 0.
    Nth(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(n: usize) -> Self {
        Step::Nth(n)
    }
}

/// Something wrong in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// The way to it, from the outside.
    pub way: Vec<Step>,
    /// What.
    pub what: String,
}

impl Wrong {
    /// Something wrong with the file as a whole.
    pub fn new(what: impl Into<String>) -> Self {
        Self { way: Vec::new(), what: what.into() }
    }

    /// Something wrong with the value of `key`.
    pub fn at(key: &str, what: impl Into<String>) -> Self {
        Self::new(what).within(key)
    }

    /// The same, seen from one level further out.
    #[must_use]
    pub fn within(mut self, step: impl Into<Step>) -> Self {
        self.way.insert(0, step.into());
        self
    }

    /// The same, with words before it.
    #[must_use]
    pub fn of(mut self, whose: &str) -> Self {
        self.what = format!("{whose}: {}", self.what);
        self
    }

    /// `line 4, column 1: what`, for the text it is about; without a place where it has none (a table that is missing).
    pub fn said(&self, text: &str) -> String {
        match self.span(text) {
            Some(span) => format!("{}: {}", position(text, span.start), self.what),
            None => self.what.clone(),
        }
    }

    /// As [`Self::said`], with the line itself below. Not for files with secrets.
    pub fn shown(&self, text: &str) -> String {
        let Some(span) = self.span(text) else { return self.what.clone() };
        let line = line(text, span.start);
        let own = text.lines().nth(line - 1).unwrap_or_default();
        format!("{}: {}\n  {line} | {}", position(text, span.start), self.what, crate::words::visible(own))
    }

    fn span(&self, text: &str) -> Option<Range<usize>> {
        let root = DeTable::parse(text).ok()?;
        find(root.get_ref(), &self.way)
    }
}

/// The place that is as near to the end of the way as the text has it.
fn find(root: &DeTable<'_>, way: &[Step]) -> Option<Range<usize>> {
    let mut steps = way.iter();
    let Some(Step::Key(key)) = steps.next() else { return None };
    let (mut place, mut value) = entry(root, key)?;
    for step in steps {
        let next = match (step, value.get_ref()) {
            (Step::Key(key), DeValue::Table(table)) => entry(table, key),
            (Step::Nth(n), DeValue::Array(items)) => items.get(*n).map(|item| (item.span(), item)),
            _ => None,
        };
        let Some(next) = next else { break };
        (place, value) = next;
    }
    Some(place)
}

/// A key's place and value. A table is where its head is, which for `[a.b]` is the key's place too.
fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<(Range<usize>, &'t Spanned<DeValue<'i>>)> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(name, value)| (name.span(), value))
}

/// The line of a byte, from 1.
pub fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// Where a byte is, for people: line and column (in characters), both from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// The position of a byte.
pub fn position(text: &str, at: usize) -> Position {
    let before = &text.as_bytes()[..at.min(text.len())];
    let own = before.iter().rposition(|b| *b == b'\n').map_or(before, |end| &before[end + 1..]);
    Position { line: line(text, at), column: String::from_utf8_lossy(own).chars().count() + 1 }
}

/// A TOML error in words, with its place, and without the line's text, which may hold a secret.
pub fn unread(text: &str, error: &toml::de::Error) -> String {
    let what = crate::words::visible(error.message());
    match error.span() {
        Some(span) => format!("{}: {}", position(text, span.start), what.trim_end()),
        None => what.trim_end().to_owned(),
    }
}

/// What is wrong in an item of the list `list` (`[[receiver]]`) whose type `kind` tells, with the place of the field: an enum that serde
/// tells apart by a tag forgets where its fields were written. `T` has the kinds around their fields (`{ webhook = { … } }`). Absent if
/// every item can be read.
pub fn unread_of_kind<T: DeserializeOwned>(text: &str, list: &str) -> Option<String> {
    let mut root = DeTable::parse(text).ok()?;
    let Some(DeValue::Array(items)) = root.get_mut().get_mut(list).map(Spanned::get_mut) else { return None };
    for item in items.iter_mut() {
        let span = item.span();
        let DeValue::Table(fields) = item.get_mut() else { continue };
        let Some(kind) = fields.remove("kind") else { continue };
        let (place, DeValue::String(name)) = (kind.span(), kind.into_inner()) else { continue };
        let mut below = DeTable::new();
        below.insert(Spanned::new(place, name), Spanned::new(span, DeValue::Table(std::mem::take(fields))));
        *item.get_mut() = DeValue::Table(below);
        if let Err(mut error) = T::deserialize(ValueDeserializer::from(item.clone())) {
            error.set_input(Some(text));
            return Some(unread(text, &error));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "a = 1\n\n[[check]]\nname = \"x\"\n\n[[check]]\nname = \"y\"\nlabels = { one = \"1\" }\n[faults.q]\ncpus = 9\n";

    fn said(way: &[Step]) -> String {
        Wrong { way: way.to_vec(), what: "no".into() }.said(TEXT)
    }

    #[test]
    fn a_place_is_found_again_by_its_line() {
        assert_eq!(said(&["a".into()]), "line 1, column 1: no");
        assert_eq!(said(&["check".into(), 0.into()]), "line 3, column 1: no");
        assert_eq!(said(&["check".into(), 1.into(), "name".into()]), "line 7, column 1: no");
        assert_eq!(said(&["check".into(), 1.into(), "labels".into(), "one".into()]), "line 8, column 12: no");
        assert_eq!(said(&["faults".into(), "q".into(), "cpus".into()]), "line 10, column 1: no");
        assert_eq!(
            said(&["faults".into(), "q".into(), "burners".into()]),
            "line 9, column 9: no",
            "what is not there: where it would be"
        );
        assert_eq!(said(&["nothing".into()]), "no");
        assert_eq!(said(&[]), "no");
    }

    #[test]
    fn an_error_of_toml_does_not_show_the_lines_text() {
        let text = "a = 1\npassword = \"hunter2\n";
        let error = toml::from_str::<toml::Table>(text).expect_err("it does not end");
        let said = unread(text, &error);
        assert!(said.starts_with("line 2, column ") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_field_of_an_item_of_a_kind_is_found_by_its_place() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Hook {
            #[expect(dead_code, reason = "only whether it can be read counts")]
            port: u16,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kinds {
            Hook(#[expect(dead_code, reason = "only whether it can be read counts")] Hook),
        }
        let said = |rest: &str| unread_of_kind::<Kinds>(&format!("[[to]]\nkind = \"hook\"\nport = 1\n[[to]]\n{rest}\n"), "to");
        assert_eq!(said("kind = \"hook\"\nport = 2"), None);
        assert!(said("kind = \"hook\"\nport = true").is_some_and(|said| said.starts_with("line 6, column 8: ")));
        assert!(said("kind = \"hook\"\nport = 2\nprot = 3").is_some_and(|said| said.starts_with("line 7, column 1: ")));
        assert!(said("kind = \"hok\"").is_some_and(|said| said.starts_with("line 5, column 8: ")));
    }

    #[test]
    fn a_wrong_names_its_place_from_the_inside_out() {
        let wrong = Wrong::at("name", "no").within(1).within("check").of("check \"y\"");
        assert_eq!(wrong.said(TEXT), "line 7, column 1: check \"y\": no");
        assert_eq!(wrong.shown(TEXT), "line 7, column 1: check \"y\": no\n  7 | name = \"y\"");
    }
}
