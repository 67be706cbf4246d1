//! Checks with words. In: what must be, and what is shown if it is not. Out: a line for each; the test fails at its end if any failed, so that
//! one run shows all that is wrong.

use std::fmt::Debug;

use testing::Need;

/// The checks of one test. Dropped, it fails the test if a check failed.
#[derive(Debug, Default)]
pub struct Checks {
    made: usize,
    skipped: usize,
    failed: Vec<String>,
}

/// Details are cut here: a page of metrics is none.
const MOST_DETAIL: usize = 2000;

impl Checks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether something is as it must be; `detail` is made and shown if not.
    pub fn check<D: Debug>(&mut self, words: impl AsRef<str>, good: bool, detail: impl FnOnce() -> D) {
        let words = words.as_ref();
        self.made += 1;
        if good {
            println!("ok: {words}");
        } else {
            let detail: String = format!("{:?}", detail()).chars().take(MOST_DETAIL).collect();
            println!("FAILED: {words} ({detail})");
            self.failed.push(words.to_owned());
        }
    }

    /// Says that a part is skipped, which fails where what it needs is required.
    pub fn skip(&mut self, need: Need, why: &str) {
        self.skipped += 1;
        if let Err(required) = testing::may_skip(need, why) {
            self.failed.push(format!("{required}: {why}"));
        }
    }

    /// Says that this machine was too busy for a check, as the run itself said.
    pub fn disturbed(&mut self, why: &str) {
        self.skipped += 1;
        println!("skipped: {why}");
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert!(self.failed.is_empty(), "{} of {} checks failed: {}", self.failed.len(), self.made, self.failed.join("; "));
        assert!(self.made + self.skipped > 0, "nothing was checked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "1 of 2 checks failed: the second")]
    fn a_failed_check_fails_the_test_at_its_end() {
        let mut checks = Checks::new();
        checks.check("the second", false, || "no");
        checks.check("the third", true, || "");
    }

    #[test]
    #[should_panic(expected = "nothing was checked")]
    fn a_test_without_checks_fails() {
        let _ = Checks::new();
    }
}
