//! What is usual, learned from ledgers made by hand.

use analysis::judging::ledger::{Entry, Kind};
use analysis::judging::policy::ORDINARY_WORK;
use analysis::judging::verdict::{End, Grade};

use super::*;

fn ms(millis: i64) -> Span {
    Span::from_millis(millis)
}

fn between(client: u8, server: u8, edge: Edge) -> Between {
    Between {
        client: IpAddr::from([10, 0, 0, client]),
        server: IpAddr::from([192, 0, 2, server]),
        edge,
        resumed: false,
        part: Part::Whole,
        first: false,
        lookup: None,
    }
}

fn named() -> Edge {
    Edge::Named("edge.test".into())
}

fn ledger(entries: Vec<Entry>) -> Ledger {
    Ledger { total: entries.iter().map(|e| e.span).sum(), entries }
}

fn round(phase: Phase, millis: i64) -> Entry {
    Entry::round_trip(phase, ms(millis), Span::ZERO)
}

fn work(side: Side, phase: Phase, tail: bool, millis: i64) -> Entry {
    let owner = if side == Side::Client { Owner::Client } else { Owner::Edge };
    Entry { worked: Some(Worked { side, tail }), ..Entry::new(phase, owner, None, ms(millis), Span::ZERO) }
}

/// Three rounds, and what the client and the edge did meanwhile.
fn handshake(trip: i64, client: i64, edge: i64) -> Ledger {
    ledger(vec![
        round(Phase::Connect, trip),
        round(Phase::ServerFlight, trip),
        round(Phase::Finish, trip),
        work(Side::Client, Phase::ClientFinished, false, client),
        work(Side::Server, Phase::ServerFlight, false, edge),
    ])
}

fn of(usual: &Usual, between: &Between, ledger: &Ledger) -> (Baseline, usize) {
    let reading = Reading { grade: Grade::BothEnds { host: false }, ledger: ledger.clone(), end: End::Complete };
    usual.baseline(between, &reading, true)
}

fn path(usual: &Usual, between: &Between) -> (Option<Span>, usize) {
    let (baseline, witnesses) = of(usual, between, &handshake(1, 1, 1));
    (baseline.path.map(|n| n.location), witnesses)
}

fn note(usual: &mut Usual, between: &Between, trips: &[i64]) {
    trips.iter().for_each(|trip| usual.note(between, &handshake(*trip, 2, 3), true));
}

#[test]
fn a_detour_to_one_of_two_addresses_shows() {
    let (straight, round_about) = (between(1, 1, named()), between(1, 2, named()));
    let mut usual = Usual::default();
    note(&mut usual, &round_about, &[120, 121, 119, 120]);
    assert_eq!(path(&usual, &round_about), (Some(ms(120)), 4), "alone, it is what is usual");
    note(&mut usual, &straight, &[40, 41, 39]);
    note(&mut usual, &round_about, &[120]);
    assert_eq!(path(&usual, &round_about), (Some(ms(40)), 5));
    assert_eq!(path(&usual, &straight), (Some(ms(40)), 3), "and not the other way round");
}

#[test]
fn an_address_that_was_used_before_or_afterwards_may_be_another_site() {
    let (first, then) = (between(1, 1, named()), between(1, 2, named()));
    let mut usual = Usual::default();
    note(&mut usual, &first, &[120, 121, 119, 120]);
    note(&mut usual, &then, &[40, 41, 39]);
    assert_eq!(path(&usual, &first), (Some(ms(120)), 4), "nobody knows whether that is more than usual");
    note(&mut usual, &first, &[120]);
    assert_eq!(path(&usual, &first), (Some(ms(40)), 5), "used by turns, one of them is the longer way");
    // At the edge itself, all its addresses are one place.
    let (first, then) = (between(2, 1, Edge::Observed(0)), between(2, 2, Edge::Observed(0)));
    note(&mut usual, &first, &[120, 121, 119]);
    note(&mut usual, &then, &[40, 41, 39]);
    assert_eq!(path(&usual, &first).0, Some(ms(40)));
}

