//! What the recorder shows people: the last slow handshakes, the sums, its own health.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use analysis::clock::Span;
use analysis::judging::ledger::Owner;
use analysis::judging::vocabulary::in_words;
use imports::logline::Unread;
use maud::{Markup, html};
use pages::{Ticket, permalink, scrolling};
use serde::{Deserialize, Serialize};
use serving::document;
use settings::words::plural;
use tracing::{info, warn};

/// What is in trouble where evidence cannot be written.
pub const EVIDENCE: &str = "evidence";
/// Slow handshakes shown.
const SHOWN: usize = 50;

/// A slow handshake in a few words.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SlowHandshake {
    /// Which of all that were to be kept: more may be known of it later.
    #[serde(skip)]
    pub number: u64,
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

impl SlowHandshake {
    /// Its name within the page.
    fn id(&self) -> String {
        let name = self.file.clone().unwrap_or_else(|| format!("{}-{}", self.started, self.client));
        let plain = name.trim_end_matches(".pcapng").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        format!("h-{}", plain.collect::<String>())
    }
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
    /// Whether no interface shows anything.
    #[serde(default)]
    pub blind: bool,
    /// What is wrong with the recorder itself.
    pub trouble: BTreeMap<String, String>,
    /// By log: what its lines lack that cannot be followed, and so are no trigger, and how many lack it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, BTreeMap<String, u64>>,
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
        let before = self.change(|status| match &what {
            Some(what) => status.trouble.insert(part.to_owned(), what.clone()),
            None => status.trouble.remove(part),
        });
        match (&what, &before) {
            (Some(what), before) if before.as_ref() != Some(what) => warn!(part, "{what}"),
            (None, Some(before)) => info!(part, before, "over"),
            (Some(_) | None, _) => {}
        }
    }

    /// Something to know about the recorder; said once, however often it happens.
    pub fn note(&self, what: String) {
        self.change(|status| {
            if !status.notes.contains(&what) {
                status.notes.push(what);
            }
        });
    }

    /// An interface is called something else now, or as it was.
    pub fn called(&self, interface: &str, now: Option<&String>) {
        let said = format!("{interface}: it is called ");
        self.change(|status| status.notes.retain(|note| !note.starts_with(&said)));
        if let Some(now) = now {
            self.note(format!("{said}{now} now; what passes there is seen as before"));
        }
    }

    /// A line of that log cannot be followed. Gives whether it is the first that lacks that.
    pub fn unread(&self, log: &str, why: Unread) -> bool {
        self.change(|status| {
            let reasons = match status.unread.get_mut(log) {
                Some(reasons) => reasons,
                None => status.unread.entry(log.to_owned()).or_default(),
            };
            match reasons.get_mut(why.hint()) {
                Some(lines) => *lines += 1,
                None => drop(reasons.insert(why.hint().to_owned(), 1)),
            }
            reasons[why.hint()] == 1
        })
    }

    /// Notes a slow handshake, or what else is known of one by now.
    pub fn slow(&self, handshake: SlowHandshake) {
        let shown = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).1;
        if let Some(known) = shown.iter_mut().find(|other| other.number == handshake.number) {
            *known = handshake;
            return;
        }
        // The newest first; one that left the list is no news.
        let place = shown.iter().position(|other| other.number < handshake.number).unwrap_or(shown.len());
        shown.insert(place, handshake);
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

/// "/var/log/proxy.log: 3 lines cannot be followed: it names the client's address without its port: …".
fn unread(status: &Status) -> impl Iterator<Item = String> + '_ {
    let each = status.unread.iter().flat_map(|(log, reasons)| reasons.iter().map(move |(hint, n)| (log, hint, *n)));
    each.map(|(log, hint, n)| format!("{log}: {} cannot be followed: {hint}", plural(n, "line")))
}

/// The page.
pub fn page(status: &Status, slow: &[SlowHandshake]) -> String {
    let worst = status.slow.values().copied().max().unwrap_or(1).max(1);
    let share = if status.seen == 0 { 0.0 } else { status.passed as f64 / status.seen as f64 * 100.0 };
    let body = html! {
        @for (what, trouble) in &status.trouble { p.trouble { (what) ": " (trouble) } }
        h1 { (status.site) ": " (headline(status)) }
        p { (status.sentence) "." }
        @for sentence in status.alerts.values() { p.said { (sentence) } }
        @for note in unread(status) { p.trouble { (note) } }
        @if !status.slow.is_empty() {
            h2 { "Slow handshakes of the last ten minutes, by whose fault" }
            @for (culprit, n) in &status.slow {
                div { (of_culprit(culprit)) " " span.soft { (n) } }
                div.bar aria-hidden="true" { span class=(class_of(culprit)) style=(format!("width:{:.1}%", *n as f64 / worst as f64 * 100.0)) {} }
            }
            h2 { "From where" }
            (scrolling("Networks with slow handshakes", &html! {
                table { @for (network, all, slow) in status.networks.iter().filter(|(.., slow)| *slow > 0).take(15) {
                    tr { td { (network) } td.n { (slow) " slow" } td.n { "of " (all) } }
                } }
            }))
        }
        h2 { "Handshakes kept last" }
        @if slow.is_empty() { p.soft { "None since the recorder began." } }
        @for handshake in slow { (row(handshake, &status.site)) }
        h2 { "The recorder" }
        p.soft {
            (status.filter_at) ". " (status.seen) " packets of interest passed, " (status.passed) " of them (" (format!("{share:.2}")) " %) belong to handshakes; "
            (status.lost) " were lost. " (plural(status.connections, "connection")) ". Memory reaches back "
            (status.reach_seconds.map_or("no time yet".into(), time)) "."
        }
        @for note in &status.notes { p.soft { (note) } }
    };
    document(&status.site, true, &[("/", "now"), ("/api/status", "as JSON"), ("/metrics", "metrics")], &body)
}

