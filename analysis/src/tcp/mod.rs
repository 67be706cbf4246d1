//! What one connection looked like to one observer: flows, windows, copies, timestamps, identifications.

#[cfg(test)]
pub(crate) mod by_hand;
pub(crate) mod copies;
pub(crate) mod covered;
pub mod flow;
mod gaps;
pub(crate) mod identification;
mod refused;
pub(crate) mod seen;
pub(crate) mod stamps;
pub mod table;
