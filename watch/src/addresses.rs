//! Which addresses a check still has, where each of a name's is probed: one that left DNS has no rounds any more, and none ends its alert.
//!
//! Pure: in, rounds as they are; out, addresses that later lookups did not have.

use std::collections::HashMap;

use analysis::clock::{Client, Instant, Span};

/// When each name of a check (with its address) was last due.
#[derive(Default)]
pub(crate) struct Addresses(HashMap<String, HashMap<String, Instant<Client>>>);

impl Addresses {
    /// A round of `name`, an address of `check`, was due at `due`; `known` are names that there were before us. Gives those of the check
    /// that were not looked up for longer than `patience`: lookups differ, as those of a name with many addresses do. While none was, lookups
    /// failed or there were none, which says nothing of any.
    pub(crate) fn note(
        &mut self,
        check: &str,
        name: &str,
        due: Instant<Client>,
        patience: Span,
        known: impl IntoIterator<Item = String>,
    ) -> Vec<String> {
        let last = self.0.entry(check.to_owned()).or_insert_with(|| known.into_iter().map(|name| (name, due)).collect());
        if last.values().all(|at| due - *at > patience) {
            last.values_mut().for_each(|at| *at = due);
        }
        let of_this = last.entry(name.to_owned()).or_insert(due);
        *of_this = due.max(*of_this);
        let gone: Vec<String> = last.iter().filter(|(_, at)| due - **at > patience).map(|(name, _)| name.clone()).collect();
        last.retain(|name, _| !gone.contains(name));
        gone
    }

    /// Whether this is the check's first round that was due then: rounds of other addresses were due at the same time.
    pub(crate) fn is_next(&self, check: &str, due: Instant<Client>) -> bool {
        self.0.get(check).is_none_or(|last| last.values().all(|at| *at < due))
    }

    /// Forgets checks that are no more.
    pub(crate) fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.0.retain(|check, _| stays(check));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_looked_up_for_long_is_gone_whoever_it_was_known_to_before() {
        let at = |second: i64| Instant::from_nanos(second * 1_000_000_000);
        let patience = Span::from_millis(100_000);
        let mut addresses = Addresses::default();
        let known = || ["a 192.0.2.7".to_owned()];
        let mut note = |name: &str, second: i64| addresses.note("a", name, at(second), patience, known());
        assert!(note("a 192.0.2.1", 0).is_empty() && note("a 192.0.2.2", 0).is_empty());
        assert!(note("a 192.0.2.1", 30).is_empty() && note("a 192.0.2.1", 100).is_empty(), "it may come again");
        assert!(note("a 192.0.2.2", 100).is_empty(), "it came");
        assert_eq!(note("a 192.0.2.1", 130), ["a 192.0.2.7"], "from before us");
        assert_eq!(note("a 192.0.2.1", 201), ["a 192.0.2.2"]);
        // A round that ends late does not make it younger, nor anybody older.
        assert!(note("a 192.0.2.1", 150).is_empty() && note("a 192.0.2.1", 230).is_empty());
        assert!(addresses.is_next("a", at(260)) && !addresses.is_next("a", at(230)));
    }

    #[test]
    fn while_no_lookup_works_nobody_goes() {
        let at = |second: i64| Instant::from_nanos(second * 1_000_000_000);
        let mut addresses = Addresses::default();
        let mut note = |name: &str, second: i64| addresses.note("a", name, at(second), Span::from_millis(100_000), []);
        assert!(note("a 192.0.2.1", 0).is_empty() && note("a 192.0.2.2", 0).is_empty());
        assert!(note("a 192.0.2.1", 500).is_empty(), "the other is under way, perhaps");
        assert!(note("a 192.0.2.1", 600).is_empty());
        assert_eq!(note("a 192.0.2.1", 601), ["a 192.0.2.2"]);
    }
}
