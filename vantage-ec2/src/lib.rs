//! Instances of EC2 as vantages that end in time: the pure part, and the thin adapter to AWS.
//!
//! ```text
//! request ─► serve: up, list, down, reap ──► Cloud (a dozen calls) ─► aws: aws-sdk-ec2
//!              plan, prices, credits, tags,     └► tests: a model of EC2 whose every call can fail
//!              user data, what is reaped
//! ```
//!
//! Money is the risk: whatever begins here must end although this process is killed, AWS does not answer, or answers wrongly. Four things end
//! an instance, none of which needs another: `down`, the instance's own timer, shutdown that terminates, and `reap` (docs/ec2.md).
#![forbid(unsafe_code)]

pub mod aws;
pub mod clock;
pub mod cloud;
pub mod credits;
mod down;
mod list;
mod patience;
pub mod price;
pub mod reap;
pub mod serve;
pub mod settings;
pub mod tags;
mod up;
pub mod user_data;
