//! A model of EC2 for tests. In: calls, time, troubles. Out: what EC2 would answer, and what would be there and cost.
//!
//! It does what moto leaves out: client tokens, credit specifications, capacity, throttling, answers that are lost behind what they did, pages
//! of more than one, lists that lag behind, wildcards in filters, images with roots of their own, volumes and interfaces that outlive their
//! instance, instances that end themselves; and it sends a bill. In memory
//! ([`Model`]), and over HTTP on loopback ([`http`]), where an instance may be a real process.
#![forbid(unsafe_code)]

mod bill;
pub mod disks;
pub mod http;
mod instance_side;
pub mod model;
mod pattern;
mod xml;

pub use model::{Model, Refused, Trouble};
