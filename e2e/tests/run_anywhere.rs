//! Real targets: from this host and over ssh, as root and as an ordinary user. All of them are on loopback, or in a namespace of the test's.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::certificates::{Certificates, make};
use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::ports::free_port;
use e2e::process::{Running, Said, binary, is_program, repository, run};
use e2e::servers::{self, listening, url};
use e2e::ssh;
use e2e::verdicts::{cell, label, told, verdict};
use e2e::waiting::{pause, wait_some};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use testing::{Need, skipped};

/// A stranger's patience, in seconds, from the command to the verdict.
const PATIENCE: u64 = 90;

/// A folder that everybody may use, certificates, and the checks.
struct Trial {
    checks: Checks,
    folder: TempDir,
    certificates: Certificates,
    /// What agents of others left behind before this trial.
    before: BTreeSet<String>,
}

impl Trial {
    fn begin() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = make(folder.path());
        permit(folder.path(), 0o777);
        for file in [&certificates.ca, &certificates.cert, &certificates.key] {
            permit(file, 0o644);
        }
        Self { checks: Checks::new(), folder, certificates, before: left_of_agents() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `run` against targets on loopback, told as JSON.
    fn run(&self, mut command: Command, arguments: &[&str]) -> Said {
        command.current_dir(self.folder.path()).arg("run").args(arguments).arg("--ca").arg(&self.certificates.ca);
        command.args(["--results", "results", "--json"]);
        run(command, PATIENCE)
    }

    fn slow(&self, milliseconds: u32) -> (Running, String) {
        servers::slow(&self.certificates, self.folder.path(), milliseconds)
    }

    fn openssl(&self) -> (Running, String) {
        servers::openssl(&self.certificates)
    }

    fn nginx(&self) -> (Running, String) {
        servers::nginx(&self.certificates, self.folder.path())
    }
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
}

fn root(why: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skipped(Need::Root, why);
    }
    root
}

/// The binary, as a user without any rights.
fn stranger(trial: &Trial) -> Command {
    let copy = trial.path("whostalled");
    if !copy.exists() {
        std::fs::copy(binary(), &copy).expect("our own folder");
        permit(&copy, 0o755);
    }
    if !nix::unistd::geteuid().is_root() {
        return Command::new(copy);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]).arg(copy);
    command
}

#[test]
fn a_stranger_gets_a_verdict_of_every_kind_of_server() {
    let mut trial = Trial::begin();
    let control = Edge::opened(&trial.certificates);
    let control = url(control.port);
    let (_nginx, nginx) = trial.nginx();
    let (_openssl, openssl) = trial.openssl();
    let (_slow, slow) = trial.slow(300);
    for (server, target, wanted) in
        [("nginx", &nginx, "healthy"), ("OpenSSL", &openssl, "healthy"), ("a slow one", &slow, "edge")]
    {
        let control = if server == "a slow one" { &nginx } else { &control };
        let said = trial.run(stranger(&trial), &[target, "--control", control, "--clients", "2"]);
        let record = told(&said);
        let seen = if wanted == "healthy" { cell(&record, "here", "edge") } else { verdict(&record) };
        let good = said.code == Some(0) && seen.starts_with(wanted) && cell(&record, "here", "control") == "healthy";
        trial.checks.check(format!("a stranger's verdict of {server}: {wanted}"), good, || (seen, said));
        let grade = std::fs::read_dir(trial.path("results")).expect("results").flatten().any(|run| {
            let lines = std::fs::read_to_string(run.path().join("handshakes.ndjson")).unwrap_or_default();
            lines.contains("\"socket\"")
        });
        trial.checks.check(format!("{server}: the evidence is sockets"), grade, || "no handshake of that grade");
    }
}

#[test]
fn a_program_that_tells_its_own_times_convicts_nobody() {
    let mut trial = Trial::begin();
    let (_slow, slow) = trial.slow(300);
    let (_nginx, nginx) = trial.nginx();
    let said = trial.run(stranger(&trial), &[&slow, "--control", &nginx, "--client", "curl", "--clients", "4"]);
    let record = told(&said);
    let open = label(&record["client_only"]) == "inconclusive" && cell(&record, "here", "control") == "healthy";
    let candidates = record["client_only"]["candidates"].to_string();
    let good = said.code == Some(0) && open && candidates.contains("edge") && candidates.contains("client");
    trial.checks.check("curl without packets: slow, and open whose time it was", good, || (verdict(&record), candidates, said));

    // What a customer sends is run again: the same server, the same client.
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{json}", "--cacert"]).arg(&trial.certificates.ca).arg(&slow);
    let report = run(curl, 20);
    std::fs::write(trial.path("customer.json"), &report.out).expect("our own folder");
    let said = trial.run(stranger(&trial), &["--from", "customer.json", "--save", "saved.toml", "--client", "probe"]);
    let record = told(&said);
    let saved = std::fs::read_to_string(trial.path("saved.toml")).unwrap_or_default();
    let good = said.code == Some(0) && verdict(&record).starts_with("edge") && saved.contains(&slow);
    trial.checks.check("a customer's curl is reproduced, and by kernel timestamps it was the edge", good, || (saved, said));
}

