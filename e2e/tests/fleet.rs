//! A fleet on loopback: a nats-server with certificates and permissions as dist/nats makes them, twenty agents, and what goes wrong among them.
//! `KILLS=100` kills as often (make test: a few).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::broker::Broker;
use e2e::certificates::{Certificates, make};
use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::process::{Running, Said, binary, is_program, repository, run};
use e2e::servers::{nginx, slow, url};
use e2e::verdicts::{cell, told, verdict};
use e2e::waiting::{pause, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use testing::Need;

/// Agents, `a01` to `a20`.
const AGENTS: usize = 20;
/// Of them so many may say something else: servers, agents and this test share the CPUs, and a server that waited for one is rightly slow.
const DISTURBED: usize = 2;
/// Those that are killed: few, so that each run is short.
const FEW: usize = 4;
/// How long either side of a session waits for the other, and a little.
const SILENCE: u64 = 35;

/// A folder, its server, and certificates for everybody.
struct Fleet {
    checks: Checks,
    folder: TempDir,
    targets: Certificates,
    broker: Broker,
    agents: BTreeMap<String, Running>,
    /// What others left behind before this.
    before: BTreeSet<PathBuf>,
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("a{n:02}")).collect()
}

impl Fleet {
    /// A server, and no agent yet; nothing where nats-server is not installed.
    fn begin() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let targets = make(folder.path());
        let broker = Broker::begin(folder.path(), &names(AGENTS), &["ops"])?;
        Some(Self { checks: Checks::new(), folder, targets, broker, agents: BTreeMap::new(), before: leftovers() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts an agent under a name, with the certificate of another perhaps.
    fn agent(&mut self, name: &str, of: &str) {
        let mut command = Command::new(binary());
        command.arg("agent").args(self.broker.arguments("--nats", &format!("agents/{of}"))).args([
            "--name",
            name,
            "--group",
            "loopback",
            "--allow-load",
        ]);
        command.arg("--spool").arg(self.path("spool").join(name));
        let log = File::options().create(true).append(true).open(self.log_path(name)).expect("our own folder");
        self.agents.insert(name.to_owned(), Running::start(command.stdout(Stdio::null()).stderr(log)));
    }

    fn agents(&mut self, count: usize) {
        names(count).iter().for_each(|name| self.agent(name, name));
        let up = wait_for(60, || names(count).iter().all(|name| self.log(name).contains("connected")));
        let log = self.log("a01");
        self.checks.check(format!("{count} agents are connected"), up, || log);
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_path(name)).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.folder.path()).arg("run").args(arguments).arg("--ca").arg(&self.targets.ca);
        command.args(self.broker.arguments("--nats", "controllers/ops")).args(["--results", "results", "--json"]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        run(self.command(arguments), 400)
    }
}

/// Groups and folders of processes that are no more, and clients that nobody waits for.
fn leftovers() -> BTreeSet<PathBuf> {
    let of =
        |folder: &str| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let dead = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let pid = name.strip_prefix("whostalled-").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    let groups = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].into_iter().flat_map(of);
    groups.chain(of(&std::env::temp_dir().display().to_string())).filter(dead).collect()
}

/// Who, of all agents and this host, has a cell that says anything else than `wanted`.
fn cells(record: &Value, role: &str, wanted: &str) -> Vec<(String, String)> {
    let of = |name: String| (cell(record, &name, role), name);
    names(AGENTS).into_iter().chain(["here".into()]).map(of).filter(|(label, _)| !label.starts_with(wanted)).collect()
}

