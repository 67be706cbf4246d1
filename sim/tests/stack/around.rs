//! What lies around a connection: lookups, addresses tried in vain, others asked, a queue.

use whostalled_sim::host::ThreadState;
use whostalled_sim::lookup::{Course, Lookup};
use whostalled_sim::plan::{Asks, InVain, Plan};
use whostalled_sim::tls::Version;
use whostalled_sim::{MS, Trial};

use crate::read::{at_client, at_edge, near, tcp, udp};
use crate::spoken::{asleep, bare};

const A: u8 = 1;
const AAAA: u8 = 28;

/// Questions and answers of a lookup: when in ms since the first, whether it is an answer, the type asked for, and how many answers it has.
fn talk(course: Course, took: i64) -> (Vec<(f64, bool, u8, u8)>, Trial) {
    let plan = Plan { lookup: Some(Lookup { course, took: took * MS }), ..bare(Version::Tls13) };
    let trial = Trial::run(&plan, 3);
    let all = udp(&trial.client);
    let begin = all[0].0;
    let read = |(at, from, _, payload): &(i64, u16, u16, Vec<u8>)| {
        let end = payload[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 12;
        ((at - begin) as f64 / MS as f64, *from == 53, payload[end + 2], payload[7])
    };
    (all.iter().map(read).collect(), trial)
}

/// When the connection began, in ms since the first question.
fn connected(trial: &Trial) -> f64 {
    let syn = tcp(&trial.client).iter().find(|p| p.syn).map_or(0, |p| p.at);
    (syn - udp(&trial.client)[0].0) as f64 / MS as f64
}

#[test]
fn a_lookup_ends_just_before_the_connection() {
    let ways = [
        Course::Plain,
        Course::OneLost { aaaa: true },
        Course::OneLost { aaaa: false },
        Course::DeadServer,
        Course::SearchDomains(4),
        Course::BothFamilies,
    ];
    for course in ways {
        let (said, trial) = talk(course, 5_010);
        near(&[connected(&trial), said.last().expect("it is answered").0], &[5_010.0, 5_010.0]);
        assert!(
            said.last().is_some_and(|(_, answer, kind, found)| (*answer, *kind, *found) == (true, A, 1))
                || course == Course::OneLost { aaaa: true }
        );
        assert!(said.windows(2).all(|two| two[0].0 <= two[1].0), "{course:?}");
    }
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_other() {
    for (aaaa, answered) in [(true, A), (false, AAAA)] {
        let (said, _) = talk(Course::OneLost { aaaa }, 5_010);
        let asked: Vec<(f64, u8)> = said.iter().filter(|(_, answer, ..)| !answer).map(|(at, _, kind, _)| (*at, *kind)).collect();
        near(&asked.iter().map(|(at, _)| *at).collect::<Vec<f64>>(), &[0.0, 0.02, 5_005.0, 5_005.0]);
        assert_eq!(asked.iter().map(|(_, kind)| *kind).collect::<Vec<u8>>(), [A, AAAA, A, AAAA]);
        let early: Vec<u8> = said.iter().filter(|(at, answer, ..)| *answer && *at < 5_000.0).map(|(.., kind, _)| *kind).collect();
        assert_eq!(early, [answered]);
    }
}

#[test]
fn a_dead_server_answers_nothing_and_search_domains_know_nothing() {
    let (said, trial) = talk(Course::DeadServer, 5_010);
    assert!(said.iter().filter(|(_, answer, ..)| *answer).all(|(at, ..)| *at > 5_000.0));
    let ports: std::collections::BTreeSet<u16> = udp(&trial.client).iter().filter(|p| p.2 == 53).map(|p| p.1).collect();
    assert_eq!(ports.len(), 2, "a socket for each server");
    let (said, _) = talk(Course::SearchDomains(4), 500);
    let found: Vec<f64> = said.iter().filter(|(_, answer, _, found)| *answer && *found > 0).map(|(at, ..)| *at).collect();
    near(&found, &[500.0]);
    assert_eq!(said.iter().filter(|(_, answer, ..)| *answer).count(), 10, "five names, two types");
}

#[test]
fn an_address_is_tried_in_vain_until_the_next_one_is() {
    for (wait, overlaps, syns) in [(4_000, false, vec![0.0, 1_000.0, 3_000.0]), (250, true, vec![0.0])] {
        let plan = Plan { in_vain: Some(InVain { wait: wait * MS, overlaps, answers: None }), ..bare(Version::Tls13) };
        let trial = Trial::run(&plan, 3);
        let all = tcp(&trial.client);
        let dead: Vec<_> = all.iter().filter(|p| p.to.is_ipv6() || p.from.is_ipv6()).collect();
        assert!(dead.iter().all(|p| p.syn && p.ack.is_none()), "nobody answers, and a kernel gives up without a word");
        let begin = dead[0].at;
        near(&dead.iter().map(|p| (p.at - begin) as f64 / MS as f64).collect::<Vec<f64>>(), &syns);
        let next = at_client(&trial).0[0].2.at;
        near(&[(next - begin) as f64 / MS as f64], &[wait as f64]);
        assert!(tcp(&trial.edge).iter().all(|p| p.to.is_ipv4()), "the edge hears nothing of it");
    }
}

#[test]
fn somebody_is_asked_in_vain_while_an_end_thinks() {
    let run = |asks: Asks| {
        let mut plan = Plan { edge_asks: Some(asks), ..bare(Version::Tls13) };
        plan.manner.thinks[2] = asleep(4_000);
        Trial::run(&plan, 3)
    };
    let trial = run(Asks::Unanswered);
    let syns: Vec<f64> = tcp(&trial.edge).iter().filter(|p| p.to.port() == 80).map(|p| p.at as f64 / MS as f64).collect();
    near(&syns.iter().map(|at| at - syns[0]).collect::<Vec<f64>>(), &[0.0, 1_000.0, 3_000.0]);
    let hello = at_edge(&trial).data(true).next().expect("it came").1.at as f64 / MS as f64;
    near(&[syns[0] - hello], &[0.5]);
    let asked = udp(&run(Asks::NameServer).edge);
    assert_eq!(asked.iter().filter(|(_, _, to, _)| *to == 53).count(), 3);
    assert_eq!(asked.len(), 3, "no answer");
}

#[test]
fn a_queue_is_served_one_by_one() {
    let mut plan = Plan { queued: 2, ..bare(Version::Tls13) };
    plan.manner.thinks[2] = vec![(ThreadState::Asleep, 300 * MS)];
    let trial = Trial::run(&plan, 3);
    let all = tcp(&trial.edge);
    let begin = all[0].at;
    let mut seen = std::collections::BTreeSet::new();
    let firsts = all.iter().filter(|p| p.from.port() == 443 && !p.payload.is_empty() && seen.insert(p.to));
    let firsts: Vec<f64> = firsts.map(|p| (p.at - begin) as f64 / MS as f64).collect();
    near(&firsts, &[140.0, 240.0, 340.0]);
}

#[test]
fn earlier_handshakes_may_be_of_others() {
    let plan = Plan { before: 2, before_elsewhere: true, before_of_another: true, ..bare(Version::Tls13) };
    let trial = Trial::run(&plan, 3);
    let (client, server) = trial.at_edge;
    let mut earlier = tcp(&trial.edge).into_iter().filter(|p| p.syn && p.ack.is_none());
    for _ in 0..2 {
        let syn = earlier.next().expect("it came before");
        assert!(syn.from.ip() != client.ip() && syn.to.ip() != server.ip());
    }
    let last = earlier.next().expect("the judged one");
    assert_eq!((last.from, last.to), (client, server));
}
