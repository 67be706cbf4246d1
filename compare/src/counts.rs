//! What passed on one connection → counts.
//!
//! In: the bytes in the order in which they passed, and what the client knows. Out: a number for each [`Counted`] that is an edge's.

use analysis::tcp::flow::Side;
use analysis::tls::{Dialogue, Order};
use records::compared::Counted;

/// Bytes of a full segment on Ethernet with IPv4 (RFC 879).
pub const SEGMENT: u64 = 1_460;
/// Segments that may leave before the first acknowledgement (RFC 6928).
const INITIAL_WINDOW: u64 = 10;

/// What passed, in order: whose, and what.
pub type Passed = Vec<(Side, Vec<u8>)>;

/// What the client knows of a handshake, beside what passed.
#[derive(Clone, Default, Debug)]
pub struct Known {
    /// How often it had to wait for the edge before it could ask.
    pub waited: usize,
    /// Whether it was answered when it asked.
    pub answered: bool,
    /// Bytes of each certificate of the chain.
    pub chain: Vec<usize>,
    /// Whether a session was resumed.
    pub resumed: bool,
}

impl Known {
    /// What is counted by this alone.
    pub fn counts(&self) -> Vec<(Counted, u64)> {
        vec![
            (Counted::RoundTrips, self.waited as u64 + u64::from(self.answered)),
            (Counted::Certificates, self.chain.len() as u64),
            (Counted::ChainBytes, self.chain.iter().sum::<usize>() as u64),
            (Counted::Resumed, u64::from(self.resumed)),
        ]
    }
}

/// Counts one handshake with the request behind it. Tickets of TLS 1.3 are in none of the counts: nobody waits for them, and whether they
/// come before the request does is chance.
pub fn count(passed: &Passed, known: &Known) -> Vec<(Counted, u64)> {
    let turns = turns(passed);
    let answers = turns.iter().filter(|(side, _)| *side == Side::Server).take(known.waited);
    let from_server: Vec<&[u8]> = answers.map(|(_, bytes)| bytes.as_slice()).collect();
    let longest = from_server.iter().map(|bytes| bytes.len() as u64).max().unwrap_or(0);
    let from_client: Vec<u8> = passed.iter().filter(|(side, _)| *side == Side::Client).flat_map(|(_, b)| b.clone()).collect();
    let from_server = from_server.concat();
    let dialogue = Dialogue::of_bytes(&from_client, &from_server, Order::default());
    let mut counts = vec![
        (Counted::ServerRecords, records(&from_server)),
        (Counted::ServerBytes, from_server.len() as u64),
        (Counted::SegmentsBeyondInitialWindow, longest.div_ceil(SEGMENT).saturating_sub(INITIAL_WINDOW)),
        (Counted::HelloRetryRequests, u64::from(dialogue.hello_retry.is_some())),
    ];
    counts.extend(known.counts());
    counts.sort_unstable();
    counts
}

/// Who spoke, in turns.
fn turns(passed: &Passed) -> Passed {
    let mut turns: Passed = Vec::new();
    for (side, bytes) in passed {
        match turns.last_mut() {
            Some((last, said)) if last == side => said.extend_from_slice(bytes),
            _ => turns.push((*side, bytes.clone())),
        }
    }
    turns
}

/// TLS records in whole bytes of them (RFC 8446, 5.1).
pub fn records(mut bytes: &[u8]) -> u64 {
    let mut found = 0;
    while let [_, _, _, high, low, rest @ ..] = bytes {
        found += 1;
        bytes = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: u8, len: u16) -> Vec<u8> {
        let mut bytes = vec![content, 3, 3];
        bytes.extend(len.to_be_bytes());
        bytes.resize(5 + usize::from(len), 0);
        bytes
    }

    fn counted(passed: &Passed, waited: usize, what: Counted) -> u64 {
        let known = Known { waited, answered: true, chain: vec![900, 1_100], resumed: false };
        count(passed, &known).into_iter().find(|(w, _)| *w == what).expect("it is counted").1
    }

    #[test]
    fn flights_are_counted_however_they_are_cut_and_tickets_are_not() {
        let flight = record(22, 90);
        let passed = vec![
            (Side::Client, record(22, 300)),
            (Side::Server, flight[..40].to_vec()),
            (Side::Server, [&flight[40..], &record(23, 2_000)].concat()),
            (Side::Client, record(23, 50)),
            (Side::Server, record(23, 230)),
            (Side::Client, record(23, 80)),
            (Side::Server, record(23, 500)),
        ];
        let wanted = [Counted::RoundTrips, Counted::ServerRecords, Counted::ServerBytes, Counted::SegmentsBeyondInitialWindow];
        assert_eq!(wanted.map(|what| counted(&passed, 1, what)), [2, 2, 95 + 2_005, 0]);
        assert_eq!([Counted::Certificates, Counted::ChainBytes].map(|what| counted(&passed, 1, what)), [2, 2_000]);
    }

    #[test]
    fn a_flight_of_more_than_ten_segments_needs_a_larger_window() {
        let flight = |len: usize| vec![(Side::Client, record(22, 300)), (Side::Server, vec![0; len]), (Side::Client, vec![0; 9])];
        let beyond = |len: usize| counted(&flight(len), 1, Counted::SegmentsBeyondInitialWindow);
        assert_eq!([14_600, 14_601, 17_520].map(beyond), [0, 1, 2]);
    }

    #[test]
    fn nothing_that_passed_is_nothing() {
        assert_eq!(counted(&vec![], 0, Counted::ServerBytes), 0);
        assert_eq!(counted(&vec![(Side::Server, vec![22, 3])], 1, Counted::ServerRecords), 0);
    }
}
