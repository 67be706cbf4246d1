//! Words of other people's files: shown on terminals, pages and in metrics, so without control characters.

use std::borrow::Cow;

/// Whether a character may be shown: no control character, and none that turns the direction of the text around it.
fn shown(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Words that cannot be shown.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} {text:?} has the control character U+{character:04X}: leave it out")]
pub struct NotPlain {
    /// Whose words they are.
    pub what: String,
    /// The words, as they can be shown.
    pub text: String,
    /// The first character that cannot.
    pub character: u32,
}

impl From<NotPlain> for String {
    fn from(refused: NotPlain) -> Self {
        refused.to_string()
    }
}

/// Refuses words with characters that cannot be shown.
///
/// # Errors
/// Says which character, in words that can be shown.
pub fn plain(what: &str, text: &str) -> Result<(), NotPlain> {
    match text.chars().find(|c| !shown(*c)) {
        Some(c) => Err(NotPlain { what: what.to_owned(), text: visible(text).into_owned(), character: u32::from(c) }),
        None => Ok(()),
    }
}

/// The same for words of several lines: line ends and tabs are no harm.
///
/// # Errors
/// As [`plain`].
pub fn plain_lines(what: &str, text: &str) -> Result<(), NotPlain> {
    text.split(['\n', '\t']).try_for_each(|line| plain(what, line.trim_end_matches('\r')))
}

/// As [`visible`], line by line: line ends and tabs stay.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| shown(c) || matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for piece in text.split_inclusive(['\n', '\t']) {
        let words = piece.trim_end_matches(['\n', '\t']);
        out.push_str(&visible(words));
        out.push_str(&piece[words.len()..]);
    }
    Cow::Owned(out)
}

/// The same text with `\u{1b}` for what cannot be shown.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(shown) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if shown(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    Cow::Owned(out)
}

/// "1 packet", "2 packets".
pub fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused_and_said_without_them() {
        for bad in ["a\u{1b}[31mb", "a\nb", "a\u{7f}", "a\u{9b}31m", "a\u{202e}b"] {
            let error = plain("the name", bad).expect_err(bad).to_string();
            assert!(error.chars().all(shown) && error.contains("U+"), "{error:?}");
            assert!(visible(bad).chars().all(shown));
        }
        assert_eq!(plain("the name", "Zürich → 東京 \"x\""), Ok(()));
        assert_eq!(visible("Zürich"), "Zürich");
        assert_eq!(visible("a\u{1b}b"), "a\\u{1b}b");
        assert_eq!(visible_lines("a\u{1b}\n\tb\n"), "a\\u{1b}\n\tb\n");
        assert!(plain_lines("it", "a\n\tb\r\n").is_ok() && plain_lines("it", "a\nb\u{1b}").is_err());
    }
}
