//! What is said before TLS, instead of it, and behind it, and when.

use whostalled_sim::host::{Think, ThreadState};
use whostalled_sim::path::Deed;
use whostalled_sim::plaintext::{Plaintext, Protocol, Speech};
use whostalled_sim::plan::{Abort, Aim, Plan};
use whostalled_sim::tls::Version;
use whostalled_sim::{MS, Trial};

use crate::read::{at_client, at_edge, near};

const HELLO: [u8; 2] = [22, 3];

/// A handshake without jitter and without thought; 20 ms each way.
pub fn bare(version: Version) -> Plan {
    let mut plan = Plan { jitter: 0, ..Plan::healthy(version, "edge.test") };
    plan.manner.thinks = Default::default();
    plan
}

pub fn asleep(ms: i64) -> Think {
    vec![(ThreadState::Asleep, ms * MS)]
}

fn protocols() -> [Protocol; 6] {
    [Protocol::Smtp, Protocol::Connect { refusals: 2 }, Protocol::Postgres, Protocol::Mysql, Protocol::Socks, Protocol::Rdp]
}

#[test]
fn plaintext_comes_whole_and_in_turns_before_the_hello() {
    for protocol in protocols() {
        let mut plan = bare(Version::Tls13);
        plan.manner.plaintext = Some(Plaintext { protocol, thinks: vec![] });
        let trial = Trial::run(&plan, 3);
        let lines = protocol.lines();
        let said = |client: bool| -> Vec<u8> {
            lines.iter().filter(|(end, _)| (*end as usize == 0) == client).flat_map(|(_, bytes)| bytes.clone()).collect()
        };
        for conversation in [at_client(&trial), at_edge(&trial)] {
            for client in [true, false] {
                let (stream, before) = (conversation.stream(client), said(client));
                assert!(stream.starts_with(&before), "{protocol:?}");
                assert!(stream[before.len()..].starts_with(&HELLO), "{protocol:?}: TLS begins behind it");
            }
            // Nobody speaks before it has heard: the packets with data follow the lines' order.
            let order: Vec<bool> = conversation.0.iter().filter(|(.., p)| !p.payload.is_empty()).map(|(_, c, _)| *c).collect();
            let wanted: Vec<bool> = lines.iter().map(|(end, _)| *end as usize == 0).collect();
            assert_eq!(order[..wanted.len()], wanted, "{protocol:?}");
        }
    }
}

#[test]
fn a_late_answer_is_late_by_what_the_server_thinks() {
    let mut plan = bare(Version::Tls13);
    plan.manner.plaintext = Some(Plaintext { protocol: Protocol::Smtp, thinks: vec![asleep(300)] });
    let trial = Trial::run(&plan, 3);
    // The handshake of TCP, then the greeting, on the edge's clock: it has the client's acknowledgement at 40 ms.
    near(&[at_edge(&trial).said(false, b"220 mail")], &[340.0]);
    near(&[at_client(&trial).said(false, b"220 mail"), at_client(&trial).said(true, b"EHLO")], &[380.0, 380.0]);
    let mut plan = bare(Version::Tls13);
    plan.manner.plaintext = Some(Plaintext { protocol: Protocol::Connect { refusals: 2 }, thinks: vec![asleep(70); 3] });
    let refused = at_edge(&Trial::run(&plan, 3)).when(false, |p| p.payload.starts_with(b"HTTP/1.1"));
    near(&refused, &[110.0, 220.0, 330.0]);
}

#[test]
fn a_pause_behind_the_go_ahead_is_the_clients() {
    let mut plan = bare(Version::Tls12);
    plan.manner.plaintext = Some(Plaintext { protocol: Protocol::Postgres, thinks: vec![] });
    plan.manner.thinks[0] = asleep(200);
    let client = at_client(&Trial::run(&plan, 3));
    near(&[client.said(false, b"S"), client.said(true, &HELLO)], &[80.0, 280.0]);
}

#[test]
fn inside_a_retry_either_end_may_be_late() {
    let run = |thinks: [Think; 2], deed: Option<Deed>| {
        let mut plan = bare(Version::Tls13);
        plan.manner.retry = true;
        plan.manner.retry_thinks = thinks;
        plan.out.extend(deed.map(|deed| (Aim::Hello, deed)));
        at_edge(&Trial::run(&plan, 3))
    };
    // The second ClientHello comes behind a ChangeCipherSpec.
    let second = |conversation: &crate::read::Conversation| conversation.said(true, &[20, 3, 3, 0, 1, 1, 22]);
    near(&[second(&run([vec![], vec![]], None))], &[80.0]);
    let edge = run([asleep(150), vec![]], None);
    near(&[edge.said(false, &HELLO), second(&edge)], &[190.0, 230.0]);
    let client = run([vec![], asleep(150)], None);
    near(&[client.said(false, &HELLO), second(&client)], &[40.0, 230.0]);
    // A lost one is sent again when the timer says so: a round trip and 200 ms.
    near(&[second(&run([vec![], vec![]], Some(Deed::Drop(1))))], &[320.0]);
}