#[test]
fn what_the_rights_give_is_used() {
    if !root("packets and quotas on loopback need root; neither was tried") {
        return;
    }
    let mut trial = Trial::begin();
    let healthy = Edge::opened(&trial.certificates);
    let (_slow, slow) = trial.slow(300);
    let plain = || Command::new(binary());
    let said = trial.run(plain(), &[&slow, "--control", &url(healthy.port), "--client", "curl"]);
    let record = told(&said);
    let good = said.code == Some(0) && verdict(&record).starts_with("edge") && record["footing"]["captured"].as_u64() > Some(0);
    trial.checks.check("curl and its packets: the edge", good, || (verdict(&record), said));

    let (target, control) = (url(healthy.port), trial.nginx());
    let said = trial.run(plain(), &[&target, "--control", &control.1, "--load", "cpus=0.05", "--clients", "8", "--rounds", "1"]);
    let record = told(&said);
    let both = [cell(&record, "here", "edge"), cell(&record, "here", "control")];
    let good = said.code == Some(0) && both.iter().all(|label| label.starts_with("client"));
    trial.checks.check("clients without CPU: themselves, whatever the target", good, || (both, said));
    let left = std::fs::read_dir("/sys/fs/cgroup/cpu").into_iter().chain(std::fs::read_dir("/sys/fs/cgroup"));
    let left: Vec<_> = left.flatten().flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".here")).collect();
    trial.checks.check("the load is taken off again", left.is_empty(), || left);
}

#[test]
fn traffic_goes_to_what_was_named_and_nowhere_else() {
    if !root("a network of its own needs root; where traffic goes was not looked at") {
        return;
    }
    let mut trial = Trial::begin();
    let (port, program) = (8443, stranger(&trial));
    let program: Vec<String> =
        [program.get_program()].into_iter().chain(program.get_args()).map(|word| word.to_string_lossy().into_owned()).collect();
    // A way out to everywhere, whose packets nobody answers; the last line goes there until it is seen, to show that anything would be.
    let script = format!(
        "ip link set lo up; ip link add out type veth peer name gone; ip link set gone up; ip address add 192.0.2.1/24 dev out; ip -6 address add 2001:db8::1/64 dev out nodad; \
         ip link set out up; ip route add default via 192.0.2.254; ip -6 route add default via 2001:db8::254; \
         ip neighbour add 192.0.2.254 lladdr 02:00:00:00:00:02 dev out; ip neighbour add 2001:db8::254 lladdr 02:00:00:00:00:02 dev out; \
         tcpdump -i lo -n -Q in -U 'tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn or udp' > {seen} 2>/dev/null & \
         tcpdump -i out -n -U --immediate-mode 'tcp or udp' > {left} 2>/dev/null & sleep 1; \
         openssl s_server -quiet -www -accept 127.0.0.1:{port} -cert {cert} -key {key} >/dev/null 2>&1 & sleep 1; \
         {program} run https://localhost:{port}/ --ca {ca} --results {results} --clients 3; code=$?; \
         for i in $(seq 100); do echo x >/dev/udp/203.0.113.9/9; sleep 0.1; [ -s {left} ] && break; done; sleep 1; kill $(jobs -p); exit $code",
        seen = trial.path("seen").display(),
        left = trial.path("left").display(),
        cert = trial.certificates.cert.display(),
        key = trial.certificates.key.display(),
        program = program.join(" "),
        ca = trial.certificates.ca.display(),
        results = trial.path("results").display(),
    );
    let mut command = Command::new("unshare");
    command.args(["-n", "bash", "-c", &script]);
    let said = run(command, 60);
    let read = |name: &str| std::fs::read_to_string(trial.path(name)).unwrap_or_default();
    let (packets, left) = (read("seen"), read("left"));
    let there = |line: &&str| line.contains(&format!(" > 127.0.0.1.{port}: Flags [S]"));
    let elsewhere: Vec<&str> = packets.lines().filter(|line| !line.is_empty() && !there(line)).collect();
    let named = packets.lines().filter(there).count();
    trial.checks.check("all traffic goes to the target", said.code == Some(0) && named == 12 && elsewhere.is_empty(), || {
        (named, elsewhere, said.out.clone())
    });
    let ours = left.lines().filter(|line| line.contains(" > 203.0.113.9.9: UDP")).count();
    trial.checks.check(
        "nothing leaves the host, and it would have been seen",
        ours > 0 && left.lines().filter(|line| !line.is_empty()).count() == ours,
        || left,
    );
    trial.checks.check("without a control, what cannot be told is said", said.out.contains("Without a control"), || said);
}

