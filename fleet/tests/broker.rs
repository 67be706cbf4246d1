//! Agents and controllers over a real nats-server on loopback: what is lost on the way, and who speaks out of turn.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::{Bundle, Go, Hello, Losses, Pcapng, Permits, Plan, Ready};
use analysis::key::Key;
use futures_util::StreamExt;
use tempfile::TempDir;
use testing::{Need, skipped};
use vantage::{Error, Vantage, host};
use whostalled_fleet::{Fleet, Log, Name, Server, Serving, serve};

/// What a silent controller is given here: tests do not wait 20 s.
const SILENCE: Duration = Duration::from_secs(4);

/// nats-server on a port of its own; killed when dropped.
struct Broker {
    port: u16,
    child: Option<Child>,
}

impl Broker {
    fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let mut broker = Self { port, child: None };
        if Command::new("nats-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped(Need::Tools, "nats-server is not installed (apt-get install nats-server)");
            return None;
        }
        broker.up();
        Some(broker)
    }

    fn up(&mut self) {
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string()]).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("it starts"));
        until("the server listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).expect("our own child");
        }
    }

    /// Stops or continues its process.
    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("it is up").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill(1)").success());
    }

    fn server(&self) -> Server {
        Server::new(&format!("nats://127.0.0.1:{}", self.port), None).expect("an address")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.down();
    }
}

