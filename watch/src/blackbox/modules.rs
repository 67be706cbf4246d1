//! blackbox_exporter's configuration file: modules, each of one kind.
//!
//! In: its YAML. Out: modules, and what of them is refused or ignored. Another kind of prober is a file with a [`Section`] and a variant
//! of [`Kind`]; the compiler names what is missing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use settings::Time;
use settings::words::visible;

use super::dns::Dns;
use super::http::Http;
use super::icmp::Icmp;
use super::tcp::Tcp;
use super::{octets, shown};
use crate::error::Invalid;

/// A blackbox_exporter configuration.
#[derive(Clone, Debug)]
pub struct Blackbox {
    /// Its modules by name.
    pub modules: BTreeMap<String, Module>,
    /// As YAML, without its secrets.
    pub shown: String,
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
    Icmp(Box<Icmp>),
    Dns(Box<Dns>),
    /// Something that is not done here, by the name of its prober.
    NotOffered(String),
}

/// What every kind's section of the file answers for.
pub(super) trait Section {
    /// Fields that are not known here.
    fn rest(&self) -> Vec<&Rest>;
    /// Why what it asks for cannot be done here; absent if it can.
    fn refused(&self) -> Option<String>;
    /// Whether its content can be read, and means something.
    fn check(&self) -> Result<(), Invalid>;
}

/// The file, as it is written: every module may have every section, and one is used.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    #[serde(default, deserialize_with = "nullable")]
    modules: BTreeMap<String, Option<Written>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(deserialize_with = "nullable")]
    prober: String,
    timeout: Option<Time>,
    #[serde(deserialize_with = "nullable")]
    http: Http,
    #[serde(deserialize_with = "nullable")]
    tcp: Tcp,
    #[serde(deserialize_with = "nullable")]
    icmp: Icmp,
    dns: Option<Dns>,
    #[serde(flatten)]
    rest: Rest,
}

/// Fields that are not known here.
pub(super) type Rest = BTreeMap<String, Value>;

/// Where a name has no value, the default counts.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list, whose elements without a value are none.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<Option<T>>>::deserialize(deserializer)?.into_iter().flatten().flatten().collect())
}

/// What is empty is not written.
pub(super) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<PathBuf>::deserialize(deserializer)?.filter(|path| !path.as_os_str().is_empty()))
}

impl Default for Blackbox {
    /// What `/probe` offers without a configuration: `http_2xx` and `tcp_connect`, as the exporter's own example does.
    fn default() -> Self {
        let module = |kind| Module { kind, timeout: None, rest: Rest::new() };
        let tcp = |tls| Kind::Tcp(Box::new(Tcp::speaking(tls)));
        let named = [
            ("http_2xx", Kind::Http(Box::default())),
            ("tcp_connect", tcp(false)),
            ("tls_connect", tcp(true)),
            ("icmp", Kind::Icmp(Box::default())),
        ];
        let modules = named.into_iter().map(|(name, kind)| (name.to_owned(), module(kind))).collect();
        let shown = "modules:\n  http_2xx: {prober: http}\n  icmp: {prober: icmp}\n  tcp_connect: {prober: tcp}\n  \
            tls_connect: {prober: tcp, tcp: {tls: true}}\n";
        Self { modules, shown: shown.into() }
    }
}

