//! The frame of every page: everything in one file, no outside assets, legible on a phone.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use settings::words::visible_lines;

/// A page of ours. `refresh`: it loads itself again every 15 s. `nav`: addresses and words.
///
/// ```
/// let page = whostalled_serving::document("checks", false, &[("/", "home")], &maud::html! { p { "<all> is well" } });
/// assert!(page.contains("<title>whostalled: checks</title>") && page.contains("&lt;all&gt; is well"));
/// ```
pub fn document(title: &str, refresh: bool, nav: &[(&str, &str)], body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if refresh { meta http-equiv="refresh" content="15"; }
                title { "whostalled: " (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                nav { @for (address, words) in nav { a href=(address) { (words) } } }
                (body)
            }
        }
    };
    visible_lines(&markup.into_string()).into_owned()
}
