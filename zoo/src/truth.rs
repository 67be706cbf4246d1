//! Writes what was done to each handshake, from the logs of who did it, and what therefore counts as right.

use std::collections::{BTreeMap, HashMap};

use lab::wire::{Act, Event, Packet};
use serde_json::{Map, Value, json};

use crate::case::{Before, Case, Edit, Fault};
use crate::error::Failed;
use crate::record::{Logs, place};
use crate::stacks::{Chain, Client, Server};
use crate::words::{Done, Words, expected};

/// Noise of so many ms in a handshake makes it worth nothing: of an ordinary thread, and of the wire.
const NOISY: f64 = 20.0;
const LATE: f64 = 5.0;

struct Book {
    acts: Vec<Value>,
    done: BTreeMap<usize, Vec<(Done, Option<f64>)>>,
}

impl Book {
    fn note(&mut self, handshake: usize, done: Done, ms: Option<f64>, act: Value) {
        self.acts.push(act);
        self.done.entry(handshake).or_default().push((done, ms));
    }
}

/// The truth of a case; an error says why the case is worth nothing.
///
/// # Errors
/// If something was not done as planned, or something else went wrong.
pub fn truth(case: &Case, logs: &Logs, edited: Value) -> Result<Value, Failed> {
    let syns: Vec<&Event> = first_syns(&logs.events);
    if syns.len() != case.handshakes() {
        return Err(Failed(format!("other number of connections: {} instead of {}", syns.len(), case.handshakes())));
    }
    let mut numbers: HashMap<u16, usize> = syns.iter().map(|e| (e.client.port(), e.connection)).collect();
    let outside: HashMap<u16, u16> = logs.nat.iter().copied().collect();
    for syn in &syns {
        if let Some(port) = outside.get(&syn.client.port()) {
            numbers.insert(*port, syn.connection);
        }
    }
    let saw = saw(case, logs, &numbers);
    let mut book = Book { acts: Vec::new(), done: BTreeMap::new() };
    programs(case, logs, &numbers, &mut book);
    starved(logs, &mut book);
    wire(case, logs, &mut book);
    detours(case, &syns, &mut book);
    endings(case, &saw, &mut book);
    applied(case, &book)?;
    stopped_in_time(case, logs)?;
    completed(case, &saw)?;

    let mut per = Map::new();
    let mut affected = Vec::new();
    let mut first: Option<Words> = None;
    let mut overlapping = Vec::new();
    for (n, done) in &book.done {
        let Some(mut words) = expected(done) else { continue };
        if words.is_mixed() && overlap(*n, &book.acts) {
            words.either(done);
            overlapping.push(*n);
        }
        if let Some(Edit::Drop { .. } | Edit::Round { .. }) = case.edit {
            words.both.push("inconclusive".into());
            words.edge.push("inconclusive".into());
        }
        affected.push(*n);
        per.insert(n.to_string(), json!({ "both_ends": words.both, "edge_only": words.edge }));
        first.get_or_insert(words);
    }
    let words = first.unwrap_or_else(|| Words { both: vec!["healthy".into()], edge: vec!["healthy".into()] });
    let mut unaffected = vec!["healthy"];
    if let Some(Edit::Drop { .. } | Edit::Round { .. }) = case.edit {
        unaffected.push("inconclusive");
    }
    if queues(case) {
        unaffected.extend(["edge-app", "edge", "edge-host"]);
    }
    let (ungraded, mut doubts) = doubts(case, logs, &syns);
    if !overlapping.is_empty() {
        let more = format!("in {overlapping:?} the two acts went on at the same time: either may be named alone");
        doubts = json!(doubts.as_str().map_or(more.clone(), |d| format!("{d}; {more}")));
    }
    if ungraded.len() * 2 > syns.len() {
        return Err(Failed(format!("too noisy: {} handshakes not to be graded", ungraded.len())));
    }
    let ports: Vec<u16> = affected.iter().filter_map(|n| syns.get(*n).map(|e| e.client.port())).collect();
    Ok(json!({
        "case": case.name, "title": case.title, "seed": case.seed,
        "client_stack": case.client.word(), "server_stack": case.server.word(), "tls_version": case.version.word(),
        "certificate_chain": case.chain.word(), "mtls": case.mtls, "resumption": case.resume,
        "hello_retry_request": case.hello_retry, "big_client_hello": case.big_hello, "before_tls": case.before.map(|b| b.word()),
        "ip_version": if case.ipv6 { 6 } else { 4 }, "concurrent": case.concurrent,
        "base_one_way_ms": { "client_to_server": ms(case.out), "server_to_client": ms(case.back), "jitter_up_to_ms": ms(case.jitter) },
        "tcp_timestamps": case.timestamps, "offload": if case.offloads { "on" } else { "off" }, "nat": case.nat,
        "congestion_control": if case.bbr { "bbr" } else { "cubic" }, "capture_interface": "one",
        "faults": words_of(case), "injected": book.acts,
        "expected": {
            "both_ends": words.both, "edge_only": words.edge, "affected": "the listed handshakes; all others in the file: healthy",
            "unaffected": unaffected, "per_handshake": per,
        },
        "affected_handshakes": affected, "affected_client_ports": ports,
        "handshakes": handshakes(logs, &syns, &saw, &outside),
        "host_settings": { "client_cpu_quota_us": null, "server_cpu_quota_us": null, "client_burners": null, "server_burners": null },
        "doubts": doubts, "capture_edit": if edited.is_null() { Value::Null } else { edited },
        "natural_waits": natural(case), "ungraded_handshakes": ungraded,
        "wire_late": logs.late.iter().map(|l| json!({ "t": round6(l.t), "ms": round1(l.ms) })).collect::<Vec<_>>(),
        "late_wakings": logs.noise.iter().map(|l| json!({ "t": round6(l.t), "ms": round1(l.ms) })).collect::<Vec<_>>(),
    }))
}

