//! blackbox_exporter's configuration file, as far as it is done here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::conversation::Step;
use crate::duration::Time;

/// A blackbox_exporter configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Blackbox {
    /// Its modules by name.
    pub modules: BTreeMap<String, Module>,
}

/// A module.
#[derive(Clone, Debug, Deserialize)]
pub struct Module {
    pub(super) prober: String,
    pub(super) timeout: Option<Time>,
    #[serde(default)]
    pub(super) http: Http,
    #[serde(default)]
    pub(super) tcp: Tcp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Http {
    pub(super) valid_status_codes: Vec<u16>,
    pub(super) valid_http_versions: Vec<String>,
    pub(super) method: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
    pub(super) no_follow_redirects: Option<bool>,
    pub(super) follow_redirects: bool,
    pub(super) fail_if_ssl: bool,
    pub(super) fail_if_not_ssl: bool,
    pub(super) fail_if_body_matches_regexp: Vec<String>,
    pub(super) fail_if_body_not_matches_regexp: Vec<String>,
    pub(super) fail_if_header_matches: Vec<HeaderMatch>,
    pub(super) fail_if_header_not_matches: Vec<HeaderMatch>,
    pub(super) tls_config: Tls,
    pub(super) basic_auth: Option<Basic>,
    pub(super) authorization: Option<Authorization>,
    pub(super) bearer_token: Option<String>,
    pub(super) bearer_token_file: Option<PathBuf>,
    pub(super) preferred_ip_protocol: Option<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, serde_json::Value>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            valid_status_codes: vec![],
            valid_http_versions: vec![],
            method: "GET".into(),
            headers: BTreeMap::new(),
            body: String::new(),
            no_follow_redirects: None,
            follow_redirects: true,
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_matches_regexp: vec![],
            fail_if_body_not_matches_regexp: vec![],
            fail_if_header_matches: vec![],
            fail_if_header_not_matches: vec![],
            tls_config: Tls::default(),
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            preferred_ip_protocol: None,
            ip_protocol_fallback: None,
            rest: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct HeaderMatch {
    pub(super) header: String,
    pub(super) regexp: String,
    #[serde(default)]
    pub(super) allow_missing: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Basic {
    pub(super) username: String,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Authorization {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) credentials_file: Option<PathBuf>,
}

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tls {
    pub(super) insecure_skip_verify: bool,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tcp {
    pub(super) query_response: Vec<Step>,
    pub(super) tls: bool,
    pub(super) tls_config: Tls,
    pub(super) preferred_ip_protocol: Option<String>,
    pub(super) ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, serde_json::Value>,
}

impl Default for Blackbox {
    /// What `/probe` offers without a configuration: `http_2xx` and `tcp_connect`, as the exporter's own example does.
    fn default() -> Self {
        let module = |prober: &str, tls| Module {
            prober: prober.into(),
            timeout: None,
            http: Http::default(),
            tcp: Tcp { tls, ..Tcp::default() },
        };
        let named =
            [("http_2xx", module("http", false)), ("tcp_connect", module("tcp", false)), ("tls_connect", module("tcp", true))];
        Self { modules: named.into_iter().map(|(name, m)| (name.to_owned(), m)).collect() }
    }
}

impl Blackbox {
    /// Reads a configuration.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|e| e.to_string())
    }

    /// What of it is not done here, in words.
    pub fn unsupported(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, m) in &self.modules {
            if !matches!(m.prober.as_str(), "http" | "tcp") {
                found.push(format!("module {name}: prober {} is not offered", m.prober));
            }
            let ignored = [&m.http.rest, &m.http.tls_config.rest, &m.tcp.rest, &m.tcp.tls_config.rest];
            found.extend(ignored.iter().flat_map(|r| r.keys()).map(|field| format!("module {name}: {field} is ignored")));
        }
        found
    }
}

/// The header that the module's credentials make.
pub(super) fn authorization(module: &Http) -> Result<Option<(String, String)>, String> {
    let file = |path: &PathBuf| {
        std::fs::read_to_string(path).map(|s| s.trim().to_owned()).map_err(|e| format!("{}: {e}", path.display()))
    };
    let either = |plain: &Option<String>, path: &Option<PathBuf>| match (plain, path) {
        (_, Some(path)) => file(path).map(Some),
        (plain, None) => Ok(plain.clone()),
    };
    let value = if let Some(basic) = &module.basic_auth {
        use base64::Engine;
        let password = either(&basic.password, &basic.password_file)?.unwrap_or_default();
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{password}", basic.username))))
    } else if let Some(given) = &module.authorization {
        let credentials = either(&given.credentials, &given.credentials_file)?;
        credentials.map(|c| format!("{} {c}", given.kind.as_deref().unwrap_or("Bearer")))
    } else {
        either(&module.bearer_token, &module.bearer_token_file)?.map(|token| format!("Bearer {token}"))
    };
    Ok(value.map(|v| ("Authorization".to_owned(), v)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn an_exporters_own_configuration_is_taken_as_it_is() {
        let text = r#"
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]
      valid_status_codes: []
      method: GET
      headers: { Accept-Language: en-US }
      no_follow_redirects: false
      fail_if_body_not_matches_regexp: ["ok"]
      tls_config: { insecure_skip_verify: false, min_version: TLS12 }
      preferred_ip_protocol: "ip4"
      ip_protocol_fallback: false
      compression: gzip
  irc_banner:
    prober: tcp
    tcp:
      query_response:
        - send: "NICK prober"
        - expect: "PING :([^ ]+)"
          send: "PONG ${1}"
  smtp_starttls:
    prober: tcp
    tcp:
      query_response:
        - expect: "^220 "
        - send: "STARTTLS\r"
        - starttls: true
  icmp: { prober: icmp }
"#;
        let modules = Blackbox::parse(text).expect("it is valid");
        assert_eq!(modules.modules.len(), 4);
        let said = modules.unsupported();
        assert!(said.contains(&"module http_2xx: compression is ignored".to_owned()), "{said:?}");
        assert!(said.contains(&"module icmp: prober icmp is not offered".to_owned()), "{said:?}");
        assert!(said.contains(&"module http_2xx: min_version is ignored".to_owned()), "{said:?}");
        assert_eq!(said.len(), 3, "{said:?}");
    }

    #[test]
    fn the_exporters_own_expressions_are_expressions_here() {
        for pattern in ["^+OK", "^SSH-2.0-", "PING :([^ ]+)", "^:[^ ]+ 001"] {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }
}