#[test]
fn what_clients_say_of_their_failure_is_said() {
    let mut trial = Trial::begin();
    let (_openssl, openssl) = trial.openssl();
    let nobody = url(free_port());
    for (target, trusted, words) in [
        ("https://no-such-host.invalid/", true, "no-such-host.invalid"),
        (&nobody, true, "refused"),
        (&openssl, false, "certificate"),
    ] {
        let mut command = stranger(&trial);
        command.current_dir(trial.folder.path()).args(["run", target, "--clients", "2", "--rounds", "1", "--results", "results"]);
        if trusted {
            command.arg("--ca").arg(&trial.certificates.ca);
        }
        let said = run(command, PATIENCE);
        let told = said.out.lines().any(|line| line.contains("2 clients failed: ") && line.contains(words));
        trial.checks.check(format!("{target}: why its clients failed is said ({words})"), told, || said);
    }
}

/// sshd on loopback, and an `ssh` that knows it as `box`.
struct Box_ {
    sshd: Running,
    path: std::ffi::OsString,
}

fn ssh_box(trial: &Trial) -> Box_ {
    let port = free_port();
    let path = ssh::configure(&trial.path("ssh"), port);
    let sshd = Running::start(ssh::sshd(&trial.path("ssh")).stderr(Stdio::null()));
    listening(port);
    Box_ { sshd, path }
}

#[test]
fn a_recorder_at_the_target_makes_it_both_ends() {
    if !root("the lab's edge needs root to be recorded; no recorder was asked") {
        return;
    }
    let mut trial = Trial::begin();
    let script = trial.path("script");
    let (program, socket) = (binary().display().to_string(), trial.path("socket").display().to_string());
    let text = format!(
        "rm -f {socket}; {program} lab-exec \"$WHOSTALLED_LAB_HOST_edge\" {program} capture --iface eth0 --control {socket} --evidence {} >/dev/null 2>&1 &\n\
         for i in $(seq 100); do [ -S {socket} ] && break; sleep 0.1; done\n\
         {program} run https://edge.lab.test/ --control https://control.lab.test/ --ca \"$WHOSTALLED_LAB_CA\" --recorder {socket} \
         --set target.edge.lab.test.baseline_rtt=40ms --clients 4 --json --results {}; code=$?; kill %1; exit $code\n",
        trial.path("evidence").display(),
        trial.path("results").display(),
    );
    std::fs::write(&script, text).expect("our own folder");
    for (scenario, wanted) in [("detour", "path/detour"), ("edge-app-slow", "edge")] {
        let scenario = repository().join("scenarios").join(scenario).with_extension("toml");
        let mut command = Command::new(binary());
        command.args(["lab", "run"]).arg(&scenario).args(["--at", "office", "--", "bash"]).arg(&script);
        let said = run(command, 60);
        let record = told(&said);
        let both = label(&record["both_ends"]);
        let good =
            said.code == Some(0) && both.starts_with(wanted) && record["edge_only"]["cells"].as_array().map(Vec::len) == Some(1);
        trial.checks.check(format!("with a recorder at the target, from both ends: {wanted}"), good, || (both, said));
    }
}

