//! Ports for servers that are opened later, or never.
//!
//! A port that the kernel picks (bind to 0, close) may be handed out again while it is not listened on: to the next caller, or as the source
//! of anybody's connection. These lie below the range it picks from, and none is given twice in a run.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{LazyLock, Mutex};

static UNTRIED: LazyLock<Mutex<Vec<u16>>> = LazyLock::new(|| {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("procfs");
    let first_ephemeral = range.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a range of ports");
    let mut ports: Vec<u16> = (1024..first_ephemeral).collect();
    fastrand::shuffle(&mut ports);
    Mutex::new(ports)
});

/// A TCP port of 127.0.0.1 that nobody has now.
#[must_use]
pub fn free_port() -> u16 {
    free(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// The same of UDP.
#[must_use]
pub fn free_udp_port() -> u16 {
    free(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

fn free(is_free: impl Fn(u16) -> bool) -> u16 {
    let mut untried = UNTRIED.lock().expect("no holder panicked");
    std::iter::from_fn(|| untried.pop())
        .find(|port| is_free(*port))
        .expect("no port of 127.0.0.1 below the ephemeral ones is free")
}
