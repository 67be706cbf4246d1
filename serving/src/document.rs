//! The frame of every page that is served, and how it looks.

use maud::Markup;
use pages::Frame;

/// A page of ours. `refresh`: it shows itself anew every 15 s. `nav`: addresses and words.
///
/// ```
/// let page = whostalled_serving::document("checks", false, &[("/", "home")], &maud::html! { p { "<all> is well" } });
/// assert!(page.contains("<title>whostalled: checks</title>") && page.contains("&lt;all&gt; is well"));
/// ```
pub fn document(title: &str, refresh: bool, nav: &[(&str, &str)], body: &Markup) -> String {
    Frame { title, styles: include_str!("page.css"), refresh, nav }.around(body)
}
