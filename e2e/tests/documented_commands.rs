//! Every command in README and docs, run as it stands: in a mount and a network namespace of the test's own, where `login.example.com` is a
//! server on loopback, `eth0` an interface, `customer-box` this host, and the files that commands name are there. `make` targets are
//! made without running their recipes (each has its tier), packages and targets of `cargo` are looked up: nothing is built. A NATS server
//! of a fleet is not there (the suite `fleet` has one): such a command must be understood and say that nobody answers.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use e2e::certificates::make_for;
use e2e::checks::Checks;
use e2e::process::{Said, binary, is_program, repository, run};
use serde_json::Value;
use tempfile::TempDir;
use testing::Need;

/// Seconds that a command may take; scenarios of the lab take some.
const PATIENCE: u64 = 300;
/// A command that runs for ever is told to end after so many seconds.
const A_WHILE: &str = "6";

/// How a command shows that it is as documented.
enum Proof {
    /// It ends by itself, well.
    Ends,
    /// It ends with a verdict, which has this word; whether it is the expected one on an idle machine is what `make scenarios` asks.
    Judges(&'static str),
    /// It runs until it is told to end, and ends well.
    Runs,
    /// The same, and it says that it waits for this, which is not there.
    Waits(&'static str),
    /// It is understood, and says that this is not there.
    Misses(&'static str),
}

struct Documented {
    place: String,
    command: String,
}

/// The commands of a page: lines of its blocks without a language.
fn commands(page: &str) -> Vec<Documented> {
    let text = std::fs::read_to_string(repository().join(page)).expect("a page of ours");
    let (mut found, mut inside, mut open): (Vec<Documented>, bool, bool) = (Vec::new(), false, false);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && language.trim().is_empty();
            continue;
        }
        let line = without_comment(line).trim().trim_end_matches(" …").to_owned();
        if !inside || line.is_empty() {
            continue;
        }
        let (words, goes_on) = line.strip_suffix('\\').map_or((line.as_str(), false), |words| (words, true));
        match found.last_mut().filter(|_| open) {
            Some(before) => before.command.push_str(words),
            None if is_command(words) => found.push(Documented { place: format!("{page}:{number}"), command: words.to_owned() }),
            None => {}
        }
        open = goes_on;
    }
    found
}

fn is_command(line: &str) -> bool {
    ["whostalled ", "target/release/whostalled ", "make ", "cargo ", "tcpdump "].iter().any(|program| line.starts_with(program))
}

fn without_comment(line: &str) -> &str {
    line.find("  #").or_else(|| line.find(" # ")).map_or(line, |at| &line[..at])
}

fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(repository().join("docs")).expect("a folder of ours").flatten();
    let mut pages: Vec<String> = docs
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    pages.sort();
    pages.insert(0, "README.md".into());
    pages
}

fn proof(command: &str) -> Proof {
    let has = |words: &[&str]| words.iter().any(|word| command.contains(word));
    match command {
        // What `--save` would have written is not there.
        _ if has(&["baselines/edge.json"]) => Proof::Misses("edge.json"),
        // Words that stand for others.
        _ if has(&["curl-8.5"]) => Proof::Misses("curl-8.5"),
        _ if has(&["/opt/nginx-"]) => Proof::Misses("/opt/nginx-"),
        _ if has(&["--flow 5232e1ed…", "--flow KEY"]) => Proof::Misses("names no connection"),
        // It asks, and here is nobody at a terminal.
        "whostalled new" => Proof::Misses("name what it is from"),
        _ if has(&["whostalled new "]) => Proof::Judges("this run"),
        // The one that is there.
        _ if has(&["run scenarios/incidents"]) => Proof::Judges("hung-dependency"),
        _ if has(&["whostalled compare "]) => Proof::Judges("edge"),
        // What another program makes of it.
        _ if command.contains("run scenarios/") && command.contains(" | ") => Proof::Ends,
        _ if command.contains("run scenarios/") => Proof::Judges("edge"),
        _ if has(&["whostalled agent "]) => Proof::Waits("nats.example.com"),
        _ if has(&["--nats "]) => Proof::Misses("nats.example.com"),
        _ if has(&[
            "--validate",
            "--rounds 1",
            "capture init",
            "watch init",
            "capture status",
            "capture dump",
            "capture trigger",
        ]) =>
        {
            Proof::Ends
        }
        _ if has(&["whostalled watch ", "whostalled capture ", "explain - --watch"]) => Proof::Runs,
        _ => Proof::Ends,
    }
}