/// At the office, behind it a network of its own whose addresses and ports are translated there; at the edge a recorder, and a capture file
/// that grows. What is run says `$1`: with the recorder, with the file, or with neither, the recorder being asked for one flow afterwards.
const BEHIND_NAT: &str = r#"set -euo pipefail
bin=$1 out=$2
jobs=()
trap 'kill "${jobs[@]}" 2>/dev/null; wait 2>/dev/null' EXIT
await() { for _ in $(seq 300); do "$@" && return; sleep 0.1; done; echo "never: $*" >&2; return 1; }
at_edge() { "$bin" lab-exec "$WHOSTALLED_LAB_HOST_edge" "$@"; }
at_edge "$bin" capture --iface eth0 --control "$out/socket" --evidence "$out/evidence" >"$out/recorder" 2>&1 & jobs+=($!)
at_edge tcpdump -i eth0 -U -w "$out/growing.pcap" tcp port 443 >/dev/null 2>&1 & jobs+=($!)
await test -S "$out/socket"; await test -s "$out/growing.pcap"
unshare -n sleep 300 & jobs+=($!)
inner=$!
await eval '[ "$(readlink /proc/'$inner'/ns/net)" != "$(readlink /proc/$$/ns/net)" ]'
behind() { nsenter -t "$inner" -n "$@"; }
ip link add out0 type veth peer name in0 netns "$inner"
ip addr add 10.77.0.1/30 dev out0; ip link set out0 up
behind ip link set lo up; behind ip addr add 10.77.0.2/30 dev in0; behind ip link set in0 up; behind ip route add default via 10.77.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -t nat -A POSTROUTING -s 10.77.0.0/30 -p tcp -j MASQUERADE --to-ports 50000-50999
iptables -t nat -A POSTROUTING -s 10.77.0.0/30 -j MASQUERADE
run() { behind "$bin" run https://edge.lab.test/ --control https://control.lab.test/ --ca "$WHOSTALLED_LAB_CA" --clients 4 --rounds 2 --json --set target.edge.lab.test.baseline_rtt=40ms "$@"; }
run --recorder "$out/socket" --results "$out/results/socket" >"$out/socket.json"
run --recorder "$out/growing.pcap" --results "$out/results/file" >"$out/file.json"
run --results "$out/results/alone" >"$out/alone.json"
random=$(jq -r 'select(.target == "edge.lab.test") | .random' "$out"/results/alone/*/handshakes.ndjson | head -1)
"$bin" capture dump --flow "$random" --control "$out/socket" -o "$out/flow.pcapng"
"$bin" explain "$out"/results/alone/*/evidence.pcapng "$out/flow.pcapng" --ndjson >"$out/explained"
"$bin" explain "$out/flow.pcapng" --ndjson >"$out/at-edge"
echo "$random" >"$out/random"
"#;

#[test]
fn address_translation_on_the_way_does_not_matter() {
    if !root("a network behind another needs root; nothing was asked for through address translation") {
        return;
    }
    if let Some(missing) = ["iptables", "tcpdump", "jq"].into_iter().find(|program| !is_program(program)) {
        return skipped(Need::Tools, format!("{missing} is not installed; nothing was asked for through address translation"));
    }
    let mut trial = Trial::begin();
    let script = trial.path("script");
    std::fs::write(&script, BEHIND_NAT).expect("our own folder");
    let mut command = Command::new(binary());
    let scenario = repository().join("scenarios/detour.toml");
    command
        .args(["lab", "run"])
        .arg(scenario)
        .args(["--at", "office", "--", "bash"])
        .arg(&script)
        .arg(binary())
        .arg(trial.folder.path());
    let said = run(command, 180);
    trial.checks.check("all is run and asked for", said.code == Some(0), || said);
    let read = |name: &str| std::fs::read_to_string(trial.path(name)).unwrap_or_default();
    let json = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap_or(Value::Null);
    let verdicts = [("socket", label(&json("socket.json")["both_ends"])), ("file", label(&json("file.json")["both_ends"]))];
    let lines = |name: &str| read(name).lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
    let (joined, alone, random) = (lines("explained"), lines("at-edge"), read("random").trim().to_owned());
    let asked = |record: &&Value| record["random"] == random.as_str();
    let there = joined.iter().find(asked).map(|record| (record["seen_from"].clone(), record["client"].clone()));
    let client = alone.first().map(|record| record["client"].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
    for (how, verdict) in verdicts {
        trial.checks.check(
            format!("from both ends through NAT, by the edge's {how}"),
            verdict.starts_with("path/detour"),
            || verdict,
        );
    }
    let both = there
        .as_ref()
        .is_some_and(|(seen, client)| seen == "both_ends" && client.as_str().is_some_and(|c| c.starts_with("10.77.0.2:")));
    trial.checks.check("a flow that was handed over by its ClientHello.random joins the run's packets", both, || there);
    let translated = alone.len() == 1 && !client.starts_with("10.77.0.2:") && client.contains(":50");
    trial.checks.check("though the edge saw another address and port", translated, || client);
}

/// Files and processes of agents that are over.
fn left_of_agents() -> BTreeSet<String> {
    let home = std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from);
    let cache = std::fs::read_dir(home.join(".cache/whostalled")).into_iter().flatten().flatten();
    let agents = std::fs::read_dir("/proc").expect("procfs").flatten().filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("agent --stdio").then_some(line)
    });
    cache.map(|file| file.path().display().to_string()).chain(agents).collect()
}