#[test]
fn parts_of_a_way_are_not_the_way() {
    let whole = between(1, 1, named());
    let to_client = Between { part: Part::ToClient, ..whole.clone() };
    let mut usual = Usual::default();
    note(&mut usual, &to_client, &[2, 2, 2]);
    assert_eq!(path(&usual, &whole), (None, 0));
    note(&mut usual, &whole, &[109, 108, 110]);
    assert_eq!((path(&usual, &whole).0, path(&usual, &to_client).0), (Some(ms(109)), Some(ms(2))));
}

#[test]
fn another_address_needs_three_handshakes_to_count() {
    let (own, other) = (between(1, 2, named()), between(1, 1, named()));
    let mut usual = Usual::default();
    note(&mut usual, &own, &[120]);
    note(&mut usual, &other, &[40, 40]);
    assert_eq!(path(&usual, &own), (None, 1));
    note(&mut usual, &other, &[40]);
    note(&mut usual, &own, &[120]);
    assert_eq!(path(&usual, &own).0, Some(ms(40)));
}

#[test]
fn addresses_that_nothing_joins_are_not_compared() {
    let lone = |server| between(1, server, Edge::Address(IpAddr::from([192, 0, 2, server])));
    let mut usual = Usual::default();
    note(&mut usual, &lone(1), &[40, 40, 40]);
    note(&mut usual, &lone(2), &[120, 120, 120]);
    assert_eq!(path(&usual, &lone(2)).0, Some(ms(120)));
    // Nor those of another name, or from another client.
    let other = between(1, 2, Edge::Named("other.test".into()));
    assert_eq!(path(&usual, &other).0, Some(ms(120)));
    note(&mut usual, &between(9, 1, named()), &[5, 5, 5]);
    note(&mut usual, &between(1, 2, named()), &[120]);
    assert_eq!(path(&usual, &between(1, 2, named())).0, Some(ms(120)));
    assert_eq!(path(&usual, &between(7, 7, named())), (None, 0));
}

#[test]
fn a_handshake_is_not_compared_with_itself_nor_with_two_others() {
    let own = between(1, 1, named());
    let mut usual = Usual::default();
    note(&mut usual, &own, &[40, 41, 140]);
    let judged = |usual: &Usual, trip| {
        let (baseline, witnesses) = of(usual, &own, &handshake(trip, 1, 1));
        (baseline.path.map(|n| n.location), witnesses)
    };
    assert_eq!(judged(&usual, 140), (None, 2));
    assert_eq!(judged(&usual, 139), (Some(ms(41)), 3), "one that nothing was learned of");
    note(&mut usual, &own, &[140]);
    assert_eq!(judged(&usual, 140), (Some(ms(41)), 3));
}

#[test]
fn a_slow_handshake_does_not_move_the_baseline() {
    let own = between(1, 1, named());
    let mut usual = Usual::default();
    note(&mut usual, &own, &[40, 900, 40, 41, 800]);
    usual.note(&own, &handshake(40, 400, 300), true);
    let (baseline, witnesses) = of(&usual, &own, &handshake(40, 400, 300));
    assert_eq!((baseline.path.map(|n| n.location), witnesses), (Some(ms(41)), 5));
    let of_work = |side, phase| {
        let worked = Worked { side, tail: false };
        baseline.work.iter().find(|(p, w, _)| (*p, *w) == (phase, worked)).map(|(.., normal)| normal.location)
    };
    assert_eq!(of_work(Side::Client, Phase::ClientFinished), Some(ms(2)));
    assert_eq!(of_work(Side::Server, Phase::ServerFlight), Some(ms(3)));
}

