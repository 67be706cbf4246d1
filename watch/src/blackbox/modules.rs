//! blackbox_exporter's configuration file, as far as it is done here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use prober::tls::Only;
use regex::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use settings::words::visible;

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
    #[serde(default)]
    pub(super) timeout: Option<Time>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) http: Http,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) tcp: Tcp,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// Fields that are not known here.
type Rest = BTreeMap<String, Value>;

/// Where nothing stands behind a name, the default counts.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Clone, Deserialize)]
#[serde(default)]
pub(super) struct Http {
    #[serde(deserialize_with = "nullable")]
    pub(super) valid_status_codes: Vec<u16>,
    #[serde(deserialize_with = "nullable")]
    pub(super) valid_http_versions: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) method: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) body: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) no_follow_redirects: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) follow_redirects: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_ssl: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_not_ssl: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_body_matches_regexp: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_body_not_matches_regexp: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_header_matches: Vec<HeaderMatch>,
    #[serde(deserialize_with = "nullable")]
    pub(super) fail_if_header_not_matches: Vec<HeaderMatch>,
    #[serde(deserialize_with = "nullable")]
    pub(super) tls_config: Tls,
    #[serde(deserialize_with = "nullable")]
    pub(super) basic_auth: Option<Basic>,
    #[serde(deserialize_with = "nullable")]
    pub(super) authorization: Option<Authorization>,
    #[serde(deserialize_with = "nullable")]
    pub(super) bearer_token: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) bearer_token_file: Option<PathBuf>,
    #[serde(deserialize_with = "nullable")]
    pub(super) preferred_ip_protocol: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("method", &self.method).finish_non_exhaustive() // there are credentials in it
    }
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
            follow_redirects: None,
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
#[serde(deny_unknown_fields)]
pub(super) struct HeaderMatch {
    pub(super) header: String,
    pub(super) regexp: String,
    #[serde(default)]
    pub(super) allow_missing: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Basic {
    pub(super) username: String,
    pub(super) username_file: Option<PathBuf>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Authorization {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) credentials_file: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tls {
    #[serde(deserialize_with = "nullable")]
    pub(super) insecure_skip_verify: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "nullable")]
    pub(super) cert_file: Option<PathBuf>,
    #[serde(deserialize_with = "nullable")]
    pub(super) key_file: Option<PathBuf>,
    #[serde(deserialize_with = "nullable")]
    pub(super) server_name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) min_version: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) max_version: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Tcp {
    #[serde(deserialize_with = "nullable")]
    pub(super) query_response: Vec<Step>,
    #[serde(deserialize_with = "nullable")]
    pub(super) tls: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) tls_config: Tls,
    #[serde(deserialize_with = "nullable")]
    pub(super) preferred_ip_protocol: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) ip_protocol_fallback: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

impl Default for Blackbox {
    /// What `/probe` offers without a configuration: `http_2xx` and `tcp_connect`, as the exporter's own example does.
    fn default() -> Self {
        let module = |prober: &str, tls| Module {
            prober: prober.into(),
            timeout: None,
            http: Http::default(),
            tcp: Tcp { tls, ..Tcp::default() },
            rest: Rest::new(),
        };
        let named =
            [("http_2xx", module("http", false)), ("tcp_connect", module("tcp", false)), ("tls_connect", module("tcp", true))];
        Self { modules: named.into_iter().map(|(name, m)| (name.to_owned(), m)).collect() }
    }
}

impl Blackbox {
    /// Reads a configuration. Modules that ask for what is not done here are in it, and refused when somebody asks for them.
    ///
    /// # Errors
    /// If it is none, or an expression in it cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Binary text need not be UTF-8, which the reader of YAML would have it be: it is marked, and decoded where it may stand.
        let marked = BINARY.replace_all(text, "\"\\0${1}\"");
        let found: Self = serde_saphyr::from_str(&marked).map_err(|e| words(&e.to_string()))?;
        for (name, module) in &found.modules {
            module.check().map_err(|what| format!("module {}: {what}", visible(name)))?;
        }
        Ok(found)
    }

    /// What of it is not done here, in words.
    pub fn unsupported(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, module) in &self.modules {
            let name = visible(name);
            match module.refused() {
                Some(why) => found.push(format!("module {name} is refused: {why}")),
                None => found.extend(module.ignored().into_iter().map(|field| format!("module {name}: {field} is ignored"))),
            }
        }
        found
    }
}

/// `!!binary` and the text behind it.
#[expect(clippy::unwrap_used, reason = "the pattern is fixed; a test compiles it")]
static BINARY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"!!binary[ \t]+["']?([A-Za-z0-9+/=]+)["']?"#).unwrap());