#[test]
fn a_vantage_over_ssh_is_a_vantage() {
    if !root("sshd needs root; no vantage over ssh was tried") {
        return;
    }
    let mut trial = Trial::begin();
    let reached = ssh_box(&trial);
    let plain = || {
        let mut command = Command::new(binary());
        command.env("PATH", &reached.path);
        command
    };
    let (control, slow) = (Edge::opened(&trial.certificates), trial.slow(300));
    let control = url(control.port);
    let both = ["--control", &control, "--vantage", "here", "--vantage", "ssh:box", "--clients", "4"];
    let said = trial.run(plain(), &[&[slow.1.as_str()], &both[..]].concat());
    let record = told(&said);
    let seen = [cell(&record, "here", "edge"), cell(&record, "box", "edge"), cell(&record, "box", "control")];
    let good = said.code == Some(0) && seen[0].starts_with("edge") && seen[1].starts_with("edge") && seen[2] == "healthy";
    trial.checks.check("over ssh as from here: the edge", good, || (seen, said));

    let scenario = repository().join("scenarios/overloaded-client.toml");
    let scenario = scenario.to_str().expect("a path");
    let (_nginx, nginx) = trial.nginx();
    let there = ["--vantage", "ssh:box", "--target", &format!("edge={nginx}"), "--control", &control];
    let said = trial.run(plain(), &[&[scenario], &there[..]].concat());
    let record = told(&said);
    trial.checks.check("the flagship elsewhere: the client's host", verdict(&record).starts_with("client_host"), || {
        (verdict(&record), said)
    });

    let left = wait_some(10, || left_of_agents().is_subset(&trial.before).then_some(()));
    trial.checks.check("nothing is left over there", left.is_some(), left_of_agents);
}

#[test]
fn what_cannot_be_reached_is_said_and_the_rest_goes_on() {
    if !root("sshd needs root; no failure of a vantage was tried") {
        return;
    }
    let mut trial = Trial::begin();
    let mut reached = ssh_box(&trial);
    let target = Edge::opened(&trial.certificates);
    let target = url(target.port);
    let plain = |path: &std::ffi::OsString| {
        let mut command = Command::new(binary());
        command.env("PATH", path);
        command
    };
    let said = trial.run(plain(&reached.path), &[&target, "--vantage", "here", "--vantage", "ssh:nowhere", "--clients", "2"]);
    let record = told(&said);
    let missing = record["footing"]["missing"][0].as_str().unwrap_or_default().to_owned();
    let good = said.code == Some(2)
        && cell(&record, "here", "edge") == "healthy"
        && missing.contains("nowhere")
        && missing.contains("refused");
    trial.checks.check("a vantage that is not there: the others are judged", good, || said);

    let said = trial.run(plain(&reached.path), &[&target, "--vantage", "ssh:nowhere"]);
    trial.checks.check("no vantage at all", said.refused(2, "no vantage of the run could be used"), || said);

    let mut command = plain(&reached.path);
    command.current_dir(trial.folder.path()).args([
        "run",
        &target,
        "--vantage",
        "here",
        "--vantage",
        "ssh:box",
        "--clients",
        "2",
        "--rounds",
        "40",
        "--json",
    ]);
    command
        .arg("--ca")
        .arg(&trial.certificates.ca)
        .stdout(std::fs::File::create(trial.path("out")).expect("our own"))
        .stderr(Stdio::null());
    let mut running = Running::start(&mut command);
    // The copy itself: the shell that makes it has the words in its script from the beginning.
    let is_agent = |line: &String| line.contains("/.cache/whostalled/") && line.contains(" agent --stdio");
    let agent = wait_some(60, || left_of_agents().iter().any(is_agent).then_some(()));
    pause(3000);
    reached.sshd.end(Signal::SIGKILL);
    let mut kill = Command::new("pkill");
    // The agent alone, not the shell that removes it afterwards.
    let _ = kill.args(["-KILL", "-f", "^[^ ]*/.cache/whostalled/[^ ]* agent --stdio"]).status();
    let code = running.wait(60).code();
    let out = std::fs::read_to_string(trial.path("out")).unwrap_or_default();
    let record: Value = serde_json::from_str(&out).unwrap_or(Value::Null);
    let missing = record["footing"]["missing"][0].as_str().unwrap_or_default().to_owned();
    let good = agent.is_some() && code == Some(2) && cell(&record, "here", "edge") == "healthy" && missing.contains("box");
    trial.checks.check("an agent is killed in the middle: the run ends with what it has", good, || (code, missing, out));
    let left = wait_some(10, || left_of_agents().is_subset(&trial.before).then_some(()));
    trial.checks.check("nothing is left over there", left.is_some(), left_of_agents);
}
