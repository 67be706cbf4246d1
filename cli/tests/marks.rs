//! Recordings of real stacks with the injectors' truth, graded as `zoo-grade` does: each handshake from both ends, from the edge's capture
//! and from the client's.
//!
//! The recordings are no part of this repository (the zoo's own are: `make zoo-recorded`): where their folder is not given
//! ([`testing::captures`]), the test says that it was skipped.

use std::path::Path;

use zoo::grade::{Outcome, rows};

/// So many readings may be half right, open or missed. None may name somebody who did nothing.
const MOST_NOT_RIGHT: usize = 2;

#[test]
fn nobody_is_named_wrongly_between_real_stacks() {
    let Some(folder) = testing::captures(testing::Need::Faults) else { return };
    let rows = rows(&folder, Path::new(env!("CARGO_BIN_EXE_whostalled")), &[]).expect("the recordings read");
    let not_right: Vec<String> = rows
        .iter()
        .filter(|r| r.outcome != Outcome::Right)
        .map(|r| format!("{} {} {} {:?}: {}, may be {:?}", r.mode, r.case, r.handshake, r.outcome, r.label, r.expected))
        .collect();
    println!("{} readings, {} not right", rows.len(), not_right.len());
    assert!(rows.iter().all(|r| r.outcome != Outcome::Wrong), "{not_right:#?}");
    assert!(not_right.len() <= MOST_NOT_RIGHT, "{not_right:#?}");
}
