//! A watch from many vantages on loopback: agents, a nats-server with certificates, controllers, and whoever of them is killed. And the demo
//! in the lab. `KILLS=100` kills as often (make test: a few).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::broker::Broker;
use e2e::certificates::{Certificates, make};
use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::http::{Http, count};
use e2e::ports::free_port;
use e2e::process::{Running, binary, is_program, repository, run};
use e2e::receiver::Receiver;
use e2e::waiting::{pause, wait_for, wait_some};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use testing::Need;

/// Agents, `a1` to `a4`.
const AGENTS: usize = 4;
/// How long anything may take on a busy machine.
const PATIENCE: u64 = 90;

struct Fleet {
    checks: Checks,
    folder: TempDir,
    targets: Certificates,
    broker: Broker,
    agents: BTreeMap<String, Running>,
    http: Http,
}

/// A controller, with a page and a store of its own.
struct Controller {
    name: &'static str,
    port: u16,
    running: Option<Running>,
}

fn names() -> Vec<String> {
    (1..=AGENTS).map(|n| format!("a{n}")).collect()
}

impl Fleet {
    fn begin() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let targets = make(folder.path());
        let broker = Broker::begin(folder.path(), &names(), &["ops", "other"])?;
        let mut fleet = Self { checks: Checks::new(), folder, targets, broker, agents: BTreeMap::new(), http: Http::plain() };
        names().iter().for_each(|name| fleet.agent(name));
        Some(fleet)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.path(&format!("{name}.log"))).expect("our own folder")
    }

    fn agent(&mut self, name: &str) {
        let mut command = Command::new(binary());
        command.arg("agent").args(self.broker.arguments("--nats", &format!("agents/{name}"))).args(["--watch", "--name", name]);
        command.arg("--spool").arg(self.path("spool").join(name)).stdout(Stdio::null()).stderr(self.log(name));
        self.agents.insert(name.to_owned(), Running::start(&mut command));
    }

    fn kill(&mut self, name: &str) {
        self.agents.get_mut(name).expect("it runs").end(Signal::SIGKILL);
    }

    /// Writes the check file of a controller.
    fn write(&self, controller: &Controller, interval: u64, checks: &[(&str, u16)], more: &str) {
        let Controller { name, port, .. } = controller;
        let mut text = format!(
            "[watch]\nvantage = {name:?}\nstore = {:?}\nlisten = \"127.0.0.1:{port}\"\n[fleet]\nreport = \"2s\"\nsilent_after = \"20s\"\n\
             [gate]\nrun_delay = \"10s\"\ndata_waiting = \"10s\"\nlateness = \"10s\"\nreference = \"10s\"\n\
             [defaults]\nca = {:?}\ninterval = \"{interval}s\"\ntimeout = \"5s\"\nfire = {{ k = 2, n = 3 }}\nresolve_after = 2\nfrom = {{ k = 2 }}\n\
             thresholds = {{ culprit = \"2s\" }}\n",
            self.path(&format!("{name}.db")),
            self.targets.ca
        );
        for (check, port) in checks {
            text += &format!("[[check]]\nname = {check:?}\ntarget = \"https://localhost:{port}/\"\naddresses = \"v4\"\n");
        }
        let path = self.path(&format!("{name}.toml"));
        std::fs::write(path.with_extension("new"), text + more).expect("our own folder");
        std::fs::rename(path.with_extension("new"), path).expect("our own folder");
    }

    fn control(&self, controller: &mut Controller) {
        let name = controller.name;
        let mut command = Command::new(binary());
        command.arg("watch").arg(self.path(&format!("{name}.toml")));
        command.args(self.broker.arguments("--fleet", &format!("controllers/{name}")));
        controller.running = Some(Running::start(command.stdout(Stdio::null()).stderr(self.log(name))));
    }

    fn api(&self, controller: &Controller) -> Value {
        let answer = self.http.get(&format!("http://127.0.0.1:{}/api/checks", controller.port));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// What each agent says of a check, as a controller knows it.
    fn states(&self, controller: &Controller, check: &str) -> BTreeMap<String, String> {
        let api = self.api(controller);
        let cells = api["checks"].as_array().into_iter().flatten().filter(|row| row["name"] == check);
        let cells = cells.flat_map(|row| row["vantages"].as_array().cloned().unwrap_or_default());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        cells.map(|cell| (text(&cell["vantage"]), text(&cell["state"]))).collect()
    }

    fn all_say(&self, controller: &Controller, check: &str, state: &str) -> bool {
        let states = self.states(controller, check);
        states.len() == AGENTS && states.values().all(|said| said == state)
    }

    fn logs(&self) -> String {
        let tail = |name: &String| {
            let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
        };
        names().iter().chain([&"ops".to_owned()]).map(|name| format!("{name}: {}", tail(name))).collect::<Vec<_>>().join("\n")
    }
}

