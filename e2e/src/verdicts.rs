//! What a run says as JSON. In: its standard output. Out: labels as people write them.

use serde_json::Value;

use crate::process::Said;

/// The record of a run; null if it is none.
#[must_use]
pub fn told(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or(Value::Null)
}

/// The verdict of a run, from the clients' ends.
#[must_use]
pub fn verdict(record: &Value) -> String {
    label(&record["client_only"])
}

/// A verdict's label.
#[must_use]
pub fn label(verdict: &Value) -> String {
    let primary = &verdict["primary"];
    match verdict["verdict"].as_str() {
        Some("culprit") => [&primary["owner"], &primary["kind"]].iter().filter_map(|v| v.as_str()).collect::<Vec<_>>().join("/"),
        other => other.unwrap_or("none").to_owned(),
    }
}

/// What servers and clients on two cores do to each other; what these suites inject takes 150 ms and more.
const NOISE_NS: i64 = 60_000_000;

/// The verdict of the cell of a vantage and a role; a culprit of less than [`NOISE_NS`] counts as healthy.
#[must_use]
pub fn cell(record: &Value, vantage: &str, role: &str) -> String {
    let cells = record["client_only"]["cells"].as_array().cloned().unwrap_or_default();
    let Some(cell) = cells.iter().find(|c| c["vantage"] == vantage && c["role"] == role) else { return "no cell".into() };
    match (cell["verdict"].as_str(), cell["primary"]["excess"].as_i64()) {
        (Some("culprit"), Some(excess)) if excess < NOISE_NS => "healthy".into(),
        _ => label(cell),
    }
}
