//! Whoever gives up waiting is not to blame for the wait, whatever it says on leaving.

use super::*;
use whostalled_analysis::tcp::flow::Side;

/// Alerts in clear: the orderly end, the user's wish with it, a fatal one.
fn goodbyes() -> [Vec<u8>; 3] {
    let clear = |level, what| record(21, &[level, what]);
    [clear(1, 0), [clear(1, 90), clear(1, 0)].concat(), clear(2, 80)]
}

/// An alert of TLS 1.3 under its keys, and one of TLS 1.2.
fn protected() -> [Vec<u8>; 2] {
    [record(23, &[0; 19]), record(21, &[0; 26])]
}

/// `side` takes its leave, and the other end answers with FIN.
fn leaves(talk: &mut Talk, side: Side, at: i64, said: &[u8]) {
    talk.data(side, at, said, OK);
    talk.fin(side, at + MS / 10);
    talk.fin(side.peer(), at + HALF + MS);
}

#[test]
fn a_client_that_gives_up_on_a_silent_edge_did_not_stall() {
    let flight = flight13();
    for (said, had) in goodbyes().into_iter().flat_map(|said| [0, 300].map(|had| (said.clone(), &flight[..had]))) {
        let mut talk = Talk::new();
        let came = heard(&mut talk);
        if !had.is_empty() {
            talk.data(S, came + MS, had, OK);
            talk.ack(C, came + MS + HALF + 20_000, OK);
        }
        leaves(&mut talk, C, came + 10_000 * MS, &said);
        let [both, client, edge] = all_three(&talk);
        assert_eq!((both.as_str(), edge.as_str()), ("edge", "edge"), "{said:?} behind {} bytes", had.len());
        assert_eq!(client, "inconclusive", "{said:?} behind {} bytes: the rest may have been lost", had.len());
    }
}

#[test]
fn an_edge_that_gives_up_on_a_silent_client_did_not_stall() {
    for said in goodbyes().into_iter().chain(protected().into_iter().take(1)) {
        let mut talk = Talk::new();
        let flown = flown(&mut talk, &flight13());
        talk.ack(C, flown + 20_000, OK);
        leaves(&mut talk, S, flown + 10_000 * MS, &said);
        let [both, client, edge] = all_three(&talk);
        assert_eq!((both.as_str(), client.as_str()), ("client", "client"), "{said:?}");
        assert_eq!(edge, "inconclusive", "{said:?}: its Finished may have been lost");
    }
}

#[test]
fn nor_before_anything_or_a_whole_hello_came() {
    for begun in [&client_hello()[..0], &client_hello()[..40]] {
        let mut talk = Talk::new();
        let connected = talk.connect(1_000 * MS);
        if !begun.is_empty() {
            talk.data(C, connected + MS, begun, OK);
            talk.ack(S, connected + MS + HALF, OK);
        }
        leaves(&mut talk, S, connected + 10_000 * MS, &record(21, &[2, 80]));
        let [both, client, edge] = all_three(&talk);
        assert_eq!((both.as_str(), client.as_str()), ("client", "client"), "{} bytes", begun.len());
        assert!(!edge.contains("edge"), "{} bytes: {edge}", begun.len());
    }
}

#[test]
fn a_client_that_waits_for_the_servers_finished_gives_up_on_the_edge() {
    let mut talk = Talk::new();
    let flown = flown(&mut talk, &[server_hello([1; 32], &[]), certificate_and_done()].concat());
    talk.data(C, flown + 2 * MS, &[record(22, &[16, 0, 0, 1, 0]), finished12()].concat(), OK);
    talk.ack(S, flown + 2 * MS + HALF + 20_000, OK);
    leaves(&mut talk, C, flown + 10_000 * MS, &protected()[1]);
    let [both, _, edge] = all_three(&talk);
    assert_eq!((both.as_str(), edge.as_str()), ("edge", "edge"));
}

/// What answers something is a decision, and its time the decider's own.
#[test]
fn an_alert_that_answers_is_no_giving_up() {
    for (said, waited) in goodbyes().into_iter().flat_map(|said| [(said.clone(), MS), (said, 300 * MS)]) {
        let mut talk = Talk::new();
        let came = heard(&mut talk);
        leaves(&mut talk, S, came + waited, &said);
        let [both, _, edge] = all_three(&talk);
        assert!([&both, &edge].into_iter().all(|label| label.contains("edge")), "{said:?}: {both}, {edge}");
        let mut talk = Talk::new();
        let flown = flown(&mut talk, &flight13());
        leaves(&mut talk, C, flown + waited, &said);
        let [both, client, _] = all_three(&talk);
        assert!([&both, &client].into_iter().all(|label| label.contains("client")), "{said:?}: {both}, {client}");
    }
}