fn controller(name: &'static str) -> Controller {
    Controller { name, port: free_port(), running: None }
}

/// What a receiver heard of a check from a vantage: the last word, if it says `status`.
fn last(receiver: &Receiver, check: &str, vantage: &str, status: &str) -> Option<Value> {
    let heard = receiver.heard();
    let of = |event: &&Value| event["check"] == check && event["vantage"] == vantage;
    heard.iter().rfind(of).filter(|event| event["status"] == status).cloned()
}

#[test]
fn an_alert_says_from_where_and_silence_says_nothing() {
    let Some(mut fleet) = Fleet::begin() else { return };
    let (mut target, other) = (Edge::opened(&fleet.targets), Edge::opened(&fleet.targets));
    let port = free_port();
    let receiver = Receiver::listening(port, 200);
    let hook = format!("[[receiver]]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/\"\n");
    let mut ops = controller("ops");
    let both = [("target", target.port), ("other", other.port)];
    fleet.write(&ops, 1, &both, &hook);
    fleet.control(&mut ops);
    let good = wait_for(PATIENCE, || fleet.all_say(&ops, "target", "good") && fleet.all_say(&ops, "other", "good"));
    let said = (fleet.states(&ops, "target"), fleet.logs());
    fleet.checks.check("all agents find both checks as usual", good, || said);

    target.close();
    let fired =
        wait_some(PATIENCE, || last(&receiver, "target", "fleet", "firing").filter(|_| fleet.all_say(&ops, "target", "bad")));
    let edge = fired.as_ref().is_some_and(|event| event["culprit"] == "edge" && event["key"] == "target@fleet");
    fleet.checks.check("one alert says that the edge is at fault", edge, || (fired, receiver.heard()));
    let seen = || fleet.api(&ops)["alerts"][0]["seen_from"].as_array().map(Vec::len);
    let all = wait_for(10, || seen() == Some(AGENTS));
    let said = fleet.api(&ops);
    fleet.checks.check("and it names all from where it is seen", all, || said);
    let firing = receiver.heard().iter().filter(|event| event["check"] == "target" && event["status"] == "firing").count();
    fleet.checks.check("it is one alert, whoever sees it", firing == 1, || receiver.heard());
    let others = receiver.heard().iter().any(|event| event["check"] != "target");
    fleet.checks.check("the other check is not accused, and no agent", !others, || receiver.heard());

    // Two of four are killed while it is on: who is left still finds it bad; then the edge is well again, and they may not say so for the dead.
    for name in ["a3", "a4"] {
        fleet.kill(name);
    }
    let silent = wait_for(PATIENCE, || ["a3", "a4"].iter().all(|name| last(&receiver, "agent", name, "firing").is_some()));
    fleet.checks.check("each agent that is not heard of is an alert that names it", silent, || receiver.heard());
    target.open();
    let well = wait_for(PATIENCE, || {
        let states = fleet.states(&ops, "target");
        states.get("a1").is_some_and(|state| state == "good") && states.get("a2").is_some_and(|state| state == "good")
    });
    let states = fleet.states(&ops, "target");
    let unheard = states.get("a3").is_some_and(|state| state == "unheard");
    fleet.checks.check("two say that it is well, two are not heard of", well && unheard, || states);
    pause(3_000);
    let resolved = last(&receiver, "target", "fleet", "resolved").is_some();
    fleet.checks.check("silence ends no alert: two that saw it may see it still", !resolved, || receiver.heard());
    for name in ["a3", "a4"] {
        fleet.agent(name);
    }
    let over = wait_for(PATIENCE, || {
        last(&receiver, "target", "fleet", "resolved").is_some()
            && ["a3", "a4"].iter().all(|name| last(&receiver, "agent", name, "resolved").is_some())
    });
    let said = (receiver.heard(), fleet.logs());
    fleet.checks.check("they are back, and it is over", over, || said);

    // A second controller judges the same and says the same.
    let mut second = controller("other");
    fleet.write(&second, 1, &both, &hook);
    fleet.control(&mut second);
    let knows = wait_for(PATIENCE, || fleet.all_say(&second, "target", "good"));
    let said = fleet.api(&second);
    fleet.checks.check("a second controller hears all agents", knows, || said);
    let before = receiver.heard().len();
    target.close();
    let firing = || {
        let heard = receiver.heard();
        let new = heard[before..].iter().filter(|event| event["status"] == "firing" && event["check"] == "target");
        new.map(|event| event["key"].to_string()).collect::<Vec<_>>()
    };
    let twice = wait_for(PATIENCE, || firing().len() == 2);
    let same = firing().iter().collect::<BTreeSet<_>>().len() == 1;
    fleet.checks.check("both say it by the same key", twice && same, || receiver.heard());
    target.open();

    // The check file changes.
    fleet.write(&ops, 1, &both, "headers = { Authorization = { env = \"HOME\" } }\n");
    let refused =
        wait_for(PATIENCE, || fleet.api(&ops)["trouble"]["reload"].as_str().is_some_and(|said| said.contains("header's secret")));
    let said = fleet.api(&ops);
    fleet.checks.check("what cannot be handed out is refused, and said", refused, || said);
    second.running.as_mut().expect("it runs").end(Signal::SIGTERM);
    fleet.write(&ops, 1, &both[..1], "");
    let gone = wait_for(PATIENCE, || fleet.states(&ops, "other").is_empty() && fleet.all_say(&ops, "target", "good"));
    fleet.checks.check("a check that is no more leaves", gone, || ());
    let metrics = || fleet.http.get(&format!("http://127.0.0.1:{}/metrics", ops.port)).text();
    let good = wait_for(10, || count(&metrics(), "whostalled_vantages{check=\"target\",state=\"good\"}") == AGENTS as u64);
    let said = metrics();
    fleet.checks.check("metrics count vantages", good, || said);
    let page = fleet.http.get(&format!("http://127.0.0.1:{}/", ops.port)).text();
    let shown = names().iter().all(|name| page.contains(&format!("/check/target%40{name}")));
    fleet.checks.check("the page shows each vantage and target", shown, || page);
    let ended: Vec<Option<i32>> = fleet.agents.values_mut().map(|agent| agent.end(Signal::SIGTERM)).collect();
    fleet.checks.check("agents end well", ended.iter().all(|code| *code == Some(0)), || ended);
    let ended = ops.running.as_mut().expect("it runs").end(Signal::SIGTERM);
    fleet.checks.check("the controller ends well", ended == Some(0), || ended);
}

