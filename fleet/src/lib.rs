//! Vantages that connect out to a NATS server: nobody needs a way in to them.
//!
//! ```text
//!  agent (serve)                         NATS                           controller (Fleet)
//!    │ ── whostalled.agent.NAME.hello ──────────────────────────────────► │  who is there; every few seconds, and when called
//!    │ ◄───────────────────────────────────── whostalled.agent.NAME.ask ──┤  questions, repeated until they are answered
//!    │ ── whostalled.agent.NAME.answer.SESSION ─────────────────────────► │  answers, in parts
//! ```
//!
//! In: the questions of [`agent`], one at a time, of one controller at a time. Out: their answers. NATS carries a message at most once, so
//! what must arrive is said again: a question bears a number, an agent carries each out once and says its answer as often as it is asked.
//! A bundle is kept by the agent until the controller says that it lies on its disk.
//!
//! A watch over many vantages is beside it ([`receive`], [`Reports`]): agents probe by themselves and hand over rounds.
//!
//! The subjects are such that a server's permissions can tie each agent to its own (`dist/nats`).
#![forbid(unsafe_code)]

mod controller;
mod error;
mod hand_over;
mod kept;
mod line;
mod message;
mod parts;
mod recorded;
mod server;
mod serving;
mod session;
mod subject;
mod vantage_there;
mod watching;

use std::sync::Arc;
use std::time::Duration;

pub use controller::{Fleet, Present};
pub use error::Error;
pub use server::{Server, Tls};
pub use serving::{AskRecorder, Serving, serve};
pub use subject::{Name, NoName};
pub use watching::{Receiving, Reports, attend, receive};

/// Who is told what happens, in one line each.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How long either side may hear nothing of the other before it gives it up: a broker's restart is shorter.
pub const SILENCE: Duration = Duration::from_secs(20);
