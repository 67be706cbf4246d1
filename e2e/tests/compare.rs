//! `compare` with OpenSSL's servers as edges, and with curls as clients: what is counted, what is slower, what is refused; and the action for GitHub's runner, its step
//! taken as the runner takes it.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use e2e::certificates::{self, Certificates};
use e2e::checks::Checks;
use e2e::process::{Running, Said, binary, is_program, repository, run, whostalled};
use e2e::waiting::wait_for;
use nix::sys::signal::Signal;
use serde_json::Value;
use testing::Need;

/// A command that serves, with `more` of its options.
fn edge(files: &Certificates, more: &str) -> String {
    let (cert, key) = (files.cert.display(), files.key.display());
    format!("exec openssl s_server -quiet -www -accept 127.0.0.1:{{port}} -cert {cert} -key {key} {more}")
}

/// The same, whose port somebody else opens first, and hangs up on whoever comes: as what hands a container's port on does until the
/// container listens.
fn behind_a_door(files: &Certificates) -> String {
    let door = "import os,socket,sys,time
s=socket.create_server((\"127.0.0.1\", int(sys.argv[1])))
s.settimeout(0.1)
end=time.time()+1
while time.time()<end:
    try: s.accept()[0].close()
    except OSError: pass
s.close()
os.execvp(sys.argv[2], sys.argv[2:])";
    format!("exec python3 -c '{door}' {{port}} {}", edge(files, "").trim_start_matches("exec "))
}

/// The same as a daemon, in a session of its own.
fn daemon(files: &Certificates) -> String {
    format!("setsid {} & sleep 0.5", edge(files, "").trim_start_matches("exec "))
}

fn compare(files: &Certificates, base: &str, candidate: &str, more: &[&str]) -> Said {
    let ca = files.ca.display().to_string();
    whostalled([&["compare", base, candidate, "--ca", &ca], more].concat())
}

/// The steps of an action: of each, its script.
fn scripts(action: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(action).expect("the action is there");
    let mut scripts: Vec<String> = Vec::new();
    let mut depth = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match depth {
            _ if line.trim_start() == "run: |" => {
                depth = Some(indent);
                scripts.push(String::new());
            }
            Some(of_run) if indent > of_run => {
                let script = scripts.last_mut().expect("one was begun");
                script.push_str(line.trim_start());
                script.push('\n');
            }
            _ => depth = None,
        }
    }
    scripts
}

#[test]
fn two_edges() {
    let mut t = Checks::new();
    if !is_program("openssl") {
        return t.skip(Need::Tools, "openssl is not installed");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = certificates::make(folder.path());
    let plain = edge(&files, "");
    let saved = folder.path().join("deep/base.json").display().to_string();

    let same = compare(&files, &plain, &plain, &["--counts", "--save", &saved]);
    t.check("two of a kind are no regression by counts", same.code == Some(0), || &same);
    t.check("and it is said that times were not compared", same.out.contains("times were not compared"), || &same);

    let retry = compare(&files, &plain, &edge(&files, "-groups P-384"), &["--counts", "--json"]);
    let json: Value = serde_json::from_str(&retry.out).unwrap_or_default();
    let trips = json["counts"].as_array().into_iter().flatten().find(|count| count["what"] == "round_trips").cloned();
    let (base, candidate) = trips.map_or((Value::Null, Value::Null), |trips| (trips["base"].clone(), trips["candidate"].clone()));
    t.check("a HelloRetryRequest is a round trip more, and fails", retry.code == Some(1) && base == 2 && candidate == 3, || {
        &retry
    });

    let stored = compare(&files, &saved, &edge(&files, "-tls1_2"), &[]);
    t.check(
        "what was saved is a base",
        stored.code == Some(1) && stored.out.contains("round trips to the answer: 2 → 3"),
        || &stored,
    );
    let other = compare(&files, &saved, &edge(&files, "-tls1_2"), &["--tls12"]);
    t.check("but not if it is asked in another way", other.refused(2, "--tls12, --tls13: any version then, TLS 1.2 now"), || {
        other
    });
    t.check("for counts alone", stored.out.contains("side by side") || !stored.out.contains("Time by owner"), || &stored);

    let none = compare(&files, &plain, "exit 3 # {port}", &["--counts"]);
    t.check("an edge that does not start is the harness's failure", none.refused(2, "exit status: 3"), || none);
    let full = compare(&files, &plain, "exit 3 # {port}", &["--counts", "--markdown", "/dev/full"]);
    t.check("and so it stays where that cannot be written down", full.refused(2, "exit status: 3"), || full);
    let nowhere = "https://127.0.0.1:1/";
    let costs = compare(&files, nowhere, nowhere, &["--costs"]);
    t.check("what is no command has no costs, and nobody is asked before that is said", costs.refused(2, "--costs runs"), || {
        costs
    });
    let wrong = compare(&files, &plain, "proxy", &["--counts"]);
    t.check("what is no edge is said", wrong.refused(2, "{port}"), || wrong);
    let refused = whostalled(["compare", &plain, &plain, "--counts"]);
    t.check("a base that does not verify is no base", refused.refused(2, "certificate_unknown_issuer"), || refused);
    // A daemon, and a session of its own.
    let daemon = daemon(&files);
    let left = compare(&files, &plain, &daemon, &["--counts"]);
    t.check("an edge that makes itself a daemon is one", left.code == Some(0), || &left);
    if is_program("python3") {
        let door = behind_a_door(&files);
        let late = compare(&files, &door, &door, &["--counts"]);
        t.check("an edge that answers later than its port is open is waited for", late.code == Some(0), || &late);
    }
    let asks = edge(&files, "-Verify 1");
    let key = files.key.display().to_string();
    let cert = files.cert.display().to_string();
    let own = compare(&files, &asks, &asks, &["--counts", "--cert", &cert, "--key", &key]);
    t.check("edges that ask for a certificate are given one", own.code == Some(0), || &own);
    let fails = compare(&files, &plain, &asks, &["--counts", "--wire", "50ms"]);
    t.check("who fails is a regression, and takes no round trips on a wire", fails.code == Some(1), || &fails);
    let none = compare(&files, &asks, &asks, &["--counts"]);
    t.check("and fail without", none.code == Some(2), || &none);
    let wrong = compare(&files, "lab:apache", &plain, &["--counts"]);
    t.check("what the lab has no edge of is said", wrong.refused(2, "lab:nginx"), || wrong);
    let lab = compare(&files, "lab:embedded", &plain, &["--counts", "--json"]);
    let json: Value = serde_json::from_str(&lab.out).unwrap_or_default();
    let is_whole = lab.code.is_some_and(|code| code < 2) && json["base"]["name"] == "lab:embedded";
    t.check("an edge of the lab needs no certificate of ours, and whom the other trusts is trusted", is_whole, || &lab);
    let listening = Command::new("pgrep").args(["-f", &files.key.display().to_string()]).output().expect("pgrep");
    t.check("no edge is left behind", listening.stdout.is_empty(), || String::from_utf8_lossy(&listening.stdout).into_owned());
}

/// An nginx's configuration with `more` in its server.
fn nginx(folder: &Path, name: &str, more: &str) -> String {
    let file = folder.join(name);
    let temporary: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {{files}}/{of}; ")).concat();
    let text = format!(
        "master_process off; error_log {{files}}/error.log; events {{ }}\nhttp {{ access_log off; {temporary}\nserver {{ listen \
         {{address}}:{{port}} ssl; ssl_certificate {{chain}}; ssl_certificate_key {{key}}; {more} return 200 ok; }} }}\n"
    );
    std::fs::write(&file, text).expect("our own folder");
    format!("lab:nginx:{}", file.display())
}

#[test]
fn edges_of_the_lab() {
    let mut t = Checks::new();
    if !["nginx", "haproxy"].into_iter().all(is_program) {
        return t.skip(Need::Tools, "nginx or haproxy is not installed");
    }
    if !nix::unistd::geteuid().is_root() {
        return t.skip(Need::Root, "a wire needs root; an ordinary user's is tried elsewhere");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [new, old] = [("new.conf", "ssl_protocols TLSv1.2 TLSv1.3;"), ("old.conf", "ssl_protocols TLSv1.2;")]
        .map(|(name, more)| nginx(folder.path(), name, more));
    // Named, so that whoever routes by name or path is asked alike on the wire.
    let strict = folder.path().join("strict.cfg");
    let text = "defaults\n  mode http\n  timeout client 20s\nfrontend tls\n  bind {address}:{port} ssl crt {pem} strict-sni\n  http-request return status 200 content-type text/plain string ok if { path /here }\n  http-request deny\n";
    std::fs::write(&strict, text).expect("our own folder");
    let strict = format!("lab:haproxy:{}", strict.display());
    let asked = ["compare", &strict, "lab:haproxy", "--name", "edge.test", "--path", "/here", "--counts", "--wire", "50ms"];
    let same = on_the_wire(&asked);
    t.check("two HAProxys, one of which knows one name and one path, count the same on a wire", same.code == Some(0), || &same);
    let slower = whostalled(["compare", &new, &old, "--counts"]);
    t.check("TLS 1.2 alone is a round trip more", slower.code == Some(1) && slower.out.contains("2 → 3"), || &slower);
    let forgets = nginx(folder.path(), "forgets.conf", "ssl_protocols TLSv1.2; ssl_session_tickets off;");
    let resumed = on_the_wire(&["compare", &old, &forgets, "--resume", "--counts", "--wire", "50ms"]);
    let trips = resumed.out.contains("on a wire of 50 ms: 2 → 3 round trips to Finished");
    t.check("sessions are resumed on the wire, too, where they are asked for", resumed.code == Some(1) && trips, || &resumed);
    let left = Command::new("pgrep").args(["-f", &folder.path().display().to_string()]).output().expect("pgrep");
    t.check("no edge is left behind", left.stdout.is_empty(), || String::from_utf8_lossy(&left.stdout).into_owned());
}

/// Run again where the machine was too busy for a wire.
fn on_the_wire(arguments: &[&str]) -> Said {
    let once = || {
        let mut command = Command::new(binary());
        command.args(arguments);
        run(command, 300)
    };
    let mut said = once();
    for _ in 0..2 {
        if said.err.contains("--wire: the wire sent") {
            said = once();
        }
    }
    said
}

/// Whether a process has this in its command line.
fn is_there(words: &str) -> bool {
    let found = Command::new("pgrep").args(["-f", "--", words]).output().expect("pgrep");
    !found.stdout.is_empty()
}

#[test]
fn signals() {
    let mut t = Checks::new();
    if !is_program("openssl") || !is_program("python3") {
        return t.skip(Need::Tools, "openssl or python3 is not installed");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = certificates::make(folder.path());
    let mark = folder.path().display();
    // It listens and says nothing: it is asked for as long as nobody wants it to end.
    let silent = format!(
        "python3 -c 'import socket,sys,time; s=socket.create_server((\"127.0.0.1\", int(sys.argv[1]))); time.sleep(60)' {{port}} {mark}"
    );
    let log = folder.path().join("log");
    let asking = |candidate: &str| {
        let mut command = Command::new(binary());
        command.args(["compare", &daemon(&files), candidate, "--timeout", "30s", "--ca"]).arg(&files.ca);
        let running = Running::start(command.stderr(File::create(&log).expect("our own folder")));
        // As the shell has filled it in.
        assert!(wait_for(30, || is_there(&format!("[0-9] {mark}"))), "the silent one is not started");
        running
    };
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let is_left = || is_there(&format!("[0-9] {mark}")) || is_there(&files.key.display().to_string());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let code = asking(&silent).end(signal);
        t.check(format!("{signal} ends it"), code == Some(2) && said().contains("stopped"), said);
        t.check(format!("and after {signal} no edge is left behind"), !is_left(), said);
    }
    let mut running = asking(&format!("trap '' TERM; {silent}"));
    running.signal(Signal::SIGINT);
    let code = running.end(Signal::SIGTERM);
    t.check("a second signal waits for nobody who does not want to end", code == Some(2) && !said().contains("stopped"), said);
    t.check("who is killed", wait_for(10, || !is_left()), said);
}

#[test]
fn two_clients() {
    let mut t = Checks::new();
    if !is_program("curl") || !is_program("openssl") {
        return t.skip(Need::Tools, "curl or openssl is not installed");
    }
    let curl = "curl -sS --cacert {ca} {url}";
    let same = whostalled(["compare", curl, curl, "--counts", "--costs", "--json"]);
    let record: Value = serde_json::from_str(&same.out).unwrap_or_default();
    t.check("curl against curl is no regression", same.code == Some(0) && record["kind"] == "clients", || &same);
    let retried = whostalled(["compare", curl, &format!("{curl} --curves secp521r1:X25519"), "--counts"]);
    t.check(
        "a key share that the edge does not take costs a round trip",
        retried.code == Some(1) && retried.out.contains("round trips to the answer: 2 → 3"),
        || &retried,
    );
    let unverified = whostalled(["compare", curl, "curl -sS {url}", "--counts"]);
    t.check(
        "one that fails is told in its own words",
        unverified.code == Some(1) && unverified.out.contains("certificate"),
        || &unverified,
    );
    let refused = whostalled(["compare", curl, curl, "--ca", "/dev/null"]);
    t.check("what is for edges is refused", refused.code == Some(2) && refused.err.contains("--ca is for edges"), || &refused);
}

#[test]
fn the_action() {
    let mut t = Checks::new();
    if !is_program("openssl") {
        return t.skip(Need::Tools, "openssl is not installed");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = certificates::make(folder.path());
    let scripts = scripts(&repository().join("dist/github/action.yml"));
    t.check("the action has one step", scripts.len() == 1, || &scripts);
    let on_path = folder.path().join("bin");
    std::fs::create_dir(&on_path)
        .and_then(|()| std::os::unix::fs::symlink(binary(), on_path.join("whostalled")))
        .expect("our own folder");
    let path = format!("{}:{}", on_path.display(), std::env::var("PATH").unwrap_or_default());
    let step = |candidate: &str, budget: &str, too_noisy: &str, place: &str| {
        let place = folder.path().join(place);
        std::fs::create_dir(&place).expect("our own folder");
        // The binary may lie there, too.
        std::fs::write(place.join("whostalled"), "").expect("our own folder");
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &scripts[0]]).current_dir(&place).env("PATH", &path);
        let arguments = format!("--ca {}", files.ca.display());
        command.envs([
            ("BASE", edge(&files, "").as_str()),
            ("CANDIDATE", candidate),
            ("BUDGET", budget),
            ("TOO_NOISY", too_noisy),
        ]);
        command.envs([
            ("ARGUMENTS", arguments.as_str()),
            ("FOLDER", "whostalled-compare"),
            ("GITHUB_STEP_SUMMARY", "summary.md"),
            ("GITHUB_OUTPUT", "output"),
        ]);
        let said = run(command, 60);
        let text = |name: &str| std::fs::read_to_string(place.join(name)).unwrap_or_default();
        (said, text("output"), text("summary.md"), text("whostalled-compare/junit.xml"))
    };
    let (said, output, summary, junit) = step(&edge(&files, "-groups P-384"), "1ms", "pass", "worse");
    t.check("a regression fails the step", said.code == Some(1) && output.contains("outcome=regression"), || &said);
    t.check(
        "and is annotated",
        said.out.contains("::error title=whostalled compare::round trips to the answer: 2 → 3"),
        || &said,
    );
    t.check("and summed up", summary.contains("❌") && junit.contains("failures=\"3\""), || (summary, junit));
    let (said, output, ..) = step(&edge(&files, ""), "1ms", "pass", "noisy");
    t.check(
        "what nobody can tell passes where that is wanted",
        said.code == Some(0) && output.contains("outcome=too_noisy"),
        || &said,
    );
    let (said, output, ..) = step(&edge(&files, ""), "1ms", "fail", "strict");
    t.check("and fails where it is not", said.code == Some(3) && output.contains("outcome=too_noisy"), || &said);
    let (said, output, summary, junit) = step("proxy", "1ms", "pass", "wrong");
    t.check("a failed harness fails the step, and is no outcome", said.code == Some(2) && output.is_empty(), || &said);
    t.check("and is summed up", summary.contains("not compared") && junit.contains("errors=\"1\""), || (summary, junit));
}
