//! Doubt before reading: may the packets of a connection be believed as they lie in the capture?
//!
//! In: a view, in the order of its file. Out: the same with garbage stamps out, in the order of time, each packet once; and whether
//! two places of capture lie in one file. Clocks that were set are set straight ([`straight`]).

pub mod offset;
pub mod one_way;
pub mod order;
pub mod standpoint;
pub mod straight;
pub mod taps;
#[cfg(test)]
mod tests;
