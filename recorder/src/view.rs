//! What the recorder shows people: the last slow handshakes, the sums, its own health.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serving::document;

/// Slow handshakes shown.
const SHOWN: usize = 50;

/// A slow handshake in a few words.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SlowHandshake {
    /// When it began.
    pub started: String,
    /// The client, or its network.
    pub client: String,
    /// Whose network that is, if anybody knows.
    pub network: Option<String>,
    /// The name it asked for.
    pub server_name: Option<String>,
    /// The verdict.
    pub verdict: String,
    /// How long it took.
    pub total_ms: Option<f64>,
    /// Why.
    pub sentence: String,
    /// Its file.
    pub file: Option<String>,
    /// Whose word made it a file.
    pub source: String,
}

/// The recorder, now.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The edge.
    pub site: String,
    /// How packets are filtered, on which interfaces.
    pub filter_at: String,
    /// Why packets are not filtered earlier.
    pub notes: Vec<String>,
    /// Packets of interest, and of these handshake packets.
    pub seen: u64,
    /// Handshake packets, SYN packets included.
    pub passed: u64,
    /// Lost for want of room.
    pub lost: u64,
    /// Connections established.
    pub connections: u64,
    /// How far back memory reaches, in seconds.
    pub reach_seconds: Option<f64>,
    /// The last ten minutes in a sentence.
    pub sentence: String,
    /// Slow handshakes of the last ten minutes by culprit.
    pub slow: BTreeMap<String, u64>,
    /// Handshakes of the last ten minutes.
    pub handshakes: u64,
    /// By network: handshakes, slow ones; the worst first.
    pub networks: Vec<(String, u64, u64)>,
    /// Alerts that are on.
    pub alerts: BTreeMap<String, String>,
    /// What is wrong with the recorder itself.
    pub trouble: BTreeMap<String, String>,
    /// By log: its lines that name no connection, and so are no trigger.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, u64>,
}

/// What is shown.
#[derive(Default)]
pub struct Shown(Mutex<(Status, VecDeque<SlowHandshake>)>);

impl Shown {
    /// Changes the status.
    pub fn change<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Something is wrong with a part of the recorder, or (with nothing said) no longer.
    pub fn trouble(&self, part: &str, what: Option<String>) {
        self.change(|status| match what {
            Some(what) => status.trouble.insert(part.to_owned(), what),
            None => status.trouble.remove(part),
        });
    }

    /// Something to know about the recorder; said once, however often it happens.
    pub fn note(&self, what: String) {
        self.change(|status| {
            if !status.notes.contains(&what) {
                status.notes.push(what);
            }
        });
    }

    /// A line of that log names no connection.
    pub fn unread(&self, log: &str) {
        self.change(|status| {
            if let Some(lines) = status.unread.get_mut(log) {
                *lines += 1;
            } else {
                status.unread.insert(log.to_owned(), 1);
            }
        });
    }

    /// Notes a slow handshake.
    pub fn slow(&self, handshake: SlowHandshake) {
        let shown = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).1;
        shown.push_front(handshake);
        shown.truncate(SHOWN);
    }

    /// All of it.
    pub fn now(&self) -> (Status, Vec<SlowHandshake>) {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (shown.0.clone(), shown.1.iter().cloned().collect())
    }
}

