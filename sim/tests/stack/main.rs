//! The simulator against the RFCs and the stacks it imitates: what else is judged by it must not be judged by itself.

mod around;
mod between;
mod captures;
mod late;
mod link;
mod read;
mod receiving;
mod sending;
mod sights;
mod spoken;
mod timers;
