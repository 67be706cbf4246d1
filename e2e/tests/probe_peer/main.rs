//! `/probe` beside Debian's blackbox_exporter: the same modules, the same targets on loopback, the same metrics with the same values but for
//! times. What differs is in docs/probe.md, by the words that the table names.

mod servers;
mod table;
#[path = "../watch_failures/watcher.rs"]
#[allow(dead_code, reason = "another suite uses the rest of it")]
mod watcher;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::http::{Answer, Http};
use e2e::ports::free_port;
use e2e::process::{Running, program, repository};
use e2e::waiting::wait_for;
use testing::Need;

use servers::Servers;
use table::{CASES, Case};
use watcher::{Config, Place, Watch};

const EXPORTER: &str = "prometheus-blackbox-exporter";

/// What is only here, beside `whostalled_…`: newer exporters have it.
const OURS: [&str; 1] = ["probe_tls_cipher_info"];

/// Values by name and labels.
type Metrics = BTreeMap<String, f64>;

/// A value that says how long something took: whether it is there is compared, and what it is of, but not how long.
fn is_time(series: &str) -> bool {
    series.contains("duration_seconds") || series.starts_with("probe_dns_lookup_time_seconds")
}

fn metrics(page: &str) -> Metrics {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        // Order tells nothing.
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split("\",").map(|label| label.trim_end_matches('"')).collect();
        labels.sort_unstable();
        let value: f64 = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        let series = format!("{name}{labels:?}");
        assert!(!is_time(&series) || value.is_sign_positive(), "time does not run backwards: {line}");
        (series.clone(), if is_time(&series) { 0.0 } else { value })
    };
    lines
        .map(sample)
        .filter(|(series, _)| !series.starts_with("whostalled_") && !OURS.iter().any(|own| series.starts_with(own)))
        .collect()
}

/// What one has and the other has not, or has another value of, but for what the table says.
fn differences(case: &Case, theirs: &Metrics, ours: &Metrics) -> Vec<String> {
    let excused = |series: &str| case.differs.iter().any(|(name, _)| series.starts_with(&format!("{name}[")));
    let all: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let differs = |series: &&&String| theirs.get(**series) != ours.get(**series) && !excused(series);
    all.iter()
        .filter(differs)
        .map(|series| format!("{series}: {:?} there, {:?} here", theirs.get(*series), ours.get(*series)))
        .collect()
}

struct Both {
    theirs: (u16, Running),
    ours: Watch,
    http: Http,
    /// Modules, by the order of the table; ports and files are filled in.
    fill: Vec<(String, String)>,
}

impl Both {
    fn filled(&self, text: &str) -> String {
        fill(&self.fill, text)
    }

    fn ask(&self, n: usize, case: &Case) -> (Answer, Answer) {
        let target = self.filled(case.target).replace('&', "%26").replace('+', "%2B");
        let query = format!("/probe?module=m{n}&target={target}{}", case.more);
        (self.http.get(&format!("http://127.0.0.1:{}{query}", self.theirs.0)), self.http.get(&self.ours.url(&query)))
    }
}