/// gnutls-serv works on one handshake at a time, ten milliseconds each: concurrent ones really wait for it.
fn queues(case: &Case) -> bool {
    case.concurrent && case.server == Server::Gnutls
}

/// Whether two acts on a handshake, by programs and the wire, went on at the same time.
fn overlap(n: usize, acts: &[Value]) -> bool {
    let windows: Vec<(&str, f64, f64)> = acts
        .iter()
        .filter(|a| a["handshake"].as_u64() == Some(n as u64))
        .filter_map(|a| {
            let t = a["t"].as_f64()?;
            let ms = a["cost_ms"].as_f64().or(a["ms"].as_f64()).unwrap_or(0.0);
            Some((a["source"].as_str()?, t, a["t_end"].as_f64().unwrap_or(t + ms / 1e3)))
        })
        .collect();
    windows.iter().enumerate().any(|(i, a)| windows.iter().skip(i + 1).any(|b| a.0 != b.0 && a.2.min(b.2) - a.1.max(b.1) > 0.015))
}

fn first_syns(events: &[Event]) -> Vec<&Event> {
    let mut syns: Vec<&Event> = events.iter().filter(|e| e.packet == Packet::Syn && e.copy == 1).collect();
    syns.sort_by_key(|e| e.connection);
    syns
}

/// What the client programs saw, by number: whether it completed, whether resumed, the error or exit code.
fn saw(case: &Case, logs: &Logs, numbers: &HashMap<u16, usize>) -> BTreeMap<usize, (bool, Value)> {
    let mut saw = BTreeMap::new();
    for line in logs.client.iter().filter(|l| l["ev"] == "done") {
        let Some(n) = line["port"].as_u64().and_then(|p| numbers.get(&(p as u16))) else { continue };
        let ok = line["ok"] == json!(true);
        let words = if ok { json!("completed") } else { json!(format!("failed: {}", line["error"].as_str().unwrap_or("?"))) };
        saw.insert(*n, (ok, json!({ "client_saw": words, "resumed": line["resumed"] == json!(true) })));
    }
    if !case.client.one_process() {
        for (n, code) in logs.codes.iter().enumerate() {
            saw.insert(n, (*code == Some(0), json!({ "client_exit_code": code })));
        }
    }
    saw
}

