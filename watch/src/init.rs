//! A check file to begin with, written by `watch init`.

use settings::Wrong;

use crate::target::ParsedTarget;

/// What is checked where nobody says.
pub const EXAMPLE: &str = "https://www.example.com/";

/// The file, with comments.
///
/// # Errors
/// If `target` is none: says what to write.
pub fn text(target: &str) -> Result<String, Wrong> {
    let ParsedTarget { host, .. } = ParsedTarget::read(target)?;
    let (name, target) = (toml::Value::from(host), toml::Value::from(target));
    Ok(format!(
        r#"# What `whostalled watch` checks. It is read again when it changes. All fields: whostalled watch --schema

[watch]
# vantage = "fra-1"                    # the name of this place; absent: the host's
store = "whostalled.db"                # every round of the last 14 days
listen = "127.0.0.1:9719"              # page, /metrics, /probe
# external_url = "https://watch.example.com/"   # how the page is reached, for links in alerts

[defaults]
interval = "30s"
timeout = "10s"
fire = {{ k = 3, n = 5 }}                # an alert after three bad rounds of the last five
resolve_after = 3                      # and over after three good ones in a row

[defaults.thresholds]                  # beyond what is usual, by whose time it is
culprit = "100ms"
edge = "200ms"
certificate_days = 14                  # an alert so many days before a certificate ends

[[check]]
name = {name}
target = {target}
# labels = {{ team = "edge" }}           # labels of its alerts

# Somebody else's site: if it is slow too, it is this host's own access, and not the edge.
# [[check]]
# name = "elsewhere"
# target = "https://www.example.net/"
# role = "control"

# Nobody is alerted in a maintenance window.
# [[maintenance]]
# checks = ["log*"]
# from = "2026-12-01T02:00:00Z"
# to = "2026-12-01T04:00:00Z"
# every = "7d"

# Who is told: alertmanager, webhook (format = "slack" for Slack and what takes the same) or pagerduty. Secrets lie elsewhere.
# [[receiver]]
# kind = "alertmanager"
# url = "http://127.0.0.1:9093"
#
# [[receiver]]
# kind = "webhook"
# url = {{ env = "SLACK_WEBHOOK" }}
# format = "slack"
"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::CheckFile;

    /// The same with what is commented out, but for comments on it.
    fn uncommented(text: &str) -> String {
        let line = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => rest.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn it_is_valid_as_it_is_and_with_all_that_it_offers() {
        let text = text(EXAMPLE).expect("it is a target");
        let file = CheckFile::parse(&text).expect("it is valid");
        assert_eq!((file.checks.len(), file.receivers.len()), (1, 0));
        let offered = uncommented(&text).replace("\"log*\"", "\"else*\"");
        let all = CheckFile::parse(&offered).unwrap_or_else(|e| panic!("{e}\n{offered}"));
        assert_eq!((all.checks.len(), all.maintenance.len(), all.receivers.len()), (2, 1, 2));
        assert!(all.watch.external_url.is_some());
    }

    #[test]
    fn a_target_is_put_into_it_as_toml() {
        let file = CheckFile::parse(&super::text("https://a.test/?q=\"x\"").expect("it is a target")).expect("it is valid");
        assert_eq!(file.checks[0].target, "https://a.test/?q=\"x\"");
        assert!(super::text("http://a.test/").is_err_and(|said| said.what.contains("plain HTTP")));
    }
}
