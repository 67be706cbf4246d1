//! What the captures of a trial show, and the truth beside it.

use whostalled_sim::frame::End;
use whostalled_sim::path::{Deed, Path, Which};
use whostalled_sim::plan::{Aim, Plan};
use whostalled_sim::tls::Version;
use whostalled_sim::{MS, Trial};

type Frames = Vec<(i64, Vec<u8>)>;

/// A healthy handshake without jitter.
fn plain() -> Plan {
    Plan { jitter: 0, ..Plan::healthy(Version::Tls13, "edge.test") }
}

/// Of frames that lie in both captures: by how much the edge's clock shows more, those of the client apart from those of the edge.
fn differences(trial: &Trial) -> [Vec<i64>; 2] {
    // Ethernet, then IPv4: all but TTL and checksum are the same at both ends.
    let name = |frame: &[u8]| [&frame[14..22], &frame[26..]].concat();
    let port = |frame: &[u8]| u16::from_be_bytes([frame[34], frame[35]]);
    let mut found = [vec![], vec![]];
    for (at, frame) in &trial.client {
        if let Some((there, _)) = trial.edge.iter().find(|(_, other)| name(other) == name(frame)) {
            found[usize::from(port(frame) == 443)].push(there - at);
        }
    }
    found
}

fn most_and_least(spans: &[i64]) -> (i64, i64) {
    (*spans.iter().min().expect("something passed"), *spans.iter().max().expect("something passed"))
}

#[test]
fn two_captures_differ_by_their_clocks_and_the_way() {
    for (client, edge) in [(0, 0), (700, 0), (0, -3_000), (-250, 4_000)] {
        let mut plan = plain();
        (plan.client_tap.offset, plan.edge_tap.offset) = (client * MS, edge * MS);
        let [out, back] = differences(&Trial::run(&plan, 3));
        let (clocks, way) = ((edge - client) * MS, 20 * MS);
        // Nothing overtakes on the way: packets that leave together come a microsecond apart.
        let near = |(least, most): (i64, i64), wanted: i64| (least - wanted).abs() < MS / 50 && (most - wanted).abs() < MS / 50;
        assert!(near(most_and_least(&out), clocks + way), "{out:?}");
        assert!(near(most_and_least(&back), clocks - way), "{back:?}");
        assert!(out.len() >= 4 && back.len() >= 4, "all of it passed");
    }
}

#[test]
fn a_clock_that_is_set_moves_all_behind_it() {
    let steady = Trial::run(&plain(), 3);
    let mut plan = plain();
    let when = steady.log[5].at;
    plan.edge_tap.step = Some((when, -300 * MS));
    let stepped = Trial::run(&plan, 3);
    let moved =
        |of: fn(&Trial) -> &Frames| -> Vec<i64> { of(&stepped).iter().zip(of(&steady)).map(|((a, _), (b, _))| a - b).collect() };
    assert!(moved(|t| &t.client).iter().all(|by| *by == 0));
    let at_edge = moved(|t| &t.edge);
    let first = at_edge.iter().position(|by| *by != 0).expect("it was set");
    assert!(first > 0 && at_edge[first..].iter().all(|by| *by == -300 * MS), "{at_edge:?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    let plan = Plan { jitter: 100_000, background_loss: 0.05, ..Plan::healthy(Version::Tls12, "edge.test") };
    let of = |seed| Trial::run(&plan, seed);
    assert_eq!((of(7).client, of(7).edge), (of(7).client, of(7).edge));
    assert_ne!(of(7).client, of(8).client);
}

#[test]
fn the_truth_of_a_loss_is_the_wait_for_the_copy_that_came() {
    let mut plan = plain();
    plan.out.push((Aim::Finished, Deed::Drop(1)));
    let trial = Trial::run(&plan, 3);
    // The request behind it tells of the hole: a round trip, and a quarter for what may have changed places.
    let lost = trial.lost_for(End::Client, trial.marks.finished_end);
    assert!((50 * MS..52 * MS).contains(&lost), "{lost}");
    assert_eq!(trial.lost_for(End::Server, trial.marks.flight_end), 0);
    assert_eq!((trial.syn_lost_for(End::Client), trial.syn_lost_for(End::Server)), (0, 0));
    let mut plan = plain();
    plan.out.push((Aim::Syn, Deed::Drop(2)));
    assert_eq!(Trial::run(&plan, 3).syn_lost_for(End::Client), 3_000 * MS);
    // A repetition whose first copy came cost nothing.
    let mut plan = plain();
    plan.out.push((Aim::Finished, Deed::Hold(900 * MS)));
    let trial = Trial::run(&plan, 3);
    let copies =
        trial.log.iter().filter(|s| s.from == End::Client && s.end == trial.marks.finished_end && s.start < s.end).count();
    assert!(copies > 1);
    assert_eq!(trial.lost_for(End::Client, trial.marks.finished_end), 0);
}

#[test]
fn a_path_delays_holds_drops_and_lets_overtake() {
    let packet = |start: usize, copy: u32| {
        let mut plan = whostalled_sim::tcp::Tcp::new(End::Client, whostalled_sim::habit::LINUX, 1, 0, 1);
        let mut out = Vec::new();
        plan.connect(0, &mut out);
        let syn = out.remove(0);
        whostalled_sim::frame::Packet { syn: false, start, payload: vec![0; 100], copy, ..syn }
    };
    let carry = |deed: Option<Deed>, sent: &[(i64, usize, u32)]| -> Vec<Option<i64>> {
        let mut path = Path::new(20 * MS, 0, 9, false);
        path.faults.extend(deed.map(|deed| whostalled_sim::path::Fault { which: Which::Carrying(150), deed }));
        let mut rng = fastrand::Rng::with_seed(1);
        sent.iter().map(|(at, start, copy)| path.carry(at * MS, &packet(*start, *copy), &mut rng).map(|at| at / MS)).collect()
    };
    let sent = [(0, 0, 0), (1, 100, 0), (2, 200, 0), (300, 100, 1)];
    assert_eq!(carry(None, &sent), [Some(20), Some(21), Some(22), Some(320)]);
    assert_eq!(carry(Some(Deed::Drop(1)), &sent), [Some(20), None, Some(22), Some(320)]);
    assert_eq!(carry(Some(Deed::Drop(2)), &sent), [Some(20), None, Some(22), None]);
    // What follows waits behind it, unless it is let past.
    assert_eq!(carry(Some(Deed::Hold(50 * MS)), &sent), [Some(20), Some(71), Some(71), Some(370)]);
    assert_eq!(carry(Some(Deed::Late(50 * MS)), &sent), [Some(20), Some(71), Some(22), Some(370)]);
}
