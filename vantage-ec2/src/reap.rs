//! What a reaper does with something: by its tags and the clock alone. In: tags, now. Out: leave, mark or end, and why.
//!
//! Registries lie and controllers die: nobody is asked whether something is still needed.

use crate::cloud::Tags;
use crate::tags::{EXPIRES, KEEP, MANAGED_BY, MARKED, US, moment};

/// No vantage lives longer: an end beyond that was not set by us.
pub const MOST_HOURS: u64 = 7 * 24;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It is somebody else's.
    NotOurs,
    /// It is tagged to be kept.
    Spared,
    /// Its time is not over.
    InTime,
    /// Its time is over, and nobody has said so yet: mark it.
    Mark(Overdue),
    /// It is marked, and the grace is not over.
    Marked(Overdue),
    /// End it.
    End(Overdue),
}

/// Why its time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overdue {
    /// By so many seconds.
    By(u64),
    /// It does not say when it ends.
    NoEnd,
    /// It says an end that is further away than any that we set.
    TooFar,
}

impl std::fmt::Display for Overdue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::By(seconds) => write!(f, "its time was over {} min ago", seconds / 60),
            Self::NoEnd => write!(f, "it has no readable tag {EXPIRES}"),
            Self::TooFar => write!(f, "its tag {EXPIRES} is more than {MOST_HOURS} h ahead, which we never set"),
        }
    }
}

/// What to do with something that has these tags, `now`.
#[must_use]
pub fn decide(tags: &Tags, now: u64, grace: u64) -> Decision {
    if tags.get(MANAGED_BY).is_none_or(|by| by != US) {
        return Decision::NotOurs;
    }
    if tags.get(KEEP).is_some_and(|keep| keep != "false") {
        return Decision::Spared;
    }
    let overdue = match moment(tags, EXPIRES) {
        None => Overdue::NoEnd,
        Some(end) if end > now.saturating_add(MOST_HOURS * 3600) => Overdue::TooFar,
        Some(end) if end > now => return Decision::InTime,
        Some(end) => Overdue::By(now - end),
    };
    match moment(tags, MARKED) {
        // A mark of the future is none: the clock that set it was wrong.
        Some(marked) if marked <= now && now - marked >= grace => Decision::End(overdue),
        Some(marked) if marked <= now => Decision::Marked(overdue),
        _ => Decision::Mark(overdue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn by_tags_and_clock_alone() {
        let ours = |more: &[(&str, &str)]| {
            let mut tags = of(&[(MANAGED_BY, US)]);
            tags.extend(of(more));
            tags
        };
        let cases = [
            (of(&[(EXPIRES, "1")]), Decision::NotOurs),
            (of(&[(MANAGED_BY, "terraform"), (EXPIRES, "1")]), Decision::NotOurs),
            (ours(&[(EXPIRES, "1001")]), Decision::InTime),
            (ours(&[(EXPIRES, "1000")]), Decision::Mark(Overdue::By(0))),
            (ours(&[(EXPIRES, "900"), (KEEP, "true")]), Decision::Spared),
            (ours(&[(EXPIRES, "900"), (KEEP, "")]), Decision::Spared),
            (ours(&[(EXPIRES, "900"), (KEEP, "false")]), Decision::Mark(Overdue::By(100))),
            (ours(&[]), Decision::Mark(Overdue::NoEnd)),
            (ours(&[(EXPIRES, "soon")]), Decision::Mark(Overdue::NoEnd)),
            (ours(&[(EXPIRES, "18446744073709551615")]), Decision::Mark(Overdue::TooFar)),
            (ours(&[(EXPIRES, "900"), (MARKED, "950")]), Decision::Marked(Overdue::By(100))),
            (ours(&[(EXPIRES, "900"), (MARKED, "940")]), Decision::End(Overdue::By(100))),
            (ours(&[(EXPIRES, "900"), (MARKED, "2000")]), Decision::Mark(Overdue::By(100))),
            (ours(&[(EXPIRES, "1001"), (MARKED, "900")]), Decision::InTime),
        ];
        for (tags, wanted) in cases {
            assert_eq!(decide(&tags, 1000, 60), wanted, "{tags:?}");
        }
    }
}
