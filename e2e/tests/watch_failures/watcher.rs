//! A watcher with its files. In: receivers, targets. Out: what its page and its metrics say.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::certificates::{self, Certificates};
use e2e::checks::Checks;
use e2e::http::{Http, total};
use e2e::ports::free_port;
use e2e::process::{Running, binary};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with certificates.
pub struct Place {
    folder: TempDir,
    pub certificates: Certificates,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = certificates::make(folder.path());
        Self { folder, certificates }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a folder of our own");
        path
    }
}

/// A configuration: one check named `target`, one webhook. The gate is wide, so that a busy machine is not taken for a sick prober.
pub struct Config<'a> {
    pub place: &'a Place,
    pub target: u16,
    pub receiver: u16,
    pub store: &'a Path,
    /// Lines of `[watch]`.
    pub watch: &'a str,
    /// What comes behind all.
    pub more: &'a str,
}

impl<'a> Config<'a> {
    pub fn new(place: &'a Place, target: u16, receiver: u16, store: &'a Path) -> Self {
        Self { place, target, receiver, store, watch: "", more: "" }
    }

    pub fn text(&self) -> String {
        let Self { target, receiver, watch, more, .. } = self;
        let (store, ca) = (self.store.display(), self.place.certificates.ca.display());
        format!(
            r#"[watch]
vantage = "here"
store = "{store}"
listen = "LISTEN"
{watch}
[gate]
run_delay = "5s"
data_waiting = "5s"
lateness = "30s"
reference = "5s"
[defaults]
interval = "200ms"
timeout = "2s"
ca = "{ca}"
fire = {{ k = 2, n = 3 }}
resolve_after = 2
[[check]]
name = "target"
target = "https://127.0.0.1:{target}/"
[[receiver]]
kind = "webhook"
url = "http://127.0.0.1:{receiver}/"
{more}
"#
        )
    }
}

/// A watcher.
pub struct Watch {
    listen: u16,
    pub file: PathBuf,
    log: PathBuf,
    pub process: Running,
    http: Http,
}

impl Watch {
    pub fn start(place: &Place, config: &str) -> Self {
        let listen = free_port();
        let (file, log) = (place.path(&format!("checks-{listen}.toml")), place.path("watch.log"));
        write(&file, listen, config);
        let process = started(&file, &log);
        Self { listen, file, log, process, http: Http::plain() }
    }

    /// Replaces its file, as an editor does.
    pub fn write(&self, config: &str) {
        write(&self.file, self.listen, config);
    }

    pub fn start_again(&mut self) {
        self.process = started(&self.file, &self.log);
    }

    /// Sends a signal, waits for the end, gives the exit code.
    pub fn end(&mut self, signal: Signal) -> Option<i32> {
        self.process.end(signal)
    }

    /// Ends it; whatever happened, it did not panic.
    pub fn over(mut self, t: &mut Checks) {
        self.end(Signal::SIGTERM);
        let log = self.log();
        t.check("nothing panicked", !log.contains("panicked"), || log);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a file of our own")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listen)
    }

    pub fn secure_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.listen)
    }

    /// What its page is made of; null while nobody answers.
    pub fn api(&self) -> Value {
        let answer = self.http.get(&self.url("/api/checks"));
        if answer.status == 200 { serde_json::from_slice(&answer.body).expect("it is JSON") } else { Value::Null }
    }

    /// The alert of the check `target`.
    pub fn alert(&self) -> Option<Value> {
        let api = self.api();
        let check = api["checks"].as_array()?.iter().find(|c| c["name"] == "target")?;
        Some(check["alert"].clone()).filter(|alert| !alert.is_null())
    }

    /// Whether it has this trouble now; none while nobody answers.
    pub fn trouble(&self, kind: &str) -> Option<bool> {
        Some(self.api().get("trouble")?.get(kind).is_some())
    }

    pub fn metric(&self, start: &str) -> f64 {
        total(&self.http.get(&self.url("/metrics")).text(), start)
    }

    /// Whether the last round of a check was good.
    pub fn is_good(&self, check: &str) -> bool {
        self.metric(&format!("whostalled_round_success{{check=\"{check}\"}}")) >= 1.0
    }
}

fn write(file: &Path, listen: u16, config: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, config.replace("LISTEN", &format!("127.0.0.1:{listen}"))).expect("a folder of our own");
    std::fs::rename(&new, file).expect("a folder of our own");
}

fn started(file: &Path, log: &Path) -> Running {
    let log: File = OpenOptions::new().create(true).append(true).open(log).expect("a folder of our own");
    Running::start(Command::new(binary()).arg("watch").arg(file).stderr(log))
}
