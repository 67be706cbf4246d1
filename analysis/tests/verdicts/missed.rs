//! Handshakes of which the capture missed a last message: as complete as any other.

use super::*;

/// A handshake in which the client takes `stall` before its Finished, with a request and an answer behind it; the capture at `end` misses
/// the packets of that length which carry `missed`.
fn without(version: Version, stall: i64, end: whostalled_analysis::tcp::flow::Side, missed: &[u8]) -> (Reading, Judgement) {
    let finished = if version == Version::Tls12 { finished12() } else { finished13() };
    saying(version, stall, end, &finished, missed)
}

/// The same with a client whose packet with Finished holds `finished`.
fn saying(
    version: Version,
    stall: i64,
    end: whostalled_analysis::tcp::flow::Side,
    finished: &[u8],
    missed: &[u8],
) -> (Reading, Judgement) {
    let mut talk = Talk::new();
    let old = version == Version::Tls12;
    let came = flown(&mut talk, &flight_of(version));
    let finished_at = came + MS + stall;
    talk.data(C, finished_at, finished, OK);
    talk.ack(S, finished_at + HALF + 20_000, OK);
    if old {
        talk.data(S, finished_at + HALF + MS, &last(), OK);
    }
    let asked_at = finished_at + 2 * HALF + 2 * MS;
    talk.data(C, asked_at, &record(23, &[0; 200]), OK);
    talk.data(S, asked_at + HALF + MS, &record(23, &[0; 300]), OK);
    talk.ack(C, asked_at + 2 * HALF + 2 * MS, OK);
    let tap = if end == C { talk.client_tap() } else { talk.edge_tap() };
    let before = tap.len();
    tap.retain(|(_, frame)| missed.is_empty() || !frame.ends_with(missed));
    assert_eq!(tap.len(), before - usize::from(!missed.is_empty()), "one packet was missed");
    let handshake = if end == C { talk.at_client() } else { talk.handshake().edge_side_only() };
    let reading = walk::read(&handshake).expect("its SYN was captured");
    judged(&handshake, reading)
}

fn flight_of(version: Version) -> Vec<u8> {
    match version {
        Version::Tls12 => [server_hello([1; 32], &[]), certificate_and_done()].concat(),
        _ => flight13(),
    }
}

/// What a server of TLS 1.2 says last.
fn last() -> Vec<u8> {
    [record(20, &[1]), record(22, &[7; 40])].concat()
}

#[test]
fn a_missed_finished_leaves_a_handshake_complete() {
    for (version, finished) in [(Version::Tls12, finished12()), (Version::Tls13, finished13())] {
        for end in [C, S] {
            let (whole, all) = without(version, 0, end, &[]);
            let (reading, judgement) = without(version, 0, end, &finished);
            assert_eq!((reading.end, judgement.verdict.label()), (End::Complete, all.verdict.label()), "{version:?} {end:?}");
            let apart = (reading.ledger.total - whole.ledger.total).abs();
            assert!(apart <= Span::from_millis(1), "{version:?} {end:?}: {} {}", reading.ledger.total, whole.ledger.total);
        }
    }
}

#[test]
fn a_finished_that_was_missed_with_the_request_behind_it_leaves_it_complete() {
    let both = [finished13(), record(23, &[0; 80])].concat();
    let (whole, all) = saying(Version::Tls13, 0, C, &both, &[]);
    let (reading, judgement) = saying(Version::Tls13, 0, C, &both, &both);
    assert_eq!((reading.end, judgement.verdict.label()), (End::Complete, all.verdict.label()));
    let apart = (reading.ledger.total - whole.ledger.total).abs();
    assert!(apart <= Span::from_millis(1), "{} {}", reading.ledger.total, whole.ledger.total);
}

#[test]
fn a_missed_answer_to_finished_leaves_a_handshake_complete() {
    let (whole, _) = without(Version::Tls12, 0, C, &[]);
    let (reading, judgement) = without(Version::Tls12, 0, C, &last());
    assert_eq!((reading.end, judgement.verdict.label()), (End::Complete, "healthy".into()));
    // That it came, the client's next word tells.
    let later = reading.ledger.total - whole.ledger.total;
    assert!((Span::ZERO..=Span::from_millis(3)).contains(&later), "{later}");
}

