//! What a command starts is stopped with it, wherever it went. One test: of several at a time nobody knows whose a daemon is.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use whostalled_compare::edge::{Asked, Edge};
use whostalled_compare::processes::left_behind;
use whostalled_compare::{Error, Stop};

const SERVER: &str =
    "python3 -c 'import socket,sys,time; s=socket.create_server((\"127.0.0.1\", int(sys.argv[1]))); time.sleep(60)' {port}";
/// The same as a daemon, by the book: a session of its own, and a parent that has ended.
const DAEMON: &str = "python3 -c 'import os,socket,sys,time
s=socket.create_server((\"127.0.0.1\", int(sys.argv[1])))
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
time.sleep(60)' {port}";
/// The same, and its name is no UTF-8: it is cut within a letter (prctl(2)).
const NAMED: &str = "python3 -c 'import os,socket,sys,time
s=socket.create_server((\"127.0.0.1\", int(sys.argv[1])))
if os.fork(): os._exit(0)
os.setsid()
open(\"/proc/self/comm\", \"wb\").write(b\"caf\\xe9\")
time.sleep(60)' {port}";

fn asked() -> Asked {
    Asked { path: "/".into(), ..Asked::default() }
}

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn nothing_is_left_behind() {
    let commands = [
        format!("setsid {SERVER} & sleep 60"),
        // The shell ends, and what it started is there.
        format!("setsid {SERVER} & sleep 0.3"),
        DAEMON.to_owned(),
        NAMED.to_owned(),
        // It does not want to end.
        format!("trap '' TERM; setsid {SERVER} & wait; sleep 60"),
    ];
    for command in commands {
        let mut edge = Edge::begin(&command, &asked(), &Stop::default()).expect("it listens");
        std::thread::sleep(Duration::from_millis(500));
        assert!(listens(edge.address) && edge.ended().is_none(), "{command}");
        let address = edge.address;
        drop(edge);
        assert!(!listens(address), "{command}");
    }
    // Of two, the first to be stopped leaves the other alone.
    let [first, second] = [(), ()].map(|()| Edge::begin(DAEMON, &asked(), &Stop::default()).expect("it listens"));
    let (one, other) = (first.address, second.address);
    drop(first);
    assert!(listens(other));
    drop(second);
    assert!(!listens(one) && !listens(other));
    assert_eq!(left_behind(), Vec::<String>::new());
    // What never listens is given up at once where somebody wants it.
    let stop = Stop::default();
    let begun = Instant::now();
    stop.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let stopped = Edge::begin("sleep 60 # {port}", &asked(), &stop);
    assert!(matches!(stopped, Err(Error::Stopped)) && begun.elapsed() < Duration::from_secs(15));
}