fn until(what: &str, mut good: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !good() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A vantage that measures nothing, and hands over so many bytes of packets.
struct Fake {
    bytes: usize,
    batch: u64,
    at: Option<Go>,
    alive: Arc<AtomicUsize>,
}

impl Vantage for Fake {
    fn hello(&self) -> Hello {
        let permits = Permits { quotas: false, real_time: false, no_packets: None };
        host::hello("fake", host::clock(agent::ClockError::Unknown), permits)
    }

    fn prepare(&mut self, plan: &Plan, _: &AtomicBool) -> Result<Ready, Error> {
        self.batch = plan.batch;
        Ok(Ready { batch: plan.batch, clients: 0, losses: Losses::default() })
    }

    fn go(&mut self, go: Go, _: &AtomicBool) -> Result<(), Error> {
        self.at = Some(go);
        Ok(())
    }

    fn collect(&mut self, _: &AtomicBool) -> Result<Bundle, Error> {
        Ok(Bundle {
            batch: self.batch,
            gave_up: vec![format!("{:?}", self.at.and_then(|go| go.at))],
            clients: Vec::new(),
            frames: Pcapng((0..self.bytes).map(|n| (n % 251) as u8).collect()),
            server: None,
            log: Vec::new(),
            losses: Losses::default(),
            late_ns: None,
            clock: host::clock(agent::ClockError::Unknown),
            spin: None,
        })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

fn lines() -> (Lines, Log) {
    let lines = Lines::default();
    let log: Log = {
        let lines = Arc::clone(&lines);
        Arc::new(move |line| lines.lock().expect("no holder panicked").push(line.to_owned()))
    };
    (lines, log)
}

fn said(lines: &Lines, words: &str) -> bool {
    lines.lock().expect("no holder panicked").iter().any(|line| line.contains(words))
}

/// An agent in a thread of its own.
struct Agent {
    stop: Arc<AtomicBool>,
    lines: Lines,
    /// Vantages that exist.
    alive: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(server: Server, name: &str, bytes: usize, spool: Option<PathBuf>) -> Self {
        let (lines, log) = lines();
        let (stop, alive) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (name, theirs, count) = (name.to_owned(), Arc::clone(&stop), Arc::clone(&alive));
        let thread = std::thread::spawn(move || {
            let vantage = |_| -> Result<Box<dyn Vantage>, Error> {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(Box::new(Fake { bytes, batch: 0, at: None, alive: Arc::clone(&count) }))
            };
            let name = name.parse().expect("a name");
            // A recorder that is slow, and has as many bytes as the vantage.
            let recorder = move |last: Duration, keys: &[Key]| {
                std::thread::sleep(Duration::from_millis(400));
                match keys {
                    [] => Err(format!("nothing of the last {} ms", last.as_millis())),
                    _ => Ok(pattern(bytes)),
                }
            };
            let serving = Serving {
                name,
                groups: Vec::new(),
                commands: false,
                spool,
                recorder: Some(Arc::new(recorder)),
                recorder_only: false,
                silence: SILENCE,
                reports: None,
                vantage: &vantage,
            };
            serve(&server, &serving, &theirs, &log).expect("it serves");
        });
        Self { stop, lines, alive, thread: Some(thread) }
    }

    fn end(mut self) -> Lines {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("it runs").join().expect("it ends well");
        Arc::clone(&self.lines)
    }
}

static GO_ON: AtomicBool = AtomicBool::new(false);

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn controller(broker: &Broker, folder: &Path) -> (Fleet, Lines) {
    let (lines, log) = lines();
    (Fleet::connect(&broker.server(), "a test", folder.to_owned(), log).expect("it connects"), lines)
}

fn batch(vantage: &mut dyn Vantage, batch: u64) -> Result<Bundle, Error> {
    vantage.prepare(&Plan { batch, clients: None, load: None }, &GO_ON)?;
    vantage.go(Go { at: Some("2026-11-27T00:00:00Z".parse().expect("a moment")) }, &GO_ON)?;
    vantage.collect(&GO_ON)
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_bundle_larger_than_a_message_arrives_and_is_kept_until_it_is_stored() {
    let Some(broker) = Broker::start() else { return };
    let (spool, handed) = (folder(), folder());
    let agent = Agent::start(broker.server(), "fra", 5 << 20, Some(spool.path().to_owned()));
    let (fleet, _) = controller(&broker, handed.path());
    until("the agent is there", || fleet.meant("fra").is_ok());
    let mut there = fleet.open(&name("fra"), "there", true, &GO_ON).expect("it opens");
    assert_eq!(there.hello().name, "there");
    assert!(there.ahead().is_some_and(|ahead| ahead.by.abs() <= ahead.error), "it is the same clock");
    let kept = || std::fs::read_dir(spool.path()).expect("the spool").count();
    for number in 1..=2 {
        let bundle = batch(&mut there, number).expect("a bundle");
        assert_eq!((bundle.batch, bundle.frames.0.len()), (number, 5 << 20));
        assert!(bundle.frames.0.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
        assert!(bundle.gave_up[0].contains("2026-11-27"), "when to begin is told: {:?}", bundle.gave_up);
        assert_eq!(kept(), number as usize, "nothing is forgotten before it is stored");
    }
    there.stored(2);
    until("both are forgotten", || kept() == 0);
    drop(there);
    assert!(said(&agent.end(), "is stored at the controller"));
}

#[test]
fn two_agents_of_one_name_are_noticed_and_the_second_is_left_free() {
    let Some(broker) = Broker::start() else { return };
    let handed = folder();
    let agents = [(); 2].map(|()| Agent::start(broker.server(), "fra", 10, None));
    let (fleet, log) = controller(&broker, handed.path());
    until("both are there", || fleet.present().is_ok() && said(&log, "two agents answer to the name fra"));
    for _ in 0..3 {
        let mut there = fleet.open(&name("fra"), "fra", true, &GO_ON).expect("neither is busy with the run before");
        assert!(batch(&mut there, 1).is_ok());
        until("one is left", || agents.iter().map(|agent| agent.alive.load(Ordering::SeqCst)).sum::<usize>() == 1);
    }
    assert!(said(&log, "the one that answered first is asked"), "{log:?}");
    agents.into_iter().for_each(|agent| drop(agent.end()));
}

#[test]
fn a_second_controller_is_told_who_has_the_agent() {
    let Some(broker) = Broker::start() else { return };
    let handed = folder();
    let agent = Agent::start(broker.server(), "fra", 10, None);
    let (fleet, _) = controller(&broker, handed.path());
    until("the agent is there", || fleet.meant("*").is_ok());
    let there = fleet.open(&name("fra"), "fra", true, &GO_ON).expect("it opens");
    let (second, _) = controller(&broker, handed.path());
    let error = second.open(&name("fra"), "fra", true, &GO_ON).err().expect("it is busy").to_string();
    assert!(error.contains("busy") && error.contains("a test"), "{error}");
    assert_eq!(second.present().expect("they answer")[0].busy.as_deref(), Some("a test"));
    drop(there);
    let there = second.open(&name("fra"), "fra", true, &GO_ON).expect("it is free at once");
    assert_eq!(agent.alive.load(Ordering::SeqCst), 1, "what the first set is taken down");
    drop(there);
    let error = second.open(&name("ams"), "ams", true, &GO_ON).err().expect("there is none").to_string();
    assert!(error.contains("did not answer"), "{error}");
    assert!(second.meant("ams").expect_err("there is none").to_string().contains("fra"));
    agent.end();
}

#[test]
fn a_recorder_answers_several_controllers_whoever_has_the_agent() {
    let Some(broker) = Broker::start() else { return };
    let handed = folder();
    let agent = Agent::start(broker.server(), "fra", 3 << 20, None);
    let (first, _) = controller(&broker, handed.path());
    let (second, _) = controller(&broker, handed.path());
    until("the agent is there", || first.meant("*").is_ok());
    let there = first.open(&name("fra"), "fra", true, &GO_ON).expect("it opens");
    let keys = ["192.0.2.7:40000".parse().expect("a key")];
    let ask = |fleet: &Fleet| fleet.recorded(&name("fra"), "edge", Duration::from_secs(7), &keys, &GO_ON);
    std::thread::scope(|scope| {
        let asked = [scope.spawn(|| ask(&first)), scope.spawn(|| ask(&second)), scope.spawn(|| ask(&second))];
        for answer in asked {
            assert!(answer.join().expect("no panic").expect("an answer") == pattern(3 << 20));
        }
    });
    let error =
        first.recorded(&name("fra"), "edge", Duration::from_secs(7), &[], &GO_ON).expect_err("it has nothing").to_string();
    assert!(error.contains("nothing of the last 7000 ms") && error.contains("edge"), "{error}");
    drop(there);
    agent.end();
}

#[test]
fn who_is_told_to_stop_is_not_waited_for() {
    let Some(broker) = Broker::start() else { return };
    let handed = folder();
    let agent = Agent::start(broker.server(), "fra", 10, None);
    let (fleet, _) = controller(&broker, handed.path());
    until("the agent is there", || fleet.meant("*").is_ok());
    let mut there = fleet.open(&name("fra"), "fra", true, &GO_ON).expect("it opens");
    batch(&mut there, 1).expect("a bundle");
    agent.end();
    // By its silence it would be "not heard of": nobody else could say that it was told.
    let error = batch(&mut there, 2).expect_err("it is gone").to_string();
    assert!(error.contains("told to stop"), "{error}");
}

#[test]
fn a_broker_that_stands_still_is_waited_for() {
    let Some(broker) = Broker::start() else { return };
    let handed = folder();
    broker.signal("-STOP");
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| Fleet::connect(&broker.server(), "a test", handed.path().to_owned(), lines().1));
        // Longer than one try to connect.
        std::thread::sleep(Duration::from_secs(6));
        broker.signal("-CONT");
        assert!(connecting.join().expect("no panic").is_ok());
    });
}

#[test]
fn a_run_goes_on_when_the_broker_comes_back() {
    let Some(mut broker) = Broker::start() else { return };
    let handed = folder();
    let agent = Agent::start(broker.server(), "fra", 3 << 20, None);
    let (fleet, lines) = controller(&broker, handed.path());
    until("the agent is there", || fleet.meant("*").is_ok());
    let mut there = fleet.open(&name("fra"), "fra", true, &GO_ON).expect("it opens");
    for number in 1..=6 {
        // Down between two questions, or in the middle of one.
        let restarting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(7 * number));
            broker.down();
            std::thread::sleep(Duration::from_millis(300));
            broker.up();
            broker
        });
        let bundle = batch(&mut there, number).expect("a bundle");
        assert_eq!((bundle.batch, bundle.frames.0.len()), (number, 3 << 20));
        there.stored(number);
        broker = restarting.join().expect("it is up again");
    }
    assert!(said(&lines, "disconnected"));
    drop(there);
    agent.end();
}

