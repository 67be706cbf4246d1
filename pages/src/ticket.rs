//! Facts to copy into a ticket: as plain text, and as Markdown.

use maud::{Markup, html};

/// What a ticket should say.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ticket {
    /// In one line.
    pub title: String,
    /// Name and value, in their order.
    pub facts: Vec<(String, String)>,
}

impl Ticket {
    /// One with a title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), facts: Vec::new() }
    }

    /// With a fact more, if there is one.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Option<String>>) -> Self {
        if let Some(value) = value.into().filter(|value| !value.is_empty()) {
            self.facts.push((name.to_owned(), value));
        }
        self
    }

    /// As plain text, a fact a line.
    pub fn text(&self) -> String {
        let facts = self.facts.iter().map(|(name, value)| format!("{name}: {}\n", one_line(value)));
        format!("{}\n{}", one_line(&self.title), facts.collect::<String>())
    }

    /// As Markdown, a fact a list item. What others wrote is not obeyed.
    pub fn markdown(&self) -> String {
        let facts = self.facts.iter().map(|(name, value)| format!("- {name}: {}\n", escaped(value)));
        format!("**{}**\n\n{}", escaped(&self.title), facts.collect::<String>())
    }

    /// Both, to be copied; `id` is this ticket's within its page.
    pub fn render(&self, id: &str) -> Markup {
        let (text, markdown) = (self.text(), self.markdown());
        html! {
            details.ticket {
                summary { "Copy for the ticket" }
                div.copies {
                    @for (kind, words, content) in [("text", "Plain text", &text), ("markdown", "Markdown", &markdown)] {
                        @let of = format!("{id}-{kind}");
                        div.copy {
                            label for=(of) { (words) }
                            textarea id=(of) readonly rows=(content.lines().count().clamp(3, 12)) { (content) }
                            button type="button" data-copy=(of) { "Copy " (words.to_lowercase()) }
                            span role="status" {}
                        }
                    }
                }
            }
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text in which Markdown sees nothing of its own; addresses stay links.
fn escaped(text: &str) -> String {
    let text = one_line(text);
    if text.starts_with("http://") || text.starts_with("https://") {
        return format!("<{}>", text.replace(['<', '>', ' '], ""));
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let ticket = Ticket::new("login from here: the edge is slow").fact("Target", "a_b.test".to_owned());
        ticket
            .fact("Until", None)
            .fact("Evidence", "It took\n<b>312 ms</b>.".to_owned())
            .fact("Link", "http://here/a_b".to_owned())
    }

    #[test]
    fn facts_are_lines_and_what_is_not_there_is_not_said() {
        let said =
            "login from here: the edge is slow\nTarget: a_b.test\nEvidence: It took <b>312 ms</b>.\nLink: http://here/a_b\n";
        assert_eq!(ticket().text(), said);
    }

    #[test]
    fn words_of_others_are_no_markdown_and_no_html() {
        let markdown = ticket().markdown();
        assert!(markdown.contains("- Target: a\\_b.test\n- Evidence: It took \\<b\\>312 ms\\</b\\>.\n- Link: <http://here/a_b>"));
        assert!(markdown.starts_with("**login from here: the edge is slow**\n\n"), "{markdown}");
        let page = ticket().render("t").into_string();
        assert!(!page.contains("<b>") && page.contains("id=\"t-markdown\"") && page.contains("for=\"t-markdown\""));
    }
}
