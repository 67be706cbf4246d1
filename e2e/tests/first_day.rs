//! The first day: from a bare Debian to a verdict, a check and a recorder, with what is handed out. It must work; how long each step took
//! is printed, and asserted of nobody's machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use e2e::certificates::make;
use e2e::checks::Checks;
use e2e::debian::{Debian, made, put};
use e2e::http::total;
use e2e::process::{Running, repository, run};
use e2e::waiting::wait_for;
use nix::sys::signal::Signal;

/// How long any step may take before it counts as failed.
const PATIENCE: u64 = 120;
const PORT: &str = "8443";
const CAPTURES: &str = "zoo/recorded/c003-python-python-client-stalls";

/// Says how long a step took.
fn timed<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = step();
    println!("{:>7.2} s  {what}", begun.elapsed().as_secs_f64());
    done
}

fn get(debian: &Debian, url: &str) -> String {
    let mut curl = debian.beside("curl");
    curl.args(["--silent", "--max-time", "5", url]);
    run(curl, 10).out
}

#[test]
fn from_nothing_to_verdict_check_and_recorder() {
    let mut checks = Checks::new();
    let Some(debian) = Debian::minimal(&mut checks) else { return };
    put(&made("whostalled_", "_amd64.deb"), &debian.path("/root"));
    for end in ["client", "edge"] {
        put(&repository().join(CAPTURES).join(format!("{end}.pcap.zst")), &debian.path("/root"));
    }
    let certificates = make(&debian.path("/root"));
    let mut server = debian.beside("openssl");
    server.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{PORT}"), "-cert"]).arg(&certificates.cert);
    let server = server.arg("-key").arg(&certificates.key).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Running::start(server);

    let installed = timed("install the package", || run(in_root(&debian, "dpkg -i whostalled_*.deb"), PATIENCE));
    checks.check("the package installs on a bare Debian", installed.code == Some(0), || installed);

    let explained = timed("first verdict on a capture", || {
        run(in_root(&debian, "whostalled explain client.pcap.zst edge.pcap.zst"), PATIENCE)
    });
    let blamed = explained.code == Some(0) && explained.out.contains("client");
    checks.check("the first verdict names the client", blamed, || explained);

    first_check(&mut checks, &debian);
    first_recorder(&mut checks, &debian, &certificates.ca);
}

/// A shell's line, in root's folder.
fn in_root(debian: &Debian, line: &str) -> Command {
    let mut command = debian.command("sh");
    command.args(["-c", &format!("cd /root && {line}")]);
    command
}

/// As the unit would start it: its user, its folder, its command.
fn first_check(checks: &mut Checks, debian: &Debian) {
    let checked =
        format!("\n[[check]]\nname = \"first\"\ntarget = \"https://localhost:{PORT}/\"\nca = \"/etc/whostalled/ca.pem\"\n");
    let (mut watcher, up) = timed("first check", || {
        let script = format!(
            "cp ca.pem /etc/whostalled/ && chmod 644 /etc/whostalled/ca.pem && printf '%s' '{checked}' >> /etc/whostalled/checks.toml \
             && cd /var/lib/whostalled && exec setpriv --reuid whostalled-watch --regid whostalled-watch --clear-groups \
             /usr/bin/whostalled watch /etc/whostalled/checks.toml"
        );
        let mut watcher = Running::start(&mut in_root(debian, &script));
        let round = || {
            get(debian, "http://127.0.0.1:9719/metrics")
                .lines()
                .any(|line| line.starts_with("whostalled_round_success{") && line.ends_with(" 1"))
        };
        let up = wait_for(PATIENCE, || !watcher.is_running() || round());
        (watcher, up)
    });
    let running = watcher.is_running();
    checks.check("the first check succeeds, as its unit's user", up && running, || get(debian, "http://127.0.0.1:9719/metrics"));
    let code = watcher.end(Signal::SIGTERM);
    checks.check("the watcher ends when it is asked to", code == Some(0), || code);
}

fn first_recorder(checks: &mut Checks, debian: &Debian, ca: &Path) {
    const METRICS: &str = "http://127.0.0.1:9720/metrics";
    let (mut recorder, seen) = timed("recorder, to its first handshake", || {
        let mut recorder = Running::start(&mut in_root(debian, &format!("exec whostalled capture --iface lo --port {PORT}")));
        let seen = wait_for(PATIENCE, || {
            // Before it records nothing is seen; then each of these is.
            let mut curl = debian.beside("curl");
            curl.args(["--silent", "--output", "/dev/null", "--max-time", "5", "--cacert"]).arg(ca);
            let reached = run(
                {
                    curl.arg(format!("https://localhost:{PORT}/"));
                    curl
                },
                10,
            )
            .code
                == Some(0);
            !recorder.is_running() || reached && total(&get(debian, METRICS), "whostalled_capture_handshakes_total") > 0.0
        });
        (recorder, seen)
    });
    let running = recorder.is_running();
    checks.check("the recorder sees a handshake", seen && running, || get(debian, METRICS));
    let status = run(in_root(debian, "whostalled capture status"), PATIENCE);
    checks.check("the recorder says what it sees", status.code == Some(0), || status);
    let code = recorder.end(Signal::SIGTERM);
    checks.check("the recorder ends when it is asked to", code == Some(0), || code);
}
