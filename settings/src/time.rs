//! Lengths of time as people write them in files and on the command line: `250ms`, `1.5s`, `2m30s`, `1h`, `14d`.
//!
//! One grammar for all verbs: pieces of a number and a unit, added up. Units are those of `jiff`'s friendly format (`ms`, `s`, `sec`,
//! `seconds`, `m`, `min`, …), and days and weeks of 24 hours each.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Digits behind the point that `jiff` reads.
const DIGITS: usize = 9;

/// A length of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Time(pub Duration);

impl Time {
    /// So many seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
    /// So many milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
    /// In nanoseconds.
    pub fn nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }
    /// In milliseconds.
    pub fn as_millis(self) -> f64 {
        // Divided, not multiplied: 60.2 ms are then 60.2 and not 60.199999999999996.
        self.0.as_nanos() as f64 / 1e6
    }
}

/// What is no length of time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no length of time: write 250ms, 1.5s, 2m30s, 1h or 14d")]
pub struct NoTime(
    /// What stands there, as it can be shown.
    pub String,
);

/// Reads `250ms`, `1.5s`, `5m`, `2h`, `14d`, and several in a row, as `1m30s`.
///
/// ```
/// use std::time::Duration;
/// use whostalled_settings::time::parse;
///
/// assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(parse("90").is_err_and(|error| error.to_string().starts_with("`90` is no length of time")));
/// ```
///
/// # Errors
/// Says what it should look like.
pub fn parse(text: &str) -> Result<Duration, NoTime> {
    let wrong = || NoTime(crate::words::visible(text).into_owned());
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let at = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number = number(&rest[..at]).ok_or_else(wrong)?;
        rest = rest[at..].trim_start();
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let piece = piece(&number, &rest[..end]).ok_or_else(wrong)?;
        sum = sum.checked_add(piece).ok_or_else(wrong)?;
        rest = rest[end..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Ok(sum)
}

/// A number as `jiff` takes it: with digits before the point, and no more behind it than make nanoseconds.
fn number(text: &str) -> Option<String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && part.is_empty() || part.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let part = &part[..part.len().min(DIGITS)];
    Some(if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") })
}

fn piece(number: &str, unit: &str) -> Option<Duration> {
    // Lengths of time have no days: a day may have 23 hours. Here it has 24.
    let (unit, times) = match unit {
        "d" | "day" | "days" => ("h", 24),
        "w" | "wk" | "wks" | "week" | "weeks" => ("h", 7 * 24),
        other => (other, 1),
    };
    let read = SpanParser::new().parse_duration(format!("{number}{unit}")).ok()?;
    Duration::try_from(read).ok()?.checked_mul(times)
}

impl std::str::FromStr for Time {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        parse(text).map(Time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.as_millis())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*((([0-9]+(\.[0-9]*)?)|(\.[0-9]+))\s*(ns|us|µs|ms|s|m|min|h|d|w)\s*,?\s*)+$",
            "description": "250ms, 1.5s, 2m30s, 1h, 14d",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let ms = Duration::from_millis;
        for (text, meant) in [
            ("250ms", ms(250)),
            ("1.5 s", ms(1_500)),
            ("1.5s", ms(1_500)),
            ("14d", Duration::from_secs(14 * 86_400)),
            ("1.5d", Duration::from_secs(36 * 3_600)),
            ("1m30s", ms(90_000)),
            ("2m30s", ms(150_000)),
            ("2m 30s", ms(150_000)),
            ("30s1m", ms(90_000)),
            ("1h", ms(3_600_000)),
            ("0.5h30m", ms(3_600_000)),
            ("5min", ms(300_000)),
            ("250us", Duration::from_micros(250)),
            ("250 µs", Duration::from_micros(250)),
            (".5s", ms(500)),
            ("5.s", ms(5_000)),
            ("1w", Duration::from_secs(7 * 86_400)),
            ("9999999s", Duration::from_secs(9_999_999)),
        ] {
            assert_eq!(parse(text), Ok(meant), "{text}");
        }
        // What 0.7 * 40 ms looks like when a program writes it.
        assert_eq!(parse("28.000000000000004ms"), Ok(ms(28)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            " ",
            "10",
            "m",
            "fast",
            "-1s",
            "1m30",
            "1e400s",
            "1.2.3s",
            ".s",
            "1mo",
            "1y",
            "s5",
            "5 s s",
            "99999999999999999999s",
        ] {
            let error = parse(bad).expect_err(bad).to_string();
            assert!(error.contains("2m30s"), "{error}");
        }
        assert!(!parse("\u{1b}[1m5s").expect_err("no digit").to_string().contains('\u{1b}'));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for time in [Time::millis(250), Time(Duration::from_micros(1_250)), Time::secs(86_400)] {
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
