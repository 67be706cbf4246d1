//! Lengths of time in scenario files: `"300ms"`, `"1.5s"`, `"250us"`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time as scenarios write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Length(pub Duration);

impl Length {
    /// So many milliseconds.
    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// In milliseconds.
    pub fn as_millis(self) -> f64 {
        self.0.as_secs_f64() * 1e3
    }
}

impl std::str::FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let meant = || format!("`{text}` is no length of time; write it like \"300ms\", \"1.5s\" or \"250us\"");
        let split = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ').ok_or_else(meant)?;
        let number: f64 = text[..split].trim().parse().map_err(|_| meant())?;
        let unit = match &text[split..] {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            _ => return Err(meant()),
        };
        Duration::try_from_secs_f64(number * unit).map(Length).map_err(|_| meant())
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.as_millis())
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Length {
    fn schema_name() -> Cow<'static, str> {
        "Length".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(us|µs|ms|s)$", "examples": ["300ms", "1.5s"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!("300ms".parse(), Ok(Length::millis(300)));
        assert_eq!("1.5s".parse(), Ok(Length::millis(1_500)));
        assert_eq!("250 us".parse(), Ok(Length(Duration::from_micros(250))));
        for bad in ["300", "-1s", "soon", "1h", "", "1e400s"] {
            assert!(bad.parse::<Length>().is_err(), "{bad}");
        }
    }
}
