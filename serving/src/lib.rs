//! What verbs that run always (`watch`, `capture`) serve alike.
//!
//! In: a page's body, a registry of metrics. Out: a page in one file ([`document()`]), the answer to a scrape
//! ([`mod@exposition`]), and what OpenTelemetry wants of the same ([`mod@otlp`]).
#![forbid(unsafe_code)]

mod document;
pub mod exposition;
pub mod otlp;

pub use document::document;