#[test]
fn what_a_dead_controller_did_not_store_is_handed_to_the_next() {
    let Some(broker) = Broker::start() else { return };
    let handed = folder();
    let agent = Agent::start(broker.server(), "fra", 100, None);
    let (first, _) = controller(&broker, handed.path());
    until("the agent is there", || first.meant("*").is_ok());
    let mut there = first.open(&name("fra"), "fra", true, &GO_ON).expect("it opens");
    for number in 1..=3 {
        batch(&mut there, number).expect("a bundle");
        there.stored(number.min(2));
    }
    // As by `kill -9`: no word of farewell.
    std::mem::forget(there);
    drop(first);
    until("it is given up", || said(&agent.lines, "fallen silent") && agent.alive.load(Ordering::SeqCst) == 0);
    let (second, lines) = controller(&broker, handed.path());
    let there = second.open(&name("fra"), "fra", true, &GO_ON).expect("it is free");
    let files: Vec<String> =
        std::fs::read_dir(handed.path()).expect("our own").flatten().map(|e| e.file_name().to_string_lossy().into()).collect();
    assert_eq!(files.len(), 2, "one bundle and its packets: {files:?}");
    assert!(said(&lines, "no earlier controller stored"));
    assert_eq!(second.present().expect("they answer")[0].kept, 0);
    drop(there);
    agent.end();
}

