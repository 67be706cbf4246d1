//! The simulator against the RFCs and the stacks it imitates: what else is judged by it must not be judged by itself.

mod captures;
mod link;
mod receiving;
mod sending;
mod timers;
