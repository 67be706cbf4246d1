//! A configuration as `/config` shows it: without its secrets.

use serde_json::Value;

use super::modules::words;
use crate::error::Invalid;

/// Names whose values are secrets, as the exporter has them.
const SECRETS: [&str; 6] = ["password", "bearer_token", "credentials", "client_secret", "client_certificate_key", "key"];
/// Below these every value may be one: headers with tokens in them, and cookies.
const HEADERS: [&str; 3] = ["headers", "http_headers", "proxy_connect_header"];
/// Headers that tell nothing of who asks.
const HARMLESS: [&str; 8] =
    ["host", "accept", "accept-encoding", "accept-language", "content-type", "origin", "user-agent", "cache-control"];

/// The text of a configuration, with every secret replaced.
///
/// # Errors
/// If it is no YAML.
pub(super) fn without_secrets(text: &str) -> Result<String, Invalid> {
    let mut value: Value = serde_saphyr::from_str(text).map_err(|e| Invalid(words(&e.to_string())))?;
    hide(&mut value);
    serde_saphyr::to_string(&value).map_err(|e| Invalid(e.to_string()))
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut().filter(|(_, value)| !value.is_null()) {
                match name.as_str() {
                    name if SECRETS.contains(&name) => *value = Value::String("<secret>".into()),
                    "proxy_url" | "token_url" => without_user(value),
                    name if HEADERS.contains(&name) => {
                        let secret = |name: &str| !HARMLESS.contains(&name.to_ascii_lowercase().as_str());
                        let headers = value.as_object_mut().into_iter().flatten();
                        headers.filter(|(name, _)| secret(name)).for_each(|(_, value)| *value = Value::String("<secret>".into()));
                    }
                    _ => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::String(text) => {
            if let Some(encoded) = text.strip_prefix('\0') {
                *text = format!("(binary) {encoded}");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn without_user(value: &mut Value) {
    if let Some(mut url) = value.as_str().and_then(|text| url::Url::parse(text).ok()).filter(|url| url.password().is_some()) {
        // An address that has a host can have a password.
        let _ = url.set_password(Some("<secret>"));
        *value = Value::String(url.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let text = "modules:\n  m:\n    prober: http\n    http:\n      basic_auth: {username: me, password: hunter2}\n      \
            bearer_token: hunter2\n      proxy_url: http://a:hunter2@p.test/\n      headers: {X-Api-Key: hunter2, Accept: text/html}\n      \
            oauth2: {client_id: a, client_secret: hunter2}\n      authorization: {credentials: hunter2, credentials_file: /f}\n";
        let said = without_secrets(text).expect("it is YAML");
        assert!(!said.contains("hunter2"), "{said}");
        for kept in ["username: me", "text/html", "client_id: a", "/f", "p.test", "<secret>"] {
            assert!(said.contains(kept), "{kept} in {said}");
        }
    }
}
