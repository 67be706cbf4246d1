//! Coins that are fair, and such that are not.

use super::*;

/// Blocks A B B A or B A A B of what `one` does in its next handshake, looked at after each: how often it is said to be more.
fn alarms(series: u64, blocks: usize, alpha: f64, one: impl Fn(&mut fastrand::Rng, usize, bool) -> bool) -> usize {
    let alarmed = |seed: &u64| {
        let mut random = fastrand::Rng::with_seed(*seed);
        let mut coins = Coins::default();
        let mut handshakes = 0;
        (0..blocks).any(|_| {
            let candidate_first = random.bool();
            let mut happened = [0, 0];
            for outer in [true, false, false, true] {
                let of_candidate = outer == candidate_first;
                happened[usize::from(of_candidate)] += u32::from(one(&mut random, handshakes, of_candidate));
                handshakes += 1;
            }
            coins.push(happened[1].cmp(&happened[0]));
            coins.is_more(Alpha(alpha))
        })
    };
    (0..series).filter(alarmed).count()
}

/// Two that are alike, in whatever way they vary: no more alarms than was promised, whenever one stops.
fn no_more_than_promised(series: u64, alpha: f64) {
    let most = (series as f64 * alpha) + 3.0 * (series as f64 * alpha).sqrt();
    let mut total = 0;
    for share in [0.02, 0.1, 0.5] {
        total = total.max(alarms(series, 300, alpha, |random, _, _| random.f64() < share));
    }
    total = total.max(alarms(series, 300, alpha, |_, n, _| n % 2 == 0));
    total = total.max(alarms(series, 300, alpha, |_, n, _| n % 3 == 0));
    // A bad minute now and then.
    total = total.max(alarms(series, 300, alpha, |random, n, _| n / 50 % 3 == 0 && random.f64() < 0.4));
    assert!(total > 0 && total as f64 <= most, "{total} of {series}");
}

#[test]
fn two_that_vary_alike_are_no_alarm() {
    no_more_than_promised(2_000, 0.05);
}

#[test]
#[ignore = "minutes; the share that is promised, of very many"]
fn two_that_vary_alike_are_no_alarm_of_very_many() {
    no_more_than_promised(40_000, FAILURES);
}

#[test]
fn what_happens_to_one_in_ten_or_twenty_is_found() {
    for (share, blocks) in [(0.05, 400), (0.1, 200), (0.5, 60)] {
        let found = alarms(100, blocks, FAILURES, |random, _, of_candidate| of_candidate && random.f64() < share);
        assert!(found >= 97, "{share}: {found} of 100");
    }
    let rather = alarms(100, 400, FAILURES, |random, _, of_candidate| random.f64() < if of_candidate { 0.5 } else { 0.2 });
    assert!(rather >= 97, "{rather} of 100");
}

#[test]
fn what_looks_odd_is_looked_at_further_and_what_does_not_is_not() {
    let of = |candidate: u32, base: u32| {
        let mut coins = Coins::default();
        (0..base).for_each(|_| coins.push(Ordering::Less));
        (0..candidate).for_each(|_| coins.push(Ordering::Greater));
        coins.may_be_more(LIKELY)
    };
    assert_eq!([of(0, 0), of(1, 0), of(2, 0), of(3, 1), of(4, 1), of(0, 9)], [false, false, true, false, true, false]);
    assert_eq!([of(60, 50), of(62, 46)], [false, true]);
    let close = |found: f64, wanted: f64| (found - wanted).abs() < 1e-12;
    assert!(close(at_least(2, 3), 0.5) && close(at_least(3, 3), 0.125) && close(at_least(0, 5), 1.0));
}

fn pushed(what: Counted, blocks: &[([u64; 2], [u64; 2])], times: usize) -> Count {
    let mut tally = Tally::new(what);
    (0..times).flat_map(|_| blocks).for_each(|(base, candidate)| tally.push(base, candidate));
    tally.count(6)
}

#[test]
fn a_count_that_varies_is_compared() {
    let of = |base, candidate| pushed(Counted::RoundTrips, &[(base, candidate)], 12);
    assert_eq!(of([2, 2], [2, 3]).change, Change::Worse);
    assert_eq!(of([2, 2], [3, 3]).change, Change::Worse);
    assert_eq!(of([2, 3], [2, 3]).change, Change::Same);
    assert_eq!(of([3, 3], [2, 2]).change, Change::Different);
    let once = pushed(Counted::RoundTrips, &[([2, 2], [3, 3])], 3);
    assert_eq!((once.change, once.base, once.candidate), (Change::Open, Some(2), Some(3)));
    let values = of([2, 2], [2, 3]).candidate_values;
    assert_eq!(values, [Times { value: 2, times: 12 }, Times { value: 3, times: 12 }]);
}

