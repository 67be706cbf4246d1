//! Clock domains: an instant belongs to the machine that read it.
//!
//! Two captures taken on two machines share no clock. [`Instant`] carries its [`Domain`] as a type,
//! and only instants of one domain can be subtracted. Durations ([`Span`]) are free to cross, which is
//! the whole method: *network time = gap seen by one end − turnaround seen by the other*.
//!
//! ```
//! use whostalled_analysis::clock::{Client, Edge, Instant};
//! let sent = Instant::<Client>::from_nanos(1_000);
//! let answered = Instant::<Client>::from_nanos(5_000);
//! assert_eq!((answered - sent).nanos(), 4_000);
//! ```
//!
//! ```compile_fail
//! use whostalled_analysis::clock::{Client, Edge, Instant};
//! let here = Instant::<Client>::from_nanos(1_000);
//! let there = Instant::<Edge>::from_nanos(5_000);
//! let nonsense = there - here; // two machines, two clocks: no such operation
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A machine whose clock stamped an instant.
pub trait Domain: Copy + Ord + fmt::Debug + 'static {
    /// The name shown to people.
    const NAME: &'static str;
}

/// The clock of the machine where the TLS client runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Client;

/// The clock of the machine where the TLS server (the edge) runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge;

/// The clock of a capture of which nobody has said yet whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unplaced;

impl Domain for Unplaced {
    const NAME: &'static str = "capture";
}
impl Domain for Client {
    const NAME: &'static str = "client";
}
impl Domain for Edge {
    const NAME: &'static str = "edge";
}

/// A point in time on the clock of domain `D`, in nanoseconds since that clock's epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant<D> {
    nanos: i64,
    #[serde(skip)]
    domain: PhantomData<D>,
}

impl<D: Domain> Instant<D> {
    /// Before everything else.
    pub const MIN: Self = Self::from_nanos(i64::MIN);

    /// An instant `nanos` nanoseconds after the clock's epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos, domain: PhantomData }
    }

    /// Nanoseconds since the clock's epoch.
    pub const fn nanos(self) -> i64 {
        self.nanos
    }
}

/// Of its number alone: derived, the domain would be compared too, which costs more than the number.
impl<D: Domain> Ord for Instant<D> {
    #[inline]
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}
impl<D: Domain> PartialOrd for Instant<D> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The clock's epoch.
impl<D: Domain> Default for Instant<D> {
    fn default() -> Self {
        Self::from_nanos(0)
    }
}

/// A length of time in nanoseconds; it may be negative. What would be longer than can be told is as long as can be told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// A span of `n` nanoseconds.
    pub const fn from_nanos(n: i64) -> Self {
        Self(n)
    }
    /// A span of `n` microseconds.
    pub const fn from_micros(n: i64) -> Self {
        Self(n.saturating_mul(1_000))
    }
    /// A span of `n` milliseconds.
    pub const fn from_millis(n: i64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }
    /// The span in nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }
    /// The span in milliseconds.
    pub fn millis(self) -> f64 {
        self.0 as f64 / 1e6
    }
    /// The span in seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
    /// Its size, whichever way it goes.
    #[must_use]
    pub fn abs(self) -> Self {
        self.max(Span::ZERO - self)
    }

    /// The span, or zero if it is negative.
    #[must_use]
    pub fn at_least_zero(self) -> Self {
        self.max(Self::ZERO)
    }
    /// `percent` hundredths of the span.
    #[must_use]
    pub fn percent(self, percent: i64) -> Self {
        let whole = i128::from(self.0) * i128::from(percent) / 100;
        Self(whole.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
    /// This span as a fraction of `whole`; 0 where `whole` is not positive.
    pub fn fraction_of(self, whole: Span) -> f64 {
        if whole.0 > 0 { self.0 as f64 / whole.0 as f64 } else { 0.0 }
    }
}

/// A length of the standard library; the longest that there is for one that is longer.
impl From<Duration> for Span {
    fn from(length: Duration) -> Self {
        Self(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.millis();
        let text = match ms.abs() {
            m if m >= 10_000.0 => format!("{:.1} s", ms / 1_000.0),
            m if m >= 100.0 => format!("{ms:.0} ms"),
            m if m >= 0.05 => format!("{ms:.1} ms"),
            _ => format!("{:.0} µs", ms * 1_000.0),
        };
        f.pad(&text)
    }
}

impl<D: Domain> Sub for Instant<D> {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        Span(self.nanos.saturating_sub(earlier.nanos))
    }
}
impl<D: Domain> Add<Span> for Instant<D> {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_nanos(self.nanos.saturating_add(span.0))
    }
}
impl<D: Domain> Sub<Span> for Instant<D> {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_nanos(self.nanos.saturating_sub(span.0))
    }
}
impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}
impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}
impl Neg for Span {
    type Output = Span;
    fn neg(self) -> Span {
        Span(self.0.saturating_neg())
    }
}
impl std::ops::Mul<i64> for Span {
    type Output = Span;
    fn mul(self, by: i64) -> Span {
        Span(self.0.saturating_mul(by))
    }
}
impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}
impl SubAssign for Span {
    fn sub_assign(&mut self, other: Span) {
        *self = *self - other;
    }
}
impl std::iter::Sum for Span {
    fn sum<I: Iterator<Item = Span>>(iter: I) -> Span {
        iter.fold(Span::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_aligned_in_tables_as_any_text() {
        let span = Span::from_millis(312);
        assert_eq!(format!("{span}|{span:>8}|{span:<8}|{span:^8}|"), "312 ms|  312 ms|312 ms  | 312 ms |");
        assert_eq!(format!("{:>7}", Span::from_micros(7)), "   7 µs", "µ is one column");
    }

    #[test]
    fn what_is_too_long_to_be_told_is_as_long_as_can_be_told() {
        let [least, most] = [i64::MIN, i64::MAX].map(Span::from_nanos);
        assert_eq!(
            [Span::from_micros(i64::MAX), Span::from_millis(i64::MAX), -least, most.percent(101), most + most, most * 2],
            [most; 6]
        );
        assert_eq!([Span::from_micros(i64::MIN), Span::from_millis(i64::MIN), least.percent(200), most * -2], [least; 4]);
        assert_eq!([least.abs(), Span::from_nanos(-7).percent(50)], [most, Span::from_nanos(-3)]);
    }
}
