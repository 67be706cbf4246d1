//! A ClientHello that was begun and never finished: nobody had anything to answer yet.

use super::*;

/// A client that says this much and no more, until somebody (`closer`) gives up so long behind it.
fn stuck(said: &[u8], closer: whostalled_analysis::tcp::flow::Side, waited: i64) -> Talk {
    let mut talk = Talk::new();
    let said_at = talk.connect(1_000 * MS) + MS;
    talk.data(C, said_at, said, OK);
    talk.ack(S, said_at + HALF + 20_000, OK);
    talk.fin(closer, said_at + waited);
    talk.fin(closer.peer(), said_at + waited + HALF + MS);
    talk
}

#[test]
fn the_edge_is_not_waited_for_before_a_hello_is_whole() {
    let hello = client_hello();
    let cut = hello[..40].to_vec();
    // The same message in two records, of which the second never follows; a header and nothing behind it.
    let by_records = record(22, &hello[5..45]);
    for said in [cut, by_records, hello[..11].to_vec()] {
        for (closer, waited) in [(C, 500 * MS), (S, 10_000 * MS)] {
            let talk = stuck(&said, closer, waited);
            let read = |seen: &Handshake| judged(seen, walk::read(seen).expect("its SYN was captured")).1;
            let [both, client, edge] =
                [talk.handshake(), talk.at_client(), talk.handshake().edge_side_only()].map(|seen| read(&seen));
            let case = format!("{} bytes, closed by {closer:?}", said.len());
            for (whose, judgement) in [("both", &both), ("client", &client), ("edge", &edge)] {
                let label = judgement.verdict.label();
                let accuses = label.contains("edge") && !(closer == S && label == "aborted/edge");
                assert!(
                    !accuses && !judgement.candidates.contains(Owner::Edge),
                    "{case}, {whose}: {label} {:?}",
                    judgement.candidates
                );
            }
            assert!(["client", "aborted/client"].contains(&both.verdict.label().as_str()), "{case}: {}", both.verdict.label());
        }
    }
}

#[test]
fn a_client_without_room_for_the_rest_is_not_waited_for() {
    let mut talk = Talk::new();
    talk.offers(S, 60);
    let said_at = talk.connect(1_000 * MS) + MS;
    talk.data(C, said_at, &client_hello()[..60], OK);
    talk.offers(S, 0);
    for second in 0..9 {
        talk.ack(S, said_at + HALF + 20_000 + second * 1_000 * MS, OK);
        talk.ack(C, said_at + 900 * MS + second * 1_000 * MS, OK);
    }
    talk.fin(C, said_at + 10_000 * MS);
    let seen = talk.handshake();
    for (whose, judgement) in [("both", both(&seen).1), ("edge", edge(&seen).1)] {
        let label = judgement.verdict.label();
        assert!(!label.starts_with("client"), "{whose}: {label}");
    }
}

#[test]
fn an_edge_without_room_for_the_rest_of_its_flight_is_not_waited_for() {
    let mut talk = Talk::new();
    let came = heard(&mut talk);
    talk.data(S, came + MS, &flight13()[..300], OK);
    talk.offers(C, 0);
    for second in 0..9 {
        talk.ack(C, came + MS + HALF + 20_000 + second * 1_000 * MS, OK);
        talk.ack(S, came + 900 * MS + second * 1_000 * MS, OK);
    }
    // There the capture ends.
    let seen = talk.handshake();
    for (whose, judgement) in [("both", both(&seen).1), ("edge", edge(&seen).1)] {
        let label = judgement.verdict.label();
        assert!(!label.starts_with("edge"), "{whose}: {label}");
    }
}