/// The status in a few lines.
pub fn lines(status: &Status) -> String {
    let mut text = format!("{}: {}\n", status.site, status.sentence);
    let reach = status.reach_seconds.map_or("no time yet".into(), time);
    text.push_str(&format!(
        "{}: {} packets of interest, {} of handshakes, {} lost; {} connections; memory reaches back {reach}\n",
        status.filter_at, status.seen, status.passed, status.lost, status.connections
    ));
    for (what, said) in
        status.alerts.iter().map(|(n, s)| (format!("alert, {n}"), s)).chain(status.trouble.iter().map(|(n, s)| (n.clone(), s)))
    {
        text.push_str(&format!("{what}: {said}\n"));
    }
    for note in unread(status).chain(status.notes.iter().cloned()) {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// "/var/log/proxy.log: 3 lines name no client's address with its port, and are no triggers".
fn unread(status: &Status) -> impl Iterator<Item = String> + '_ {
    status.unread.iter().map(|(log, n)| {
        let said = if *n == 1 {
            "1 line names no client's address with its port, and is no trigger".into()
        } else {
            format!("{n} lines name no client's address with its port, and are no triggers")
        };
        format!("{log}: {said}")
    })
}

/// The page.
pub fn page(status: &Status, slow: &[SlowHandshake]) -> String {
    let worst = status.slow.values().copied().max().unwrap_or(1).max(1);
    let share = if status.seen == 0 { 0.0 } else { status.passed as f64 / status.seen as f64 * 100.0 };
    let body = html! {
        @for (what, trouble) in &status.trouble { p.trouble { (what) ": " (trouble) } }
        h1 { (status.site) ": " (headline(status.alerts.len())) }
        p { (status.sentence) "." }
        @for sentence in status.alerts.values() { p.said { (sentence) } }
        @if !status.slow.is_empty() {
            h2 { "Slow handshakes of the last ten minutes, by whose fault" }
            @for (culprit, n) in &status.slow {
                div { (culprit) " " span.soft { (n) } }
                div.bar { span class=(class_of(culprit)) style=(format!("width:{:.1}%", *n as f64 / worst as f64 * 100.0)) {} }
            }
            h2 { "From where" }
            table { @for (network, all, slow) in status.networks.iter().filter(|(.., slow)| *slow > 0).take(15) {
                tr { td { (network) } td.n { (slow) " slow" } td.n { "of " (all) } }
            } }
        }
        h2 { "The last of them" }
        @if slow.is_empty() { p.soft { "None since the recorder began." } }
        @for handshake in slow { (row(handshake)) }
        h2 { "The recorder" }
        p.soft {
            (status.filter_at) ". " (status.seen) " packets of interest passed, " (status.passed) " of them (" (format!("{share:.2}")) " %) belong to handshakes; "
            (status.lost) " were lost. " (status.connections) " connections. Memory reaches back "
            (status.reach_seconds.map_or("no time yet".into(), time)) "."
        }
        @for note in unread(status).chain(status.notes.iter().cloned()) { p.soft { (note) } }
    };
    document(&status.site, true, &[("/", "now"), ("/api/status", "as JSON"), ("/metrics", "metrics")], &body)
}

fn headline(alerts: usize) -> String {
    match alerts {
        0 => "nobody needs waking".into(),
        1 => "one alert is on".into(),
        n => format!("{n} alerts are on"),
    }
}

fn row(handshake: &SlowHandshake) -> Markup {
    html! {
        section.round {
            div { span.dot.(class_of(&handshake.verdict)) {} b { (handshake.verdict) } " "
                @if let Some(ms) = handshake.total_ms { (format!("{ms:.0} ms")) } " · " (handshake.client)
                @if let Some(network) = &handshake.network { span.soft { " " (network) } }
                @if let Some(name) = &handshake.server_name { " → " (name) } }
            div { (handshake.sentence) }
            div.soft { (handshake.started) " · by " (handshake.source) @if let Some(file) = &handshake.file { " · " (file) } }
        }
    }
}

fn time(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

fn class_of(verdict: &str) -> &'static str {
    let owner = verdict.split(['/', ' ']).next().unwrap_or_default();
    match owner {
        "client" | "client_app" | "client_host" | "aborted_client" => "o-client",
        "edge" | "edge_app" | "edge_host" | "aborted_edge" => "o-edge",
        "path" | "aborted_path" => "o-path",
        "loss" => "o-loss",
        "protocol" => "o-protocol",
        "healthy" => "o-good",
        _ => "o-open",
    }
}