fn fill(all: &[(String, String)], text: &str) -> String {
    all.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn start(place: &Place, servers: &Servers, exporter: &std::path::Path) -> Both {
    let port = |name: &str, port: u16| (name.to_owned(), port.to_string());
    let fill_in = vec![
        port("http", servers.http),
        port("https", servers.https),
        port("h2", servers.h2.as_ref().map_or(0, |(port, _)| *port)),
        port("proxy", servers.proxy),
        port("smtp", servers.smtp),
        port("irc", servers.irc),
        port("postgres", servers.postgres),
        port("dns", servers.dns),
        port("dns_tls", servers.dns_tls),
        port("silent", servers.silent),
        port("nobody", servers.nobody),
        ("ca".to_owned(), place.certificates.ca.display().to_string()),
    ];
    let modules: String =
        CASES.iter().enumerate().map(|(n, case)| format!("  m{n}: {}\n", fill(&fill_in, case.module))).collect();
    let file = place.write("blackbox.yml", &format!("modules:\n{modules}"));
    let listen = free_port();
    let log = fs::File::create(place.path("exporter.log")).expect("a folder of our own");
    let mut command = Command::new(exporter);
    command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address=127.0.0.1:{listen}"));
    let theirs = Running::start(command.stderr(log));
    let (edge, store) = (Edge::opened(&place.certificates), place.path("store.db"));
    let blackbox = format!("blackbox = \"{}\"", file.display());
    let config = Config::new(place, edge.port, free_port(), &store);
    let ours = Watch::start(place, &Config { watch: &blackbox, ..config }.text());
    let http = Http::plain();
    let begun = wait_for(20, || {
        http.get(&format!("http://127.0.0.1:{listen}/-/healthy")).status == 200 && http.get(&ours.url("/-/healthy")).status == 200
    });
    assert!(
        begun,
        "one of them does not begin: {}\n{}",
        ours.log(),
        fs::read_to_string(place.path("exporter.log")).expect("our own file")
    );
    Both { theirs: (listen, theirs), ours, http, fill: fill_in }
}

#[test]
fn the_same_metrics_with_the_same_values() {
    let mut t = Checks::new();
    let Some(exporter) = program(EXPORTER) else {
        return t.skip(Need::Tools, "prometheus-blackbox-exporter is not installed");
    };
    let place = Place::new();
    let servers = Servers::start(&place.path(""), &place.certificates);
    if servers.h2.is_none() {
        t.skip(Need::Tools, "nginx is not installed: nothing of HTTP/2");
    }
    let both = start(&place, &servers, &exporter);
    let page = fs::read_to_string(repository().join("docs/probe.md")).expect("it is in the repository");
    for (n, case) in CASES.iter().enumerate() {
        if case.target.contains("{h2}") && servers.h2.is_none() {
            continue;
        }
        let (theirs, ours) = both.ask(n, case);
        let differ = match (theirs.status, ours.status) {
            (200, 200) => differences(case, &metrics(&theirs.text()), &metrics(&ours.text())),
            (theirs, ours) if theirs == ours => Vec::new(),
            statuses => vec![format!("statuses {statuses:?}: {}", ours.text())],
        };
        t.check(case.name, differ.is_empty(), || differ.join("; "));
        for (metric, word) in case.differs {
            let said = page.contains(&format!("**{word}**"));
            t.check(format!("{}: docs/probe.md says why {metric} differs", case.name), said, || word);
        }
    }
    both.ours.over(&mut t);
}

#[test]
fn what_only_newer_exporters_do() {
    let mut t = Checks::new();
    let place = Place::new();
    let servers = Servers::start(&place.path(""), &place.certificates);
    let ca = place.certificates.ca.display();
    let modules = format!(
        "modules:
  postgres:
    prober: tcp
    tcp:
      tls_config: {{ ca_file: {ca} }}
      query_response: [{{ send: !!binary AAAACATSFi8= }}, {{ expect_bytes: S }}, {{ starttls: true }}]
  bytes: {{ prober: tcp, tcp: {{ query_response: [{{ send: !!binary AAAACATSFi8= }}, {{ expect_bytes: N }}] }} }}
  labels: {{ prober: tcp, tcp: {{ query_response: [{{ expect: '^220 ([^ ]+) (.*)$', labels: [{{ name: host, value: '${{1}}' }}] }}] }} }}
  repeated: {{ prober: http, http: {{ http_headers: {{ X-A: {{ values: [b, c] }} }}, fail_if_body_not_matches_regexp: ['^b,c$'] }} }}
  cel: {{ prober: http, http: {{ fail_if_body_json_matches_cel: \"body.status == 'DOWN'\" }} }}
"
    );
    let file = place.write("newer.yml", &modules);
    let (edge, store) = (Edge::opened(&place.certificates), place.path("store.db"));
    let blackbox = format!("blackbox = \"{}\"", file.display());
    let config = Config::new(&place, edge.port, free_port(), &store);
    let watch = Watch::start(&place, &Config { watch: &blackbox, ..config }.text());
    let http = Http::plain();
    t.check("it begins", wait_for(20, || http.get(&watch.url("/-/healthy")).status == 200), || watch.log());
    let probe = |module: &str, target: String| http.get(&watch.url(&format!("/probe?module={module}&target={target}")));
    for (module, target, lines) in [
        (
            "postgres",
            format!("localhost:{}", servers.postgres),
            &["probe_success 1", "probe_ssl_earliest_cert_expiry ", "probe_failed_due_to_bytes 0"][..],
        ),
        ("bytes", format!("localhost:{}", servers.postgres), &["probe_success 0", "probe_failed_due_to_bytes 1"]),
        ("labels", format!("localhost:{}", servers.smtp), &["probe_success 1", "probe_expect_info{host=\"mail.test\"} 1"]),
        ("repeated", format!("http://127.0.0.1:{}/repeated", servers.http), &["probe_success 1"]),
    ] {
        let body = probe(module, target).text();
        t.check(format!("{module}: {lines:?}"), lines.iter().all(|line| body.contains(line)), || body);
    }
    let answer = probe("cel", format!("http://127.0.0.1:{}/json", servers.http));
    t.check("a module that asks for more is refused", answer.status == 400 && answer.text().contains("_cel"), || answer);

    // What is asked of an exporter beside probes.
    let config = http.get(&watch.url("/config")).text();
    t.check("/config shows the modules", config.contains("postgres:") && config.contains("expect_bytes"), || config);
    let metric = |name: &str| watch.metric(name);
    let successful = "blackbox_exporter_config_last_reload_successful";
    t.check("a reload metric", metric(&format!("{successful} ")) >= 1.0, || http.get(&watch.url("/metrics")).text());
    let answer = http.get(&watch.url("/-/reload"));
    t.check("/-/reload wants POST", answer.status == 405, || answer);
    place.write("newer.yml", "modules:\n  only: { prober: tcp }\n");
    let answer = http.post(&watch.url("/-/reload"));
    let config = http.get(&watch.url("/config")).text();
    t.check("/-/reload reads again", answer.status == 200 && config.contains("only") && !config.contains("postgres"), || {
        (answer, config)
    });
    place.write("newer.yml", "modules: [");
    let answer = http.post(&watch.url("/-/reload"));
    t.check("/-/reload says what is wrong", answer.status == 500 && answer.text().contains("newer.yml"), || answer);
    t.check("and the metric, too", metric(&format!("{successful} ")) < 1.0, || http.get(&watch.url("/metrics")).text());
    let (unknown, debug) = (probe("no", "a".into()), http.get(&watch.url("/probe?module=only&debug=true&target=127.0.0.1:1")));
    t.check("an unknown module is counted", unknown.status == 400 && metric("blackbox_module_unknown_total ") >= 1.0, || unknown);
    t.check("debug=true says what happened", debug.text().starts_with("Logs for the probe:"), || debug);
    let plain = http.get(&watch.url("/metrics"));
    let open = http.get_with(&watch.url("/metrics"), &[("Accept", "application/openmetrics-text; version=1.0.0")]);
    t.check(
        "/metrics is plain text",
        plain.kind.starts_with("text/plain; version=0.0.4") && !plain.text().contains("# EOF"),
        || plain.kind,
    );
    let is_open = open.kind.starts_with("application/openmetrics-text") && open.text().ends_with("# EOF\n");
    t.check("/metrics is OpenMetrics for whoever asks", is_open, || open.kind);
    watch.over(&mut t);
}