#[test]
fn who_was_late_with_what_nobody_saw_is_left_open() {
    for (version, finished) in [(Version::Tls12, finished12()), (Version::Tls13, finished13())] {
        assert_eq!(without(version, 400 * MS, C, &[]).1.verdict.label(), "client");
        let (reading, judgement) = without(version, 400 * MS, C, &finished);
        assert_eq!((reading.end, judgement.verdict.label()), (End::Complete, "inconclusive".into()), "{version:?}");
        assert!(judgement.candidates.is_superset(Owner::Client | Owner::Path | Owner::Loss), "{:?}", judgement.candidates);
    }
}

/// A client that takes 500 ms before its last words, of which the capture at its end misses the first packet, with so many bytes of what
/// is said before them.
fn certified(version: Version, in_first: usize, half_rtt: bool) -> Judgement {
    let mut talk = Talk::new();
    let old = version == Version::Tls12;
    let came = flown(&mut talk, &flight_of(version));
    // ClientKeyExchange, or a certificate: at once.
    let first = if old { record(22, &[16; 70]) } else { [record(20, &[1]), record(23, &[0; 700])].concat() };
    let (first, second) = first.split_at(in_first.min(first.len()));
    talk.data(C, came + MS, first, OK);
    talk.ack(S, came + MS + HALF + 20_000, OK);
    if half_rtt {
        // Settings, as servers of HTTP/2 send them before they have heard Finished.
        talk.data(S, came + 2 * MS + HALF, &record(23, &[0; 40]), OK);
    }
    let finished_at = came + 501 * MS;
    let finished = if old { finished12() } else { record(23, &[0; 53]) };
    talk.data(C, finished_at, &[second, &finished].concat(), OK);
    talk.ack(S, finished_at + HALF + 20_000, OK);
    if old {
        talk.data(S, finished_at + HALF + MS, &last(), OK);
    }
    let asked_at = finished_at + 2 * HALF + 2 * MS;
    talk.data(C, asked_at, &record(23, &[0; 200]), OK);
    talk.data(S, asked_at + HALF + MS, &record(23, &[0; 300]), OK);
    talk.ack(C, asked_at + 2 * HALF + 2 * MS, OK);
    talk.client_tap().retain(|(_, frame)| !frame.ends_with(first));
    let handshake = talk.at_client();
    let reading = walk::read(&handshake).expect("its SYN was captured");
    assert!(reading.ledger.total > Span::from_millis(500), "{version:?}: {}", reading.ledger.total);
    judged(&handshake, reading).1
}

#[test]
fn what_was_captured_behind_a_hole_stays_the_clients_last_word() {
    for (version, in_first, half_rtt) in [
        (Version::Tls12, 5_000, false),
        (Version::Tls13, 5_000, false),
        (Version::Tls13, 400, false),
        (Version::Tls13, 5_000, true),
    ] {
        let judgement = certified(version, in_first, half_rtt);
        assert_ne!(judgement.verdict.label(), "healthy", "{version:?} {in_first} {half_rtt}: half a second before Finished");
    }
}

#[test]
fn what_was_cut_off_was_not_broken_off() {
    // The client's last data never come, its FIN does; the capture holds the first bytes of each packet.
    let seen = |cut: usize| {
        let mut talk = Talk::new();
        let came = flown(&mut talk, &flight13());
        talk.data(C, came + MS, &finished13(), OK);
        talk.ack(S, came + MS + HALF + 20_000, OK);
        talk.data(C, came + 2 * MS, &record(23, &[0; 90]), LOST);
        talk.fin(C, came + 3 * MS);
        talk.edge_tap().iter_mut().for_each(|(_, frame)| frame.truncate(cut));
        let handshake = talk.handshake().edge_side_only();
        let reading = walk::read(&handshake).expect("its SYN was captured");
        (reading.end, handshake)
    };
    assert_eq!(seen(usize::MAX).0, End::Complete);
    let (_, handshake) = seen(68);
    let circumstances = Circumstances::of(&handshake);
    let reading = walk::read(&handshake).expect("its SYN was captured");
    let judged = judge(&reading, Circumstances { ended_by: circumstances.ended_by, ..Circumstances::default() });
    let label = judged.verdict.label();
    assert!(label.starts_with("aborted"), "else this shows nothing: {label} {:?}", reading.end);
    let whole = judge(&reading, circumstances);
    assert_eq!((whole.verdict.label(), whole.missing), ("inconclusive".into(), Missing::WholePackets.into()));
}
