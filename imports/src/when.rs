//! Wall clock times as logs write them.

use analysis::clock::Span;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

/// A moment by somebody's wall clock, and how far that may be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct When {
    /// Nanoseconds since the epoch.
    pub ns: i64,
    /// What its last digit stands for.
    pub precision: Span,
    /// Whether its time zone is written; otherwise `ns` takes it for UTC.
    pub zone_known: bool,
}

impl When {
    /// RFC 3339, in UTC.
    pub fn text(self) -> String {
        let at = Timestamp::from_nanosecond(self.ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        let unit = match self.precision.nanos() {
            0..1_000 => Unit::Nanosecond,
            1_000..1_000_000 => Unit::Microsecond,
            1_000_000..1_000_000_000 => Unit::Millisecond,
            _ => Unit::Second,
        };
        at.round(unit).unwrap_or(at).to_string()
    }

    /// Seconds since the epoch, as nginx's `$msec` has them.
    pub(crate) fn epoch(text: &str) -> Option<Self> {
        let seconds: f64 = text.parse().ok()?;
        // Of a century in which somebody logs TLS.
        let plausible = (946_684_800.0..4_102_444_800.0).contains(&seconds);
        plausible.then(|| Self { ns: (seconds * 1e3).round() as i64 * 1_000_000, precision: digits(text), zone_known: true })
    }

    /// RFC 3339, or the same without a zone where the format's documentation says that it is UTC.
    pub(crate) fn iso(text: &str, utc: bool) -> Option<Self> {
        let text = text.trim().trim_matches(['[', ']']);
        if let Ok(at) = text.parse::<Timestamp>() {
            return Self::at(at, text, true);
        }
        let civil: DateTime = text.parse().ok()?;
        Self::at(civil.to_zoned(TimeZone::UTC).ok()?.timestamp(), text, utc)
    }

    /// `26/Nov/2026:12:00:00 +0000` as nginx has it, `26/Nov/2026:12:00:00.101` (of no zone) as HAProxy.
    pub(crate) fn common(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches(['[', ']']);
        if let Ok(at) = Timestamp::strptime("%d/%b/%Y:%H:%M:%S%.f %z", text) {
            return Self::at(at, text, true);
        }
        let civil = DateTime::strptime("%d/%b/%Y:%H:%M:%S%.f", text).ok()?;
        Self::at(civil.to_zoned(TimeZone::UTC).ok()?.timestamp(), text, false)
    }

    fn at(at: Timestamp, text: &str, zone_known: bool) -> Option<Self> {
        let ns = i64::try_from(at.as_nanosecond()).ok()?;
        Some(Self { ns, precision: digits(text), zone_known })
    }
}

/// What the last digit behind the point stands for.
fn digits(text: &str) -> Span {
    let behind = text.rsplit_once('.').map_or("", |(_, behind)| behind);
    let n = behind.bytes().take_while(u8::is_ascii_digit).count().min(9);
    Span::from_nanos(10_i64.pow(9 - n as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_digits_and_say_whether_their_zone_is_known() {
        let said = |when: Option<When>| when.map(|w| (w.text(), w.precision.millis(), w.zone_known));
        let text = |s: &str| s.to_owned();
        assert_eq!(said(When::iso("2026-11-26T12:00:00.310Z", false)), Some((text("2026-11-26T12:00:00.31Z"), 1.0, true)));
        assert_eq!(said(When::iso("2026-11-26T13:00:00+01:00", false)), Some((text("2026-11-26T12:00:00Z"), 1_000.0, true)));
        assert_eq!(said(When::iso("2018-12-20T02:59:40", true)), Some((text("2018-12-20T02:59:40Z"), 1_000.0, true)));
        assert_eq!(said(When::common("[26/Nov/2026:12:00:00.101]")), Some((text("2026-11-26T12:00:00.101Z"), 1.0, false)));
        assert_eq!(said(When::common("26/Nov/2026:14:00:00 +0200")), Some((text("2026-11-26T12:00:00Z"), 1_000.0, true)));
        assert_eq!(said(When::epoch("1795694400.123")), Some((text("2026-11-26T12:00:00.123Z"), 1.0, true)));
        for none in ["", "-", "yesterday", "99/Nov/2026:12:00:00", "1e300", "0.004"] {
            assert_eq!((When::iso(none, true), When::common(none), When::epoch(none)), (None, None, None), "{none}");
        }
    }
}
