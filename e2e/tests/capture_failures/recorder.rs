//! A recorder with its edge. In: settings. Out: what it logs, answers and counts.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::certificates;
use e2e::edge::Edge;
use e2e::http::{Http, count};
use e2e::ports::free_port;
use e2e::process::{Running, Said, binary, run, whostalled};
use e2e::waiting::{wait_for, wait_some};
use serde_json::Value;
use tempfile::TempDir;
use testing::Need;

/// How long a thing may take that takes no time.
pub const SOON: u64 = 10;

/// A folder, an edge on loopback, and a recorder's ports.
pub struct Place {
    pub folder: TempDir,
    pub edge: Edge,
    web: u16,
    http: Http,
}

/// What differs from test to test.
pub struct Config<'a> {
    pub interface: &'a str,
    /// Where it serves its page, if not where the place's recorder does.
    pub listen: Option<u16>,
    pub evidence: PathBuf,
    /// What comes behind all.
    pub more: &'a str,
}

impl Place {
    /// None, which is said, if we are not root.
    pub fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            testing::skipped(Need::Root, "the recorder's failures are tried as root");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our own folder");
        let edge = Edge::opened(&certificates::make(folder.path()));
        Some(Self { folder, edge, web: free_port(), http: Http::plain() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> Config<'static> {
        Config { interface: "lo", listen: None, evidence: self.path("evidence"), more: "" }
    }

    /// Writes a configuration under a name.
    pub fn write(&self, name: &str, config: &Config<'_>) -> PathBuf {
        let Config { interface, listen, evidence, more } = config;
        let text = format!(
            r#"[capture]
interfaces = ["{interface}"]
ports = [{}]
memory = "8MiB"
control = "{}"
listen = "127.0.0.1:{}"
[evidence]
folder = "{}"
per_second = 1000
burst = 10000
network_burst = 10000
follow = "100ms"
[alerts]
store = "{}"
{more}
"#,
            self.edge.port,
            self.path("control.sock").display(),
            listen.unwrap_or(self.web),
            evidence.display(),
            self.path("alerts.db").display()
        );
        let path = self.path(name);
        std::fs::write(&path, text).expect("a folder of our own");
        path
    }

    /// Starts a recorder and waits until it records, or has ended.
    pub fn begin(&self, config: &Config<'_>) -> Running {
        self.begin_with(&[], config)
    }

    /// The same behind another command, such as `nsenter`.
    pub fn begin_with(&self, prefix: &[&str], config: &Config<'_>) -> Running {
        let file = self.write("capture.toml", config);
        let log = File::create(self.path("recorder.log")).expect("a folder of our own");
        let mut words: Vec<&OsStr> = prefix.iter().map(OsStr::new).collect();
        let binary = binary();
        words.extend([binary.as_os_str(), "capture".as_ref(), "--config".as_ref(), file.as_os_str()]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.folder.path());
        let mut running = Running::start(command.stdout(log.try_clone().expect("a file")).stderr(log));
        wait_for(SOON, || !running.is_running() || self.log().contains("recording handshakes"));
        running
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("recorder.log")).expect("it was begun")
    }

    /// `whostalled capture WORDS` to the recorder.
    pub fn ask(&self, words: &[&str]) -> Said {
        let mut command = Command::new(binary());
        command.arg("capture").args(words).arg("--control").arg(self.path("control.sock")).current_dir(self.folder.path());
        run(command, 40)
    }

    /// Asks for a flow's packets until they are kept.
    pub fn kept(&self, client: SocketAddr) -> Option<Said> {
        wait_some(SOON, || Some(self.ask(&["trigger", &client.to_string()])).filter(|said| said.code == Some(0)))
    }

    /// What it says of itself; null if it does not answer.
    pub fn status(&self) -> Value {
        let said = self.ask(&["status", "--json"]);
        if said.code != Some(0) {
            return Value::Null;
        }
        let answer: Value = serde_json::from_str(&said.out).expect("it is JSON");
        answer["status"].clone()
    }

    /// Whether it has this trouble now; none while it does not answer.
    pub fn trouble(&self, kind: &str) -> Option<bool> {
        Some(self.status().get("trouble")?.get(kind).is_some())
    }

    /// A part of its status as text.
    pub fn status_text(&self, part: &str) -> String {
        self.status()[part].to_string()
    }

    pub fn page(&self, path: &str) -> String {
        self.http.get(&format!("http://127.0.0.1:{}{path}", self.web)).text()
    }

    /// Counters that start so, summed.
    pub fn metric(&self, start: &str) -> u64 {
        count(&self.page("/metrics"), start)
    }

    /// Triggers of a source with an outcome.
    pub fn triggers(&self, source: &str, outcome: &str) -> u64 {
        self.metric(&format!("whostalled_capture_triggers_total{{source=\"{source}\",outcome=\"{outcome}\"}}"))
    }

    /// What became of all triggers.
    pub fn outcomes(&self) -> Vec<String> {
        let page = self.page("/metrics");
        page.lines().filter(|line| line.starts_with("whostalled_capture_triggers_total")).map(String::from).collect()
    }

    /// The evidence files, oldest first.
    pub fn evidence(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path("evidence")).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension() == Some("pcapng".as_ref()) && !is_unfinished(path)).collect();
        files.sort_by_key(|path| std::fs::metadata(path).and_then(|m| m.modified()).expect("it is there"));
        files
    }

    /// Whether a file is one flow and whole.
    pub fn is_whole(&self, file: &Path) -> bool {
        let file = self.folder.path().join(file);
        let said = whostalled(["explain".as_ref(), "--json".as_ref(), file.as_os_str()]);
        let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
        said.code == Some(0) && report["warnings"].as_array().is_some_and(Vec::is_empty) && report["handshakes"] == 1
    }
}

/// Whether a file is half written.
pub fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".unfinished"))
}
