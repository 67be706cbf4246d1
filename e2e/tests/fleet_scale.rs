//! How many agents one nats-server and one controller carry: real controller, real server, `AGENTS` connections (2,000 if not said) of this
//! process that speak as agents do, each with `CHECKS` checks every 30 s and a report a minute; one agent in a hundred has a detour. Prints
//! what that costs, then kills the server and prints how long it takes until all are heard of again.
//!
//! `AGENTS=10000 cargo test --release -p whostalled-e2e --features run --test fleet_scale -- --ignored --nocapture`; it needs that many
//! file descriptors twice over (`ulimit -n`). Connections are plain: TLS costs handshakes, once.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use analysis::clock::Instant as Stamp;
use e2e::checks::Checks;
use e2e::http::{Http, total};
use e2e::ports::free_port;
use e2e::process::{Running, binary, is_program};
use e2e::servers::listening;
use e2e::waiting::{pause, wait_for};
use fleet::{Log, Reports, Server, attend};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testing::Need;

/// Rounds of a check in a minute.
const ROUNDS: u32 = 2;
/// Time over which cost is measured.
const MEASURED: Duration = Duration::from_secs(180);

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_nanos()).expect("it is before 2262")
}

/// A minute's rounds of an agent, as `watch` writes them.
fn report(checks: usize, detour: bool) -> Vec<u8> {
    let started = now_ns() - 20_000_000_000;
    let phases = ["connect", "client_hello", "server_flight", "client_finished", "finish", "request"];
    let record = |check: usize, culprit: Option<&str>| {
        let parts: Vec<Value> = phases.iter().map(|phase| json!([phase, "path", 20.125])).collect();
        json!({
            "name": format!("check-{check}"), "address": "192.0.2.1:443", "scheduled": started, "started": started, "total_ms": 120.75,
            "success": true, "reason": null, "local": "192.0.2.9:40000", "verdict": "healthy", "target_verdict": "healthy",
            "target_culprit": culprit, "culprit": culprit, "sick": null, "rtt_ms": 20.125, "grade": "socket + host",
            "sentence": "All of it was as usual: 120.75 ms in six round trips of 20.1 ms each, nobody had time beyond the usual.", "parts": parts,
        })
    };
    let entries: Vec<Value> = (0..checks)
        .flat_map(|check| {
            let bad = || json!({ "bad": { "record": record(check, Some("path")), "phase": "connect", "ms": 80.0 } });
            if detour && check == 0 {
                vec![bad(), bad()]
            } else {
                vec![json!({ "good": { "rounds": ROUNDS, "slowest": record(check, None) } })]
            }
        })
        .collect();
    let hour = started / 3_600_000_000_000;
    let times: Vec<Value> = (0..checks)
        .flat_map(|check| {
            phases
                .iter()
                .chain(&["total"])
                .map(move |what| json!({ "name": format!("check-{check}"), "hour": hour, "what": what, "ms": [20.125, 20.5] }))
        })
        .collect();
    serde_json::to_vec(&json!({ "entries": entries, "times": times, "missed": 0 })).expect("JSON")
}

/// CPU time and resident memory of a process.
fn cost(id: u32) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|n| fields[*n].parse::<u64>().expect("ticks")).sum();
    let per_second = 100; // USER_HZ, the same on every Linux that we know
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    (Duration::from_millis(ticks * 1_000 / per_second), resident.expect("kilobytes") / 1_024)
}