#[test]
fn twenty_agents_say_what_this_host_says() {
    let Some(mut fleet) = Fleet::begin() else { return };
    fleet.agents(AGENTS);
    let (certificates, folder) = (fleet.targets.clone(), fleet.folder.path().to_owned());
    let (_nginx, healthy) = nginx(&certificates, &folder);
    let opened = Edge::opened(&certificates);
    let control = url(opened.port);
    let (_slow, late) = slow(&certificates, &folder, 300);
    // What is healthy is the control of what is not: one run shows both.
    let all = ["--vantage", "here", "--vantage", "fleet:*", "--rounds", "1", "--clients", "3", "--no-capture"];
    let said = fleet.run(&[&[late.as_str(), "--control", &healthy], &all[..]].concat());
    let record = told(&said);
    let others = cells(&record, "edge", "edge");
    let good = said.code == Some(0) && others.len() <= DISTURBED;
    fleet.checks.check(format!("{AGENTS} agents as this host: edge"), good, || (others, said));
    let controls = cells(&record, "control", "healthy");
    fleet.checks.check("the control is healthy from all", controls.len() <= DISTURBED, || controls);
    if nix::unistd::geteuid().is_root() {
        let two =
            ["--vantage", "fleet:a01", "--vantage", "two=fleet:a02", "--load", "cpus=0.05", "--clients", "8", "--rounds", "1"];
        let said = fleet.run(&[&[healthy.as_str(), "--control", &control], &two[..]].concat());
        let record = told(&said);
        let seen = [cell(&record, "a01", "edge"), cell(&record, "two", "edge"), cell(&record, "two", "control")];
        let good = said.code == Some(0)
            && seen.iter().all(|label| label.starts_with("client"))
            && verdict(&record).starts_with("client");
        fleet.checks.check("agents without CPU: their clients", good, || (seen, said));
    } else {
        fleet.checks.skip(Need::Root, "quotas need root; no load was set at an agent");
    }
    let said = fleet.run(&[&healthy, "--vantage", "fleet:a01", "--client", "sh -c true"]);
    fleet.checks.check(
        "an agent runs no command without leave",
        said.err.contains("--allow-command") || said.out.contains("--allow-command"),
        || said,
    );
    let said = fleet.run(&[&healthy, "--vantage", "fleet:nobody"]);
    fleet.checks.check("who is not there is said, and who is", said.refused(2, "no agent or group \"nobody\""), || said);
    let waiting = std::fs::read_dir(fleet.path("spool/a01")).map_or(9, Iterator::count);
    fleet.checks.check("all is stored: nothing waits at an agent", waiting == 0, || waiting);
}

#[test]
fn an_agent_cannot_speak_as_another() {
    let Some(mut fleet) = Fleet::begin() else { return };
    fleet.agent("a02", "a01");
    let refused = wait_for(20, || fleet.log("a02").contains("it refuses: nats: Permissions Violation for Publish"));
    let log = fleet.log("a02");
    fleet.checks.check("the agent says that it is refused", refused, || log);
    let log = fleet.broker.log();
    let violation = log.contains("Publish Violation");
    fleet.checks.check(
        "the server says who tried",
        violation && log.contains("CN=agent.a01") && log.contains("whostalled.agent.a02."),
        || log,
    );
    let said = fleet.run(&["https://localhost:9/", "--vantage", "fleet:a02"]);
    fleet.checks.check("no controller sees it", said.refused(2, "there is nobody"), || said);

    let mut stranger = Command::new(binary());
    stranger.args(["agent", "--name", "a03", "--nats", &fleet.broker.url(), "--nats-ca"]);
    let ca = fleet.broker.file("ca.pem");
    let log = File::create(fleet.log_path("a03")).expect("our own folder");
    let _stranger = Running::start(stranger.arg(ca).stdout(Stdio::null()).stderr(log));
    let told = wait_for(20, || fleet.log("a03").contains("it is tried again"));
    let log = fleet.log("a03");
    fleet.checks.check("who has no certificate is told why", told, || log);
    let said = fleet.run(&["https://localhost:9/", "--vantage", "fleet:*"]);
    fleet.checks.check("who has no certificate is not let in", said.refused(2, "there is nobody"), || said);
}

