//! What verbs that run always (`watch`, `capture`) serve alike.
//!
//! In: a page's body, a registry of metrics. Out: a page in one file ([`document()`]), and the answer to a scrape ([`mod@exposition`]).
#![forbid(unsafe_code)]

mod document;
pub mod exposition;

pub use document::document;
