//! A whole capture at an edge: tens of thousands of conversations at once, for measuring how fast captures are read.
//!
//! Handshakes come from the fault matrix (most of them healthy); beside them, data, plain HTTP and UDP. Frames are handed out in
//! order of time as they are made, so that a gigabyte needs no gigabyte of memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fastrand::Rng;

use crate::MS;
use crate::beside::{download, flood};
use crate::cases::{Grade, Setup};
use crate::tls::Version;
use crate::trial::Trial;

/// What a capture is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mix {
    /// Handshakes and short answers.
    Handshakes,
    /// Handshakes with downloads behind them, plain HTTP, UDP.
    Mixed,
}

/// One conversation a millisecond and a half: 40,000 a minute.
const PACE: i64 = 3 * MS / 2;
/// Cases of the matrix that go into a capture beside healthy handshakes.
const FAULTS: [u8; 8] = [2, 6, 13, 14, 25, 26, 30, 43];

/// Makes `connections` TLS connections and hands every frame to `each`, in order of time.
///
/// # Errors
/// Those of `each`.
pub fn make<E>(mix: Mix, connections: u32, seed: u64, mut each: impl FnMut(i64, &[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut rng = Rng::with_seed(seed);
    let mut pending: BinaryHeap<Reverse<(i64, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut order = 0;
    let mut zero = None;
    for n in 0..connections {
        let begin = i64::from(n) * PACE;
        while let Some(Reverse((at, ..))) = pending.peek() {
            if *at >= begin {
                break;
            }
            let Some(Reverse((at, _, frame))) = pending.pop() else { break };
            each(at + zero.unwrap_or(0), &frame)?;
        }
        let frames = conversation(mix, n, &mut rng);
        let first = frames.first().map_or(0, |(at, _)| *at);
        zero.get_or_insert(first);
        let beside = if mix == Mix::Mixed { beside(n, begin, &mut rng) } else { Vec::new() };
        for (at, frame) in frames.into_iter().map(|(at, frame)| (at - first + begin, frame)).chain(beside) {
            order += 1;
            pending.push(Reverse((at, order, frame)));
        }
    }
    while let Some(Reverse((at, _, frame))) = pending.pop() {
        each(at + zero.unwrap_or(0), &frame)?;
    }
    Ok(())
}

/// One TLS connection as the edge's capture sees it.
fn conversation(mix: Mix, n: u32, rng: &mut Rng) -> Vec<(i64, Vec<u8>)> {
    let version = Version::ALL[rng.usize(..4)];
    let case = if rng.u8(0..10) == 0 { FAULTS[rng.usize(..FAULTS.len())] } else { 1 };
    let severity = [50, 150, 500][rng.usize(..3)];
    let setup = |case, version| Setup { case, severity, version, grade: Grade::Server, seed: rng.clone().u64(..) };
    let planned = setup(case, version).plan().or_else(|| setup(case, Version::Tls13).plan());
    let Some(mut planned) = planned.or_else(|| setup(1, version).plan()) else { return Vec::new() };
    let plan = &mut planned.plan;
    (plan.before, plan.edge_tap.offset, plan.edge_tap.skew_ppm) = (0, 0, 0);
    let port = 1_024 + (n % 60_000) as u16;
    let ip: IpAddr = if plan.ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, (n >> 16) as u16, n as u16, 0, 0, 0, 1).into()
    } else {
        Ipv4Addr::from(0x0a00_0000 + n * 7 % 0x00ff_ffff).into()
    };
    plan.client_address = Some(SocketAddr::new(ip, port));
    plan.manner.name = format!("host{}.example.com", n % 500);
    plan.manner.response_len = match (mix, rng.u8(0..100)) {
        (Mix::Handshakes, _) => 800,
        (Mix::Mixed, 0) => 900_000,
        (Mix::Mixed, 1..20) => 60_000,
        (Mix::Mixed, _) => 12_000,
    };
    Trial::run(plan, rng.u64(..)).edge
}

/// What else passes an edge.
fn beside(n: u32, begin: i64, rng: &mut Rng) -> Vec<(i64, Vec<u8>)> {
    let client = SocketAddr::new(Ipv4Addr::from(0x0b00_0000 + n * 11 % 0x00ff_ffff).into(), 2_000 + (n % 50_000) as u16);
    match n % 20 {
        0..3 => download(client, begin, rng.usize(20_000..200_000)),
        3 => flood(client, begin, 60),
        _ => Vec::new(),
    }
}
