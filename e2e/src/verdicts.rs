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

/// The verdict of the cell of a vantage and a role.
#[must_use]
pub fn cell(record: &Value, vantage: &str, role: &str) -> String {
    let cells = record["client_only"]["cells"].as_array().cloned().unwrap_or_default();
    cells.iter().find(|c| c["vantage"] == vantage && c["role"] == role).map_or_else(|| "no cell".into(), label)
}
