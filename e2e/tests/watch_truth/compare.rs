//! Compares what `watch` said with what its wire shows. In: the folder of results. Out: two tables, and one check.

use std::collections::HashMap;
use std::path::Path;

use e2e::checks::Checks;
use e2e::process::whostalled;
use rusqlite::Connection;
use serde_json::Value;

const CULPRITS: [&str; 6] = ["nobody", "edge", "path", "loss", "resolver", "inconclusive"];

pub fn tables(t: &mut Checks, results: &Path) {
    let (rounds, wire) = (rounds(&results.join("store.db")), wire(&results.join("office.pcapng")));
    println!("| target | rounds | gated (prober sick) | blamed: {} | verdict names the edge |", CULPRITS.join(" | "));
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for target in ["edge", "slow"] {
        let of: Vec<&Value> = rounds.iter().filter(|r| text(r, "name").starts_with(&format!("{target}-"))).collect();
        let blamed = |who: &str| of.iter().filter(|r| r["target_culprit"].as_str().unwrap_or("nobody") == who).count();
        let names_edge = |r: &&&Value| ["edge", "aborted/edge"].iter().any(|start| text(r, "target_verdict").starts_with(start));
        let share = of.iter().filter(names_edge).count() as f64 / of.len() as f64 * 100.0;
        let sick = of.iter().filter(|r| r["sick"].is_string()).count();
        let counts = CULPRITS.map(|who| blamed(who).to_string()).join(" | ");
        println!("| {target} | {} | {sick} | {counts} | {share:.2}% |", of.len());
        if target == "edge" {
            let bad = blamed("edge") + blamed("path") + blamed("loss");
            t.check("a healthy edge is not blamed for a starved prober", !of.is_empty() && bad == 0, || bad);
        }
    }
    times(t, results, &rounds, &wire);
}

fn times(t: &mut Checks, results: &Path, rounds: &[Value], wire: &HashMap<(String, String), Value>) {
    let (mut errors, mut ours) = (Vec::new(), Vec::new());
    for round in rounds.iter().filter(|r| text(r, "name").starts_with("edge-") && r["success"] == true) {
        let Some(handshake) = wire.get(&(text(round, "local").into(), text(round, "address").into())) else { continue };
        let Some(truth) = flight_on_wire(handshake) else { continue };
        let parts = round["parts"].as_array().expect("the parts of a round");
        let flight: f64 = parts.iter().filter(|part| part[0] == "server_flight").filter_map(|part| part[2].as_f64()).sum();
        errors.push((flight - truth).abs());
        ours.push(flight);
    }
    t.check("rounds are found again on the wire", !errors.is_empty(), || rounds.len());
    println!(
        "\nClientHello to the end of the flight, healthy edge (truth on the wire: about 21 ms), {} rounds matched:\n",
        errors.len()
    );
    println!("| who says | median ms | p99 ms | error against the wire, median ms | p99 ms |\n|---|---|---|---|---|");
    row("whostalled watch, server_flight", &ours, &errors);
    let healthy = wire.values().filter(|h| text(h, "server_name") == "edge.lab.test");
    let usual = quantile(&healthy.filter_map(flight_on_wire).collect::<Vec<_>>(), 0.5);
    for (name, file) in [("blackbox_exporter, phase tls", "blackbox.txt"), ("curl, appconnect − connect", "curl.txt")] {
        let lines = std::fs::read_to_string(results.join(file)).expect("the vantage wrote it");
        let values: Vec<f64> = lines.lines().filter_map(|line| line.parse().ok()).collect();
        let off: Vec<f64> = values.iter().map(|value| (value - usual).abs()).collect();
        row(name, &values, &off);
    }
}

fn row(name: &str, values: &[f64], off: &[f64]) {
    let [median, p99] = [0.5, 0.99].map(|q| quantile(values, q));
    let [error, error_p99] = [0.5, 0.99].map(|q| quantile(off, q));
    println!("| {name} | {median:.1} | {p99:.1} | {error:.2} | {error_p99:.2} |");
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn rounds(store: &Path) -> Vec<Value> {
    let store = Connection::open(store).expect("the watcher's store");
    let mut statement = store.prepare("SELECT data FROM round ORDER BY started").expect("the store's schema");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("the store's schema");
    rows.map(|row| serde_json::from_str(&row.expect("a round")).expect("it is JSON")).collect()
}

/// The handshakes on the wire of the vantage, by their ends.
fn wire(capture: &Path) -> HashMap<(String, String), Value> {
    let said = whostalled(["explain".as_ref(), "--client-side".as_ref(), capture.as_os_str(), "--ndjson".as_ref()]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let handshakes = said.out.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
    handshakes.map(|h: Value| ((text(&h, "client").into(), text(&h, "server").into()), h)).collect()
}

/// ClientHello's departure to the flight's last byte, on the client's wire, in ms.
fn flight_on_wire(handshake: &Value) -> Option<f64> {
    handshake["lanes"].as_array()?.iter().filter(|lane| text(lane, "observer").starts_with("client")).find_map(|lane| {
        let marks = lane["marks"].as_array()?;
        let at = |name: &str| marks.iter().rev().find(|mark| mark["name"] == name)?["ms"].as_f64();
        Some(at("server_flight_end")? - at("client_hello")?)
    })
}

fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (q * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
