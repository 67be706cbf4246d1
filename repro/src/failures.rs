//! Why clients failed, in their own words. In: how clients ended. Out: reasons, each with how often it came.

use std::collections::BTreeMap;

use agent::ClientEnd;
use prober::Reason;
use records::run::ClientsFailed;
use serde::Deserialize;
use serde_json::Value;

/// Reasons that are kept for a cell: the commonest.
const MOST: usize = 3;
/// Characters of one.
const WORDS: usize = 200;

/// Reasons by vantage and target.
#[derive(Default)]
pub(crate) struct Failures(BTreeMap<(String, String), BTreeMap<String, u64>>);

impl Failures {
    /// Notes how a client of a cell ended.
    pub(crate) fn note(&mut self, vantage: &str, target: &str, client: &ClientEnd) {
        if let Some(why) = why(client) {
            *self.0.entry((vantage.to_owned(), target.to_owned())).or_default().entry(why).or_default() += 1;
        }
    }

    /// The commonest of each cell.
    pub(crate) fn into_records(self) -> Vec<ClientsFailed> {
        let of_cell = |((vantage, target), reasons): ((String, String), BTreeMap<String, u64>)| {
            let mut reasons: Vec<(String, u64)> = reasons.into_iter().collect();
            reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
            reasons.truncate(MOST);
            reasons.into_iter().map(move |(why, n)| ClientsFailed { vantage: vantage.clone(), target: target.clone(), n, why })
        };
        self.0.into_iter().flat_map(of_cell).collect()
    }
}

/// Why our own client says that it failed; absent if it did not, or is another's.
pub fn reason(said: &Value) -> Option<Reason> {
    Reason::deserialize(said.get("reason")?).ok()
}

/// Why a client failed: our own client's words, curl's, the end of any other's complaint; absent if it did not.
fn why(client: &ClientEnd) -> Option<String> {
    if client.code == Some(0) {
        return None;
    }
    let said = |name: &str| client.said.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let complained = || client.complained.lines().rev().find(|line| !line.trim().is_empty());
    let ended = match (client.timed_out, client.code) {
        (true, _) => "it had not ended when its time was over, and was ended".to_owned(),
        (false, Some(code)) => format!("it ended with exit code {code}"),
        (false, None) => "a signal ended it".to_owned(),
    };
    let words = if client.timed_out { None } else { said("detail").or_else(|| said("errormsg")).or_else(complained) };
    Some(words.map_or(ended, |words| words.trim().chars().take(WORDS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_say_themselves_why_they_failed() {
        let end = |code, timed_out, said: Value, complained: &str| {
            let complained = complained.to_owned();
            why(&ClientEnd { pid: 1, code, timed_out, said, complained, trace: agent::Trace::default() })
        };
        let text = |text: &str| Value::String(text.into());
        let ours = serde_json::json!({"detail": "the name server says that there is no name a.test", "reason": "dns_no_address"});
        assert_eq!(end(Some(1), false, ours.clone(), "").as_deref(), Some("the name server says that there is no name a.test"));
        let curls = serde_json::json!({"errormsg": "Couldn't connect to server", "exitcode": 7});
        assert_eq!(end(Some(7), false, curls, "curl: (7)").as_deref(), Some("Couldn't connect to server"));
        assert_eq!(end(Some(2), false, text(""), "usage\nno such option\n\n").as_deref(), Some("no such option"));
        assert_eq!(end(Some(3), false, text(""), "").as_deref(), Some("it ended with exit code 3"));
        assert_eq!(end(None, false, text(""), "").as_deref(), Some("a signal ended it"));
        assert!(end(None, true, ours, "x").is_some_and(|why| why.contains("time was over")));
        assert_eq!(end(Some(0), false, text(""), "a warning"), None);
    }

    #[test]
    fn the_commonest_reasons_of_a_cell_are_kept() {
        let mut failures = Failures::default();
        for (n, why) in ["d", "a", "b", "b", "c", "c", "c"].iter().enumerate() {
            let said = serde_json::json!({ "detail": why });
            let client = ClientEnd {
                pid: n as u32,
                code: Some(1),
                timed_out: false,
                said,
                complained: String::new(),
                trace: agent::Trace::default(),
            };
            failures.note("here", "edge", &client);
        }
        let kept: Vec<(String, u64)> = failures.into_records().into_iter().map(|failed| (failed.why, failed.n)).collect();
        assert_eq!(kept, [("c".to_owned(), 3), ("b".to_owned(), 2), ("a".to_owned(), 1)]);
    }
}
