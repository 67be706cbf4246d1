//! A message as Slack's incoming webhooks take it; Mattermost, Rocket.Chat and Discord (`/slack`) take the same.
//!
//! In: an event. Out: the body. Source of the fields and their limits: Slack's documentation of attachments and of message text.

use serde_json::{Value, json};

use crate::event::{Event, shortened};
use crate::family::Severity;

/// Slack cuts a text there.
const MOST_TEXT: usize = 4_000;
/// A title longer than this is no title.
const MOST_TITLE: usize = 150;

/// The body.
pub(super) fn body(event: &Event) -> Value {
    let color = match (event.resolved, event.severity()) {
        (true, _) => "good",
        (false, Severity::Critical) => "danger",
        (false, Severity::Warning) => "warning",
    };
    let summary = escaped(&event.summary(), MOST_TEXT);
    let field = |title: &str, value: &str| json!({ "title": title, "value": escaped(value, MOST_TEXT), "short": true });
    let mut fields = vec![
        field("Who", event.blame.culprit.whose()),
        field("What", &event.blame.in_words()),
        field("Target", &event.target),
        field("From", &event.places()),
        field("Since", &event.since.to_string()),
    ];
    fields.extend(event.ended.map(|ended| field("Until", &ended.to_string())));
    fields.extend(event.labels.iter().map(|(name, value)| field(name, value)));
    let mut attachment = json!({
        "color": color,
        "fallback": summary,
        "title": escaped(&event.check, MOST_TITLE),
        "text": escaped(&event.blame.sentence, MOST_TEXT),
        "fields": fields,
        "footer": "whostalled",
        "ts": event.ended.unwrap_or(event.since).secs(),
    });
    if let Some(link) = &event.link {
        attachment["title_link"] = json!(link);
    }
    json!({ "text": summary, "attachments": [attachment] })
}

/// Text as Slack wants it: three characters are its own.
fn escaped(text: &str, most: usize) -> String {
    shortened(text, most).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixSeconds;
    use crate::culprit::Culprit;
    use crate::receiver::tests::event;

    #[test]
    fn a_message_says_who_and_where_to_look() {
        let on = body(&event(Culprit::Edge, None));
        assert!(on["text"].as_str().is_some_and(|text| text.starts_with("login from here: the edge")), "{on}");
        let shown = &on["attachments"][0];
        assert_eq!((&shown["color"], &shown["title_link"]), (&json!("warning"), &json!("http://here/check/login")));
        assert!(
            shown["fields"].as_array().expect("a list").contains(&json!({ "title": "team", "value": "edge", "short": true }))
        );
        let from = |event: &Event| body(event)["attachments"][0]["fields"][3]["value"].clone();
        let of_a_fleet = Event { seen_from: vec!["a05".into(), "a11".into()], ..event(Culprit::Path, None) };
        assert_eq!((from(&event(Culprit::Path, None)), from(&of_a_fleet)), (json!("here"), json!("a05 and a11")));
        let over = body(&event(Culprit::Edge, Some(UnixSeconds::from_secs(1_800_000_050))));
        assert_eq!(over["attachments"][0]["color"], "good");
    }

    #[test]
    fn words_of_others_are_neither_links_nor_longer_than_it_takes() {
        let mut strange = event(Culprit::Edge, None);
        strange.blame.sentence = format!("<!channel> & {}", "x".repeat(9_000));
        let text = body(&strange)["attachments"][0]["text"].as_str().expect("text").to_owned();
        assert!(text.starts_with("&lt;!channel&gt; &amp; x") && text.chars().count() < MOST_TEXT + 20, "{text}");
    }
}
