//! From a verdict and a list of words to an outcome.

use serde_json::Value;

/// See the table of [`super`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A verdict of the list.
    Right,
    /// One of two that were to be named, and no other.
    Half,
    /// Nothing was said, and the list does not allow it.
    Open,
    /// Healthy was said, and the list does not have it.
    Missed,
    /// A side was named that the list does not have.
    Wrong,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 5] = [Outcome::Right, Outcome::Half, Outcome::Open, Outcome::Missed, Outcome::Wrong];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Outcome::Right => "right",
            Outcome::Half => "half",
            Outcome::Open => "open",
            Outcome::Missed => "missed",
            Outcome::Wrong => "wrong",
        }
    }
}

/// A culprit as the tool named it.
#[derive(Clone, Debug)]
pub(crate) struct Culprit {
    pub side: &'static str,
}

/// What the tool said about a handshake.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub label: String,
    pub culprits: Vec<Culprit>,
    open: bool,
}

/// The side of an owner in the tool's words.
pub(crate) fn side_of_owner(owner: &str) -> &'static str {
    match owner {
        "client" | "client_app" | "client_host" => "client",
        "edge" | "edge_app" | "edge_host" => "edge",
        "path" | "loss" => "path",
        "resolver" => "resolver",
        _ => "",
    }
}

/// The side of a word of the truth.
fn side_of_word(word: &str) -> &'static str {
    if word.starts_with("path") || matches!(word, "reset-by-path" | "middlebox") {
        "path"
    } else if word.starts_with("edge") || word.starts_with("server-") || word == "accept-queue" {
        "edge"
    } else if word.starts_with("client") || word == "third-party" {
        "client"
    } else {
        ""
    }
}

impl Said {
    /// Reads a line of output; absent: nothing was said.
    pub(crate) fn of(line: Option<&Value>) -> Self {
        let Some(line) = line else { return Self { label: "unseen".into(), culprits: vec![], open: true } };
        let v = &line["judgement"];
        let verdict = v["verdict"].as_str().unwrap_or("unjudged");
        if verdict == "aborted" {
            let by = v["by"].as_str().unwrap_or("?");
            return Self { label: format!("aborted/{by}"), culprits: vec![Culprit { side: side_of_owner(by) }], open: false };
        }
        if verdict != "culprit" {
            return Self { label: verdict.into(), culprits: vec![], open: verdict != "healthy" };
        }
        let parts: Vec<&Value> = [&v["primary"], &v["second"]].into_iter().filter(|p| p.is_object()).collect();
        let name = |p: &&Value| {
            let owner = p["owner"].as_str().unwrap_or("?");
            p["kind"].as_str().map_or_else(|| owner.to_owned(), |kind| format!("{owner}/{kind}"))
        };
        let label = parts.iter().map(name).collect::<Vec<_>>().join("+");
        let owners: Vec<&str> = parts.iter().filter_map(|p| p["owner"].as_str()).collect();
        // What the protocol makes wait is nobody's fault: said only where nobody stalled.
        let culprits = if owners.first() == Some(&"protocol") {
            vec![]
        } else {
            owners.iter().filter(|o| **o != "protocol").map(|o| Culprit { side: side_of_owner(o) }).collect()
        };
        Self { label, culprits, open: false }
    }
}

/// The outcome.
pub(crate) fn judge(said: &Said, expected: &[String]) -> Outcome {
    let has = |word: &str| expected.iter().any(|w| w == word);
    if said.culprits.is_empty() {
        return match (said.open, has("inconclusive"), has("healthy")) {
            (true, true, _) | (false, _, true) => Outcome::Right,
            (true, false, _) => Outcome::Open,
            (false, _, false) => Outcome::Missed,
        };
    }
    let single: Vec<&str> =
        expected.iter().filter(|w| !w.contains('+')).map(|w| side_of_word(w)).filter(|s| !s.is_empty()).collect();
    let pairs: Vec<[&str; 2]> =
        expected.iter().filter_map(|w| w.split_once('+')).map(|(a, b)| [side_of_word(a), side_of_word(b)]).collect();
    let mut sides: Vec<&str> = said.culprits.iter().map(|c| c.side).collect();
    sides.sort_unstable();
    sides.dedup();
    if let [a, b] = sides.as_slice() {
        let named = pairs.iter().any(|p| p.contains(a) && p.contains(b));
        let fits = named || (pairs.is_empty() && has("mixed")) || (single.contains(a) && single.contains(b));
        return if fits { Outcome::Right } else { Outcome::Wrong };
    }
    let side = sides.first().copied().unwrap_or("");
    if single.contains(&side) {
        Outcome::Right
    } else if pairs.iter().any(|p| p.contains(&side)) {
        Outcome::Half
    } else {
        Outcome::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn each_outcome_once() {
        let culprit = |owner: &str| json!({ "judgement": { "verdict": "culprit", "primary": { "owner": owner, "kind": null } } });
        let client = Said::of(Some(&culprit("client_app")));
        assert_eq!(judge(&client, &words(&["client-host"])), Outcome::Right);
        assert_eq!(judge(&client, &words(&["client-app+path-loss", "mixed"])), Outcome::Half);
        assert_eq!(judge(&client, &words(&["healthy"])), Outcome::Wrong);
        let healthy = Said::of(Some(&json!({ "judgement": { "verdict": "healthy" } })));
        assert_eq!(judge(&healthy, &words(&["edge"])), Outcome::Missed);
        assert_eq!(judge(&Said::of(None), &words(&["edge"])), Outcome::Open);
        assert_eq!(judge(&Said::of(None), &words(&["edge", "inconclusive"])), Outcome::Right);
    }
}
