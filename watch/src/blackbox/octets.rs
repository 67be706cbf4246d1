//! Text of a configuration that may be binary (`!!binary`).
//!
//! The reader of YAML wants text to be UTF-8. So what is tagged is marked before it is read (a NUL, and base64 behind it), and decoded
//! where it may stand.

use std::borrow::Cow;

use base64::Engine;
use granit_parser::{Event, Parser, ScalarStyle};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Bytes, and whether they were written as binary.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Octets {
    pub bytes: Vec<u8>,
    pub binary: bool,
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        let Some(encoded) = text.strip_prefix('\0') else { return Ok(Self { bytes: text.into_bytes(), binary: false }) };
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
        Ok(Self { bytes: decoded.map_err(|e| D::Error::custom(format!("!!binary: {e}")))?, binary: true })
    }
}

/// Where the tags of YAML's own types are, which are written `!!…`.
const YAML: &str = "tag:yaml.org,2002:";

/// Marks what is tagged as binary. Text that is no YAML stays as it is: whoever reads it says why.
pub(super) fn mark(text: &str) -> Cow<'_, str> {
    let (mut marked, mut at) = (String::new(), 0);
    for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
        let Event::Scalar(value, style, _, Some(tag)) = event else { continue };
        let tag = span
            .tag_span()
            .filter(|_| tag.suffix_in_namespace(YAML).is_some_and(|name| name == "binary"))
            .and_then(|span| span.byte_range());
        let Some((tag, written)) = tag.zip(span.byte_range()) else { continue };
        let encoded: String = value.chars().filter(|c| !c.is_whitespace()).collect();
        // A block ends where the next line begins that is none of it.
        let whole = &text[written.clone()];
        let behind = &whole[whole.trim_end().len()..];
        marked.push_str(&text[at..tag.start]);
        // An anchor may stand in between, and the head of a block.
        let between = text[tag.end..written.start].trim_start_matches([' ', '\t']);
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        marked.push_str(if is_block { between.split(['|', '>']).next().unwrap_or_default() } else { between });
        marked.push_str(&format!("\"\\0{encoded}\"{behind}"));
        at = written.end;
    }
    if at == 0 { Cow::Borrowed(text) } else { Cow::Owned(marked + &text[at..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_text_is_found_in_every_form() {
        for text in [
            "!!binary AAAACA==",
            "!!binary \"AAAA CA==\"",
            "!!binary 'AAAACA=='",
            "!!binary |\n  AAAA\n  CA==\n",
            "!!binary >-\n  AAAACA==\n",
        ] {
            assert_eq!(mark(text).trim_end(), "\"\\0AAAACA==\"", "{text}");
            let read: Octets = serde_saphyr::from_str(&mark(text)).expect(text);
            assert_eq!(read, Octets { bytes: vec![0, 0, 0, 8], binary: true });
        }
        for text in [
            "send: hello",
            "body: use !!binary abcd here",
            "body: \"a: !!binary abcd\"",
            "body: |\n  send: !!binary abcd\n",
            "# send: !!binary abcd\n",
        ] {
            assert_eq!(mark(text), text);
        }
        for (text, marked) in [
            ("a: !!binary |\n  AAAA\n  CA==\nb: c\n", "a: \"\\0AAAACA==\"\nb: c\n"),
            ("- send: !!binary >\n    AAAACA==\n\n  expect: x\n", "- send: \"\\0AAAACA==\"\n  expect: x\n"),
            (
                "[{ send: !!binary AAAACA== , expect: \"ü\" }, !!binary \"AA==\"]",
                "[{ send: \"\\0AAAACA==\" , expect: \"ü\" }, \"\\0AA==\"]",
            ),
        ] {
            let (found, wanted): (serde_json::Value, serde_json::Value) =
                (serde_saphyr::from_str(&mark(text)).expect(text), serde_saphyr::from_str(marked).expect(marked));
            assert_eq!(found, wanted, "{text}");
        }
        assert!(serde_saphyr::from_str::<Octets>(&mark("!!binary AAA")).is_err());
    }
}