impl Blackbox {
    /// Reads a configuration. Modules that ask for what is not done here are in it, and refused when somebody asks for them.
    ///
    /// # Errors
    /// If it is none, or what it says of a module cannot be meant: then the exporter would not take it either.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let document = first_document(text);
        if !document.lines().any(says_something) {
            // A file that is being written, perhaps: what it said before stands.
            return Err(Invalid("the file is empty".into()));
        }
        let marked = octets::mark(document);
        let found: Option<WrittenFile> = serde_saphyr::from_str(&marked).map_err(|e| Invalid(words(&e.to_string())))?;
        let module = |(name, written): (String, Option<Written>)| match written.unwrap_or_default().module() {
            Ok(module) => Ok((name, module)),
            Err(what) => Err(Invalid(format!("module {}: {what}", visible(&name)))),
        };
        let modules = found.unwrap_or_default().modules.into_iter().map(module).collect::<Result<_, _>>()?;
        Ok(Self { modules, shown: shown::without_secrets(&marked)? })
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

/// The first of several documents: the exporter reads no other.
fn first_document(text: &str) -> &str {
    let (mut at, mut begun) = (0, false);
    for line in text.split_inclusive('\n') {
        let ends = line.starts_with("---") && begun || line.trim_end() == "...";
        if ends {
            return &text[..at];
        }
        begun |= says_something(line);
        at += line.len();
    }
    text
}

/// Whether a line is more than a comment or a directive.
fn says_something(line: &str) -> bool {
    let bare = line.trim_start_matches('\u{feff}').trim();
    !(bare.is_empty() || bare.starts_with(['#', '%']))
}

/// Fields that change nothing of what a probe finds here.
const HARMLESS: [&str; 1] = ["enable_http3"];
/// Sections of other probers.
const OTHERS: [&str; 3] = ["grpc", "unix", "websocket"];
/// Fields that exporters have and that are not done here: in a section that is not used they do no harm.
const ELSEWHERE: [&str; 6] =
    ["oauth2", "fail_if_body_json_matches_cel", "fail_if_body_json_not_matches_cel", "ca", "cert", "key"];

/// The reader's words without the text around the place: there may be credentials in it.
pub(super) fn words(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default().trim();
    // What a programmer would set is none of the reader's business.
    visible(line.split(", set ").next().unwrap_or(line)).into_owned()
}

/// Whether a field says nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

impl Written {
    fn module(self) -> Result<Module, Invalid> {
        let dns = self.dns.as_ref();
        let sections: [Option<&dyn Section>; 4] = [Some(&self.http), Some(&self.tcp), Some(&self.icmp), dns.map(|dns| dns as _)];
        sections.into_iter().flatten().try_for_each(Section::check)?;
        let used = ["http", "tcp", "icmp", "dns"].iter().position(|name| *name == self.prober);
        let unused = sections.iter().enumerate().filter(|(n, _)| Some(*n) != used).filter_map(|(_, section)| *section);
        let misspelt = unused.flat_map(Section::rest).flatten().filter(|(name, _)| {
            let known = |list: &[&str]| list.contains(&name.as_str());
            !known(&ELSEWHERE) && !known(&HARMLESS) && !name.ends_with("_ref")
        });
        let rest: Rest = misspelt.chain(&self.rest).map(|(name, value)| (name.clone(), value.clone())).collect();
        let kind = match self.prober.as_str() {
            "http" => Kind::Http(Box::new(self.http)),
            "tcp" => Kind::Tcp(Box::new(self.tcp)),
            "icmp" => Kind::Icmp(Box::new(self.icmp)),
            "dns" => Kind::Dns(Box::new(self.dns.unwrap_or_default())),
            _ => Kind::NotOffered(self.prober),
        };
        Ok(Module { kind, timeout: self.timeout, rest })
    }
}

impl Kind {
    /// Its section; the prober's name where there is none.
    fn section(&self) -> Result<&dyn Section, &str> {
        match self {
            Kind::Http(section) => Ok(section.as_ref()),
            Kind::Tcp(section) => Ok(section.as_ref()),
            Kind::Icmp(section) => Ok(section.as_ref()),
            Kind::Dns(section) => Ok(section.as_ref()),
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
            Err("") => return Some("it names no prober".into()),
            Err(prober) => return Some(format!("prober {} is not offered (http, tcp, icmp and dns are)", visible(prober))),
        };
        let unknown = self.unknown().into_iter().find(|name| !HARMLESS.contains(name) && !OTHERS.contains(name));
        if let Some(name) = unknown {
            return Some(format!("{} is not done here, and without it a probe would say more than is known", visible(name)));
        }
        section.refused()
    }
}

/// Which addresses a section wants: as in the exporter, IPv6 where there is any, and the other family where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(super) enum Preferred {
    #[serde(rename = "ip4")]
    V4,
    #[serde(rename = "ip6", alias = "")]
    V6,
    /// Anything else: the exporter takes it for IPv4.
    #[serde(other)]
    Other,
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
      headers: { Accept-Language: en-US, X-Number: 1 }
      no_follow_redirects: no
      fail_if_body_not_matches_regexp: ["ok", '{"status":"UP"}']
      tls_config: { insecure_skip_verify: false, min_version: TLS12 }
      preferred_ip_protocol: "ip4"
      ip_protocol_fallback: false
      compression: gzip
      enable_http3: false
      body_size_limit: 10MB
  irc_banner:
    prober: tcp
    tcp:
      query_response:
        - send: "NICK prober"
        - expect: "PING :([^ ]+)"
          send: "PONG ${1}"
  icmp: { prober: icmp, timeout: 1m30s, icmp: { ttl: 5, payload_size: 100 } }
  dns: { prober: dns, dns: { query_name: a.test, query_type: SOA, valid_rcodes: [NOERROR] } }
  merged: &base
    prober: http
    http: &http { method: POST }
  other:
    <<: *base
    http:
      <<: *http
      body: "{}"
  grpc: { prober: grpc, grpc: { tls: true } }
"#;
        let modules = Blackbox::parse(text).expect("it is valid");
        assert_eq!(modules.modules.len(), 7);
        let said = modules.unsupported();
        assert!(said.len() == 1 && said[0].starts_with("module grpc is refused: prober grpc is not offered"), "{said:?}");
        let Kind::Http(other) = &modules.modules["other"].kind else { panic!("it is of the kind http") };
        assert_eq!((other.method.as_str(), other.body.bytes.as_slice()), ("POST", &b"{}"[..]));
    }

    fn module(section: &str) -> Result<Module, Invalid> {
        Ok(Blackbox::parse(&format!("modules:\n  m:\n    {section}\n"))?.modules["m"].clone())
    }

    #[test]
    fn sections_and_fields_without_a_value_are_the_defaults() {
        for section in [
            "{ prober: http, timeout: 5s, http: }",
            "{ prober: tcp, tcp: , http: null }",
            "{ prober: dns, dns: , icmp: null }",
            "{ prober: http, http: { valid_status_codes: , headers: , tls_config: , basic_auth: , follow_redirects: , oauth2: } }",
        ] {
            let module = module(section).expect(section);
            let method = match &module.kind {
                Kind::Http(http) => http.method.as_str(),
                Kind::Tcp(_) | Kind::Icmp(_) | Kind::Dns(_) | Kind::NotOffered(_) => "",
            };
            assert_eq!((module.refused(), method), (None, ""), "{section}");
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
            ("{ prober: http, http: { valid_http_versions: [\"HTTP/3.0\"] } }", "HTTP/3"),
            ("{ prober: http, http: { enable_http3: true } }", "HTTP/3"),
            ("{ prober: http, http: { proxy_url: \"socks5://p.test\" } }", "proxy_url"),
            ("{ prober: http, http: { oauth2: { client_id: a } } }", "oauth2"),
            ("{ prober: http, http: { tls_config: { max_version: TLS11 } } }", "max_version"),
            ("{ prober: http, http: { basic_auth: { username: a, password_ref: b } } }", "password_ref"),
            ("{ prober: tcp, tcp: { source_ip_address: nowhere } }", "source_ip_address"),
            ("{ prober: dns, dns: { query_name: a, validate_answer_rrs: { fail_if_matches_regexp: [\"[\"] } } }", "expression"),
            ("{ prober: dns, dns: { query_name: a, valid_rcodes: [NOPE] } }", "NOPE"),
            ("{ prober: grpc }", "grpc"),
            ("{ prober: unix, unix: { query_response: [] } }", "unix"),
            ("{ timeout: 5s }", "names no prober"),
            ("{ prober: http, htpp: { method: GET } }", "htpp"),
        ] {
            let refused = module(section).expect(section).refused().expect(section);
            assert!(refused.contains(why), "{refused}");
        }
        for section in [
            "{ prober: http, http: { enable_http2: true, fail_if_body_json_matches_cel: null, body_size_limit: 0B }, icmp: {} }",
            "{ prober: http, http: { tls_config: { min_version: TLS13 }, valid_http_versions: [\"HTTP/1.1\", \"HTTP/2.0\"] } }",
        ] {
            assert_eq!(module(section).expect(section).refused(), None, "{section}");
        }
    }

    #[test]
    fn what_the_exporter_does_not_read_is_refused_when_it_is_read() {
        for (section, why) in [
            ("{ prober: http, http: { fail_if_body_matches_regexp: [\":[\"] } }", "is no regular expression"),
            ("{ prober: http, http: { fail_if_body_not_matches_regexp: [\"(\"] } }", "is no regular expression"),
            ("{ prober: http, http: { fail_if_header_matches: [{ header: a, regexp: \"*\" }] } }", "is no regular expression"),
            ("{ prober: http, http: { fail_if_header_matches: [{ header: a }] } }", "regexp"),
            ("{ prober: tcp, tcp: { query_response: [{ expect: \"[\" }] } }", "is no regular expression"),
            ("{ prober: http, http: { compression: gzip, headers: { accept-encoding: \"br, identity\" } } }", "accept-encoding"),
            ("{ prober: http, http: { body: a, body_file: /b } }", "body_file"),
            ("{ prober: http, http: { basic_auth: { username: a }, bearer_token: b } }", "at most one"),
            ("{ prober: icmp, icmp: { ttl: 256 } }", "ttl"),
            ("{ prober: icmp, icmp: { ttl: -1 } }", "ttl"),
            ("{ prober: dns, dns: { query_type: A } }", "query_name"),
            ("{ prober: dns, dns: { query_name: a, query_type: NOPE } }", "NOPE"),
            ("{ prober: dns, dns: { query_name: a, query_class: X } }", "query_class"),
            ("{ prober: http, timeout: 5 }", "length of time"),
        ] {
            let error = module(section).expect_err(section).to_string();
            assert!(error.contains(why), "{section}: {error}");
        }
        assert!(Blackbox::parse("modules: {}\nmodulez: {}\n").is_err());
        let twice = Blackbox::parse("modules:\n  a: { prober: http }\n  a: { prober: tcp }\n").expect_err("twice").to_string();
        assert!(twice.contains("line 3") && twice.contains("duplicate") && !twice.contains("Options"), "{twice}");
    }

    #[test]
    fn an_empty_file_is_none_and_an_empty_module_is_one() {
        for empty in ["", "\n\n", "# modules:\n  # none\n", "\u{feff}# nothing\n"] {
            assert!(Blackbox::parse(empty).is_err_and(|e| e.to_string().contains("empty")), "{empty:?}");
        }
        for none in ["modules:\n", "---\n", "---\n---\nmodules:\n  a: { prober: http }\n"] {
            assert!(Blackbox::parse(none).expect("it says that there are none").modules.is_empty(), "{none}");
        }
        let found = Blackbox::parse("modules:\n  gone: null\n  also:\n  b: { prober: tcp }\n").expect("the exporter takes it");
        let refused = |name: &str| found.modules[name].refused();
        assert_eq!((refused("gone"), refused("also"), refused("b")), (refused("gone"), refused("gone"), None));
        assert!(refused("gone").is_some_and(|why| why.contains("names no prober")));
    }

    #[test]
    fn elements_without_a_value_are_none() {
        let steps = "query_response: [null, { expect: x, labels: [null] }, ~]";
        let found = module(&format!("{{ prober: tcp, tcp: {{ {steps} }} }}")).expect("the exporter takes it");
        let Kind::Tcp(tcp) = &found.kind else { panic!("it is of the kind tcp") };
        assert_eq!(tcp.query_response.len(), 1);
        let rules = "fail_if_header_matches: [null, { header: a, regexp: b, allow_missing: null }], fail_if_header_not_matches: [~], \
            valid_status_codes: [null, 404], fail_if_body_matches_regexp: [null]";
        let found = module(&format!("{{ prober: http, http: {{ {rules}, http_headers: {{ A: null }} }} }}")).expect("so it does");
        let Kind::Http(http) = &found.kind else { panic!("it is of the kind http") };
        assert_eq!((http.fail_if_header_matches.len(), http.fail_if_header_not_matches.len()), (1, 0));
        assert_eq!((http.valid_status_codes.as_slice(), http.fail_if_body_matches_regexp.len()), (&[404][..], 0));
    }

    #[test]
    fn what_is_empty_is_not_written() {
        for section in [
            "basic_auth: { username: a, password: \"\", password_file: /p }",
            "basic_auth: { username_file: \"\", username: a, password: b, password_file: \"\" }",
            "basic_auth: { username: a }, bearer_token_file: \"\"",
            "bearer_token: \"\", bearer_token_file: /t",
            "bearer_token: a, bearer_token_file: \"\"",
            "authorization: { credentials: \"\", credentials_file: /c }",
            "compression: gzip, headers: { Accept-Encoding: \"\" }",
            "body: a, body_file: \"\"",
            "tls_config: { ca_file: \"\", cert_file: \"\", key_file: \"\" }",
        ] {
            let found = module(&format!("{{ prober: http, http: {{ {section} }} }}")).expect(section);
            assert_eq!(found.refused(), None, "{section}");
            let Kind::Http(http) = &found.kind else { panic!("it is of the kind http") };
            assert_eq!((&http.tls_config.ca_file, &http.tls_config.cert_file), (&None, &None), "{section}");
        }
    }

    #[test]
    fn a_misspelt_field_refuses_its_module_wherever_it_stands() {
        for (section, field) in [
            ("{ prober: tcp, http: { metod: GET } }", "metod"),
            ("{ prober: http, tcp: { tls_config: { ca_fil: x } } }", "ca_fil"),
            ("{ prober: icmp, dns: { query_name: a, query_typ: A } }", "query_typ"),
            ("{ prober: dns, dns: { query_name: a }, icmp: { tttl: 5 } }", "tttl"),
        ] {
            assert!(module(section).expect(section).refused().is_some_and(|why| why.contains(field)), "{section}");
        }
        for section in [
            "{ prober: tcp, http: { oauth2: { client_id: a }, enable_http3: true, fail_if_body_json_matches_cel: a } }",
            "{ prober: tcp, http: { tls_config: { ca: x, key_ref: y } }, grpc: { tls: true } }",
        ] {
            assert_eq!(module(section).expect(section).refused(), None, "{section}");
        }
    }

    #[test]
    fn of_several_documents_the_first_is_read() {
        let text = "# what it is\n---\nmodules:\n  a: { prober: http }\n---\nmodules: [\n";
        assert_eq!(Blackbox::parse(text).expect("the first is whole").modules.len(), 1);
        assert_eq!(first_document("a: b\n...\nc\n"), "a: b\n");
    }

    #[test]
    fn an_error_shows_no_credentials() {
        let text = "modules:\n  m:\n    prober: http\n    http:\n      basic_auth: { username: a, password: hunter2 }\n      method: [\n";
        let error = Blackbox::parse(text).expect_err("it breaks off").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
