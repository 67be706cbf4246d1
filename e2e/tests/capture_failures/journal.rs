//! The journal as a source of triggers: one that ends after each entry, and a real journald that is rotated, killed and started again.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::checks::Checks;
use e2e::process::{Running, is_program};
use e2e::waiting::{pause, wait_for};
use nix::sys::signal::Signal;
use testing::Need;

use crate::recorder::{Config, Place, SOON};

/// `journalctl` is replaced by a script that ends after each entry, as when the journal is restarted.
#[test]
fn a_journal_that_is_restarted() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let bin = place.path("bin");
    std::fs::create_dir(&bin).expect("a folder of our own");
    let (calls, entry) = (place.path("journalctl.calls"), place.path("entry"));
    let (program, at) = (bin.join("journalctl"), entry.display());
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\ncat {at} 2>/dev/null; rm -f {at}\nexit 1\n", calls.display());
    std::fs::write(&program, script).expect("a folder of our own");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("our own file");
    let more = "[[log]]\nkind = \"journal\"\nmatch = [\"SYSLOG_IDENTIFIER=haproxy\"]\n";
    let path = format!("PATH={}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let mut recorder = place.begin_with(&["env", &path], &Config { more, ..place.config() });
    let client = place.edge.handshake();
    pause(300);
    let new = place.path("entry.new");
    std::fs::write(&new, format!("__CURSOR=s=abc;i=7\nPRIORITY=4\nMESSAGE={client} fe~ Th=700\n\n"))
        .expect("a folder of our own");
    std::fs::rename(new, &entry).expect("a folder of our own");
    let kept = wait_for(SOON, || place.triggers("journal", "kept") == 1);
    t.check("an entry of the journal is a trigger, through restarts of the journal", kept, || place.outcomes());
    let called = || std::fs::read_to_string(&calls).unwrap_or_default();
    let again = wait_for(SOON, || called().contains("--after-cursor=s=abc;i=7"));
    t.check("it goes on behind the last entry read", again, called);
    let newest = place.evidence().last().map(|file| std::fs::read(file).expect("it is there")).unwrap_or_default();
    let cursor = b"__CURSOR=s=abc;i=7";
    let inside = newest.windows(cursor.len()).any(|bytes| bytes == cursor);
    t.check("the entry is in the evidence", inside, || place.evidence());
    recorder.end(Signal::SIGTERM);
}

/// A mount namespace whose journal is its own.
struct Inside {
    holder: Running,
    journald: PathBuf,
}

impl Inside {
    fn new(journald: PathBuf) -> Self {
        let mounts = "mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal && mount -t tmpfs none /run/log \
            && mkdir /run/log/journal && exec sleep 1000";
        let holder = Running::start(Command::new("unshare").args(["-m", "sh", "-c", mounts]));
        let inside = Self { holder, journald };
        assert!(wait_for(SOON, || inside.path("/run/log/journal").exists()), "a mount namespace of our own");
        inside
    }

    fn id(&self) -> String {
        self.holder.id().to_string()
    }

    /// What a path leads to in there.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
    }

    fn socket(&self) -> PathBuf {
        self.path("/run/systemd/journal/socket")
    }

    /// A journald, if it runs here.
    fn journald(&self) -> Option<Running> {
        // Left by one that was killed.
        let _ = std::fs::remove_file(self.socket());
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.id(), "-m"]).arg(&self.journald).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = Running::start(&mut command);
        wait_for(SOON, || self.socket().exists()).then_some(daemon)
    }

    fn log(&self, client: SocketAddr) {
        let entry = format!("MESSAGE=slow handshake\nSYSLOG_IDENTIFIER=edge\nCLIENT={client}\nHANDSHAKE_MS=900\n");
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.connect(self.socket()).expect("journald listens");
        socket.send(entry.as_bytes()).expect("journald listens");
    }
}

#[test]
fn a_journald_of_our_own() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let places = ["/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"].map(PathBuf::from);
    let Some(journald) = places.into_iter().find(|path| path.exists()).filter(|_| is_program("journalctl")) else {
        return t.skip(Need::Tools, "a journald of our own: systemd-journald is not installed");
    };
    let inside = Inside::new(journald);
    let Some(mut daemon) = inside.journald() else {
        return t.skip(Need::Tools, "a journald of our own: systemd-journald does not run here");
    };
    let id = inside.id();
    let prefix = ["nsenter", "-t", &id, "-m"];
    let more = "[[log]]\nkind = \"journal\"\nmatch = [\"SYSLOG_IDENTIFIER=edge\"]\nat_least = \"200ms\"\n\
        fields = { client = \"CLIENT\", duration = \"HANDSHAKE_MS\" }\n";
    let config = Config { more, ..place.config() };
    let mut recorder = place.begin_with(&prefix, &config);
    let kept = || place.triggers("journal", "kept");
    // It follows the journal from when its journalctl is there, which nobody says: what is logged before is not its affair.
    let taken = (0..5).any(|_| {
        inside.log(place.edge.handshake());
        wait_for(2, || kept() > 0)
    });
    t.check("a real journald's entry is a trigger", taken, || place.outcomes());
    pause(1000);
    let before = kept();
    // Rotates.
    daemon.signal(Signal::SIGUSR2);
    pause(500);
    inside.log(place.edge.handshake());
    t.check("through rotation", wait_for(SOON, || kept() == before + 1), || place.outcomes());
    daemon.end(Signal::SIGKILL);
    let again = inside.journald();
    t.check("a journald starts again", again.is_some(), || "its socket is not there");
    inside.log(place.edge.handshake());
    t.check("through a journald that was killed", wait_for(20, || kept() == before + 2), || place.outcomes());
    let files = place.evidence().len();
    recorder.end(Signal::SIGTERM);
    // Nobody reads the journal meanwhile; the flow itself is gone with the recorder's memory, but the entry is not.
    inside.log(SocketAddr::from(([127, 0, 0, 1], 9)));
    let mut recorder = place.begin_with(&prefix, &config);
    let gone = wait_for(SOON, || place.triggers("journal", "gone") == 1);
    let once = gone && kept() == 0 && place.evidence().len() == files;
    t.check("what was logged while the recorder was away is read, once", once, || place.outcomes());
    recorder.end(Signal::SIGTERM);
}
