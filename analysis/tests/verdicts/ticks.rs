//! TCP timestamps that count what no stack of today does, or nothing: what one end alone can say of the other then.

use super::*;
use whostalled_analysis::tcp::flow::Side;

/// Old stacks derived from BSD count half seconds, others slower still; some stamps never change, or change by something else than time.
const UNKNOWN: [i64; 3] = [500, 100, 1_000_000];

/// What the peer of an end that stalls sees, the end's timestamps ticking so.
fn seen_by_its_peer(talk: Talk, side: Side, stall: i64) -> Handshake {
    let plan = if side == C { Plan { stall, ..Plan::default() } } else { Plan { edge: stall, ..Plan::default() } };
    let mut talk = talk;
    let handshake = played(&mut talk, &plan);
    if side == C {
        return handshake.edge_side_only();
    }
    let mut alone = talk.at_client();
    alone.client_pulse = (0..2_000).map(|k| Instant::from_nanos(1_000 * MS + 2 * k * MS)).collect();
    alone
}

#[test]
fn stamps_that_fit_no_tick_say_as_much_as_none() {
    for (side, owner) in [(C, Owner::Client), (S, Owner::Edge)] {
        let label = |talk| {
            let seen = seen_by_its_peer(talk, side, 400 * MS);
            let reading = walk::read(&seen).expect("its SYN was captured");
            let judgement = judged(&seen, reading).1;
            (judgement.verdict.label(), judgement.candidates)
        };
        let none = label(Talk::new().without_timestamps());
        for tick in UNKNOWN {
            let unknown = label(Talk::new().ticking_at(side, tick));
            let open = unknown.0 == "inconclusive" && unknown.1.contains(owner);
            assert!(open || unknown.0.starts_with(<&str>::from(owner)), "{side:?}, a tick of {tick} ms: {unknown:?}");
            assert_eq!(unknown, none, "{side:?}, a tick of {tick} ms");
        }
        for tick in [1, 10] {
            assert_eq!(label(Talk::new().ticking_at(side, tick)).0, <&str>::from(owner), "{side:?}, a tick of {tick} ms");
        }
    }
}

#[test]
fn nor_do_they_tell_of_a_clock_that_was_set() {
    for tick in UNKNOWN {
        let plan = Plan { stall: 400 * MS, ..Plan::default() };
        let seen = played(&mut Talk::new().ticking(tick), &plan);
        assert_eq!(own_step(seen.edge.as_ref().expect("it was captured")), None, "a tick of {tick} ms");
    }
}
