//! blackbox_exporter's configuration file, as far as it is done here: modules, each of one kind.
//!
//! In: its YAML. Out: modules, and what of them is refused or ignored. Another kind of prober is a file with a [`Section`] and a variant
//! of [`Kind`]; the compiler names what is missing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use settings::Time;
use settings::words::visible;

use super::http::Http;
use super::tcp::Tcp;
use crate::error::Invalid;

/// A blackbox_exporter configuration.
#[derive(Clone, Debug)]
pub struct Blackbox {
    /// Its modules by name.
    pub modules: BTreeMap<String, Module>,
}

/// A module.
#[derive(Clone, Debug)]
pub struct Module {
    pub(super) kind: Kind,
    pub(super) timeout: Option<Time>,
    rest: Rest,
}

/// What a module does.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Http(Box<Http>),
    Tcp(Box<Tcp>),
    /// Something that is not done here, by the name of its prober.
    NotOffered(String),
}

/// What every kind's section of the file answers for.
pub(super) trait Section {
    /// Fields that are not known here.
    fn rest(&self) -> Vec<&Rest>;
    /// Why what it asks for cannot be done here; absent if it can.
    fn refused(&self) -> Option<String>;
    /// Whether its content can be read.
    fn check(&self) -> Result<(), Invalid>;
}

/// The file, as it is written: every module may have every section, and one is used.
#[derive(Deserialize)]
struct WrittenFile {
    modules: BTreeMap<String, Written>,
}

#[derive(Deserialize)]
struct Written {
    prober: String,
    #[serde(default)]
    timeout: Option<Time>,
    #[serde(default, deserialize_with = "nullable")]
    http: Http,
    #[serde(default, deserialize_with = "nullable")]
    tcp: Tcp,
    #[serde(flatten)]
    rest: Rest,
}

/// Fields that are not known here.
pub(super) type Rest = BTreeMap<String, Value>;

/// Where a name has no value, the default counts.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Default for Blackbox {
    /// What `/probe` offers without a configuration: `http_2xx` and `tcp_connect`, as the exporter's own example does.
    fn default() -> Self {
        let module = |kind| Module { kind, timeout: None, rest: Rest::new() };
        let tcp = |tls| Kind::Tcp(Box::new(Tcp { tls, ..Tcp::default() }));
        let named = [("http_2xx", Kind::Http(Box::default())), ("tcp_connect", tcp(false)), ("tls_connect", tcp(true))];
        Self { modules: named.into_iter().map(|(name, kind)| (name.to_owned(), module(kind))).collect() }
    }
}

impl Blackbox {
    /// Reads a configuration. Modules that ask for what is not done here are in it, and refused when somebody asks for them.
    ///
    /// # Errors
    /// If it is none, or an expression in it cannot be read.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // Binary text need not be UTF-8, which the reader of YAML would have it be: it is marked, and decoded where it may stand.
        let marked = BINARY.replace_all(text, "\"\\0${1}\"");
        let found: WrittenFile = serde_saphyr::from_str(&marked).map_err(|e| Invalid(words(&e.to_string())))?;
        let module = |(name, written): (String, Written)| match written.module() {
            Ok(module) => Ok((name, module)),
            Err(what) => Err(Invalid(format!("module {}: {what}", visible(&name)))),
        };
        Ok(Self { modules: found.modules.into_iter().map(module).collect::<Result<_, _>>()? })
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

/// Whether a field says nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

impl Written {
    fn module(self) -> Result<Module, Invalid> {
        self.http.check()?;
        self.tcp.check()?;
        let kind = match self.prober.as_str() {
            "http" => Kind::Http(Box::new(self.http)),
            "tcp" => Kind::Tcp(Box::new(self.tcp)),
            _ => Kind::NotOffered(self.prober),
        };
        Ok(Module { kind, timeout: self.timeout, rest: self.rest })
    }
}

impl Kind {
    /// Its section; the prober's name where there is none.
    fn section(&self) -> Result<&dyn Section, &str> {
        match self {
            Kind::Http(section) => Ok(section.as_ref()),
            Kind::Tcp(section) => Ok(section.as_ref()),
            Kind::NotOffered(prober) => Err(prober),
        }
    }
}

impl Module {
    /// Fields that are set, and not known here.
    fn unknown(&self) -> Vec<&str> {
        let of_section = self.kind.section().map_or(Vec::new(), |section| section.rest());
        let fields = of_section.into_iter().chain([&self.rest]).flatten();
        fields.filter(|(_, value)| !is_empty(value)).map(|(name, _)| name.as_str()).collect()
    }

    fn ignored(&self) -> Vec<&str> {
        self.unknown().into_iter().filter(|name| HARMLESS.contains(name)).collect()
    }

    /// Why this module cannot be done here; absent if it can.
    pub(super) fn refused(&self) -> Option<String> {
        let section = match self.kind.section() {
            Ok(section) => section,
            Err(prober) => return Some(format!("prober {} is not offered (http and tcp are)", visible(prober))),
        };
        let unknown = self.unknown().into_iter().find(|name| !HARMLESS.contains(name) && !OTHERS.contains(name));
        if let Some(name) = unknown {
            return Some(format!("{} is not done here, and without it a probe would say more than is known", visible(name)));
        }
        section.refused()
    }
}

/// Whether these are regular expressions.
pub(super) fn check_patterns<'a>(field: &str, patterns: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    for pattern in patterns {
        if let Err(error) = Regex::new(pattern) {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            return Err(Invalid(format!("{field}: {pattern:?} is no regular expression: {why}")));
        }
    }
    Ok(())
}

/// Whether this is an address family.
pub(super) fn check_preferred(preferred: Option<&str>) -> Result<(), Invalid> {
    match preferred {
        None | Some("ip4" | "ip6" | "") => Ok(()),
        Some(other) => Err(Invalid(format!("preferred_ip_protocol = {other:?}: it is ip4 or ip6"))),
    }
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

    fn module(section: &str) -> Result<Module, Invalid> {
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
            let method = match &module.kind {
                Kind::Http(http) => http.method.as_str(),
                Kind::Tcp(_) | Kind::NotOffered(_) => "GET",
            };
            assert_eq!((module.refused(), method), (None, "GET"), "{section}");
        }
    }

    #[test]
    fn binary_text_is_sent_as_it_is() {
        let steps = "query_response: [{ send: !!binary AAAACATSFi8= }, { expect_bytes: S }, { send: hello }, { starttls: true }]";
        let module = module(&format!("{{ prober: tcp, tcp: {{ {steps} }} }}")).expect("it is valid");
        assert_eq!(module.refused(), None);
        let Kind::Tcp(tcp) = &module.kind else { panic!("it is of the kind tcp") };
        let sent: Vec<Option<Vec<u8>>> = tcp.query_response.iter().map(|step| step.bytes(None)).collect();
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
            let error = module(section).expect_err(section).to_string();
            assert!(error.starts_with("module m: ") && error.contains("is no regular expression"), "{error}");
        }
    }

    #[test]
    fn an_error_shows_no_credentials() {
        let text = "modules:\n  m:\n    prober: http\n    http:\n      basic_auth: { username: a, password: hunter2 }\n      method: [\n";
        let error = Blackbox::parse(text).expect_err("it breaks off").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