/// Why it does not do what it is for; absent if it does.
pub fn failing(status: &Status) -> Option<&'static str> {
    if status.blind {
        return Some("the recorder sees nothing");
    }
    status.trouble.contains_key(EVIDENCE).then_some("the recorder cannot keep anything")
}

fn headline(status: &Status) -> String {
    let alerts = match status.alerts.len() {
        0 => None,
        1 => Some("one alert is on".to_owned()),
        n => Some(format!("{n} alerts are on")),
    };
    let said: Vec<String> = alerts.into_iter().chain(failing(status).map(str::to_owned)).collect();
    if said.is_empty() { "nobody needs waking".into() } else { said.join(", ") }
}

fn row(handshake: &SlowHandshake, site: &str) -> Markup {
    let id = handshake.id();
    html! {
        section.round id=(id) {
            div { span.dot.(class_of(&handshake.verdict)) {} b { (in_words(&handshake.verdict)) } " "
                @if let Some(ms) = handshake.total_ms { (span(ms)) } " · " (handshake.client)
                @if let Some(network) = &handshake.network { span.soft { " " (network) } }
                @if let Some(name) = &handshake.server_name { " → " (name) }
                (permalink(&id, &format!("the handshake of {}", handshake.client))) }
            div { (handshake.sentence) }
            div.soft { (handshake.started) " · by " (of_source(&handshake.source)) @if let Some(file) = &handshake.file { " · " (file) } }
            (ticket(handshake, site).render(&format!("t-{id}")))
        }
    }
}

fn ticket(handshake: &SlowHandshake, site: &str) -> Ticket {
    let total = handshake.total_ms.map(span);
    let took = total.as_ref().map_or(String::new(), |total| format!(", {total}"));
    Ticket::new(format!("A handshake at {site}: {}{took}", in_words(&handshake.verdict)))
        .fact("Client", handshake.client.clone())
        .fact("Network", handshake.network.clone())
        .fact("Server name", handshake.server_name.clone())
        .fact("Time", handshake.started.clone())
        .fact("Took", total)
        .fact("What it says", handshake.sentence.clone())
        .fact("Evidence", handshake.file.clone())
        .fact("Noticed by", of_source(&handshake.source).to_owned())
}

fn span(ms: f64) -> String {
    Span::from_nanos((ms * 1e6) as i64).to_string()
}

/// Whose fault, in words: a culprit's label of metrics.
fn of_culprit(label: &str) -> String {
    match label.strip_prefix("aborted_") {
        Some(by) => format!("ended by the {by}"),
        None => in_words(label),
    }
}

/// Whose word made it a file, in words.
fn of_source(source: &str) -> &str {
    match source {
        "detector" => "the recorder's own detector",
        "journal" => "the journal",
        "log" => "a proxy's log",
        "asked" => "somebody who asked",
        other => other,
    }
}

fn time(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

fn class_of(verdict: &str) -> &'static str {
    match Owner::named_by(verdict) {
        Some(Owner::Client | Owner::ClientApp | Owner::ClientHost) => "o-client",
        Some(Owner::Edge | Owner::EdgeApp | Owner::EdgeHost) => "o-edge",
        Some(Owner::Path) => "o-path",
        Some(Owner::Loss) => "o-loss",
        Some(Owner::Protocol) => "o-protocol",
        Some(Owner::Resolver) => "o-dns",
        None if verdict == "healthy" => "o-good",
        Some(Owner::Unattributed) | None => "o-open",
    }
}

#[cfg(test)]
impl SlowHandshake {
    /// One of which nothing is known but whose stall it was.
    pub(crate) fn numbered(number: u64) -> Self {
        Self {
            number,
            started: String::new(),
            client: String::new(),
            network: None,
            server_name: None,
            verdict: "client".into(),
            total_ms: None,
            sentence: String::new(),
            file: None,
            source: "log".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_later_of_one_that_left_the_page_is_no_news() {
        let shown = Shown::default();
        let of = SlowHandshake::numbered;
        (1..=60).for_each(|number| shown.slow(of(number)));
        shown.slow(of(3));
        shown.slow(SlowHandshake { file: Some("a file".into()), ..of(40) });
        let (_, slow) = shown.now();
        assert!(slow.iter().map(|s| s.number).eq((11..=60).rev()));
        assert_eq!(slow.iter().filter(|s| s.file.is_some()).map(|s| s.number).collect::<Vec<_>>(), [40]);
    }

    #[test]
    fn a_recorder_that_sees_or_keeps_nothing_does_not_say_that_all_is_well() {
        let mut status = Status::default();
        assert_eq!((headline(&status).as_str(), failing(&status)), ("nobody needs waking", None));
        status.trouble.insert(EVIDENCE.into(), "No space left on device".into());
        assert!(page(&status, &[]).contains("the recorder cannot keep anything") && failing(&status).is_some());
        (status.blind, _) = (true, status.alerts.insert("edge".into(), "it is slow".into()));
        assert_eq!(headline(&status), "one alert is on, the recorder sees nothing");
    }
}
