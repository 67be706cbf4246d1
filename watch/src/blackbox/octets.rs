//! Text of a configuration that may be binary (`!!binary`).
//!
//! The reader of YAML wants text to be UTF-8. So what is tagged is marked before it is read (a NUL, and base64 behind it), and decoded
//! where it may stand.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use regex::{Captures, Regex};
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

/// `!!binary` and what stands behind it: quoted, in lines of their own, or plain.
#[expect(clippy::unwrap_used, reason = "the pattern is fixed; a test compiles it")]
static BINARY: LazyLock<Regex> = LazyLock::new(|| {
    let lines = r"[|>][-+0-9]*[ \t]*\r?\n(?P<lines>(?:[ \t]+[A-Za-z0-9+/=]+[ \t]*\r?\n?)+)";
    Regex::new(&format!(r#"!!binary[ \t]+(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|{lines}|(?P<plain>[A-Za-z0-9+/=]+))"#))
        .unwrap()
});

/// Marks what is tagged as binary.
pub(super) fn mark(text: &str) -> Cow<'_, str> {
    BINARY.replace_all(text, |found: &Captures<'_>| {
        let lines = found.name("lines");
        let encoded = ["double", "single", "plain"].into_iter().find_map(|name| found.name(name)).or(lines);
        let encoded: String = encoded.map_or("", |m| m.as_str()).chars().filter(|c| !c.is_whitespace()).collect();
        format!("\"\\0{encoded}\"{}", if lines.is_some() { "\n" } else { "" })
    })
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
        assert_eq!(mark("send: hello"), "send: hello");
        assert!(serde_saphyr::from_str::<Octets>(&mark("!!binary AAA")).is_err());
    }
}