/// Fields that change nothing of what a probe finds here.
const HARMLESS: [&str; 5] = ["compression", "enable_http2", "enable_http3", "skip_resolve_phase_with_proxy", "no_proxy"];
/// Sections of other probers.
const OTHERS: [&str; 5] = ["icmp", "dns", "grpc", "unix", "websocket"];

/// The reader's words without the text around the place: there may be credentials in it.
fn words(error: &str) -> String {
    visible(error.lines().next().unwrap_or_default().trim()).into_owned()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

impl Module {
    /// Fields that are set, and not known here.
    fn unknown(&self) -> Vec<&str> {
        let http = [&self.http.rest, &self.http.tls_config.rest];
        let tcp = [&self.tcp.rest, &self.tcp.tls_config.rest];
        let used = if self.prober == "tcp" { tcp } else { http };
        let login = [self.http.basic_auth.as_ref().map(|b| &b.rest), self.http.authorization.as_ref().map(|a| &a.rest)];
        let login = login.into_iter().flatten().filter(|_| self.prober == "http");
        let fields = used.into_iter().chain(login).chain([&self.rest]).flatten();
        fields.filter(|(_, value)| !is_empty(value)).map(|(name, _)| name.as_str()).collect()
    }

    fn ignored(&self) -> Vec<&str> {
        self.unknown().into_iter().filter(|name| HARMLESS.contains(name)).collect()
    }

    /// Why this module cannot be done here; absent if it can.
    pub(super) fn refused(&self) -> Option<String> {
        if !matches!(self.prober.as_str(), "http" | "tcp") {
            return Some(format!("prober {} is not offered (http and tcp are)", visible(&self.prober)));
        }
        let unknown = self.unknown().into_iter().find(|name| !HARMLESS.contains(name) && !OTHERS.contains(name));
        if let Some(name) = unknown {
            return Some(format!("{} is not done here, and without it a probe would say more than is known", visible(name)));
        }
        let compressed = self.http.rest.get("compression").is_some_and(|value| !is_empty(value));
        if self.prober == "http"
            && compressed
            && self.http.headers.keys().any(|name| name.eq_ignore_ascii_case("accept-encoding"))
        {
            return Some("compression with a header Accept-Encoding: bodies are not unpacked here; leave both out".into());
        }
        let versions = &self.http.valid_http_versions;
        if self.prober == "http" && !versions.is_empty() && !versions.iter().any(|v| v.starts_with("HTTP/1.")) {
            return Some(format!("valid_http_versions = {versions:?}: HTTP/1.1 is spoken here"));
        }
        let tls = if self.prober == "tcp" { &self.tcp.tls_config } else { &self.http.tls_config };
        tls.only().err()
    }

    /// Whether what stands in it can be read.
    fn check(&self) -> Result<(), String> {
        let http = &self.http;
        let bodies = [
            ("fail_if_body_matches_regexp", &http.fail_if_body_matches_regexp),
            ("fail_if_body_not_matches_regexp", &http.fail_if_body_not_matches_regexp),
        ];
        let headers = [
            ("fail_if_header_matches", &http.fail_if_header_matches),
            ("fail_if_header_not_matches", &http.fail_if_header_not_matches),
        ];
        let of_bodies = bodies.into_iter().flat_map(|(field, all)| all.iter().map(move |pattern| (field, pattern.as_str())));
        let of_headers = headers.into_iter().flat_map(|(field, all)| all.iter().map(move |rule| (field, rule.regexp.as_str())));
        let of_steps = self.tcp.query_response.iter().filter_map(|step| Some(("expect", step.expect.as_deref()?)));
        for (field, pattern) in of_bodies.chain(of_headers).chain(of_steps) {
            if let Err(error) = Regex::new(pattern) {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                return Err(format!("{field}: {pattern:?} is no regular expression: {why}"));
            }
        }
        for preferred in [&http.preferred_ip_protocol, &self.tcp.preferred_ip_protocol].into_iter().flatten() {
            if !matches!(preferred.as_str(), "ip4" | "ip6" | "") {
                return Err(format!("preferred_ip_protocol = {preferred:?}: it is ip4 or ip6"));
            }
        }
        if http.body.contains('\0') || http.headers.values().any(|value| value.contains(['\0', '\r', '\n'])) {
            return Err("headers and body are text here, without NUL, and headers without line ends".into());
        }
        Ok(())
    }
}

impl Tls {
    /// The version to offer alone, if any.
    pub(super) fn only(&self) -> Result<Option<Only>, String> {
        let version = |text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some("TLS10") => Ok(Some(10)),
            Some("TLS11") => Ok(Some(11)),
            Some("TLS12") => Ok(Some(12)),
            Some("TLS13") => Ok(Some(13)),
            Some(other) => Err(format!("{other:?} is no TLS version: TLS10 to TLS13")),
        };
        match (version(&self.min_version)?, version(&self.max_version)?) {
            (least, Some(most)) if most < 12 || least > Some(most) => {
                Err(format!("max_version = TLS{most}: only TLS 1.2 and 1.3 are spoken here, and none of them is admitted"))
            }
            (_, Some(12)) => Ok(Some(Only::Tls12)),
            (Some(13), _) => Ok(Some(Only::Tls13)),
            _ => Ok(None),
        }
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
        let name = either(&Some(basic.username.clone()), &basic.username_file)?.unwrap_or_default();
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"))))
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
        assert!(said.iter().any(|s| s.starts_with("module icmp is refused: prober icmp is not offered")), "{said:?}");
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn the_exporters_own_expressions_are_expressions_here() {
        for pattern in ["^+OK", "^SSH-2.0-", "PING :([^ ]+)", "^:[^ ]+ 001"] {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }

    fn module(section: &str) -> Result<Module, String> {
        Ok(Blackbox::parse(&format!("modules:\n  m:\n    {section}\n"))?.modules["m"].clone())
    }

    #[test]
    fn sections_and_fields_without_a_value_are_the_defaults() {
        for section in [
            "{ prober: http, timeout: 5s, http: }",
            "{ prober: tcp, tcp: , http: null }",
            "{ prober: http, http: { valid_status_codes: , headers: , tls_config: , basic_auth: , follow_redirects: , oauth2: } }",
        ] {
            let module = module(section).expect(section);
            assert_eq!((module.refused(), module.http.method.as_str()), (None, "GET"), "{section}");
        }
    }

    #[test]
    fn binary_text_is_sent_as_it_is() {
        let steps = "query_response: [{ send: !!binary AAAACATSFi8= }, { expect_bytes: S }, { send: hello }, { starttls: true }]";
        let module = module(&format!("{{ prober: tcp, tcp: {{ {steps} }} }}")).expect("it is valid");
        assert_eq!(module.refused(), None);
        let sent: Vec<Option<Vec<u8>>> = module.tcp.query_response.iter().map(|step| step.bytes(None)).collect();
        assert_eq!(sent, [Some(vec![0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]), None, Some(b"hello\n".to_vec()), None]);
    }

    #[test]
    fn what_is_not_done_here_refuses_its_module_and_no_other() {
        for (section, why) in [
            ("{ prober: http, http: { fail_if_body_json_matches_cel: \"body.a == 1\" } }", "fail_if_body_json_matches_cel"),
            ("{ prober: http, http: { valid_http_versions: [\"HTTP/2.0\"] } }", "HTTP/1.1"),
            ("{ prober: http, http: { compression: gzip, headers: { accept-encoding: gzip } } }", "Accept-Encoding"),
            ("{ prober: http, http: { proxy_url: \"http://p.test\" } }", "proxy_url"),
            ("{ prober: http, http: { tls_config: { max_version: TLS11 } } }", "max_version"),
            ("{ prober: http, http: { basic_auth: { username: a, password_ref: b } } }", "password_ref"),
            ("{ prober: tcp, tcp: { source_ip_address: 192.0.2.1 } }", "source_ip_address"),
            ("{ prober: icmp }", "icmp"),
            ("{ prober: http, htpp: { method: GET } }", "htpp"),
        ] {
            let refused = module(section).expect(section).refused().expect(section);
            assert!(refused.contains(why), "{refused}");
        }
        for section in [
            "{ prober: http, http: { enable_http2: true, fail_if_body_json_matches_cel: null, body_size_limit: 0B }, icmp: {} }",
            "{ prober: http, http: { tls_config: { min_version: TLS13 }, valid_http_versions: [\"HTTP/1.1\", \"HTTP/2.0\"] } }",
        ] {
            let refused = module(section).expect(section).refused();
            assert_eq!(refused.is_some(), section.contains("body_size_limit"), "{section}: {refused:?}");
        }
    }

    #[test]
    fn expressions_that_are_none_are_refused_when_they_are_read() {
        for section in [
            "{ prober: http, http: { fail_if_body_matches_regexp: [\":[\"] } }",
            "{ prober: http, http: { fail_if_body_not_matches_regexp: [\"(\"] } }",
            "{ prober: http, http: { fail_if_header_matches: [{ header: a, regexp: \"*\" }] } }",
            "{ prober: tcp, tcp: { query_response: [{ expect: \"[\" }] } }",
        ] {
            let error = module(section).expect_err(section);
            assert!(error.starts_with("module m: ") && error.contains("is no regular expression"), "{error}");
        }
    }

    #[test]
    fn an_error_shows_no_credentials() {
        let text = "modules:\n  m:\n    prober: http\n    http:\n      basic_auth: { username: a, password: hunter2 }\n      method: [\n";
        let error = Blackbox::parse(text).expect_err("it breaks off");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
