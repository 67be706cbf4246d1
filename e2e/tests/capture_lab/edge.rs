//! What runs at the edge of the lab. In: the folder for results. Out: checks; evidence, page and logs in the folder.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::checks::Checks;
use e2e::http::Http;
use e2e::process::{Running, Said, binary, is_program, repository, run, whostalled};
use e2e::waiting::{pause, wait_for};
use nix::sys::signal::Signal;
use regex::Regex;
use serde_json::Value;
use testing::Need;

use crate::clients::{Bulk, bundle, curl, curl_after, curl_each_second};
use crate::{EVERY, FAULTS, FIRST};

const PAGE: &str = "http://127.0.0.1:9720";

/// Who is at fault in each of [`FAULTS`].
const CULPRITS: [&str; 5] = ["path", "path", "loss", "client", "edge"];

struct Edge<'a> {
    results: &'a Path,
    address: String,
    begun: Instant,
}

impl Edge<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.results.join(name)
    }

    fn start(&self, name: &str, command: &mut Command) -> Running {
        let log = File::create(self.path(&format!("{name}.log"))).expect("our own folder");
        Running::start(command.stdout(log.try_clone().expect("a file")).stderr(log))
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).expect("it was started")
    }

    /// Waits until so long after the beginning.
    fn at(&self, milliseconds: usize) {
        let then = Duration::from_millis(milliseconds as u64);
        std::thread::sleep(then.saturating_sub(self.begun.elapsed()));
    }

    fn evidence(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.path("evidence")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".pcapng") && !name.starts_with('.')).collect()
    }

    /// The verdicts of files that were not there before.
    fn verdicts(&self, before: &BTreeSet<String>) -> Vec<String> {
        self.evidence().difference(before).map(|name| verdict(name).to_owned()).collect()
    }

    fn haproxy(&self) -> Running {
        let (config, pem, address) = (self.path("haproxy.cfg"), self.path("edge.pem"), &self.address);
        let text = format!(
            r#"global
  log 127.0.0.1:5514 local0
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
  log global
  log-format "%ci:%cp [%tr] %ft %b/%s Th=%Th Ti=%Ti %ST"
frontend fe
  bind {address}:8443,10.88.0.1:8443 ssl crt {}
  http-request return status 200 content-type text/plain string ok
"#,
            pem.display()
        );
        let part = |name| std::fs::read(certificate(name)).expect("the lab's certificate");
        std::fs::write(&pem, [part("chain.pem"), part("key.pem")].concat()).expect("our own folder");
        std::fs::set_permissions(&pem, Permissions::from_mode(0o600)).expect("our own file");
        std::fs::write(&config, text).expect("our own folder");
        self.start("haproxy", Command::new("haproxy").args(["-db", "-f"]).arg(config))
    }

    fn recorder(&self) -> Running {
        let results = self.results.display();
        // It says that the lab's network is AS64502, "Lab Office".
        let origins = repository().join("recorder/tests/origins/asn.mmdb");
        let text = format!(
            r#"[capture]
site = "lab"
interfaces = ["eth0", "bulk0"]
ports = [443, 8443, 9443, 5443]
memory = "16MiB"
control = "{results}/control.sock"
[evidence]
folder = "{results}/evidence"
network_burst = 100
[slow]
excess = "150ms"
[origin]
databases = ["{}"]
[[log]]
kind = "syslog"
listen = "127.0.0.1:5514"
at_least = "150ms"
[alerts]
store = "{results}/alerts.db"
window = "5s"
every = "1s"
least = 3
resolve_after = 2
"#,
            origins.display()
        );
        let config = self.path("capture.toml");
        std::fs::write(&config, text).expect("our own folder");
        self.start("recorder", Command::new(binary()).args(["capture", "--config"]).arg(config))
    }

    fn ask_status(&self, more: &[&str]) -> Said {
        let socket = self.path("control.sock").display().to_string();
        whostalled([&["capture", "status"], more, &["--control", &socket]].concat())
    }
}

fn verdict(name: &str) -> &str {
    name.trim_end_matches(".pcapng").splitn(3, '_').nth(2).expect("time, client and verdict make a file's name")
}

fn certificate(name: &str) -> PathBuf {
    Path::new(&bundle()).with_file_name(name)
}

fn address() -> String {
    let mut command = Command::new("ip");
    command.args(["-4", "-o", "addr", "show", "eth0"]);
    let said = run(command, 10).out;
    let found = Regex::new(r"inet (10\.[0-9.]+)").expect("a regular expression").captures(&said).expect("eth0 has an address");
    found[1].to_owned()
}