#[test]
fn a_handshake_teaches_its_middle_round_trip() {
    let taught = |entries: Vec<Entry>, sound| {
        let (mut usual, own) = (Usual::default(), between(1, 1, named()));
        (0..3).for_each(|_| usual.note(&own, &ledger(entries.clone()), sound));
        path(&usual, &own).0
    };
    let rounds = |trips: [i64; 3]| {
        [Phase::Connect, Phase::ServerFlight, Phase::Finish].into_iter().zip(trips).map(|(p, t)| round(p, t)).collect::<Vec<_>>()
    };
    assert_eq!(taught(rounds([40, 340, 41]), true), Some(ms(41)));
    assert_eq!(taught(rounds([340, 40, 41])[..2].to_vec(), true), Some(ms(40)), "of two the less: one may have been held");
    assert_eq!(taught(rounds([40, 340, 41]), false), None, "a capture that missed some saw no round trip");
    // What was sent twice, asked for by a protocol or filled in measures none.
    let lost = Entry::new(Phase::ServerFlight, Owner::Loss, Kind::Back, ms(200), Span::ZERO);
    let twice = [rounds([90, 50, 91]), vec![lost]].concat();
    assert_eq!(taught(twice, true), Some(ms(90)));
    let mut extra = rounds([90, 40, 91]);
    extra[1].extra_round = true;
    assert_eq!(taught(extra, true), Some(ms(90)));
    let mut filled = rounds([90, 40, 91]);
    filled[1].filled_in = true;
    assert_eq!(taught(filled, true), Some(ms(90)));
}

#[test]
fn work_is_compared_with_the_same_work_alone() {
    let own = between(1, 1, named());
    let resumed = Between { resumed: true, ..own.clone() };
    let (mut usual, two) = (Usual::default(), |first, second| {
        ledger(vec![work(Side::Server, Phase::ServerFlight, false, first), work(Side::Server, Phase::ServerFlight, true, second)])
    });
    (0..3).for_each(|_| usual.note(&own, &two(9, 2), true));
    (0..3).for_each(|_| usual.note(&resumed, &two(1, 1), true));
    let works = |between: &Between| of(&usual, between, &two(50, 50)).0.work.iter().map(|(.., n)| n.location).collect::<Vec<_>>();
    assert_eq!(works(&own), [ms(9), ms(2)]);
    assert_eq!(works(&resumed), [ms(1), ms(1)], "a resumed session spares the certificates");
    assert_eq!(works(&between(2, 2, named())), [ms(9), ms(2)], "the edge is the same for another client");
    assert_eq!(works(&between(1, 1, Edge::Named("other.test".into()))), [ORDINARY_WORK.location], "nothing is known of another");
}

#[test]
fn a_first_contact_is_not_compared_with_warm_siblings() {
    let own = between(1, 1, named());
    let mut usual = Usual::default();
    assert!(!usual.has_met(own.client, &own.edge));
    note(&mut usual, &own, &[40, 40, 40]);
    assert!(usual.has_met(own.client, &own.edge));
    let client = |between: &Between| {
        let (baseline, _) = of(&usual, between, &handshake(40, 14, 3));
        baseline.work.iter().find(|(_, worked, _)| worked.side == Side::Client).map(|(.., normal)| normal.location)
    };
    assert_eq!(client(&own), Some(ms(2)));
    assert_eq!(client(&Between { first: true, ..own.clone() }), Some(ORDINARY_WORK.location));
}

#[test]
fn work_in_several_stretches_counts_as_one() {
    let own = between(1, 1, named());
    let mut usual = Usual::default();
    let split =
        ledger(vec![work(Side::Client, Phase::ClientFinished, false, 4), work(Side::Client, Phase::ClientFinished, false, 3)]);
    (0..3).for_each(|_| usual.note(&own, &split, true));
    let (baseline, _) = of(&usual, &own, &split);
    assert_eq!(baseline.work.iter().map(|(.., n)| n.location).collect::<Vec<_>>(), [ms(7)]);
}