#[test]
fn a_second_run_is_told_that_the_agent_is_busy() {
    let Some(mut fleet) = Fleet::begin() else { return };
    fleet.agents(1);
    let (_nginx, healthy) = nginx(&fleet.targets.clone(), &fleet.path("."));
    let mut first = fleet.command(&[&healthy, "--vantage", "fleet:a01", "--rounds", "40", "--no-capture"]);
    let mut first = Running::start(first.stdout(Stdio::null()).stderr(Stdio::null()));
    let begun = wait_for(20, || fleet.log("a01").contains("begins"));
    let log = fleet.log("a01");
    fleet.checks.check("the first has it", begun, || log);
    let said = fleet.run(&[&healthy, "--vantage", "fleet:a01"]);
    fleet.checks.check("the second is told who", said.refused(2, "is busy with another run, of"), || said);
    first.end(Signal::SIGINT);
    let over = wait_for(10, || fleet.log("a01").contains("is over"));
    let log = fleet.log("a01");
    fleet.checks.check("Ctrl-C gives it back", over, || log);
}

#[test]
fn an_agent_that_is_told_to_stop_says_farewell() {
    let Some(mut fleet) = Fleet::begin() else { return };
    fleet.agents(2);
    let (_nginx, healthy) = nginx(&fleet.targets.clone(), &fleet.path("."));
    let mut command = fleet.command(&[&healthy, "--vantage", "fleet:loopback", "--rounds", "40", "--no-capture"]);
    let out = File::create(fleet.path("out")).expect("our own");
    let mut controller = Running::start(command.stdout(out).stderr(File::create(fleet.path("err")).expect("our own")));
    let begun = wait_for(20, || ["a01", "a02"].iter().all(|name| fleet.log(name).contains("begins")));
    let log = fleet.log("a01");
    fleet.checks.check("both are at it", begun, || log);
    pause(1_500);
    let code = fleet.agents.get_mut("a01").expect("it runs").end(Signal::SIGTERM);
    fleet.checks.check("it ends well", code == Some(0), || code);
    // The other goes on alone; the first is missed for what it said, not for its silence.
    let code = controller.wait(300).code();
    let record: Value = serde_json::from_str(&std::fs::read_to_string(fleet.path("out")).unwrap_or_default()).unwrap_or_default();
    let missing = record["footing"]["missing"].to_string();
    let good = code == Some(2) && missing.contains("a01 was told to stop") && cell(&record, "a02", "edge") != "no cell";
    fleet.checks.check("the run goes on without it, and says why", good, || (code, missing));
}

#[test]
fn agents_start_together() {
    let Some(mut fleet) = Fleet::begin() else { return };
    fleet.agents(AGENTS);
    let (_nginx, healthy) = nginx(&fleet.targets.clone(), &fleet.path("."));
    let rounds = 6;
    let said = fleet.run(&[
        &healthy,
        "--vantage",
        "fleet:*",
        "--together",
        "--clients",
        "1",
        "--no-capture",
        "--rounds",
        &rounds.to_string(),
    ]);
    let record = told(&said);
    let starts = &record["footing"]["starts"];
    println!("starts together over NATS (aim: p99 at most 20 ms): {starts}");
    let all = starts["n"].as_u64() == Some(AGENTS as u64 * rounds);
    let told = all && starts["p99_ms"].is_f64() && starts["clock_error_ms"].is_f64();
    fleet
        .checks
        .check(format!("{AGENTS} agents, {rounds} rounds: how late each start was is told"), told, || (starts.clone(), said));
}

/// What is known of the bundles of all agents, by their own logs: all that were kept; those that were said to be stored.
fn bundles(fleet: &Fleet) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
    let (mut kept, mut by_run, mut by_others) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for name in names(FEW) {
        for line in fleet.log(&name).lines() {
            let mut words = line.split_whitespace().skip_while(|word| *word != "bundle").skip(1);
            let Some(id) = words.next().map(|id| format!("{name}-{}", id.replace('/', "-"))) else { continue };
            if line.contains(" is kept (") {
                kept.insert(id);
            } else if line.contains("is stored at the controller") {
                by_run.insert(id);
            } else if line.contains("is stored at another controller") {
                by_others.insert(id);
            }
        }
    }
    (kept, by_run, by_others)
}

