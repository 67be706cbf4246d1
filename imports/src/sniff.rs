//! What a file is, by how it begins.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};

use crate::access;
use crate::json::{Fields, TakeField};

/// So much of a file is enough to tell; a page that curl printed before its times may be as long.
pub const HEAD: usize = 256 << 10;
/// What is no text has a zero byte here: every capture's header.
const BINARY: usize = 32;
/// Lines of a log that are looked at: some may be its program's own messages.
const LINES: usize = 200;

/// What kind of file, or of line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, strum::VariantArray)]
pub enum Source {
    /// curl's `-w '%{json}'`.
    Curl,
    /// HTTP Archive, as browsers export it.
    Har,
    /// Chrome's NetLog.
    NetLog,
    /// AWS Application Load Balancer's access log.
    Alb,
    /// AWS Application Load Balancer's connection log.
    AlbConnections,
    /// AWS Network Load Balancer's log of a TLS listener.
    Nlb,
    /// Envoy's access log.
    Envoy,
    /// HAProxy's log.
    HaProxy,
    /// nginx's access log.
    Nginx,
    /// A line of some other log that names a client's address and port.
    Line,
}

impl Source {
    /// Words for people.
    pub const fn words(self) -> &'static str {
        match self {
            Source::Curl => "curl's times",
            Source::Har => "HAR",
            Source::NetLog => "Chrome NetLog",
            Source::Alb => "ALB access log",
            Source::AlbConnections => "ALB connection log",
            Source::Nlb => "NLB TLS log",
            Source::Envoy => "Envoy access log",
            Source::HaProxy => "HAProxy log",
            Source::Nginx => "nginx log",
            Source::Line => "log line",
        }
    }

    /// Whether whoever wrote it stands at the edge.
    pub const fn at_the_edge(self) -> bool {
        !matches!(self, Source::Curl | Source::Har | Source::NetLog)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Tells what a file is from its first [`HEAD`] bytes, or all of it; absent if it is nothing that is read here.
pub fn sniff(head: &[u8]) -> Option<Source> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if head.get(..BINARY).unwrap_or(head).contains(&0) {
        return None; // a capture, whose packets may hold any of the words below
    }
    let Keys { names: keys, har, .. } = first_keys(head);
    let has = |name: &str| keys.iter().any(|key| key == name);
    match () {
        () if har => return Some(Source::Har),
        () if has("constants") || has("events") && has("polledData") => return Some(Source::NetLog),
        () => {}
    }
    if is_curls(head, &keys) {
        return Some(Source::Curl);
    }
    // The last line may be cut.
    let lines = head.split(|byte| *byte == b'\n').take(LINES).filter_map(|line| std::str::from_utf8(line).ok());
    let mut weak = None;
    for line in lines {
        match access::source(line.trim_end_matches('\r')) {
            Some(Source::Line) => weak = Some(Source::Line),
            Some(source) => return Some(source),
            None => {}
        }
    }
    weak
}

/// Whether an object of curl's is in it, perhaps behind a page, perhaps cut before its times. Others' logs have some of its names.
fn is_curls(head: &[u8], keys: &[String]) -> bool {
    let at = |name: &str| memchr::memmem::find(head, name.as_bytes());
    let only_curls = |keys: &[String]| !keys.is_empty() && keys.iter().all(|key| is_curls_name(key));
    match (at("\"time_total\""), at("\"time_connect\"")) {
        (Some(total), Some(_)) => {
            let all = at("\"time_namelookup\"").is_some()
                && ["\"url_effective\"", "\"curl_version\"", "\"url\""].iter().any(|name| at(name).is_some());
            // Or somebody chose some of its names, and has no others.
            let begin = || memchr::memrchr(b'{', &head[..total]).unwrap_or_default();
            all || only_curls(&first_keys(&head[begin()..]).names)
        }
        _ => only_curls(keys) && keys.iter().any(|key| key == "num_connects" || key == "errormsg"),
    }
}

fn is_curls_name(key: &str) -> bool {
    let begins = ["time_", "url", "local_", "remote_", "http_", "num_", "size_", "speed_", "ssl_", "proxy_"];
    let others = [
        "certs",
        "conn_id",
        "content_type",
        "curl_version",
        "errormsg",
        "exitcode",
        "filename_effective",
        "ftp_entry_path",
        "method",
        "redirect_url",
        "referer",
        "response_code",
        "scheme",
        "tls_earlydata",
        "xfer_id",
    ];
    begins.iter().any(|begin| key.starts_with(begin)) || others.contains(&key)
}

/// The names of the first object's fields, as far as they are there.
fn first_keys(head: &[u8]) -> Keys {
    let mut keys = Keys::default();
    if head.trim_ascii_start().first() == Some(&b'{') {
        let read = Fields(&mut keys).deserialize(&mut serde_json::Deserializer::from_slice(head));
        // That the head breaks off somewhere is not worth a word; that `log` is a text is.
        keys.har &= !read.is_err_and(|error| error.is_data());
    }
    keys
}

/// The names of an object's fields.
#[derive(Default)]
struct Keys {
    names: Vec<String>,
    /// Whether its `log` is an object of a HAR, as far as it is there: collectors keep others' lines and files under that name.
    har: bool,
    /// Whether these are of `log`.
    within: bool,
}

impl TakeField for Keys {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        self.names.push(name.to_owned());
        if name != "log" || self.within {
            return map.next_value::<IgnoredAny>().map(|_| ());
        }
        let mut log = Keys { within: true, ..Keys::default() };
        let read = map.next_value_seed(Fields(&mut log));
        self.har =
            log.names.is_empty() || log.names.iter().any(|name| ["entries", "creator", "version"].contains(&name.as_str()));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_how_they_begin_even_if_they_break_off() {
        assert_eq!(sniff(br#"{"log": {"version": "1.2", "entr"#), Some(Source::Har));
        assert_eq!(sniff(b"\xef\xbb\xbf \n{\"log\":{"), Some(Source::Har));
        assert_eq!(sniff(b"{\"constants\": {\"activeFieldTrialGroups\":"), Some(Source::NetLog));
        assert_eq!(sniff(br#"<html></html>{"time_connect":0.1,"time_total":0.2}"#), Some(Source::Curl));
        assert_eq!(sniff(br#"{"log":"198.51.100.4:5001 was slow\n","stream":"stdout","time":"x"}"#), Some(Source::Line));
        let mut capture = b"\xd4\xc3\xb2\xa1\x02\0\x04\0".to_vec();
        capture.extend(br#"{"time_connect":0.1,"time_total":0.2}"#);
        assert_eq!(sniff(&capture), None, "a capture of somebody's curl");
        for nothing in [&b""[..], b"{", b"{\"a\":1}", b"\xd4\xc3\xb2\xa1\x02\0\x04\0", b"\x7fELF", b"hello\nworld\n", b"\n\r\n\n"]
        {
            assert_eq!(sniff(nothing), None, "{nothing:?}");
        }
    }
}
