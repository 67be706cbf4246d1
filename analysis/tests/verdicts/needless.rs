//! Repetitions that nobody needed: what was sent first had come, and its acknowledgement was late or lost.

use super::*;

/// A client without timestamps whose Finished leaves at 0 and at these times behind; which copies come, and how late all is that comes back.
fn finished(again: &[i64], came: &[bool], late: i64) -> Talk {
    let mut talk = Talk::new().without_timestamps();
    let said_at = flown(&mut talk, &flight13()) + MS;
    let start = talk.sent(C);
    let held = Fate { held: late, ..OK };
    let mut first = true;
    for (after, came) in [0].iter().chain(again).zip(came) {
        let at = said_at + after * MS;
        let fate = if *came { OK } else { LOST };
        if *after == 0 {
            talk.data(C, at, &finished13(), fate);
        } else {
            talk.again(C, at, start, &finished13(), fate);
        }
        if *came {
            let end = talk.sent(C);
            let twice = [(start, end)];
            talk.tell(S, at + HALF + 20_000, end, if first { &[] } else { &twice }, held);
            first = false;
        }
    }
    talk
}

fn at_client(talk: &Talk) -> Judgement {
    let seen = talk.at_client();
    let reading = walk::read(&seen).expect("its SYN was captured");
    judged(&seen, reading).1
}

#[test]
fn what_came_as_often_as_it_was_sent_was_not_lost() {
    for again in [&[220][..], &[220, 660], &[220, 660, 1_500]] {
        let last = again[again.len() - 1];
        let talk = finished(again, &[true; 4], last * MS + 40 * MS);
        let judgement = at_client(&talk);
        assert_eq!(judgement.verdict.label(), "inconclusive", "{again:?}");
        assert!(judgement.candidates.contains(Owner::Path), "{again:?}: {:?}", judgement.candidates);
        assert_eq!(both(&talk.handshake()).1.verdict.label(), "healthy");
    }
}

#[test]
fn where_more_came_than_the_last_the_first_may_have() {
    // Of three copies two came: which, the client cannot see.
    for came in [[true, false, true], [false, true, true]] {
        let judgement = at_client(&finished(&[220, 660], &came, 700 * MS));
        assert_eq!(judgement.verdict.label(), "inconclusive", "{came:?}");
        assert!(judgement.candidates.is_superset(Owner::Loss | Owner::Path), "{:?}", judgement.candidates);
    }
}

#[test]
fn what_came_once_was_lost_before() {
    assert_eq!(at_client(&finished(&[220], &[false, true], 0)).verdict.label(), "loss/out");
    assert_eq!(at_client(&finished(&[220, 660], &[false, false, true], 0)).verdict.label(), "loss/out");
    // A probe behind it was needless, and tells nothing of the first.
    assert_eq!(at_client(&finished(&[220, 250], &[false, true, true], 0)).verdict.label(), "loss/out");
}