#[test]
fn an_error_is_worse_than_an_answer_and_a_signature_s_length_is_no_change() {
    let of = |what, base, candidate| pushed(what, &[(base, candidate)], 12).change;
    assert_eq!(of(Counted::Status, [200; 2], [503; 2]), Change::Worse);
    assert_eq!(of(Counted::Status, [404; 2], [502; 2]), Change::Worse);
    assert_eq!(of(Counted::Status, [200; 2], [204; 2]), Change::Different);
    assert_eq!(of(Counted::Status, [503; 2], [200; 2]), Change::Different);
    assert_eq!(of(Counted::ServerBytes, [1_235, 1_237], [1_236, 1_236]), Change::Same);
    assert_eq!(of(Counted::ServerBytes, [1_235, 1_237], [1_240, 1_241]), Change::Different);
    assert_eq!(of(Counted::Resumed, [1; 2], [1, 0]), Change::Worse);
}

#[test]
fn a_stored_count_is_compared_by_how_often() {
    let stored = |values: &[(u64, u64)]| {
        let candidate = values.iter().map(|(value, times)| Times { value: *value, times: *times }).collect();
        told(Counted::RoundTrips, Vec::new(), candidate, Change::Same)
    };
    let against = |base: &[(u64, u64)], candidate: &[(u64, u64)]| {
        let seen = candidate.iter().copied().collect();
        with_stored(Some(&stored(base)), Counted::RoundTrips, &seen, Alpha(COUNTS / 6.0)).change
    };
    assert_eq!(against(&[(2, 12)], &[(2, 12)]), Change::Same);
    assert_eq!(against(&[(2, 12)], &[(3, 12)]), Change::Worse);
    assert_eq!(against(&[(2, 100)], &[(2, 20), (3, 20)]), Change::Worse);
    assert_eq!(against(&[(2, 50), (3, 50)], &[(2, 18), (3, 22)]), Change::Same);
    assert_eq!(against(&[(2, 12)], &[(2, 10), (3, 2)]), Change::Open);
    // What is usual with the base is the dear one already, and more may be so than were; or there is a dearer one.
    assert_eq!(against(&[(2, 23), (3, 25)], &[(3, 60)]), Change::Worse);
    assert_eq!(against(&[(2, 23), (3, 25)], &[(2, 29), (3, 31)]), Change::Same);
    assert_eq!(against(&[(2, 23), (3, 25)], &[(2, 60)]), Change::Same);
    assert_eq!(against(&[(2, 10), (3, 38)], &[(2, 12), (4, 48)]), Change::Worse);
    assert_eq!(against(&[], &[(3, 12)]), Change::NotInBase);
    assert_eq!(with_stored(None, Counted::RoundTrips, &[(3, 12)].into(), Alpha(0.0004)).change, Change::NotInBase);
}

/// A stored base of 48 and a candidate that is alike, looked at after 12 handshakes and after 60: how often it is said to be worse.
fn stored_alarms(series: u64, alpha: f64) -> usize {
    let alarmed = |seed: &u64| {
        let mut random = fastrand::Rng::with_seed(*seed);
        // Of a dozen costs each is a chance to be wrong.
        let mut seen = |n: usize, values: &mut BTreeMap<u64, u64>| {
            (0..n).for_each(|_| *values.entry(random.u64(2..14)).or_insert(0) += 1);
        };
        let (mut base, mut candidate) = (BTreeMap::new(), BTreeMap::new());
        seen(48, &mut base);
        [12, 48].into_iter().any(|further| {
            seen(further, &mut candidate);
            more_often(Counted::RoundTrips, &base, &candidate).is_some_and(|chance| chance <= alpha / 2.0)
        })
    };
    (0..series).filter(alarmed).count()
}

#[test]
fn two_that_vary_alike_are_no_alarm_against_a_stored_base_of_very_many() {
    let (series, alpha) = (10_000, COUNTS);
    let alarms = stored_alarms(series, alpha);
    assert!(alarms > 0 && alarms as f64 <= series as f64 * alpha, "{alarms} of {series}");
}

#[test]
fn fisher_s_chances_are_those_of_a_table() {
    // The lady who tastes tea: four of four, and three.
    let close = |found: f64, wanted: f64| (found - wanted).abs() < 1e-9;
    assert!(close(fisher((0, 4), (4, 4)), 1.0 / 70.0) && close(fisher((1, 4), (3, 4)), 17.0 / 70.0));
    assert!(close(fisher((0, 9), (0, 9)), 1.0) && close(fisher((9, 9), (0, 9)), 1.0) && close(fisher((0, 0), (0, 0)), 1.0));
}

#[test]
fn failures_of_either_are_data() {
    let why = ["tls_closed".to_owned()];
    let mut failing = Failing::default();
    failing.push(2, &why, &[]);
    assert!(!failing.is_more() && !failing.is_open());
    let mut failing = Failing::default();
    (0..2).for_each(|_| failing.push(2, &[], &why));
    assert!(failing.is_open() && failing.failures().open);
    (0..7).for_each(|_| failing.push(2, &[], &why));
    let known = failing.failures();
    assert!(failing.is_more() && !known.open, "{known:?}");
    assert_eq!((known.of_base, known.base, known.candidate, known.candidate_why), (18, 0, 9, Some("tls_closed".into())));
}