fn programs(case: &Case, logs: &Logs, numbers: &HashMap<u16, usize>, book: &mut Book) {
    let by_port = |line: &Value, key: &str| line[key].as_u64().and_then(|p| numbers.get(&(p as u16))).copied();
    // The peer of a server behind a proxy is the proxy: such servers are asked one after the other, and count.
    let counts = case.server.behind_proxy().is_some();
    for (lines, key, place, done) in
        [(&logs.client, "port", "client app", Done::ClientStall), (&logs.server, "peer", "server app", Done::ServerStall)]
    {
        for line in lines {
            let counted = if counts && key == "peer" { line["number"].as_u64() } else { None };
            let Some(n) = counted.map(|n| n as usize).or_else(|| by_port(line, key)) else { continue };
            let (Some(t), Some(end)) = (line["t"].as_f64(), line["t_end"].as_f64()) else { continue };
            let actual = round1((end - t) * 1e3);
            if line["ev"] == "close" {
                continue;
            }
            if line["ev"] == "stall" {
                book.note(
                    n,
                    done,
                    Some(actual),
                    json!({
                        "handshake": n, "what": "stall", "where": place, "when_in_handshake": line["stage"], "ms": line["ms"],
                        "t": round6(t), "source": place, "t_end": round6(end), "ms_actual": actual,
                    }),
                );
            } else if line["ev"] == "fetch" {
                book.note(
                    n,
                    Done::Fetch,
                    Some(actual),
                    json!({
                        "handshake": n, "what": "fetch", "where": place, "t": round6(t), "source": place, "url": line["url"],
                        "t_end": round6(end), "ms_actual": actual,
                    }),
                );
            }
        }
    }
    for stop in &logs.stops {
        let (place, done) = if stop.client { ("client process", Done::ClientStop) } else { ("server process", Done::ServerStop) };
        book.note(
            stop.handshake,
            done,
            Some(stop.ms),
            json!({
                "handshake": stop.handshake, "what": "SIGSTOP", "where": place, "ms": round1(stop.ms), "t": round6(stop.t),
                "t_end": round6(stop.t_end), "source": "recorder",
            }),
        );
    }
}

/// A stop must have come before the program answered: what it would have said next passed the wire when it was over.
fn stopped_in_time(case: &Case, logs: &Logs) -> Result<(), Failed> {
    for stop in &logs.stops {
        let before_hello = case
            .faults
            .get(stop.handshake)
            .is_some_and(|f| f.iter().any(|f| matches!(f, Fault::ClientStop { before_hello: true, .. })));
        let next = match (stop.client, before_hello) {
            (true, true) => Packet::ClientHello(1),
            (true, false) => Packet::ClientFinished(1),
            (false, _) => Packet::Flight(1),
        };
        let passed = logs.events.iter().find(|e| e.connection == stop.handshake && e.packet == next).map(|e| e.at as f64 / 1e9);
        if passed.is_none_or(|at| at < stop.t_end - 0.002) {
            return Err(Failed("a program was stopped too late".into()));
        }
    }
    Ok(())
}

/// From so many ms of waiting for a CPU on a handshake counts; between this and [`AWAKE`] it is not graded.
const STARVED: f64 = 60.0;
const AWAKE: f64 = 6.0;

