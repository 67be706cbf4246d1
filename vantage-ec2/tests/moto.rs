//! The program against moto's server, for what moto does as EC2 does: dry run, run, describe, terminate, tags.

mod common;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::program::ask;
use common::{settings, up};
use provider::{Ask, Caps, Line, Request};
use testing::{Need, program, skipped};

struct Moto(Child, String);

impl Moto {
    fn start() -> Option<Self> {
        let Some(moto) = program("moto_server") else {
            skipped(Need::Tools, "moto_server is not installed (pip install 'moto[ec2,server]')");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let child = Command::new(moto)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let moto = Self(child.expect("moto_server"), format!("http://127.0.0.1:{port}"));
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(moto);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("moto_server does not listen on port {port}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn moto_launches_lists_and_terminates() {
    let Some(moto) = Moto::start() else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // moto knows images of its own, and no profile.
    let mut ours = settings(&serde_json::json!({"image": "ami-12c6146b", "root_device": "/dev/sda1", "subnets": []}));
    ours.remove("instance_profile");
    let caps = Caps { instances: 3, hours: 2.0, usd: 1.0 };
    let order = up("run-m", 2, now + 3_600, caps, ours.clone());
    let said = ask(&moto.1, &Request { dry_run: true, ..order.clone() });
    assert!(said.done(), "{:?} {:?}", said.lines, said.end);
    let said = ask(&moto.1, &order);
    assert!(said.done(), "{:?} {:?}", said.lines, said.end);
    let list = Request::new(Ask::List { run: Some("run-m".into()) }, false, ours.clone());
    let listed = ask(&moto.1, &list);
    assert_eq!(listed.ids().len(), 2);
    let end = |line: &Line| matches!(line, Line::Vantage(v) if v.expires_at == Some(now + 3_600) && v.run == "run-m");
    assert_eq!(listed.lines.iter().filter(|line| end(line)).count(), 2, "{:?}", listed.lines);
    // The cap counts what is there.
    let said = ask(&moto.1, &up("run-n", 2, now + 3_600, caps, ours.clone()));
    assert!(said.wrong().is_some_and(|(_, words)| words.contains("2 that are there already")), "{:?}", said.end);
    let said = ask(&moto.1, &Request::new(Ask::Down { run: "run-m".into(), order: None }, false, ours));
    assert!(said.done(), "{:?} {:?}", said.lines, said.end);
    assert_eq!(ask(&moto.1, &list).ids(), Vec::<String>::new());
}