/// Batches whose clients' ends are in any run folder, by agent.
fn in_folders(fleet: &Fleet) -> BTreeMap<String, usize> {
    let mut batches: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in std::fs::read_dir(fleet.path("results")).into_iter().flatten().flatten() {
        let events = std::fs::read_to_string(folder.path().join("events.ndjson")).unwrap_or_default();
        for event in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let vantage = event["vantage"].as_str().unwrap_or_default().to_owned();
            let batch = format!("{} {} {}", folder.path().display(), event["round"], event["target"]);
            batches.entry(vantage).or_default().insert(batch);
        }
    }
    batches.into_iter().map(|(vantage, batches)| (vantage, batches.len())).collect()
}

#[test]
fn nothing_measured_is_lost_whoever_is_killed() {
    let Some(mut fleet) = Fleet::begin() else { return };
    let kills: usize = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let seed: u64 = std::env::var("SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut draw = fastrand::Rng::with_seed(seed);
    println!("KILLS={kills} SEED={seed}");
    fleet.agents(FEW);
    let (_nginx, healthy) = nginx(&fleet.targets.clone(), &fleet.path("."));
    let mut cut = BTreeSet::new();
    let load: &[&str] = if nix::unistd::geteuid().is_root() { &["--load", "cpus=0.5"] } else { &[] };
    let options = ["--vantage", "fleet:loopback", "--rounds", "4", "--clients", "2", "--no-capture"];
    for n in 0..kills {
        let mut command = fleet.command(&[&[healthy.as_str()], &options[..], load].concat());
        let out = File::create(fleet.path("out")).expect("our own");
        let mut controller = Running::start(command.stdout(out).stderr(File::create(fleet.path("err")).expect("our own")));
        pause(draw.u64(500..6_000));
        let whom = ["agent", "broker", "controller", "broker stands still", "spool"][n % 5];
        match whom {
            "agent" => {
                let name = format!("a{:02}", draw.usize(1..=FEW));
                fleet.agents.get_mut(&name).expect("it runs").end(Signal::SIGKILL);
                pause(draw.u64(0..2_000));
                fleet.agent(&name, &name);
            }
            "spool" => {
                // A file that waits for a controller is cut anywhere while its agent is dead: it is known for what it is, and set aside.
                let name = format!("a{:02}", draw.usize(1..=FEW));
                fleet.agents.get_mut(&name).expect("it runs").end(Signal::SIGKILL);
                cut.extend(cut_spool(&fleet.path("spool").join(&name), &name, &mut draw));
                fleet.agent(&name, &name);
            }
            "broker" => {
                fleet.broker.kill();
                pause(draw.u64(0..4_000));
                fleet.broker.up();
            }
            "controller" => drop(controller.end(Signal::SIGKILL)),
            _ => {
                fleet.broker.signal(Signal::SIGSTOP);
                pause(draw.u64(500..6_000));
                fleet.broker.signal(Signal::SIGCONT);
            }
        }
        let code = controller.wait(180).code();
        let said = std::fs::read_to_string(fleet.path("err")).unwrap_or_default();
        let good = match whom {
            "controller" => code.is_none() || code == Some(0),
            "agent" | "spool" => matches!(code, Some(0 | 2)),
            _ => code == Some(0),
        };
        fleet.checks.check(format!("{} of {kills}, {whom}: the run ends as it should", n + 1), good, || (code, said));
        // Who is silent is given up; then everybody is free for the next.
        let free = wait_for(SILENCE, || names(FEW).iter().all(|name| is_free(&fleet.log(name))));
        let logs: Vec<String> = names(FEW).iter().map(|name| fleet.log(name)).collect();
        fleet.checks.check("all agents are free again", free, || logs);
    }
    let said = fleet.run(&[&[healthy.as_str()], &options[..]].concat());
    fleet.checks.check("the next run is whole", said.code == Some(0), || said);
    // The last acknowledgement goes with the farewell.
    pause(500);
    let (kept, by_run, by_others) = bundles(&fleet);
    let stored = |id: &String| by_run.contains(id) || by_others.contains(id);
    let lost: Vec<&String> = kept.iter().filter(|id| !stored(id) && !cut.contains(*id)).collect();
    println!("{} bundles, {} of them cut in a spool", kept.len(), cut.len());
    fleet.checks.check(
        format!("each of {} bundles is stored somewhere", kept.len()),
        lost.is_empty() && !kept.is_empty(),
        || lost,
    );
    let folders = in_folders(&fleet);
    for name in names(FEW) {
        let told = by_run.iter().filter(|id| id.starts_with(&name)).count();
        let there = folders.get(&name).copied().unwrap_or(0);
        fleet.checks.check(format!("{name}: what it was told is stored is there"), there >= told, || (told, there));
    }
    let handed = by_others.iter().all(|id| fleet.path("results/handed-over").join(format!("{id}.json")).is_file());
    fleet.checks.check(format!("{} bundles were handed to a later run", by_others.len()), handed, || by_others);
    let waiting = |name: &String| {
        let spool = fleet.path("spool").join(name);
        if spool.is_dir() { spooled(&spool).len() } else { 9 }
    };
    let waiting: usize = names(FEW).iter().map(waiting).sum();
    fleet.checks.check("nothing waits at any agent", waiting == 0, || waiting);
    for agent in fleet.agents.values_mut() {
        agent.end(Signal::SIGTERM);
    }
    let before = fleet.before.clone();
    let new = || leftovers().difference(&before).cloned().collect::<Vec<_>>();
    let clean = wait_for(10, || new().is_empty());
    fleet.checks.check("no group and no folder is left behind", clean, new);
}

/// Bundles that wait in a spool.
fn spooled(spool: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(spool).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

/// Cuts a file of a spool, if there is one: whose bundle it is.
fn cut_spool(spool: &Path, agent: &str, draw: &mut fastrand::Rng) -> Option<String> {
    let files = spooled(spool);
    let path = files.get(draw.usize(0..files.len().max(1)))?;
    let length = std::fs::metadata(path).ok()?.len();
    let file = File::options().write(true).open(path).ok()?;
    file.set_len(draw.u64(0..length.max(1))).ok()?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    let mut parts = name.split('.');
    Some(format!("{agent}-{}-{}", parts.next()?, parts.next()?))
}

/// Whether each session in an agent's log is over, or its process is no more.
fn is_free(log: &str) -> bool {
    let mut open: Option<&str> = None;
    for line in log.lines() {
        let session = line.split_whitespace().skip_while(|word| *word != "session").nth(1);
        if line.contains("begins") {
            open = session;
        } else if line.contains("is over") && open == session || line.contains("starts as process") {
            open = None;
        }
    }
    open.is_none()
}

#[test]
#[ignore = "nearly two minutes: make fleet-kills"]
fn a_run_in_the_lab_names_the_detour_and_who_has_it() {
    let mut checks = Checks::new();
    if !is_program("nats-server") {
        return checks.skip(Need::Tools, "the demo: nats-server is not installed (apt-get install nats-server)");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut demo = Command::new("bash");
    demo.arg(repository().join("examples/fleet-demo/run"))
        .arg(folder.path().join("demo"))
        .env("WHOSTALLED_BIN", binary())
        .env("FLEET_DEMO", "run");
    let said = run(demo, 500);
    let row =
        |name: &str| said.out.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_default().to_owned();
    let detoured = ["a05", "a11", "a17"];
    let rows: Vec<(String, String)> = names(AGENTS).into_iter().map(|name| (row(&name), name)).collect();
    let good = rows.iter().all(|(row, name)| row.contains("path/detour") == detoured.contains(&name.as_str()) && !row.is_empty());
    checks.check("three of twenty have the detour, and no other", said.code == Some(0) && good, || (rows, said));
}