fn starved(logs: &Logs, book: &mut Book) {
    for s in logs.starved.iter().filter(|s| s.ms >= STARVED) {
        let (place, done) = if s.client { ("client host", Done::ClientStarved) } else { ("server host", Done::ServerStarved) };
        book.note(
            s.handshake,
            done,
            Some(s.ms),
            json!({
                "handshake": s.handshake, "what": "starved", "where": place, "ms": round1(s.ms), "source": "scheduler",
            }),
        );
    }
}

fn wire(case: &Case, logs: &Logs, book: &mut Book) {
    for event in logs.events.iter().filter(|e| e.act.is_some()) {
        let Some(act) = event.act else { continue };
        let fault = case.faults.get(event.connection).into_iter().flatten().find_map(|f| match f {
            Fault::Wire { done, .. } => Some(*done),
            _ => None,
        });
        let Some(done) = fault else { continue };
        let again = logs.events.iter().find(|e| {
            e.connection == event.connection
                && e.direction == event.direction
                && e.packet == event.packet
                && e.copy > event.copy
                && e.act.is_none()
        });
        let repaired = again.map(|e| (e.at - event.at) as f64 / 1e6);
        let (what, set, cost) = match act {
            Act::Drop | Act::Silence(_) => ("drop", None, repaired),
            Act::Delay(by) => ("delay", Some(ms(by)), Some(repaired.unwrap_or(f64::MAX).min(ms(by)))),
            Act::Hold(by) => ("spike", Some(ms(by)), Some(ms(by))),
            Act::HoldAfter(by) => ("spike", Some(ms(by)), caught(logs, event).map(|after| (ms(by) - after).max(0.0))),
            Act::Duplicate(by) => ("dup", Some(ms(by)), None),
            Act::Reset(_) => ("rst", None, None),
        };
        book.note(event.connection, done, cost, json!({
            "handshake": event.connection, "what": what, "where": place(event.direction),
            "packet": { "kind": kind(event.packet, event.payload), "name": format!("{:?}", event.packet),
                "nth_new_data_segment": if event.nth > 0 { json!(event.nth) } else { Value::Null }, "payload": event.payload, "copy": event.copy },
            "ms": set.map(round1), "cost_ms": cost.map(round1), "t": round6(event.at as f64 / 1e9), "source": "link",
            "note": match act { Act::Reset(ttl) => json!(format!("TTL {ttl}")), Act::Silence(s) => json!(format!("all of this direction for {:.0} ms", ms(s))), Act::HoldAfter(_) => json!("what follows it"), _ => Value::Null },
        }));
    }
}

/// How many ms after a packet the next data of its direction came.
fn caught(logs: &Logs, event: &Event) -> Option<f64> {
    let next = logs
        .events
        .iter()
        .find(|e| e.connection == event.connection && e.direction == event.direction && e.at > event.at && e.payload > 0);
    next.map(|e| (e.at - event.at) as f64 / 1e6)
}

fn detours(case: &Case, syns: &[&Event], book: &mut Book) {
    let Some((out, back)) = case.detour else { return };
    for syn in syns {
        if case.farther.get(syn.connection) == Some(&true) {
            book.note(
                syn.connection,
                Done::Detour,
                None,
                json!({
                    "handshake": syn.connection, "what": "detour", "where": "path", "ms_c2s": ms(out), "ms_s2c": ms(back),
                    "when_in_handshake": "every packet of this server address", "source": "link",
                }),
            );
        }
    }
}

