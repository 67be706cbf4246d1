//! What is late, lost or put off: copies one by one, acknowledgements, halves of messages, packets that change places, queues that are full.

use whostalled_sim::frame::End;
use whostalled_sim::habit::LINUX;
use whostalled_sim::path::Deed;
use whostalled_sim::plan::{Aim, InVain, Plan};
use whostalled_sim::tls::Version;
use whostalled_sim::world::Sent;
use whostalled_sim::{MS, Trial};

use crate::link::{FULL, Link};
use crate::read::{at_client, at_edge, near, tcp};
use crate::spoken::{asleep, bare};

/// The copies of the client's Finished, as they left.
fn copies(trial: &Trial) -> Vec<&Sent> {
    let end = trial.marks.finished_end;
    trial.log.iter().filter(|s| s.from == End::Client && s.start < end && s.end >= end).collect()
}

#[test]
fn a_probe_takes_new_data_along_whatever_holds_them() {
    // The window is full, and no acknowledgement comes: the probe is due at 2 × 40 ms and a few.
    let mut link = Link::connected(LINUX, |p| p.from == End::Client && p.pure_ack() && p.ack > Some(0));
    link.write(End::Server, 12 * FULL);
    link.run(200 * MS);
    assert_eq!(link.departures(End::Server, 9 * FULL), [100]);
    assert_eq!(link.departures(End::Server, 10 * FULL), [184]);
    // Nagle's algorithm holds the second; the timer of a single segment is due a round trip and 200 ms later.
    let mut link = Link::connected(LINUX, |p| p.from == End::Server && p.pure_ack());
    link.ends[0].nagle = true;
    link.write(End::Client, 100);
    link.write(End::Client, 100);
    link.run(400 * MS);
    assert_eq!((link.departures(End::Client, 0), link.departures(End::Client, 100)), (vec![100], vec![340]));
}

#[test]
fn one_copy_is_late_and_others_are_lost() {
    let late = Deed::LateCopy(0, 700 * MS);
    for lost in [false, true] {
        let mut plan = bare(Version::Tls13);
        plan.out.push((Aim::Finished, late));
        if lost {
            plan.out.push((Aim::Finished, Deed::DropFrom(1)));
        }
        let trial = Trial::run(&plan, 3);
        let copies = copies(&trial);
        assert!(copies.len() > 1, "nobody answers for 700 ms");
        assert_eq!(copies[0].arrived.map(|at| at - copies[0].at), Some(720 * MS));
        assert!(copies[1..].iter().all(|copy| copy.arrived.is_none() == lost));
        assert_eq!(trial.lost_for(End::Client, trial.marks.finished_end) == 0, lost, "whichever came first counts");
        assert!(trial.under_way(End::Client, trial.marks.finished_end) <= 720 * MS);
    }
}

#[test]
fn acknowledgements_of_a_flight_are_lost_and_nothing_else_of_the_client() {
    let mut plan = bare(Version::Tls13);
    plan.manner.certificate_len = 24_000;
    plan.out.push((Aim::FlightAcks, Deed::Mute(30 * MS)));
    let trial = Trial::run(&plan, 3);
    let bare_acks = |frames| tcp(frames).iter().filter(|p| p.from.port() != 443 && p.payload.is_empty() && !p.syn).count();
    assert!(bare_acks(&trial.client) > bare_acks(&trial.edge) + 5);
    let flight = |plan: &Plan| {
        let trial = Trial::run(plan, 3);
        trial.took(End::Server, trial.marks.flight_start, trial.marks.flight_end)
    };
    let quiet = Plan { out: Vec::new(), ..plan.clone() };
    // Two round trips and a few until the probe, whose acknowledgement takes the place of the first.
    near(&[(flight(&plan) - flight(&quiet)) as f64 / MS as f64], &[84.0]);
}

#[test]
fn half_a_message_waits_for_its_program() {
    let mut plan = bare(Version::Tls13);
    plan.manner.hello_pause = asleep(200);
    let trial = Trial::run(&plan, 3);
    let edge = at_edge(&trial);
    let pieces: Vec<(f64, usize)> = edge.data(true).map(|(at, p)| (at, p.payload.len())).take(2).collect();
    near(&[pieces[0].0, pieces[1].0], &[40.0, 240.0]);
    assert_eq!(pieces[0].1 + pieces[1].1, trial.marks.hello_end);
    plan.manner.hello_pause = Vec::new();
    plan.manner.flight_pause = asleep(200);
    let trial = Trial::run(&plan, 3);
    let pieces: Vec<f64> = at_client(&trial).data(false).map(|(at, _)| at).take(2).collect();
    near(&pieces, &[80.0, 280.0]);
}

#[test]
fn a_share_of_packets_takes_longer_and_is_overtaken() {
    let plan = Plan { reorders: Some((0.4, 9 * MS)), before: 1, ..bare(Version::Tls12) };
    let trial = Trial::run(&plan, 3);
    let ways: Vec<i64> = trial.log.iter().filter_map(|s| Some((s.arrived? - s.at) / MS)).collect();
    assert!(ways.iter().all(|way| [20, 29].contains(way)), "{ways:?}");
    assert!(ways.contains(&20) && ways.contains(&29), "{ways:?}");
    let overtaken = |a: &Sent, b: &Sent| a.from == b.from && a.at <= b.at && a.arrived > b.arrived;
    assert!(trial.log.iter().enumerate().any(|(i, a)| trial.log[i + 1..].iter().any(|b| overtaken(a, b))));
    // So it is with the handshakes before it.
    let quiet = Plan { reorders: None, ..plan };
    let earlier = |trial: &Trial| -> Vec<i64> { tcp(&trial.client).iter().take(20).map(|p| p.at).collect() };
    assert_ne!(earlier(&Trial::run(&quiet, 3)), earlier(&trial));
}

#[test]
fn a_queue_that_is_full_already_answers_no_syn() {
    let plan = Plan { deaf: 1_500 * MS, deaf_to_syn: true, ..bare(Version::Tls13) };
    let edge = at_edge(&Trial::run(&plan, 3));
    near(&edge.when(true, |p| p.syn), &[0.0, 1_000.0, 3_000.0]);
    near(&edge.when(false, |p| p.syn), &[3_000.0]);
}

#[test]
fn a_family_that_answers_late_is_closed_without_a_word() {
    let tried = InVain { wait: 250 * MS, overlaps: true, answers: Some(300 * MS) };
    let trial = Trial::run(&Plan { in_vain: Some(tried), ..bare(Version::Tls13) }, 3);
    let all = tcp(&trial.client);
    let other: Vec<_> = all.iter().filter(|p| p.to.is_ipv6() || p.from.is_ipv6()).collect();
    let since = |at: i64| (at - other[0].at) as f64 / MS as f64;
    let answered = other.iter().find(|p| p.syn && p.ack.is_some()).expect("it answers");
    near(&[since(answered.at), since(at_client(&trial).0[0].2.at)], &[340.0, 250.0]);
    assert!(other.iter().all(|p| p.payload.is_empty()) && other.iter().any(|p| p.fin && p.to.is_ipv6()));
}
