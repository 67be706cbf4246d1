//! What all pages share, served or written to a file.
//!
//! In: a body. Out: a page in one file without outside assets ([`Frame`]), with landmarks for screen readers, links to a part of it that
//! open what they lead to, and facts to copy into a ticket ([`Ticket`]).
#![forbid(unsafe_code)]

mod ticket;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use settings::words::visible_lines;

pub use ticket::Ticket;

/// Styles of a page that is a document: headings, tables, plain drawings; a page's own may stand behind them.
pub const PLAIN: &str = include_str!("plain.css");

/// Time between two looks of a page at what it shows, in seconds.
const REFRESH: u32 = 15;

/// A page but for its body.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What it is about.
    pub title: &'a str,
    /// Its own styles, behind those that all pages have.
    pub styles: &'a str,
    /// Whether it shows itself anew every 15 s.
    pub refresh: bool,
    /// Addresses and words of other pages.
    pub nav: &'a [(&'a str, &'a str)],
}

impl Frame<'_> {
    /// The page. Control characters in it are shown, not obeyed.
    ///
    /// ```
    /// let frame = whostalled_pages::Frame { title: "checks", styles: "", refresh: false, nav: &[("/", "home")] };
    /// let page = frame.around(&maud::html! { p { "<all> is well" } });
    /// assert!(page.contains("<title>whostalled: checks</title>") && page.contains("&lt;all&gt; is well"));
    /// ```
    pub fn around(&self, body: &Markup) -> String {
        let refresh = self.refresh.then_some(REFRESH);
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    // With scripts the page renews itself without losing the reader's place.
                    @if let Some(seconds) = refresh { noscript { meta http-equiv="refresh" content=(seconds); } }
                    title { "whostalled: " (self.title) }
                    style { (PreEscaped(include_str!("shared.css"))) (PreEscaped(self.styles)) }
                }
                body data-refresh=[refresh] {
                    @if !self.nav.is_empty() {
                        nav aria-label="Pages" { @for (address, words) in self.nav { a href=(address) { (words) } } }
                    }
                    p.trouble #stale role="alert" hidden {}
                    main { (body) }
                    script { (PreEscaped(include_str!("shared.js"))) }
                }
            }
        };
        visible_lines(&markup.into_string()).into_owned()
    }
}

/// A part of a page that is wider than a phone: it scrolls by itself, also by keyboard.
pub fn scrolling(label: &str, inner: &Markup) -> Markup {
    html! { div.scroll role="group" aria-label=(label) tabindex="0" { (inner) } }
}

/// Lines to type into a shell: they are not broken, so they scroll as [`scrolling`] does.
pub fn commands(lines: &str) -> Markup {
    html! { pre.scroll role="group" aria-label="Commands" tabindex="0" { (lines) } }
}

/// A link to a part of this page, for whoever wants to hand it on.
pub fn permalink(id: &str, of: &str) -> Markup {
    html! { a.permalink href=(format!("#{id}")) aria-label=(format!("Link to {of}")) title="Link to this" { "#" } }
}
