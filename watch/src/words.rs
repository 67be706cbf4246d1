//! What rounds are kept with as labels, in words for people.

use analysis::judging::ledger::Phase;
use prober::Reason;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

/// A phase, or the reason of a failure.
pub fn of_phase(label: &str) -> String {
    if let Ok(phase) = label.parse::<Phase>() {
        return phase.words().into();
    }
    match Reason::deserialize(IntoDeserializer::<Error>::into_deserializer(label)) {
        Ok(reason) => reason.words().into(),
        Err(_) => label.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_shown_in_words() {
        for (label, words) in [
            ("server_flight", "ClientHello to server flight"),
            ("connect_refused", "connection refused"),
            ("certificate", "certificate"),
            ("of_tomorrow", "of tomorrow"),
        ] {
            assert_eq!(of_phase(label), words);
        }
    }
}
