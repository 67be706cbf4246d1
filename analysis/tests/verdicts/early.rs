//! What comes before it is asked for (False Start, early data, what answers that, TCP Fast Open) holds nothing up, and frees nobody.

use super::*;

/// TLS 1.2 as clients speak it that start early (RFC 7918): the request leaves `asked` behind Finished, which the edge answers after
/// `answered`.
fn false_start(asked: i64, answered: i64) -> Talk {
    let mut talk = Talk::new();
    let flown = flown(&mut talk, &[server_hello([1; 32], &[]), certificate_and_done()].concat());
    let finished = flown + 2 * MS;
    talk.data(C, finished, &[record(22, &[16, 0, 0, 1, 0]), finished12()].concat(), OK);
    talk.ack(S, finished + HALF + 20_000, OK);
    talk.data(C, finished + asked, &record(23, &[0; 90]), OK);
    talk.ack(S, finished + asked + HALF + 20_000, OK);
    talk.data(S, finished + HALF + answered, &finished12(), OK);
    talk.ack(C, finished + 2 * HALF + answered + 20_000, OK);
    talk
}

#[test]
fn a_false_start_is_not_what_the_servers_finished_waits_for() {
    assert_eq!(all_three(&false_start(MS, 2 * MS)), ["healthy"; 3]);
    for asked in [MS, 200 * MS, 450 * MS] {
        let [both, client, edge] = all_three(&false_start(asked, 500 * MS));
        assert_eq!((both.as_str(), edge.as_str()), ("edge", "edge"), "asked {asked} ns behind it");
        assert!(!client.starts_with("client"), "asked {asked} ns behind it: {client}");
    }
}

/// Early data each 50 ms while the edge says nothing for `waited`.
#[test]
fn early_data_frees_no_server() {
    let mut talk = Talk::new();
    let hello = talk.connect(1_000 * MS) + MS;
    talk.data(C, hello, &early_hello(), OK);
    talk.ack(S, hello + HALF + 20_000, OK);
    for piece in 1..10 {
        talk.data(C, hello + piece * 50 * MS, &record(23, &[0; 100]), OK);
        talk.ack(S, hello + piece * 50 * MS + HALF + 20_000, OK);
    }
    let flight_at = hello + HALF + 460 * MS;
    talk.data(S, flight_at, &flight13(), OK);
    talk.ack(C, flight_at + HALF + 20_000, OK);
    talk.data(C, flight_at + HALF + MS, &finished13(), OK);
    talk.ack(S, flight_at + 2 * HALF + MS + 20_000, OK);
    let [both, client, edge] = all_three(&talk);
    assert_eq!((both.as_str(), edge.as_str()), ("edge", "edge"));
    assert!(!client.starts_with("client"), "{client}");
}

/// ClientHello in the SYN (RFC 7413), a flight `late` behind it: the acknowledgement of SYN-ACK comes meanwhile.
#[test]
fn what_came_with_syn_is_answered_not_greeted() {
    let fast = |late: i64| {
        let mut talk = Talk::new();
        let (at, hello) = (1_000 * MS, client_hello());
        talk.syn_with(at, &hello);
        talk.data(S, at + HALF + late, &flight13(), OK);
        talk.ack(C, at + 2 * HALF + late + 20_000, OK);
        talk.data(C, at + 2 * HALF + late + MS, &finished13(), OK);
        talk.ack(S, at + 3 * HALF + late + MS + 20_000, OK);
        all_three(&talk)
    };
    assert_eq!(fast(MS), ["healthy"; 3]);
    for late in [60, 100, 300] {
        let [both, _, edge] = fast(late * MS);
        assert_eq!((both.as_str(), edge.as_str()), ("edge", "edge"), "{late} ms");
    }
}