/// The files and names that commands speak of.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = folder.path();
        let _ = make_for(
            at,
            &[
                "login.example.com",
                "www.example.net",
                "edge.example.com",
                "canary.example.com",
                "edge.test",
                "localhost",
                "127.0.0.1",
            ],
        );
        let link = |name: &str| symlink(repository().join(name), at.join(name)).expect("a folder of our own");
        ["dist", "zoo"].into_iter().for_each(link);
        // All scenarios, but one incident: all of them, ten times, take half an hour (`make incidents-often`).
        std::fs::create_dir_all(at.join("scenarios/incidents")).expect("a folder of our own");
        let scenarios = std::fs::read_dir(repository().join("scenarios")).expect("a folder of ours").flatten();
        let scenarios = scenarios.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.ends_with(".toml"));
        scenarios.chain(["incidents/3-hung-dependency.toml".into()]).for_each(|name| link(&format!("scenarios/{name}")));
        let programs = at.join("bin");
        std::fs::create_dir_all(at.join("target/release"))
            .and_then(|()| std::fs::create_dir(&programs))
            .expect("a folder of our own");
        symlink(binary(), at.join("target/release/whostalled")).expect("a folder of our own");
        symlink(binary(), programs.join("whostalled")).expect("a folder of our own");
        // Behind `--` there are the host and what is run there: here.
        write(&programs.join("ssh"), "#!/bin/bash\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec bash -c \"$*\"\n");
        std::fs::set_permissions(programs.join("ssh"), std::fs::Permissions::from_mode(0o755)).expect("our own file");
        write(
            &at.join("hosts"),
            "127.0.0.1 localhost login.example.com www.example.net edge.example.com canary.example.com edge.test\n",
        );
        for proxy in ["proxy", "proxy-old", "proxy-new"] {
            let serve = "#!/bin/bash\nexec openssl s_server -accept \"$2\" -cert cert.pem -key key.pem -www -quiet\n";
            write(&at.join(proxy), serve);
            std::fs::set_permissions(at.join(proxy), std::fs::Permissions::from_mode(0o755)).expect("our own file");
        }
        write(&at.join("customer.har"), HAR);
        let page = std::fs::read_to_string(repository().join("docs/compare.md")).expect("a page of ours");
        let configuration =
            page.split("```\n").find(|block| block.starts_with("error_log {files}")).expect("nginx's, documented");
        for name in ["old.conf", "new.conf"] {
            write(&at.join(name), configuration);
        }
        let recorded = repository().join("zoo/recorded/c003-python-python-client-stalls");
        let unpacked = "zstd -dqc {r}/edge.pcap.zst > edge.pcap; zstd -dqc {r}/client.pcap.zst | tee client.pcap slow.pcapng > client.pcapng; \
             gzip -k edge.pcap; dist/nats/certify fleet server nats.example.com && dist/nats/certify fleet agent fra && \
             dist/nats/certify fleet controller ops && cp -r fleet/agents fleet/controllers .";
        let said = bash(&unpacked.replace("{r}", &recorded.display().to_string()), at, 60);
        assert_eq!(said.code, Some(0), "{said:?}");
        Self { folder }
    }

    /// What is there before each command; then the command.
    fn run(&self, command: &str, proof: &Proof) -> Said {
        let ended = match proof {
            Proof::Ends | Proof::Judges(_) | Proof::Misses(_) => command.to_owned(),
            // A pipe's last program is the one that must end well.
            Proof::Runs | Proof::Waits(_) => match command.rsplit_once(" | ") {
                Some((from, to)) => {
                    format!("timeout {A_WHILE} {from} 2>/dev/null | timeout -s INT --preserve-status {A_WHILE} {to}")
                }
                None => format!("timeout -s INT --preserve-status {A_WHILE} {command}"),
            },
        };
        let recorder = match command {
            _ if command.contains("ssh:edge-7:") => "--control /run/whostalled/capture.sock",
            _ if ["capture status", "capture dump", "capture trigger", "--recorder"]
                .iter()
                .any(|word| command.contains(word)) =>
            {
                " "
            }
            _ => "",
        };
        let pipes = if matches!(proof, Proof::Runs | Proof::Waits(_)) { "" } else { "set -o pipefail\n" };
        let script = format!(
            r#"set -e
ip link set lo up
ip link add eth0 type veth peer name beyond && ip link set eth0 up && ip link set beyond up
ip addr add 192.0.2.7/32 dev lo
mount -t tmpfs tmpfs /run && mkdir /run/whostalled && mount -t tmpfs tmpfs /var/lib
mount --bind hosts /etc/hosts
export SSL_CERT_FILE=$PWD/ca.pem CURL_CA_BUNDLE=$PWD/ca.pem PATH=$PWD/bin:$PATH
for port in 443 8443; do openssl s_server -accept $port -cert cert.pem -key key.pem -www -quiet 2>/dev/null & done
for port in 443 8443; do until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.1; done; done
[ -f checks.toml ] || whostalled watch init --target https://login.example.com/ 2>/dev/null
if [ -n "{recorder}" ]; then
  rm -f recorder.log && touch recorder.log
  whostalled capture --iface lo --port 443 --port 8443 {recorder} 2>>recorder.log &
  until grep -q 'recording handshakes' recorder.log; do sleep 0.1; done
  curl -s --interface 192.0.2.7 --local-port 40000 -o /dev/null https://login.example.com/
  sleep 1
fi
case {quoted} in *'watch init'*) rm -f checks.toml ;; *'capture init'*) rm -f capture.toml; ip route add default dev eth0 ;; esac
rm -f like-*.toml
{pipes}{ended}
"#,
            quoted = quoted(command)
        );
        write(&self.folder.path().join("script"), &script);
        // All that it starts ends with it.
        bash("exec unshare --mount --net --pid --fork --kill-child --mount-proc bash script", self.folder.path(), PATIENCE)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a folder of our own");
}

