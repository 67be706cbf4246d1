//! A nats-server with certificates and permissions as dist/nats makes them. In: a folder, names of agents and controllers. Out: a server on
//! loopback that can be killed and started again, and the arguments by which somebody is let in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use testing::{Need, skipped};

use crate::ports::free_port;
use crate::process::{Running, is_program, repository};
use crate::servers::listening;

/// The server.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    port: u16,
    running: Option<Running>,
}

impl Broker {
    /// One that runs, with its files in the folder `nats` of `folder`; nothing where nats-server is not installed, which is said.
    ///
    /// # Panics
    /// If certificates cannot be made.
    #[must_use]
    pub fn begin(folder: &Path, agents: &[String], controllers: &[&str]) -> Option<Self> {
        if !is_program("nats-server") {
            skipped(Need::Tools, "nats-server is not installed (apt-get install nats-server); no fleet was tried");
            return None;
        }
        let folder = folder.join("nats");
        let certify = |arguments: &[&str]| {
            let mut command = Command::new(repository().join("dist/nats/certify"));
            let status = command.arg(&folder).args(arguments).status().expect("bash");
            assert!(status.success(), "certify {arguments:?}");
        };
        certify(&["server", "localhost", "127.0.0.1"]);
        certify(&[&["agent"], &agents.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
        certify(&[&["controller"], controllers].concat());
        let mut broker = Self { folder, port: free_port(), running: None };
        broker.up();
        Some(broker)
    }

    /// Starts it, at the port that it had.
    pub fn up(&mut self) {
        let mut command = Command::new("nats-server");
        command.args(["-c", "nats-server.conf", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-l", "broker.log"]);
        self.running = Some(Running::start(command.current_dir(&self.folder).stderr(Stdio::null())));
        listening(self.port);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.end(Signal::SIGKILL);
        }
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(running) = &mut self.running {
            running.signal(signal);
        }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("tls://localhost:{}", self.port)
    }

    /// A file of its folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("broker.log")).unwrap_or_default()
    }

    /// The arguments by which whoever has the certificate `certificate` (as `agents/fra`) is let in; `option` names the server.
    #[must_use]
    pub fn arguments(&self, option: &str, certificate: &str) -> Vec<String> {
        let file = |name: String| self.file(&name).display().to_string();
        let (ca, cert, key) = (file("ca.pem".into()), file(format!("{certificate}.pem")), file(format!("{certificate}.key")));
        [option, &self.url(), "--nats-ca", &ca, "--nats-cert", &cert, "--nats-key", &key].map(str::to_owned).to_vec()
    }
}
