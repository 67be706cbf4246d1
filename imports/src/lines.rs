//! A file line by line, each of bounded length; and a line word by word.

use std::io::{BufRead, BufReader, Read};

/// The longest line that is read.
const MOST_LINE: usize = 1 << 20;

/// One line, or why it cannot be had.
pub(crate) enum Line<'a> {
    /// Text, without its end.
    Text(&'a str),
    /// It has bytes that are no UTF-8.
    NotUtf8,
    /// It is longer than is read.
    TooLong,
}

/// Hands over each line with its number, from 1, until `each` gives false.
///
/// # Errors
/// Those of `from`.
pub(crate) fn read(from: impl Read, each: &mut dyn FnMut(u64, Line<'_>) -> bool) -> std::io::Result<()> {
    let mut from = BufReader::with_capacity(256 << 10, from);
    crate::har::skip_mark(&mut from);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = from.by_ref().take(MOST_LINE as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let whole = line.ends_with(b"\n") || read < MOST_LINE;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let said = match std::str::from_utf8(text) {
            _ if !whole => Line::TooLong,
            Ok(text) => Line::Text(text),
            Err(_) => Line::NotUtf8,
        };
        if !each(number, said) {
            break;
        }
        if !whole {
            skip_line(&mut from)?;
        }
    }
    Ok(())
}

/// Passes over the rest of a line.
fn skip_line(from: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let data = from.fill_buf()?;
        let (used, ended) = match memchr::memchr(b'\n', data) {
            Some(at) => (at + 1, true),
            None => (data.len(), data.is_empty()),
        };
        from.consume(used);
        if ended {
            return Ok(());
        }
    }
}

/// Words between blanks; what is in quotation marks or brackets is one word, without them.
pub(crate) fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(' ');
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '"' => Some('"'),
            '[' => Some(']'),
            _ => None,
        };
        let word = close.and_then(|close| Some(&rest[1..1 + closing(&rest[1..], close)?]));
        let (word, used) = match word {
            Some(word) => (word, word.len() + 2),
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        words.push(word);
        rest = rest[used..].trim_start_matches(' ');
    }
    words
}

/// Where a word in marks ends: at a mark that nothing escapes, with a blank or nothing behind it.
fn closing(text: &str, close: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == close && !escaped && matches!(text.as_bytes().get(at + 1), None | Some(b' ')) {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u64, String)> {
        let mut said = Vec::new();
        read(bytes, &mut |number, line| {
            said.push((
                number,
                match line {
                    Line::Text(text) => text.to_owned(),
                    Line::NotUtf8 => "not UTF-8".into(),
                    Line::TooLong => "too long".into(),
                },
            ));
            true
        })
        .expect("it is in memory");
        said
    }

    #[test]
    fn lines_of_any_bytes_and_any_length_are_counted() {
        let mut long = vec![b'x'; 2 * MOST_LINE + 7];
        long.extend(b"\r\nafter\r\n\xff\xfe\nlast");
        let expected: Vec<(u64, String)> =
            [(1, "too long"), (2, "after"), (3, "not UTF-8"), (4, "last")].map(|(n, s)| (n, s.to_owned())).into();
        assert_eq!(lines(&long), expected);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn words_in_marks_are_one() {
        assert_eq!(words(r#"a  "b c" [d e] "f \" g" "" h"i" ["#), ["a", "b c", "d e", "f \\\" g", "", "h\"i\"", "["]);
        assert_eq!(words(""), [""; 0]);
    }
}
