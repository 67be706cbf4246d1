//! Regular expressions as blackbox_exporter's users write them: RE2 in Go's dialect.
//!
//! In: an expression of Go's `regexp/syntax`. Out: the same for the crate `regex`, which differs in a few places: `{` that repeats nothing
//! is itself, `\d`, `\s`, `\w` and `\b` are ASCII, `\<` is `<`, a bracket or `&&` within a class is itself, `\Q…\E` quotes. And bytes as
//! Go's expressions see them.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use regex::{Regex, RegexBuilder};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Go refuses more repetitions than this.
const MOST_REPETITIONS: u32 = 1000;
/// Bytes that an expression may take when it is read: a class of letters a thousand times is big, and Go takes it.
const MOST_COMPILED: usize = 128 << 20;

/// Text as Go's expressions see it: each byte that is no UTF-8 is one U+FFFD.
pub(crate) fn seen(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// An expression that was read.
#[derive(Clone)]
pub(crate) struct Expression {
    text: String,
    regex: Regex,
}

impl Expression {
    /// Reads one.
    pub fn new(text: &str) -> Result<Self, NoExpression> {
        let wrong = |why: &str| NoExpression { text: text.to_owned(), why: why.to_owned() };
        let translated = Translation::new(text).all().map_err(&wrong)?;
        let regex = RegexBuilder::new(&translated).size_limit(MOST_COMPILED).build().map_err(|error| {
            let error = error.to_string();
            wrong(error.lines().last().unwrap_or_default().trim_start_matches("error: "))
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// What finds it in a text, as [`seen`] has it.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let text = match text.strip_prefix('\0') {
            None => text,
            Some(encoded) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(D::Error::custom)?;
                String::from_utf8(decoded).map_err(|_| D::Error::custom("a regular expression is UTF-8"))?
            }
        };
        Self::new(&text).map_err(D::Error::custom)
    }
}

/// What is no regular expression.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no regular expression: {why}")]
pub(crate) struct NoExpression {
    text: String,
    why: String,
}

/// Reads on, and writes what was read.
struct Translation<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Translation<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, out: String::with_capacity(text.len() + 16) }
    }

    fn all(mut self) -> Result<String, &'static str> {
        let mut repeated = false;
        while let Some(c) = self.next() {
            let repeats = match c {
                '*' | '+' | '?' => true,
                '{' => self.repetition()?,
                _ => false,
            };
            if repeats {
                if repeated {
                    return Err("two repetitions in a row");
                }
                repeated = true;
                if c != '{' {
                    self.out.push(c);
                }
                if let Some(rest) = self.rest.strip_prefix('?') {
                    (self.rest, self.out) = (rest, self.out + "?");
                }
                continue;
            }
            repeated = false;
            match c {
                '{' => self.out.push_str(r"\{"),
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                other => self.out.push(other),
            }
        }
        Ok(self.out)
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    /// What may follow `{`: bounds of a repetition, or anything else.
    fn repetition(&mut self) -> Result<bool, &'static str> {
        let Some((bounds, rest)) = self.rest.split_once('}') else { return Ok(false) };
        let (least, most) = bounds.split_once(',').unwrap_or((bounds, bounds));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(least) || !(most.is_empty() && bounds.contains(',') || is_number(most)) {
            return Ok(false);
        }
        let over = |text: &str| !text.is_empty() && text.parse().map_or(true, |n: u32| n > MOST_REPETITIONS);
        if over(least) || over(most) {
            return Err("more than 1000 repetitions");
        }
        self.out.push_str(&format!("{{{bounds}}}"));
        self.rest = rest;
        Ok(true)
    }

    /// `(?i)` and the like: Go knows the flags i, m, s and U.
    fn group(&mut self) -> Result<(), &'static str> {
        self.out.push('(');
        if let Some(flags) = self.rest.strip_prefix('?') {
            let end = flags.find([')', ':']).unwrap_or(flags.len());
            let named = flags.starts_with(['P', '<']);
            if !named && !flags[..end].chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
                return Err("(? begins a group that is not known");
            }
            // It is no repetition.
            (self.rest, _) = (flags, self.out.push('?'));
        }
        Ok(())
    }

    /// Behind a backslash.
    fn escape(&mut self, within_class: bool) -> Result<(), &'static str> {
        let c = self.next().ok_or("a backslash at the end")?;
        let negated = |class: &str| format!("[^{class}]");
        let class = |class: &str| if within_class { class.to_owned() } else { format!("[{class}]") };
        let (digits, spaces, words) = ("0-9", r"\t\n\x0C\r ", "0-9A-Za-z_");
        let piece = match c {
            'd' => class(digits),
            's' => class(spaces),
            'w' => class(words),
            'D' => negated(digits),
            'S' => negated(spaces),
            'W' => negated(words),
            'b' | 'B' if !within_class => format!(r"(?-u:\{c})"),
            'Q' if !within_class => {
                let (quoted, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                regex::escape(quoted)
            }
            'E' if !within_class => String::new(),
            '0'..='7' => return self.octal(c),
            'p' | 'P' | 'x' => {
                let braces = self.in_braces()?;
                // \p{^Greek} is \P{Greek}.
                match braces.strip_prefix('^') {
                    Some(name) if c != 'x' => format!(r"\{}{{{name}}}", if c == 'p' { 'P' } else { 'p' }),
                    _ if braces.is_empty() => format!(r"\{c}"),
                    _ => format!(r"\{c}{{{braces}}}"),
                }
            }
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => format!(r"\{c}"),
            'A' | 'z' if !within_class => format!(r"\{c}"),
            c if c.is_ascii_alphanumeric() => return Err("an escape that is not known"),
            // `\<` would be the beginning of a word.
            '<' | '>' => c.to_string(),
            c if c.is_ascii_punctuation() => format!(r"\{c}"),
            c => c.to_string(),
        };
        self.out.push_str(&piece);
        Ok(())
    }

    /// What stands in braces right here; empty where there are none. They repeat nothing.
    fn in_braces(&mut self) -> Result<&'a str, &'static str> {
        let Some(rest) = self.rest.strip_prefix('{') else { return Ok("") };
        let (inner, rest) = rest.split_once('}').ok_or("a brace that does not end")?;
        self.rest = rest;
        if inner.is_empty() { Err("braces with nothing in them") } else { Ok(inner) }
    }

    /// `\0`, `\17`, `\123`; a lone digit would be a reference back.
    fn octal(&mut self, first: char) -> Result<(), &'static str> {
        let more = self.rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
        if first != '0' && more == 0 {
            return Err("references back are not known");
        }
        let digits = format!("{first}{}", &self.rest[..more]);
        self.rest = &self.rest[more..];
        let value = u32::from_str_radix(&digits, 8).map_err(|_| "no octal number")?;
        self.out.push_str(&format!(r"\x{{{value:X}}}"));
        Ok(())
    }

    /// Behind `[`.
    fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            (self.rest, _) = (rest, self.out.push('^'));
        }
        let (mut first, mut dash) = (true, false);
        loop {
            let c = self.next().ok_or("a class that does not end")?;
            let plain_dash = c == '-' && !first && !dash;
            match c {
                ']' if !first => break,
                '[' => match self.rest.strip_prefix(':').and_then(|rest| rest.split_once(":]")) {
                    Some((name, rest)) if name.trim_start_matches('^').bytes().all(|b| b.is_ascii_lowercase()) => {
                        self.out.push_str(&format!("[:{name}:]"));
                        self.rest = rest;
                    }
                    _ => self.out.push_str(r"\["),
                },
                '\\' => self.escape(true)?,
                // Two of them are operators.
                '-' if plain_dash => self.out.push('-'),
                ']' | '&' | '~' | '-' => self.out.push_str(&format!(r"\{c}")),
                other => self.out.push(other),
            }
            (first, dash) = (false, plain_dash);
        }
        self.out.push(']');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> bool {
        Expression::new(pattern).expect(pattern).regex().is_match(text)
    }

    #[test]
    fn the_exporters_own_expressions_are_expressions_here() {
        for (pattern, text) in [
            ("^+OK", "OK"),
            ("^SSH-2.0-", "SSH-2.0-OpenSSH"),
            ("PING :([^ ]+)", "PING :x"),
            (r"(\*|example\.com)", "*"),
            (r#"{"status":"(UP|ok)"}"#, r#"{"status":"UP"}"#),
            (r#""n": {"a{1"#, r#""n": {"a{1"#),
            ("a{2}b{,3}", "aab{,3}"),
            (r"\<title\>\/", "<title>/"),
            (r"[[\]a&&b]x", "[x"),
            ("[a-c--]", "-"),
            (r"\Q.*{\E+", ".*{"),
            (r"^[\w.-]+@[^\s]+$", "a-b@c"),
            (r"\x41\101", "AA"),
            ("(?i)hello(?P<name>x)?", "HELLO"),
            (r"\p{^Greek}", "a"),
            (r"x*?y+?", "y"),
            (r"\x{e9}", "é"),
            (r"^\x{41}+$", "AAA"),
            (r"\x{2019}{2}", "’’"),
            (r"[\x{2019}]", "’"),
            (r"^\p{L}+$", "éa"),
            (r"\p{Lu}\P{Lu}", "Ab"),
            (r"a\p{Nd}", "a1"),
            (r"\p{Han}{2}", "成功"),
            (r"^\pL{2}$", "éa"),
            (r"\P{^Greek}", "α"),
            (r"[\p{^Greek}]", "a"),
            (r"^[\p{L}\p{N}]{500}", &"é".repeat(500)),
        ] {
            assert!(found(pattern, text), "{pattern} in {text}");
        }
    }

    #[test]
    fn letters_digits_and_spaces_are_ascii() {
        assert!(!found(r"^\d$", "٣") && !found(r"^\w$", "é") && !found(r"^\s$", "\u{a0}") && found(r"^\W+$", "é"));
        assert!(found(r"\bx", "éx"), "é is no letter of a word there");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_is_no_panic(pattern in r"[\[\](){}*+?|^$\\.<>:,a-z0-7&~-]{0,24}", other in ".{0,16}") {
            let _ = (Expression::new(&pattern), Expression::new(&other));
        }

        #[test]
        fn what_is_quoted_is_found(text in ".{1,16}") {
            let quoted = Expression::new(&regex::escape(&text)).expect("it is escaped");
            proptest::prop_assert!(quoted.regex().is_match(&text));
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            ":[",
            "(",
            "*",
            "a**",
            r"\1",
            r"\y",
            "(?x)a",
            "(?=a)",
            "a{1001}",
            r"a\",
            "[a",
            "x+*",
            r"\x{",
            r"\x{zz}",
            r"\p{Nope}",
            r"\p{L",
            r"\p",
            r"\C",
        ] {
            let error = Expression::new(pattern).expect_err(pattern).to_string();
            assert!(error.contains("is no regular expression"), "{error}");
        }
    }
}