pub fn at_edge(results: &Path) {
    let mut t = Checks::new();
    let edge = Edge { results, address: address(), begun: Instant::now() };
    let bulk = Bulk::new();
    let (have_bulk, have_haproxy) = (is_program("iperf3"), is_program("haproxy"));
    let _haproxy = have_haproxy.then(|| edge.haproxy());
    let mut recorder = edge.recorder();
    let ready = wait_for(15, || edge.path("control.sock").exists()) && recorder.is_running();
    t.check("the recorder begins", ready, || edge.log("recorder"));
    if !ready {
        return;
    }
    let _streams = have_bulk.then(|| {
        let server = edge.start("iperf3-server", Command::new("iperf3").args(["-s", "-p", "5443", "-B", "10.88.0.1"]));
        pause(300);
        let mut client = bulk.inside("iperf3");
        client.args(["-c", "10.88.0.1", "-p", "5443", "-b", "2G", "-t", "50", "-R", "--json"]);
        (server, edge.start("iperf3", &mut client))
    });
    if !have_bulk {
        t.skip(Need::Tools, "bulk data beside the handshakes: iperf3 is not installed");
    }
    faults(&mut t, &edge, have_haproxy);
    sleepy(&mut t, &edge);
    counts(&mut t, &edge, have_bulk, have_haproxy);
    files(&mut t, &edge);
    let code = recorder.end(Signal::SIGTERM);
    t.check("it ends when asked", code == Some(0), || edge.log("recorder"));
}

fn faults(t: &mut Checks, edge: &Edge<'_>, have_haproxy: bool) {
    curl(443, 4, 1);
    if have_haproxy {
        curl(8443, 2, 1);
    }
    edge.at(FIRST * 1000 - 500);
    t.check("healthy handshakes leave nothing on the disk", edge.evidence().is_empty(), || edge.evidence());
    let mut seen = BTreeSet::new();
    for (i, (fault, culprit)) in FAULTS.into_iter().zip(CULPRITS).enumerate() {
        let begins = (FIRST + EVERY * i) * 1000;
        if fault == "capacity" {
            // We are at the edge ourselves: once it has no CPU, we start nobody in time.
            edge.at(begins - 1_000);
            curl_after(1.5, 443, 6);
        } else if fault == "squeeze" {
            // Their programs are there before they have no CPU, which a start needs more of than a handshake.
            edge.at(begins - 700);
            curl_each_second(443, 4, 3);
        } else {
            edge.at(begins + 500);
            curl(443, 4, 1);
        }
        if have_haproxy && fault == "hold" {
            curl(8443, 2, 1);
        }
        edge.at(begins + EVERY * 1000 - 1000);
        let verdicts = edge.verdicts(&seen);
        seen = edge.evidence();
        let all = verdicts.iter().all(|verdict| verdict.split(['-', '_']).next() == Some(culprit));
        let words = format!("{fault}: slow handshakes are on the disk, {culprit} at fault");
        t.check(words, verdicts.len() >= 3 && all, || verdicts);
    }
}

fn sleepy(t: &mut Checks, edge: &Edge<'_>) {
    let before = edge.evidence();
    let mut server = Command::new(std::env::current_exe().expect("procfs"));
    server.args(["sleepy", &format!("{}:9443", edge.address)]).args([certificate("chain.pem"), certificate("key.pem")]);
    let _server = edge.start("sleepy", &mut server);
    pause(700);
    curl(9443, 4, 1);
    wait_for(4, || edge.verdicts(&before).len() >= 4);
    let verdicts = edge.verdicts(&before);
    let log = edge.log("recorder");
    if log.contains("no view of the server") {
        t.skip(Need::Bpf, &format!("a server that sleeps: {}", log.trim()));
    } else {
        let told = verdicts.iter().filter(|verdict| verdict.starts_with("edge_app")).count();
        t.check("a server that sleeps is told from a host that starves it", told >= 3, || verdicts);
    }
}

