//! What passes over a pipe or a broker: one JSON object a line, a question of the controller's, then its answer.
//!
//! The vantage speaks first ([`Answer::Hello`]). Each question has exactly one answer; a question that cannot be answered has
//! [`Answer::Failed`], and the vantage goes on listening.

use analysis::clock::{Instant, Unplaced};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::hello::Hello;
use crate::plan::{Go, Plan, Ready};

/// The controller asks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask", content = "with")]
pub enum Ask {
    /// Make ready for a batch.
    Prepare(Box<Plan>),
    /// Lift the barrier.
    Go(Go),
    /// Wait for the clients, and hand over what was seen.
    Collect,
    /// What time is it?
    Time,
}

/// The vantage answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer", content = "with")]
pub enum Answer {
    /// At the beginning.
    Hello(Hello),
    /// To [`Ask::Prepare`].
    Ready(Ready),
    /// To [`Ask::Go`].
    Gone,
    /// To [`Ask::Collect`].
    Bundle(Box<Bundle>),
    /// To [`Ask::Time`].
    Time {
        /// The vantage's wall clock.
        now_ns: Instant<Unplaced>,
    },
    /// It could not be done.
    Failed {
        /// What failed, and what to do.
        why: String,
    },
}
