//! Records in, bytes out: terminal, HTML; for comparisons Markdown, annotations and JUnit, too. Renderers return values; whoever calls them writes.
#![forbid(unsafe_code)]

mod citing;
pub mod compared;
pub mod explained_html;
pub mod explained_terminal;
pub mod html;
pub mod imported_terminal;
pub mod library;
pub mod terminal;
mod waterfall;