fn counts(t: &mut Checks, edge: &Edge<'_>, have_bulk: bool, have_haproxy: bool) {
    let said = edge.ask_status(&["--json"]);
    let answer: Value = serde_json::from_str(&said.out).unwrap_or_default();
    let now = &answer["status"];
    let number = |name: &str| now[name].as_u64();
    let sentence = now["sentence"].as_str().unwrap_or_default();
    t.check("clients are counted by autonomous system", sentence.contains("of them from AS64502 Lab Office"), || sentence);
    let lost = number("lost") == Some(0) && number("connections") >= Some(20);
    t.check("no handshake packet was lost", lost, || now);
    if have_bulk {
        let (passed, seen) = (number("passed").unwrap_or(0), number("seen").unwrap_or(0));
        t.check("bulk data stays in the kernel", seen > 100_000 && passed * 50 < seen, || format!("{passed} of {seen}"));
    }
    let http = Http::plain();
    let metrics = http.get(&format!("{PAGE}/metrics")).text();
    let regex = |pattern: &str| Regex::new(pattern).expect("a regular expression");
    if have_haproxy {
        let triggers = regex(r#"triggers_total\{source="log",outcome="(\w+)"\} \d+"#);
        let outcomes: BTreeSet<&str> = triggers.captures_iter(&metrics).map(|c| c.get(1).expect("a group").as_str()).collect();
        let both = outcomes.contains("not_slow") && (outcomes.contains("kept") || outcomes.contains("duplicate"));
        t.check("HAProxy's slow handshakes are triggers, its fast ones are not", both, || outcomes);
    } else {
        t.skip(Need::Tools, "HAProxy's lines: haproxy is not installed");
    }
    let dashboard = std::fs::read_to_string(repository().join("dist/grafana/whostalled-capture.json")).expect("the dashboard");
    let name = regex(r"whostalled_capture_\w+");
    let drawn: BTreeSet<&str> = name.find_iter(&dashboard).map(|found| found.as_str()).collect();
    let is_there = |name: &str| metrics.lines().any(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    // A native histogram has one name for all of it, which text does not have: there it is its buckets.
    let is_drawn_of = |name: &str| is_there(name) || is_there(&format!("{name}_bucket"));
    let missing: Vec<_> = drawn.iter().filter(|name| !is_drawn_of(name)).collect();
    t.check("every metric that the dashboard draws is there", !drawn.is_empty() && missing.is_empty(), || missing);
    std::fs::write(edge.path("page.html"), http.get(&format!("{PAGE}/")).body).expect("our own folder");
    std::fs::write(edge.path("status.txt"), edge.ask_status(&[]).out).expect("our own folder");
    let store = edge.path("alerts.db").display().to_string();
    let incidents: Vec<Value> =
        serde_json::from_str(&whostalled(["incidents", "--json", "--store", &store]).out).unwrap_or_default();
    let mut culprits: BTreeSet<&str> = incidents.iter().filter_map(|i| i["culprit"].as_str()).collect();
    // An alert whose next fault began before it was over is one incident, of the last culprit.
    let log = edge.log("recorder");
    let told = regex(r#" alert=.* state="(?:firing|changed)".* culprit="(\w+)""#);
    culprits.extend(told.captures_iter(&log).map(|c| c.get(1).expect("a group").as_str()));
    let right = ["path", "loss", "edge"].iter().all(|c| culprits.contains(c)) && !culprits.contains("client");
    t.check("path, loss and edge were alerts, the clients' stall was none", right, || culprits);
}

fn files(t: &mut Checks, edge: &Edge<'_>) {
    let folder = edge.path("evidence");
    let is_whole = |name: &&String| {
        let said = whostalled(["explain".as_ref(), "--json".as_ref(), folder.join(name).as_os_str()]);
        let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
        report["handshakes"] == 1 && report["warnings"].as_array().is_some_and(Vec::is_empty)
    };
    let names = edge.evidence();
    let broken: Vec<_> = names.iter().filter(|name| !is_whole(name)).collect();
    t.check("each file is one flow and whole", !names.is_empty() && broken.is_empty(), || broken);
    if !is_program("tshark") {
        return t.skip(Need::Tools, "evidence in stock Wireshark: tshark is not installed");
    }
    let Some(first) = names.first() else { return };
    let tshark = |more: &[&str]| {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(folder.join(first)).args(more);
        run(command, 60)
    };
    let said = tshark(&[]);
    t.check("stock Wireshark reads them", said.code == Some(0) && said.out.contains("Client Hello"), || said);
    let said = tshark(&["-T", "fields", "-e", "tcp.srcport", "-e", "frame.packet_flags_direction"]);
    // From the server's port: outbound, which is 2; from the client's: inbound, 1.
    let is_right = |line: &str| {
        let Some((port, direction)) = line.split_once('\t') else { return false };
        let direction = u32::from_str_radix(direction.trim_start_matches("0x"), 16);
        direction == Ok(if matches!(port, "443" | "8443") { 2 } else { 1 })
    };
    let both =
        [true, false].map(|server| said.out.lines().any(|l| (l.starts_with("443\t") || l.starts_with("8443\t")) == server));
    t.check("and sees which way each packet went", both == [true, true] && said.out.lines().all(is_right), || said);
}