#[test]
fn an_agent_that_starts_anew_has_what_it_kept() {
    let Some(broker) = Broker::start() else { return };
    let (spool, handed) = (folder(), folder());
    let spool = Some(spool.path().to_owned());
    let first = Agent::start(broker.server(), "fra", 2 << 20, spool.clone());
    let (fleet, _) = controller(&broker, handed.path());
    until("the agent is there", || fleet.meant("*").is_ok());
    let mut there = fleet.open(&name("fra"), "fra", true, &GO_ON).expect("it opens");
    batch(&mut there, 1).expect("a bundle");
    first.end();
    let second = Agent::start(broker.server(), "fra", 2 << 20, spool);
    until("another is there", || said(&second.lines, "connected"));
    let error = there.prepare(&Plan { batch: 2, clients: None, load: None }, &GO_ON).expect_err("its session is over");
    assert!(error.to_string().contains("started anew"), "{error}");
    drop(there);
    let there = fleet.open(&name("fra"), "fra", true, &GO_ON).expect("it is free");
    assert_eq!(std::fs::read_dir(handed.path()).expect("our own").count(), 2);
    drop(there);
    second.end();
}

#[test]
fn who_answers_for_another_is_ignored_and_said() {
    let Some(broker) = Broker::start() else { return };
    let handed = folder();
    let agent = Agent::start(broker.server(), "fra", 100, None);
    let (fleet, lines) = controller(&broker, handed.path());
    until("the agent is there", || fleet.meant("*").is_ok());
    // Without permissions, somebody reads the questions and answers each on another's subject, first.
    let url = format!("nats://127.0.0.1:{}", broker.port);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let evil = runtime.block_on(async_nats::connect(url)).expect("it connects");
    let mut asks = runtime.block_on(evil.subscribe("whostalled.agent.fra.ask")).expect("it listens");
    runtime.block_on(evil.flush()).expect("it is heard");
    runtime.spawn(async move {
        while let Some(message) = asks.next().await {
            let question: serde_json::Value = serde_json::from_slice(&message.payload).expect("a question");
            let (session, number) = (question["session"].as_str().expect("a session"), &question["number"]);
            let body = "\"closed\"";
            let head = |from: &str| {
                serde_json::json!({"from": from, "instance": "evil", "number": number, "part": 0, "of": 1,
                    "bytes": body.len(), "sha256": "0"})
            };
            for from in ["fra", "evil"] {
                let subject = format!("whostalled.agent.evil.answer.{session}");
                evil.publish(subject, format!("{}\n{body}", head(from)).into()).await.expect("it is sent");
            }
        }
    });
    let mut there = fleet.open(&name("fra"), "fra", true, &GO_ON).expect("the agent's own answer counts");
    assert_eq!(batch(&mut there, 1).expect("a bundle").batch, 1);
    assert!(said(&lines, "a reply from \"evil\", which was not asked; it is ignored"));
    drop(there);
    agent.end();
}
