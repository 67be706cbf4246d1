//! A message as Slack's incoming webhooks take it; Mattermost, Rocket.Chat and Discord (`/slack`) take the same.
//!
//! In: an event. Out: the body. Source of the fields and their limits: Slack's documentation of attachments and of message text.

use serde_json::{Value, json};

use crate::event::Event;
use crate::family::Severity;

/// A text is cut there: Slack cuts at 4,000 characters, Discord refuses more than 2,000.
const MOST_TEXT: usize = 2_000;
/// A field's value: Discord refuses more than 1,024 characters, and more than 6,000 of a message in all.
const MOST_VALUE: usize = 400;
/// A title longer than this is no title; Discord refuses more than 256 characters.
const MOST_TITLE: usize = 150;
/// Fields: Discord refuses more.
const MOST_FIELDS: usize = 25;

/// The body.
pub(super) fn body(event: &Event) -> Value {
    let color = match (event.resolved, event.severity()) {
        (true, _) => "good",
        (false, Severity::Critical) => "danger",
        (false, Severity::Warning) => "warning",
    };
    let summary = escaped(&event.summary(), MOST_TEXT);
    let field = |title: &str, value: &str| json!({ "title": escaped(title, MOST_TITLE), "value": escaped(value, MOST_VALUE), "short": true });
    let mut fields = vec![
        field("Who", event.blame.culprit.whose()),
        field("What", &event.blame.in_words()),
        field("Target", &event.target),
        field("From", &event.places()),
        field("Since", &event.since.to_string()),
    ];
    fields.extend(event.ended.map(|ended| field("Until", &ended.to_string())));
    fields.extend(event.labels.iter().map(|(name, value)| field(name, value)));
    let mut left = MOST_TEXT;
    fields.retain(|field| {
        let length = |part: &str| field[part].as_str().map_or(0, |text| text.chars().count());
        let room = left.checked_sub(length("title") + length("value"));
        left = room.unwrap_or(left);
        room.is_some()
    });
    fields.truncate(MOST_FIELDS);
    let mut attachment = json!({
        "color": color,
        "fallback": summary,
        "title": escaped(&event.check, MOST_TITLE),
        "text": escaped(&event.blame.sentence, MOST_TEXT),
        "fields": fields,
        // Names of others have stars and underscores that mean nothing.
        "mrkdwn_in": [],
        "footer": "whostalled",
        "ts": event.ended.unwrap_or(event.since).secs(),
    });
    if let Some(link) = &event.link {
        attachment["title_link"] = json!(link);
    }
    json!({ "text": summary, "mrkdwn": false, "attachments": [attachment] })
}

/// Text as Slack wants it: three characters are its own. Cut as it is sent.
fn escaped(text: &str, most: usize) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let whole = escape(text);
    if whole.chars().count() <= most {
        return whole;
    }
    let (mut cut, mut left) = (String::new(), most.saturating_sub(1));
    for c in text.chars() {
        let piece = escape(c.encode_utf8(&mut [0; 4]));
        let Some(room) = left.checked_sub(piece.chars().count()) else { break };
        left = room;
        cut.push_str(&piece);
    }
    cut + "…"
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
        assert!(text.starts_with("&lt;!channel&gt; &amp; x") && text.chars().count() == MOST_TEXT, "{text}");
    }

    #[test]
    fn what_is_cut_is_cut_as_it_is_sent_and_all_of_it_has_a_bound() {
        let mut long = event(Culprit::Edge, None);
        long.target = "&".repeat(900);
        long.blame.sentence = "<".repeat(5_000);
        long.labels = (0..100).map(|n| (format!("label_{n}"), "x".repeat(300))).collect();
        let sent = body(&long);
        let shown = &sent["attachments"][0];
        let length = |text: &Value| text.as_str().map_or(0, |text| text.chars().count());
        let fields = shown["fields"].as_array().expect("a list");
        let target = &fields[2]["value"];
        assert!(length(target) <= MOST_VALUE && target.as_str().is_some_and(|t| t.ends_with("&amp;…")), "{target}");
        assert!(length(&sent["text"]) <= 2_000 && fields.len() <= MOST_FIELDS);
        let all: usize = fields.iter().map(|field| length(&field["title"]) + length(&field["value"])).sum();
        assert!(all + length(&shown["title"]) + length(&shown["text"]) <= 6_000);
    }
}
