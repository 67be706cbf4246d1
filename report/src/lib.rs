//! Runs in, bytes out: terminal, HTML. Renderers return values; whoever calls them writes.
#![forbid(unsafe_code)]

pub mod html;
pub mod model;
pub mod terminal;
mod waterfall;
