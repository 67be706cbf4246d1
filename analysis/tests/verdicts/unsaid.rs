//! From one end, where no acknowledgement of its own says that something came: what is left open holds the truth.

use super::*;

/// A flight that answers at once, so that nothing acknowledges ClientHello by itself, and whose first copy is lost.
fn flight_lost(timestamps: bool) -> Talk {
    let mut talk = if timestamps { Talk::new() } else { Talk::new().without_timestamps() };
    let hello = talk.connect(1_000 * MS) + MS;
    talk.data(C, hello, &client_hello(), OK);
    let flight_at = hello + HALF + MS;
    talk.data(S, flight_at, &flight13(), LOST);
    talk.again(S, flight_at + 240 * MS, 0, &flight13(), OK);
    let came = flight_at + 240 * MS + HALF;
    finishes(&mut talk, came);
    talk
}

#[test]
fn the_answers_first_copy_may_be_what_was_lost() {
    for timestamps in [true, false] {
        let talk = flight_lost(timestamps);
        assert_eq!(both(&talk.handshake()).1.verdict.label(), "loss/back");
        let seen = talk.at_client();
        let (_, judgement) = judged(&seen, walk::read(&seen).expect("a SYN"));
        assert_eq!(judgement.verdict.label(), "inconclusive", "timestamps: {timestamps}");
        assert!(judgement.candidates.contains(Owner::Loss), "timestamps: {timestamps}: {:?}", judgement.candidates);
    }
}

/// A client whose program stalls for so long, and whose acknowledgement of the flight is lost.
#[test]
fn a_lost_acknowledgement_hides_a_program_that_was_slow() {
    for stall in [250, 400, 900] {
        let mut talk = Talk::new();
        let flight_at = heard(&mut talk) + MS;
        talk.data(S, flight_at, &flight13(), OK);
        let came = flight_at + HALF;
        talk.ack(C, came + 10_000, LOST);
        talk.data(C, came + stall * MS, &finished13(), OK);
        talk.ack(S, came + stall * MS + HALF + 20_000, OK);
        let [both, client, _] = all_three(&talk);
        assert_eq!((both.as_str(), client.as_str()), ("client", "client"), "{stall} ms");
        let (_, judgement) = edge(&talk.handshake());
        let blamed = judgement.verdict.label();
        assert!(blamed == "client" || judgement.candidates.contains(Owner::Client), "{stall} ms: {:?}", judgement.candidates);
    }
}

/// A pause of a program behind one small piece, whose acknowledgement waits for the next (delayed), is late, or is lost.
#[test]
fn a_pause_shorter_than_a_timer_is_the_programs_from_wherever_it_is_seen() {
    for (pause, delayed, fate) in [(95, 200, OK), (150, 0, Fate { held: 180 * MS, ..OK }), (150, 0, LOST), (180, 1, OK)] {
        let mut talk = Talk::new();
        let flown = flown(&mut talk, &flight13());
        talk.data(C, flown + MS, &record(20, &[1]), OK);
        if delayed < pause {
            talk.ack(S, flown + MS + HALF + delayed * MS, fate);
        }
        let finished = flown + MS + pause * MS;
        talk.data(C, finished, &record(23, &[0; 53]), OK);
        talk.ack(S, finished + HALF + 20_000, OK);
        assert_eq!(all_three(&talk), ["client"; 3], "{pause} ms");
    }
}
