//! The vocabulary of verdicts: who, doing what, where in the handshake, and what would tell.
//!
//! In: nothing. Out: for each [`Owner`], [`Kind`], [`Phase`] and [`Missing`] one row: its label, its words for people, which kinds an owner
//! may have and what a sentence says of them. The tables are matches without a catch-all, so that the compiler asks for the row of
//! whatever is added; `docs/verdicts.md` is held against them by the tests.

mod kind;
mod label;
mod missing;
mod owner;
mod phase;
#[cfg(test)]
mod tests;

pub use kind::{Clause, Kind};
pub use label::{Label, UnknownLabel, in_words};
pub use missing::Missing;
pub use owner::Owner;
pub use phase::Phase;
