//! The first day: a check without a file, files to begin with, the documented example as it stands, what the process says of itself, and what
//! OpenTelemetry hears. Loopback only.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::certificates::{Certificates, make};
use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::http::Http;
use e2e::ports::free_port;
use e2e::process::{Running, Said, binary, repository, run};
use e2e::receiver::Receiver;
use e2e::waiting::wait_for;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// How long a thing may take that takes no time.
const SOON: u64 = 20;
/// A gate so wide that a busy machine is not taken for a sick prober.
const WIDE_GATE: &str = "[gate]\nrun_delay = \"5s\"\ndata_waiting = \"5s\"\nlateness = \"30s\"\nreference = \"5s\"\n";

struct Place {
    folder: TempDir,
    certificates: Certificates,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = make(folder.path());
        Self { folder, certificates }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn whostalled(&self, words: &[&str]) -> Said {
        let mut command = Command::new(binary());
        command.args(words).current_dir(self.folder.path());
        run(command, 60)
    }

    /// A watcher with `more` on its command line; what it says goes to `log`.
    fn watching(&self, file: &Path, more: &[&str], environment: &[(&str, String)]) -> Running {
        let log = File::create(self.path("log")).expect("a folder of our own");
        let mut command = Command::new(binary());
        command.arg("watch").arg(file).args(more).current_dir(self.folder.path()).stderr(log);
        command.envs(environment.iter().map(|(name, value)| (*name, value)));
        Running::start(&mut command)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

#[test]
fn a_target_is_checked_without_a_file() {
    let mut t = Checks::new();
    let place = Place::new();
    let mut edge = Edge::opened(&place.certificates);
    let (target, ca) = (format!("https://127.0.0.1:{}/", edge.port), place.certificates.ca.display().to_string());
    let words = ["watch", &target, "--ca", &ca, "--rounds", "2", "--interval", "200ms"];
    let said = place.whostalled(&words);
    let shown = said.out.lines().filter(|line| line.contains("127.0.0.1") && line.contains("certificate ends in")).count();
    t.check("each round is a line", said.code == Some(0) && shown == 2, || said);
    let untrusted = place.whostalled(&["watch", &target, "--rounds", "1", "--interval", "200ms"]);
    let issuer = untrusted.out.contains("certificate of an unknown issuer");
    t.check("what fails is said in words, and exit 1", untrusted.code == Some(1) && issuer, || untrusted);
    edge.close();
    let refused = place.whostalled(&words);
    let words = refused.out.contains("connection refused") && !refused.out.contains("connect_refused");
    t.check("a refusal has no raw name and no 0 ms", refused.code == Some(1) && words && !refused.out.contains(" 0 ms"), || {
        refused
    });
    let left = std::fs::read_dir(place.folder.path()).expect("our own folder").count();
    t.check("nothing is left behind but the certificates", left == 3, || left);
}

#[test]
fn files_to_begin_with_are_valid_and_never_written_over() {
    let mut t = Checks::new();
    let place = Place::new();
    for (verb, file, more) in
        [("watch", "checks.toml", &["--target", "https://127.0.0.1:9/"][..]), ("capture", "capture.toml", &["--iface", "lo"][..])]
    {
        let words: Vec<&str> = [verb, "init"].iter().chain(more).copied().collect();
        let written = place.whostalled(&words);
        t.check(format!("{verb} init writes {file}"), written.code == Some(0) && place.path(file).is_file(), || written);
        let again = place.whostalled(&words);
        t.check("and not over another", again.refused(2, "is there already"), || again);
        let validate: &[&str] =
            if verb == "watch" { &["watch", file, "--validate"] } else { &["capture", "--config", file, "--validate"] };
        let valid = place.whostalled(validate);
        t.check("and it is valid", valid.code == Some(0) && valid.out.contains("valid"), || valid);
    }
}

/// The first block of TOML of a page.
fn documented(page: &str) -> String {
    let text = std::fs::read_to_string(repository().join(page)).expect("a page of ours");
    let block = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("a block of TOML").to_owned()
}

#[test]
fn the_documented_example_starts_as_it_stands() {
    let mut t = Checks::new();
    let place = Place::new();
    let listen = format!("127.0.0.1:{}", free_port());
    // Nobody of these may be asked, and the store is one of ours: its folders are still to be made.
    let store = place.path("var/lib/whostalled/store.db");
    let text = documented("docs/watch.md")
        .replace("/var/lib/whostalled/store.db", &store.display().to_string())
        .replace("127.0.0.1:9719", &listen)
        .replace("login.example.com", "127.0.0.1:9")
        .replace("www.example.net", "127.0.0.1:9");
    let file = place.path("checks.toml");
    std::fs::write(&file, &text).expect("a folder of our own");
    let valid = place.whostalled(&["watch", "checks.toml", "--validate"]);
    t.check("it is valid, and that makes nothing", valid.code == Some(0) && !store.exists(), || valid);
    let mut watch = place.watching(&file, &[], &[]);
    let http = Http::plain();
    let up = wait_for(SOON, || http.get(&format!("http://{listen}/")).status == 200);
    t.check("it starts, and makes the folder of its store", up && store.exists(), || place.log());
    t.check("it ends well", watch.end(Signal::SIGTERM) == Some(0), || place.log());
    std::fs::write(place.path("file"), "").expect("a folder of our own");
    let text = text.replace(&store.display().to_string(), &place.path("file/store.db").display().to_string());
    std::fs::write(&file, text).expect("a folder of our own");
    let refused = place.whostalled(&["watch", "checks.toml"]);
    t.check("where it cannot, it says which folder and what to do", refused.refused(2, "name another place"), || refused);
}

#[test]
fn the_process_says_what_it_does() {
    let mut t = Checks::new();
    let place = Place::new();
    let mut edge = Edge::opened(&place.certificates);
    let (hook, listen) = (free_port(), free_port());
    let receiver = Receiver::listening(hook, 200);
    let text = format!(
        "[watch]\nvantage = \"here\"\nstore = \"store.db\"\nlisten = \"127.0.0.1:{listen}\"\n{WIDE_GATE}[defaults]\ninterval = \"200ms\"\n\
         timeout = \"2s\"\nca = \"{}\"\nfire = {{ k = 2, n = 3 }}\nresolve_after = 2\n[[check]]\nname = \"target\"\n\
         target = \"https://127.0.0.1:{}/\"\n[[receiver]]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{hook}/\"\n",
        place.certificates.ca.display(),
        edge.port
    );
    let file = place.path("checks.toml");
    std::fs::write(&file, text).expect("a folder of our own");
    let mut watch = place.watching(&file, &["--log-format", "json"], &[]);
    t.check("it begins", wait_for(SOON, || place.log().contains("watching 1 check")), || place.log());
    edge.close();
    t.check("an alert is told", wait_for(SOON, || receiver.said("firing") > 0), || place.log());
    receiver.answer(422);
    edge.open();
    let logged = |what: &str| {
        place.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| line["message"] == what)
    };
    t.check("a refusal is logged", wait_for(SOON, || logged("a receiver refused a message for good")), || place.log());
    t.check("it ends well", watch.end(Signal::SIGTERM) == Some(0), || place.log());
    let lines: Vec<Option<Value>> = place.log().lines().map(|line| serde_json::from_str(line).ok()).collect();
    t.check("every line is JSON", !lines.is_empty() && lines.iter().all(Option::is_some), || place.log());
    let transition = |state: &str| {
        lines.iter().flatten().any(|line| line["check"] == "target" && line["state"] == state && line["family"] == "failing")
    };
    t.check("transitions are logged with check, family and culprit", transition("firing") && transition("resolved"), || {
        place.log()
    });
    let delivery = lines.iter().flatten().any(|line| line["message"] == "told a receiver" && line["state"] == "firing");
    t.check("so are deliveries", delivery, || place.log());
}

#[test]
fn opentelemetry_hears_of_bad_rounds_and_of_metrics() {
    let mut t = Checks::new();
    let place = Place::new();
    let (edge, port, listen) = (Edge::closed(&place.certificates), free_port(), free_port());
    // Whatever path it is asked for, it remembers the body.
    let collector = Receiver::listening(port, 200);
    let text = format!(
        "[watch]\nstore = \"store.db\"\nlisten = \"127.0.0.1:{listen}\"\n{WIDE_GATE}[defaults]\ninterval = \"200ms\"\ntimeout = \"2s\"\n\
         [[check]]\nname = \"target\"\ntarget = \"https://127.0.0.1:{}/\"\n",
        edge.port
    );
    let file = place.path("checks.toml");
    std::fs::write(&file, text).expect("a folder of our own");
    let at = |signal: &str| (format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), format!("http://127.0.0.1:{port}/"));
    let (traces, metrics) = (at("TRACES"), at("METRICS"));
    let environment =
        [(traces.0.as_str(), traces.1), (metrics.0.as_str(), metrics.1), ("OTEL_METRIC_EXPORT_INTERVAL", "500".to_owned())];
    let mut watch = place.watching(&file, &[], &environment);
    let span = || {
        let heard = collector.heard();
        heard.iter().find_map(|body| body.pointer("/resourceSpans/0/scopeSpans/0/spans/0").cloned())
    };
    t.check("a bad round is a trace", wait_for(SOON, || span().is_some()), || (place.log(), collector.heard()));
    let span = span().unwrap_or_default();
    t.check("with what was wrong", span["name"] == "TLS check target" && span["status"]["code"] == 2, || span);
    let rounds = || {
        let heard = collector.heard();
        let named = |body: &Value| {
            let metrics = body.pointer("/resourceMetrics/0/scopeMetrics/0/metrics")?.as_array()?;
            metrics.iter().find(|metric| metric["name"] == "whostalled_rounds").cloned()
        };
        heard.iter().find_map(named)
    };
    t.check("metrics come too", wait_for(SOON, || rounds().is_some()), || collector.heard().len());
    t.check("it ends well", watch.end(Signal::SIGTERM) == Some(0), || place.log());
    let mut command = Command::new(binary());
    command.args(["watch", "checks.toml"]).current_dir(place.folder.path());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317").env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let refused = run(command, 60);
    t.check("what is not spoken is refused by its variable", refused.refused(2, "OTEL_EXPORTER_OTLP_PROTOCOL"), || refused);
}
