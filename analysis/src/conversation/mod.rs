//! One connection as a conversation: its messages, its ends, when it has shown all that matters, and the walk that says whose time it took.

pub mod app;
pub(crate) mod ends;
pub mod handshake;
pub mod host;
pub mod milestone;
pub(crate) mod missed;
pub mod reset;
pub mod settle;
pub mod socket;
pub mod turns;
pub mod walk;