fn bash(script: &str, folder: &Path, seconds: u64) -> Said {
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).current_dir(folder);
    run(command, seconds)
}

/// What a browser saved: one request, with its connection.
const HAR: &str = r#"{"log":{"version":"1.2","creator":{"name":"test","version":"1"},"entries":[{"startedDateTime":"2026-11-26T12:00:00.000Z",
"time":520,"request":{"method":"GET","url":"https://login.example.com/","httpVersion":"http/1.1","headers":[],"queryString":[],"cookies":[],
"headersSize":-1,"bodySize":0},"response":{"status":200,"statusText":"OK","httpVersion":"http/1.1","headers":[],"cookies":[],
"content":{"size":2,"mimeType":"text/plain"},"redirectURL":"","headersSize":-1,"bodySize":2},"cache":{},
"timings":{"blocked":1,"dns":3,"connect":500,"ssl":450,"send":1,"wait":14,"receive":1},"serverIPAddress":"127.0.0.1","connection":"40001"}]}}"#;

/// Whether the packages and targets that a command of cargo names are there.
fn named(words: &[&str], metadata: &Value) -> Result<(), String> {
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1)).copied();
    let package = match after("-p") {
        Some(name) => vec![*packages.iter().find(|package| package["name"] == name).ok_or_else(|| format!("no package {name}"))?],
        None => packages,
    };
    for kind in ["bin", "test", "bench", "example"] {
        let Some(name) = after(&format!("--{kind}")) else { continue };
        let targets = package.iter().flat_map(|package| package["targets"].as_array().into_iter().flatten());
        if !targets.into_iter().any(|target| target["name"] == name && target["kind"].to_string().contains(kind)) {
            return Err(format!("no {kind} {name}"));
        }
    }
    Ok(())
}

#[test]
fn every_documented_command_does_what_it_says() {
    let mut t = Checks::new();
    if !nix::unistd::geteuid().is_root() {
        return t.skip(Need::Root, "documented commands run in namespaces of their own");
    }
    if let Some(missing) = ["openssl", "jq", "zstd", "tcpdump", "curl", "unshare"].into_iter().find(|name| !is_program(name)) {
        return t.skip(Need::Tools, &format!("documented commands need {missing}"));
    }
    let world = World::new();
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--locked"]).current_dir(repository());
    let metadata: Value = serde_json::from_str(&run(cargo, 60).out).expect("cargo says what there is");
    // The same command on two pages is tried once.
    let mut tried: Vec<String> = Vec::new();
    let only = std::env::var("ONLY").unwrap_or_default();
    for Documented { place, command } in pages().iter().flat_map(|page| commands(page)) {
        if tried.contains(&command) || !command.contains(&only) {
            continue;
        }
        tried.push(command.clone());
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[0] {
            "make" => {
                let said = bash(&format!("make -n {}", words[1]), &repository(), 60);
                t.check(format!("{place}: {command}"), said.code == Some(0), || said);
            }
            "cargo" => {
                let found = named(&words, &metadata);
                t.check(format!("{place}: {command}"), found.is_ok(), || found);
            }
            _ => {
                let proof = proof(&command);
                let said = world.run(&command, &proof);
                let good = match proof {
                    Proof::Ends | Proof::Runs => said.code == Some(0),
                    Proof::Waits(what) => said.code == Some(0) && said.err.contains(what),
                    Proof::Judges(word) => matches!(said.code, Some(0 | 1 | 3)) && said.out.contains(word),
                    Proof::Misses(what) => said.code == Some(2) && said.err.contains(what) && !said.err.contains("Usage:"),
                };
                t.check(format!("{place}: {command}"), good && !said.err.contains("panicked"), || said);
            }
        }
    }
    t.check("there were commands", tried.len() > 30 || !only.is_empty(), || tried);
}