fn endings(case: &Case, saw: &BTreeMap<usize, (bool, Value)>, book: &mut Book) {
    for (n, fault) in case.faults.iter().enumerate().flat_map(|(n, f)| f.iter().map(move |f| (n, f))) {
        if saw.get(&n).is_none_or(|s| s.0) {
            continue;
        }
        let (done, what, place, note) = match fault {
            Fault::Distrust => (Done::ClientAlert, "alert", "client app", "trusts another root"),
            Fault::NoCertificate => (Done::ServerAlert, "alert", "server app", "no client certificate"),
            Fault::OldVersion => (Done::ServerAlert, "alert", "server app", "only TLS 1.1 offered"),
            Fault::ServerClose => (Done::ServerAlert, "close", "server app", "closed after the ClientHello"),
            // These end no handshake by themselves; who did them has noted it.
            Fault::ClientStall { .. }
            | Fault::ServerStall { .. }
            | Fault::ClientStop { .. }
            | Fault::ServerStop { .. }
            | Fault::Starve { .. }
            | Fault::Wire { .. }
            | Fault::Fetch { .. } => continue,
        };
        book.note(n, done, None, json!({ "handshake": n, "what": what, "where": place, "source": "client app", "note": note }));
    }
}

/// Every planned fault must have been done.
fn applied(case: &Case, book: &Book) -> Result<(), Failed> {
    let planned = |test: fn(&Fault) -> bool| case.faults.iter().flatten().filter(|f| test(f)).count();
    let done = |test: fn(Done) -> bool| book.done.values().flatten().filter(|d| test(d.0)).count();
    let checks = [
        ("client stall", planned(|f| matches!(f, Fault::ClientStall { .. })), done(|d| d == Done::ClientStall)),
        ("server stall", planned(|f| matches!(f, Fault::ServerStall { .. })), done(|d| d == Done::ServerStall)),
        ("client stop", planned(|f| matches!(f, Fault::ClientStop { .. })), done(|d| d == Done::ClientStop)),
        ("server stop", planned(|f| matches!(f, Fault::ServerStop { .. })), done(|d| d == Done::ServerStop)),
        ("fetch", planned(|f| matches!(f, Fault::Fetch { .. })), done(|d| d == Done::Fetch)),
        (
            "bad end",
            planned(|f| matches!(f, Fault::Distrust | Fault::NoCertificate | Fault::OldVersion | Fault::ServerClose)),
            done(|d| matches!(d, Done::ClientAlert | Done::ServerAlert)),
        ),
    ];
    for (what, planned, done) in checks {
        if planned != done {
            return Err(Failed(format!("{what}: {done} instead of {planned}")));
        }
    }
    for (n, faults) in case.faults.iter().enumerate() {
        for fault in faults {
            let Fault::Wire { done, which, act } = fault else { continue };
            let found = book.done.get(&n).into_iter().flatten().find(|d| d.0 == *done);
            match (found, act) {
                (None, _) => return Err(Failed(format!("the wire never saw {which:?}"))),
                (Some((_, None)), Act::HoldAfter(_)) => return Err(Failed("a hold held nothing".into())),
                (Some((_, Some(cost))), Act::HoldAfter(_)) if *cost < 30.0 => {
                    return Err(Failed("a hold held too little".into()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Who is not to fail must complete, and the other way round.
fn completed(case: &Case, saw: &BTreeMap<usize, (bool, Value)>) -> Result<(), Failed> {
    for n in 0..case.handshakes() {
        match saw.get(&n) {
            None => return Err(Failed("a client said nothing about a handshake".into())),
            Some((ok, said)) if *ok == case.fails(n) => {
                return Err(Failed(format!(
                    "handshake {n} {} against the plan: {said}",
                    if *ok { "completed" } else { "failed" }
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn handshakes(logs: &Logs, syns: &[&Event], saw: &BTreeMap<usize, (bool, Value)>, outside: &HashMap<u16, u16>) -> Vec<Value> {
    let one = |syn: &&Event| {
        let flight = logs
            .events
            .iter()
            .filter(|e| e.connection == syn.connection && matches!(e.packet, Packet::Flight(_)) && e.copy == 1)
            .count();
        let mut entry = json!({
            "handshake": syn.connection, "client_port": syn.client.port(), "server_addr": syn.server.ip().to_string(),
            "syn_t": round6(syn.at as f64 / 1e9), "server_flight_segments": flight,
        });
        if let Some(port) = outside.get(&syn.client.port()) {
            entry["edge_client_port"] = json!(port);
        }
        if let Some(s) = logs.starved.iter().find(|s| s.handshake == syn.connection) {
            entry["starved_ms"] = json!(round1(s.ms));
        }
        if let (Some(entry), Some((_, Value::Object(said)))) = (entry.as_object_mut(), saw.get(&syn.connection)) {
            entry.extend(said.clone());
        }
        entry
    };
    syns.iter().map(one).collect()
}

fn doubts(case: &Case, logs: &Logs, syns: &[&Event]) -> (Vec<usize>, Value) {
    let mut ungraded = Vec::new();
    let mut words = Vec::new();
    if matches!(case.client, Client::Java | Client::Node) {
        ungraded.push(0);
        words.push("the first handshake of a virtual machine is slow by itself: not graded".to_owned());
    }
    let planned = |n: usize| case.faults.get(n).is_some_and(|f| f.iter().any(|f| matches!(f, Fault::Starve { .. })));
    for s in logs.starved.iter().filter(|s| s.ms < STARVED && (s.ms >= AWAKE || planned(s.handshake))) {
        if !ungraded.contains(&s.handshake) {
            ungraded.push(s.handshake);
        }
        words.push(format!(
            "handshake {}: {:.0} ms of waiting for a CPU is neither much nor little: not graded",
            s.handshake, s.ms
        ));
    }
    let noise = logs.noise.iter().filter(|l| l.ms >= NOISY).map(|l| (l, "this machine"));
    for (late, who) in noise.chain(logs.late.iter().filter(|l| l.ms >= LATE).map(|l| (l, "the wire"))) {
        let (from, to) = (late.t - late.ms / 1e3, late.t);
        for (i, syn) in syns.iter().enumerate() {
            let begun = syn.at as f64 / 1e9;
            let last = logs.events.iter().filter(|e| e.connection == syn.connection && e.payload > 0).map(|e| e.at).max();
            let ended = last.map_or(begun, |at| at as f64 / 1e9) + 0.05;
            if from < ended && to > begun && !ungraded.contains(&i) {
                ungraded.push(i);
                words.push(format!("handshake {i}: {who} was {:.0} ms late: not graded", late.ms));
            }
        }
    }
    ungraded.sort_unstable();
    (ungraded, if words.is_empty() { Value::Null } else { json!(words.join("; ")) })
}

fn natural(case: &Case) -> Vec<&'static str> {
    let mut waits = Vec::new();
    if case.chain == Chain::Long {
        waits.push("the flight (about 22 kB) is above the first congestion window: one more round trip of slow start is normal");
    }
    if matches!(case.server, Server::Gnutls | Server::Exim) || case.client == Client::Gnutls {
        waits.push("GnuTLS sends a flight in several writes and the last part may wait (Nagle) for an acknowledgement");
    }
    if queues(case) {
        waits.push("gnutls-serv works on one handshake at a time: concurrent ones wait for each other, which is the edge's");
    }
    if case.hello_retry {
        waits.push("HelloRetryRequest: one more round trip is the protocol's");
    }
    if case.before == Some(Before::ConnectAgain) {
        waits.push("the proxy's 407: one more round trip is the protocol's");
    }
    waits
}

fn words_of(case: &Case) -> Vec<String> {
    let mut words: Vec<String> = case.faults.iter().flatten().map(|f| format!("{f:?}")).collect();
    words.extend(case.detour.map(|_| "detour".to_owned()));
    words.dedup();
    words
}

fn kind(packet: Packet, payload: u32) -> &'static str {
    match packet {
        Packet::Syn => "syn",
        Packet::SynAck => "synack",
        _ if payload > 0 => "data",
        _ => "ack",
    }
}

fn ms(span: std::time::Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

fn round1(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

fn round6(t: f64) -> f64 {
    (t * 1e6).round() / 1e6
}
