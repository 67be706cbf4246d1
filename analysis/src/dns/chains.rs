//! Lookups that took more than one question: retries, other servers, search domains, a family that never answers.

use std::net::SocketAddr;

use simple_dns::TYPE;

use super::tests::{at, datagram, lookups, take};
use super::*;

const ADDRESS: Option<&str> = Some("10.0.1.1");

/// From when to when questions were open, in milliseconds.
fn waits(found: &Lookup) -> Vec<(i64, i64)> {
    let millis = |at: Instant<Client>| at.nanos() / 1_000_000;
    found.waits().iter().map(|w| (millis(w.from), millis(w.to))).collect()
}

/// When, from or to which port of the client, with which name server, for which name and type, and the answer's address.
type Said<'a> = (i64, u16, &'a str, &'a str, TYPE, Option<&'a str>);

/// What a client whose resolver library uses one port for each question says and hears.
fn by_ports(said: &[Said<'_>]) -> Lookups {
    let mut lookups = Lookups::default();
    for (number, (millis, port, server, name, kind, answer)) in (1..).zip(said) {
        let client: SocketAddr = format!("10.0.0.1:{port}").parse().expect("an address");
        let server: SocketAddr = format!("{server}:53").parse().expect("an address");
        let (from, to) = if answer.is_some() { (server, client) } else { (client, server) };
        lookups.push(at(*millis), number, from, to, &datagram(name, *kind, *answer));
    }
    lookups
}

#[test]
fn a_question_asked_again_was_open_all_the_time() {
    let said = [(0, "a.test", TYPE::A, None), (5_000, "a.test", TYPE::A, None), (5_020, "a.test", TYPE::A, ADDRESS)];
    let found = take(&mut lookups(&said), Some("a.test"), 5_021, 50).expect("it led to the connection");
    assert_eq!((found.began(), waits(&found)), ((at(0), 1), vec![(0, 5_020)]));
}

#[test]
fn a_dead_first_server_costs_the_time_until_the_second_was_asked() {
    let said = [
        (0, 4_001, "10.0.0.53", "a.test", TYPE::A, None),
        (5_000, 4_002, "10.0.0.54", "a.test", TYPE::A, None),
        (5_030, 4_002, "10.0.0.54", "a.test", TYPE::A, ADDRESS),
    ];
    let found = take(&mut by_ports(&said), Some("a.test"), 5_031, 50).expect("it led to the connection");
    assert_eq!((found.began(), waits(&found)), ((at(0), 1), vec![(0, 5_030)]));
    // Longer than any library waits, it is another lookup.
    let late = said.map(|(t, p, s, n, k, a)| (if t > 0 { t + 26_001 } else { t }, p, s, n, k, a));
    let found = take(&mut by_ports(&late), Some("a.test"), 31_032, 50).expect("it led to the connection");
    assert_eq!(found.began(), (at(31_001), 2));
}

#[test]
fn search_domains_are_tried_one_after_the_other() {
    let said = |gap: i64| {
        [
            (0, "a.corp.test", TYPE::A, None),
            (30, "a.corp.test", TYPE::A, Some("")),
            (30 + gap, "a.lab.test", TYPE::A, None),
            (60 + gap, "a.lab.test", TYPE::A, Some("")),
            (61 + gap, "a", TYPE::A, None),
            (90 + gap, "a", TYPE::A, ADDRESS),
        ]
    };
    let found = take(&mut lookups(&said(1)), Some("a"), 92, 50).expect("it led to the connection");
    assert_eq!((found.began(), waits(&found)), ((at(0), 1), vec![(0, 30), (31, 61), (62, 91)]));
    // What came before a pause was another lookup.
    let found = take(&mut lookups(&said(101)), Some("a"), 192, 50).expect("it led to the connection");
    assert_eq!(waits(&found), [(131, 161), (162, 191)]);
    let found = take(&mut lookups(&said(100)), Some("a"), 191, 50).expect("it led to the connection");
    assert_eq!(waits(&found), [(0, 30), (130, 160), (161, 190)]);
}

#[test]
fn a_name_that_had_an_address_led_to_no_search() {
    let said = [
        (0, "a.corp.test", TYPE::A, None),
        (10, "a.corp.test", TYPE::A, Some("10.9.9.9")),
        (11, "a.lab.test", TYPE::A, None),
        (20, "a.lab.test", TYPE::A, ADDRESS),
    ];
    let found = take(&mut lookups(&said), Some("a.lab.test"), 21, 50).expect("it led to the connection");
    assert_eq!(waits(&found), [(11, 20)]);
    // Nor is another name a search domain of it.
    let other = [(0, "b.corp.test", TYPE::A, None), (10, "b.corp.test", TYPE::A, Some("")), said[2], said[3]];
    let found = take(&mut lookups(&other), Some("a.lab.test"), 21, 50).expect("it led to the connection");
    assert_eq!(waits(&found), [(11, 20)]);
}

#[test]
fn an_answer_that_was_lost_is_waited_for_until_all_is_asked_again() {
    // A resolver library that asks for both families waits for both.
    let asked = [(0, "a.test", TYPE::A, None), (0, "a.test", TYPE::AAAA, None), (20, "a.test", TYPE::A, ADDRESS)];
    let again = [(5_000, "a.test", TYPE::A, None), (5_000, "a.test", TYPE::AAAA, None), (5_020, "a.test", TYPE::A, ADDRESS)];
    let found = take(&mut lookups(&[asked, again].concat()), Some("a.test"), 5_021, 50).expect("it led to the connection");
    assert_eq!((found.began(), waits(&found)), ((at(0), 1), vec![(0, 5_020)]));
    // One that does not ask again went on without it.
    let found = take(&mut lookups(&asked), Some("a.test"), 21, 50).expect("it led to the connection");
    assert_eq!(waits(&found), [(0, 20)]);
}

#[test]
fn a_question_that_was_asked_again_soon_and_answered_at_once_may_have_been_lost() {
    let asked = |again: i64, answer: i64| {
        let said = [(0, "a.test", TYPE::A, None), (again, "a.test", TYPE::A, None), (answer, "a.test", TYPE::A, ADDRESS)];
        let found = take(&mut lookups(&said), Some("a.test"), answer + 1, 50).expect("it led to the connection");
        found.waits().iter().map(|wait| wait.perhaps_lost).collect::<Vec<_>>()
    };
    assert_eq!(asked(45, 46), [true]);
    assert_eq!(asked(45, 80), [false], "the resolver took as long again");
    assert_eq!(asked(5_000, 5_020), [false], "a library's timeout");
}

#[test]
fn the_quickest_other_lookup_at_the_same_resolver_is_usual() {
    let of = |port, from, server, name, took| {
        [(from, port, server, name, TYPE::A, None), (from + took, port, server, name, TYPE::A, ADDRESS)]
    };
    let usual = |others: &[[Said<'static>; 2]]| {
        let said = [others.concat(), of(4_000, 100, "10.0.0.53", "a.test", 46).to_vec()].concat();
        take(&mut by_ports(&said), Some("a.test"), 147, 50).expect("it led to the connection").usual.map(|took| took.millis())
    };
    assert_eq!(usual(&[]), None);
    assert_eq!(usual(&[of(4_001, 0, "10.0.0.53", "b.test", 51), of(4_002, 1, "10.0.0.53", "c.test", 47)]), Some(47.0));
    assert_eq!(usual(&[of(4_001, 0, "10.0.0.54", "b.test", 3)]), None, "another resolver");
}

#[test]
fn another_hosts_questions_are_not_this_clients() {
    let mut both = lookups(&[(10, "a.test", TYPE::A, None), (30, "a.test", TYPE::A, ADDRESS)]);
    let (other, resolver) = ("10.0.0.9:5353".parse().expect("an address"), "10.0.0.53:53".parse().expect("an address"));
    both.push(at(0), 9, other, resolver, &datagram("a.test", TYPE::A, None));
    let found = take(&mut both, Some("a.test"), 31, 50).expect("it led to the connection");
    assert_eq!(waits(&found), [(10, 30)]);
    assert!(found.gave("10.0.1.1".parse().expect("an address")) && !found.gave("10.0.1.2".parse().expect("an address")));
}
