//! Triggers: by hand, and ten thousand a second from a log.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::checks::Checks;
use e2e::ports::{free_port, free_udp_port};
use e2e::process::{binary, run};
use e2e::waiting::wait_for;
use nix::sys::signal::Signal;

use crate::recorder::{Config, Place, SOON};

#[test]
fn a_recorder_as_it_should_be() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let mut recorder = place.begin(&place.config());
    let kept = place.kept(place.edge.handshake());
    let path = kept.as_ref().map(|said| place.path(said.out.trim()));
    let exists = path.as_deref().is_some_and(Path::is_file);
    t.check("a trigger answers with a file that is on the disk", exists, || (&kept, place.log()));
    t.check("the file is one flow and whole", path.as_deref().is_some_and(|path| place.is_whole(path)), || &path);
    let said = place.ask(&["trigger", "127.0.0.1:1"]);
    t.check("a flow that is not in memory is said not to be", said.refused(2, "no packets"), || said);
    let said = place.ask(&["trigger", "nonsense"]);
    t.check("an address that is none is refused", said.refused(2, "address with its port"), || said);
    let last = place.path("last.pcapng");
    let said = place.ask(&["dump", "--last", "60s", "-o", &last.display().to_string()]);
    let bytes = std::fs::metadata(&last).map_or(0, |m| m.len());
    t.check("the last minute can be written", said.code == Some(0) && bytes > 1000, || (said, bytes));
    rights(&mut t, recorder.id());
    let other = place.write("second.toml", &Config { listen: Some(free_port()), ..place.config() });
    let mut command = std::process::Command::new(binary());
    command.args(["capture", "--config"]).arg(other).current_dir(place.folder.path());
    let second = run(command, 40);
    t.check("a second recorder with the same socket is refused", second.refused(2, "another recorder"), || second);
    let page = place.page("/");
    t.check("the page is there", page.contains("handshakes") && page.contains("filtered by"), || page);
    let code = recorder.end(Signal::SIGTERM);
    let gone = !place.path("control.sock").exists();
    t.check("it ends when asked, and its socket goes", code == Some(0) && gone, || (code, gone));
}

/// CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_BPF.
const ALLOWED: u64 = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;

fn rights(t: &mut Checks, recorder: u32) {
    let kernel = std::fs::read_to_string(format!("/proc/{recorder}/status")).expect("it runs");
    let value =
        |name: &str| kernel.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).expect("the kernel says").trim();
    let beyond = |name: &str| u64::from_str_radix(value(name), 16).expect("hexadecimal") & !ALLOWED;
    let none = ["CapEff", "CapPrm", "CapBnd"].iter().all(|set| beyond(set) == 0);
    t.check("it kept four capabilities at most, of which none can be had back", none, || &kernel);
    t.check("no new privileges, and seccomp", (value("NoNewPrivs"), value("Seccomp")) == ("1", "2"), || &kernel);
}

#[test]
fn a_flood_of_triggers() {
    let Some(place) = Place::new() else { return };
    let mut t = Checks::new();
    let port = free_udp_port();
    let log = format!("[[log]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:{port}\"\n");
    let mut recorder = place.begin(&Config { more: &log, ..place.config() });
    let client = place.edge.handshake();
    let seen = wait_for(SOON, || place.status()["connections"].as_u64().is_some_and(|n| n > 0));
    t.check("the recorder saw the real one", seen, || place.status());
    let delayed = waited_for_cpu(recorder.id());
    let sent = flood(port, &client.to_string());
    let counted = || place.metric("whostalled_capture_triggers_total");
    let all = wait_for(SOON, || counted() + dropped(port) == sent);
    let delayed = waited_for_cpu(recorder.id()) - delayed;
    let kept = place.triggers("log", "kept");
    let answer = place.ask(&["trigger", &place.edge.handshake().to_string()]);
    t.check(format!("{sent} triggers in two seconds: the real one is kept, once"), kept == 1, || place.outcomes());
    let words = "each is counted by what became of it, but for what the kernel dropped";
    t.check(words, all, || (sent, dropped(port), place.outcomes()));
    if counted() * 10 < sent * 9 && delayed > BUSY {
        t.disturbed(&format!("the pace of a flood: the recorder waited {delayed:?} for a processor of this machine"));
    } else {
        t.check("and it keeps pace", counted() * 10 >= sent * 9, || (sent, delayed, place.outcomes()));
    }
    let answers = recorder.is_running() && (answer.code == Some(0) || answer.err.contains("memory"));
    t.check("and the recorder still answers", answers, || answer);
    recorder.end(Signal::SIGTERM);
}

/// A recorder that waited so long for a processor cannot be blamed for what a socket's buffer could not hold.
const BUSY: Duration = Duration::from_millis(100);

/// How long all threads of a process have waited for a processor.
fn waited_for_cpu(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten();
    let delays = threads.filter_map(|thread| {
        let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(delays.sum())
}

/// Datagrams to a port that its socket's buffer could not hold.
fn dropped(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").expect("procfs");
    let local = format!("0100007F:{port:04X}");
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&local)).expect("the recorder listens");
    line.split_whitespace().last().and_then(|drops| drops.parse().ok()).expect("the last column")
}

/// Ten thousand lines a second for two seconds, in batches of 200, one in a thousand of the real client. Gives how many.
fn flood(port: u16, client: &str) -> u64 {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("loopback");
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(2) {
        for _ in 0..200 {
            let who = if sent % 1000 == 0 { client.to_owned() } else { format!("127.0.0.1:{}", sent % 60000 + 1) };
            socket.send_to(format!("haproxy[1]: {who} fe~ Th=900").as_bytes(), ("127.0.0.1", port)).expect("loopback");
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(sent * 100).saturating_sub(begun.elapsed()));
    }
    sent
}