/// When the rounds of a cell were due, in whole seconds, as a store has them.
fn scheduled(store: &Path, cell: &str) -> Vec<i64> {
    let db = Connection::open(store).expect("a store");
    let mut rows = db.prepare("SELECT scheduled FROM round WHERE name = ? ORDER BY id").expect("its table");
    let found = rows.query_map([cell], |row| row.get::<_, i64>(0)).expect("its rows");
    found.map(|nanos| (nanos.expect("a number") + 500_000_000).div_euclid(1_000_000_000)).collect()
}

/// Reports that wait at agents.
fn waiting(fleet: &Fleet) -> usize {
    let of = |name: &String| std::fs::read_dir(fleet.path("spool").join(name).join("watch/rounds")).map_or(0, Iterator::count);
    names().iter().map(of).sum()
}

#[test]
fn no_bad_round_is_lost_whoever_is_killed() {
    const INTERVAL: u64 = 3;
    let Some(mut fleet) = Fleet::begin() else { return };
    let kills: usize = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let seed: u64 = std::env::var("SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut draw = fastrand::Rng::with_seed(seed);
    println!("KILLS={kills} SEED={seed}");
    // Nobody listens there: each round is bad, and travels whole.
    let down = Edge::closed(&fleet.targets);
    let mut ops = controller("ops");
    fleet.write(&ops, INTERVAL, &[("down", down.port)], "");
    fleet.control(&mut ops);
    let bad = wait_for(PATIENCE, || fleet.all_say(&ops, "down", "bad"));
    let said = fleet.logs();
    fleet.checks.check("all agents find it bad", bad, || said);
    let mut killed: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..kills {
        pause(draw.u64(500..5_000));
        match n % 4 {
            0 => {
                fleet.broker.kill();
                pause(draw.u64(0..8_000));
                fleet.broker.up();
            }
            1 => {
                ops.running.as_mut().expect("it runs").end(Signal::SIGKILL);
                pause(draw.u64(0..8_000));
                fleet.control(&mut ops);
            }
            2 => {
                // a1 and a2 are never killed: of them nothing may be missing at all.
                let name = format!("a{}", draw.usize(3..=AGENTS));
                fleet.kill(&name);
                pause(draw.u64(0..4_000));
                fleet.agent(&name);
                *killed.entry(name).or_default() += 1;
            }
            _ => {
                fleet.broker.signal(Signal::SIGSTOP);
                pause(draw.u64(500..6_000));
                fleet.broker.signal(Signal::SIGCONT);
            }
        }
    }
    let bad = wait_for(PATIENCE, || fleet.all_say(&ops, "down", "bad"));
    let said = (fleet.states(&ops, "down"), fleet.logs());
    fleet.checks.check("after all of it, all agents are heard of", bad, || said);
    // No more rounds; what waits is handed over.
    let gone = Edge::opened(&fleet.targets);
    fleet.write(&ops, 60, &[("well", gone.port)], "");
    let changed = wait_for(PATIENCE, || fleet.states(&ops, "down").is_empty());
    let empty = changed && wait_for(PATIENCE * 2, || waiting(&fleet) == 0);
    let said = (waiting(&fleet), fleet.logs());
    fleet.checks.check("nothing waits at any agent", empty, || said);
    ops.running.as_mut().expect("it runs").end(Signal::SIGTERM);
    for name in names() {
        let all = scheduled(&fleet.path("ops.db"), &format!("down@{name}"));
        let distinct: BTreeSet<i64> = all.iter().copied().collect();
        fleet.checks.check(format!("{name}: none of {} rounds is there twice", all.len()), distinct.len() == all.len(), || all);
        let steps = distinct.iter().zip(distinct.iter().skip(1));
        let holes: Vec<(i64, i64)> = steps.filter(|(a, b)| **b - **a != INTERVAL as i64).map(|(a, b)| (*a, *b)).collect();
        let most = killed.get(&name).copied().unwrap_or(0);
        let words = format!("{name}, killed {most} times: no round is missing but those that it could not keep");
        fleet.checks.check(words, holes.len() <= most && distinct.len() > 3, || holes);
    }
    for agent in fleet.agents.values_mut() {
        agent.end(Signal::SIGTERM);
    }
}

#[test]
#[ignore = "three minutes, and twenty agents that wait for two cores: make nightly"]
fn the_demo_names_the_detour_and_who_has_it() {
    let mut checks = Checks::new();
    for program in ["nats-server", "prometheus-alertmanager"] {
        if !is_program(program) {
            return checks.skip(Need::Tools, &format!("the demo: {program} is not installed (apt-get install {program})"));
        }
    }
    let results = repository().join("results/fleet-demo");
    let mut demo = Command::new("bash");
    demo.arg(repository().join("examples/fleet-demo/run")).arg(&results).env("WHOSTALLED_BIN", binary());
    let said = run(demo, 500);
    checks.check("the demo runs to its end", said.code == Some(0), || &said);
    let heard = std::fs::read_to_string(results.join("heard.txt")).unwrap_or_default();
    let detour = heard.lines().any(|line| line.contains("edge: the path is longer than usual: a05, a11, a17:"));
    checks.check("the detour was one alert that names the path and the three that have it", detour, || &heard);
    let all = heard.lines().find(|line| line.contains("edge: the edge is slow or fails:")).unwrap_or_default();
    checks.check(
        "what all see was one alert that names the edge, seen from everywhere",
        all.matches(", a").count() >= 15,
        || &heard,
    );
    let last = heard.lines().last().unwrap_or_default();
    checks.check("each was resolved", last.contains("nothing"), || &heard);
}