#[test]
fn the_edges_last_word_may_be_late_though_it_acknowledged_at_once() {
    for (version, certificate) in [(Version::Tls12, false), (Version::Tls13, true)] {
        let mut plan = bare(version);
        plan.manner.client_certificate = certificate;
        plan.manner.settle = asleep(400);
        let trial = Trial::run(&plan, 3);
        let edge = at_edge(&trial);
        // SYN-ACK is heard at 40 ms, the flight leaves then, Finished comes at 80.
        let last = edge.when(false, |p| !p.payload.is_empty() && p.payload.len() < 1_000);
        assert!(last.iter().any(|at| (at - 480.0).abs() < 1.0), "{version:?} {last:?}");
        let acknowledged = edge.when(false, |p| p.payload.is_empty() && !p.syn);
        assert!(acknowledged.iter().any(|at| (at - 80.0).abs() < 1.0), "{version:?} {acknowledged:?}");
    }
}

#[test]
fn what_is_no_tls_is_spoken_as_its_own_rules_say() {
    let run = |speech: Speech| {
        let mut plan = bare(Version::Tls13);
        plan.manner.speech = speech;
        plan.manner.thinks[2] = asleep(100);
        at_client(&Trial::run(&plan, 3))
    };
    let http = run(Speech::HttpAnswer);
    near(&[http.said(true, &HELLO), http.said(false, b"HTTP/1.1 400")], &[40.0, 180.0]);
    // OpenVPN's packets say their length; opcode and key are the byte behind it.
    let vpn = run(Speech::OpenVpn);
    for client in [true, false] {
        let stream = vpn.stream(client);
        let mut at = 0;
        let mut opcodes = vec![];
        while at < stream.len() {
            opcodes.push(stream[at + 2] >> 3);
            at += 2 + usize::from(u16::from_be_bytes([stream[at], stream[at + 1]]));
        }
        assert_eq!((at, opcodes), (stream.len(), if client { vec![7, 4, 4] } else { vec![8, 4, 4] }));
    }
    // WebSocket: the client's frames are masked, so that no ClientHello is to be seen in them.
    let socket = run(Speech::WebSocket);
    let (asked, answered) = (socket.stream(true), socket.stream(false));
    let behind = |stream: &[u8]| stream.windows(4).position(|w| w == b"\r\n\r\n").expect("a header ends") + 4;
    let (up, down) = (&asked[behind(&asked)..], &answered[behind(&answered)..]);
    assert_eq!((up[0], up[1], down[0], down[1]), (0x82, 0xfe, 0x82, 0x7e));
    assert_eq!(down[4..6], HELLO);
    let unmasked: Vec<u8> = up[8..10].iter().zip(&up[4..8]).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!(unmasked, HELLO);
}

#[test]
fn a_handshake_ends_by_whoever_ends_it_first() {
    let run = |version: Version, abort: Abort| at_edge(&Trial::run(&Plan { abort: Some(abort), ..bare(version) }, 3));
    for version in Version::ALL {
        let fin = run(version, Abort::ClientFin);
        near(&fin.when(true, |p| p.fin), &[80.0]);
        near(&fin.when(false, |p| p.rst), &[80.0]);
        assert!(fin.when(true, |p| p.rst).is_empty());
        let clear = run(version, Abort::ClearAlert);
        near(&[clear.said(true, &[21, 3, 3, 0, 2, 2])], &[80.0]);
        let late = run(version, Abort::LateServerAlert);
        let kind = if version.is_13() { 23 } else { 21 };
        near(&[late.said(false, &[kind, 3, 3])], &[80.0]);
        assert!(!late.when(false, |p| p.fin).is_empty());
    }
}

#[test]
fn a_spare_connection_carries_nothing() {
    let mut plan = bare(Version::Tls13);
    plan.manner.speech = Speech::Silence;
    plan.manner.thinks[0] = asleep(3_000);
    let edge = at_edge(&Trial::run(&plan, 3));
    assert!(edge.0.iter().all(|(.., p)| p.payload.is_empty()));
    near(&edge.when(true, |p| p.fin), &[3_040.0]);
    // Beside another it changes nothing of that.
    let plan = Plan { spare: 2, ..bare(Version::Tls13) };
    let trial = Trial::run(&plan, 3);
    let syns = crate::read::tcp(&trial.edge).iter().filter(|p| p.syn && p.ack.is_none()).count();
    assert_eq!(syns, 3);
    near(&[at_edge(&trial).said(true, &HELLO)], &[40.0]);
}