fn broker(port: u16) -> Running {
    let mut command = Command::new("nats-server");
    let running =
        Running::start(command.args(["-a", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null()));
    listening(port);
    running
}

#[test]
#[ignore = "it takes the machine for ten minutes"]
fn one_server_and_one_controller_carry_many_agents() {
    let mut checks = Checks::new();
    if !is_program("nats-server") {
        return checks.skip(Need::Tools, "nats-server is not installed (apt-get install nats-server)");
    }
    let (agents, each) = (number("AGENTS", 2_000), number("CHECKS", 10));
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("our own limit");
    assert!(most > agents as u64 + 200, "{most} file descriptors (ulimit -Hn) are too few for {agents} agents");
    let folder = tempfile::tempdir().expect("a folder");
    let (port, page) = (free_port(), free_port());
    let mut server = broker(port);
    let mut file = format!(
        "[watch]\nvantage = \"ops\"\nstore = {:?}\nlisten = \"127.0.0.1:{page}\"\n[defaults]\nfrom = {{ k = 2 }}\nfire = {{ k = 2, n = 3 }}\n",
        folder.path().join("store.db")
    );
    for check in 0..each {
        file += &format!("[[check]]\nname = \"check-{check}\"\ntarget = \"https://192.0.2.1/{check}\"\n");
    }
    std::fs::write(folder.path().join("checks.toml"), file).expect("our own folder");
    let url = format!("nats://127.0.0.1:{port}");
    let mut command = Command::new(binary());
    command.arg("watch").arg(folder.path().join("checks.toml")).args(["--fleet", &url]);
    let log = File::create(folder.path().join("ops.log")).expect("our own folder");
    let mut controller = Running::start(command.stdout(Stdio::null()).stderr(log));
    let http = Http::plain();
    let metrics = || http.get(&format!("http://127.0.0.1:{page}/metrics")).text();
    assert!(wait_for(30, || metrics().contains("whostalled")), "the controller serves");

    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let quiet: Log = Arc::new(|_| {});
    let connecting = Instant::now();
    for n in 0..agents {
        let reports = Arc::new(Reports::open(None, || Stamp::from_nanos(now_ns()), &quiet).expect("memory"));
        let server = Server::new(&url, None).expect("an address");
        let (stop, quiet, name) = (Arc::clone(&stop), Arc::clone(&quiet), format!("agent-{n}").parse().expect("a name"));
        let reporting = Arc::clone(&reports);
        let over = Arc::clone(&stop);
        runtime.spawn(async move { attend(&server, name, Vec::new(), reporting, stop, quiet).await });
        runtime.spawn(async move {
            // Each has a second of its own in the minute.
            tokio::time::sleep(Duration::from_secs(60).mul_f64(n as f64 / agents as f64)).await;
            while !over.load(Ordering::Relaxed) {
                reports.keep(n % 100 == 0, &report(each, n % 100 == 0)).expect("memory");
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        });
    }
    let heard_since = |second: i64| {
        let metrics = metrics();
        let heard = metrics.lines().filter(|line| line.starts_with("whostalled_agent_heard_timestamp_seconds{"));
        heard
            .filter(|line| {
                line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).is_some_and(|at| at as i64 >= second)
            })
            .count()
    };
    let all = wait_for(300, || heard_since(0) == agents);
    println!("{agents} agents were heard of after {:.0} s", connecting.elapsed().as_secs_f64());
    checks.check("all agents are heard of", all, || heard_since(0));
    // All have reported twice.
    pause(130_000);
    let before = (cost(controller.id()), cost(server.id()), Instant::now());
    let rounds = |page: &str| total(page, "whostalled_rounds_total");
    let first = rounds(&metrics());
    std::thread::sleep(MEASURED);
    let after = (cost(controller.id()), cost(server.id()));
    let seconds = before.2.elapsed().as_secs_f64();
    let page = metrics();
    let share = |before: Duration, after: Duration| (after - before).as_secs_f64() / seconds * 100.0;
    println!("| agents | checks | rounds/s | controller CPU % | controller MB | nats-server CPU % | nats-server MB |");
    println!("|---|---|---|---|---|---|---|");
    println!(
        "| {agents} | {each} | {:.0} | {:.1} | {} | {:.1} | {} |",
        (rounds(&page) - first) / seconds,
        share(before.0.0, after.0.0),
        after.0.1,
        share(before.1.0, after.1.0),
        after.1.1
    );
    let bad = total(&page, "whostalled_vantages{check=\"check-0\",state=\"bad\"}");
    checks.check("the detour is seen from those that have it", bad as usize == agents.div_ceil(100), || bad);
    let waiting = total(&page, "whostalled_agent_waiting_reports");
    checks.check("no agent's reports pile up", (waiting as usize) < agents, || waiting);

    server.end(Signal::SIGKILL);
    pause(5_000);
    server = broker(port);
    let (back, second) = (Instant::now(), now_ns() / 1_000_000_000);
    let all = wait_for(300, || heard_since(second) == agents);
    println!("after a restart of the server all {agents} agents were heard of again in {:.0} s", back.elapsed().as_secs_f64());
    checks.check("all agents are back", all, || heard_since(second));
    pause(70_000);
    let waiting = total(&metrics(), "whostalled_agent_waiting_reports");
    checks.check("nothing piles up after it", (waiting as usize) < agents, || waiting);
    println!("controller after it: {} MB", cost(controller.id()).1);
    stop.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(Duration::from_secs(5));
    let ended = controller.end(Signal::SIGTERM);
    checks.check("the controller ends well", ended == Some(0), || ended);
    server.end(Signal::SIGTERM);
}
