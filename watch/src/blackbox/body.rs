//! Whether an answer is a good one: its status, its headers, its body, unpacked where the module says so.
//!
//! In: a module, an answer. Out: what the exporter says of it. Pure.

use std::io::{self, Read};

use prober::http::Response;

use super::expression::{Expression, seen};
use super::http::{HeaderMatch, Http};

/// Bytes of a body that are kept for regular expressions and decoders. The exporter has no limit; what is longer fails here.
pub(super) const MOST_BODY: usize = 64 << 20;
/// Bytes that a body may have once it is unpacked, for regular expressions.
const MOST_UNPACKED: u64 = 256 << 20;

/// What is said of an answer.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Opinion {
    pub good: bool,
    pub by_regex: bool,
    /// Bytes of the body, unpacked.
    pub length: u64,
    /// What was wrong, in words.
    pub why: Vec<String>,
}

impl Opinion {
    fn fails(&mut self, why: String) {
        self.good = false;
        self.why.push(why);
    }

    fn fails_by_regex(&mut self, why: String) {
        self.by_regex = true;
        self.fails(why);
    }
}

/// How much of a body there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// It breaks off.
    Broken,
    /// None: of a redirect that is not followed nobody reads it.
    Unread,
}

/// Judges an answer in the exporter's order: what fails first hides what depends on it.
pub(super) fn judge(module: &Http, response: &Response, encrypted: bool, part: Part) -> Opinion {
    let mut opinion = Opinion { good: true, ..Opinion::default() };
    let status = i64::from(response.status);
    let admitted = match module.valid_status_codes.as_slice() {
        [] => (200..300).contains(&status),
        valid => valid.contains(&status),
    };
    if !admitted {
        opinion.fails(format!("status {status}"));
    }
    if opinion.good {
        headers(module, response, &mut opinion);
    }
    body(module, response, part, &mut opinion);
    let version = version(response);
    if !module.valid_http_versions.is_empty() && !module.valid_http_versions.contains(&version) {
        opinion.fails(format!("version {version}"));
    }
    if module.fail_if_ssl && encrypted {
        opinion.fails("the last request was encrypted".into());
    }
    if module.fail_if_not_ssl && !encrypted {
        opinion.fails("the last request was not encrypted".into());
    }
    opinion
}

/// As HTTP writes it; of 2, as Go does.
fn version(response: &Response) -> String {
    format!("HTTP/{}.{}", response.version / 10, response.version % 10)
}

fn headers(module: &Http, response: &Response, opinion: &mut Opinion) {
    let any = |rule: &HeaderMatch| {
        // Of the transfer, and not of the answer: whoever asked Go for it does not see them.
        if ["transfer-encoding", "trailer"].iter().any(|name| rule.header.eq_ignore_ascii_case(name)) {
            return None;
        }
        let mut values = response.headers_named(&rule.header).peekable();
        values.peek()?;
        Some(values.any(|value| rule.regexp.regex().is_match(value)))
    };
    for (rules, wanted) in [(&module.fail_if_header_matches, false), (&module.fail_if_header_not_matches, true)] {
        for rule in rules {
            let failed = any(rule).map_or(!rule.allow_missing, |matched| matched != wanted);
            if failed && opinion.good {
                opinion.fails_by_regex(format!("header {}: {:?}", rule.header, rule.regexp));
            }
        }
    }
}

fn body(module: &Http, response: &Response, part: Part, opinion: &mut Opinion) {
    let limit = Some(module.body_size_limit.0).filter(|limit| *limit > 0);
    let matches: &[Expression] = &module.fail_if_body_matches_regexp;
    let wanted: &[Expression] = &module.fail_if_body_not_matches_regexp;
    let by_regex = opinion.good && !(matches.is_empty() && wanted.is_empty());
    if part == Part::Unread {
        if by_regex {
            opinion.fails_by_regex("the body of a redirect that is not followed is not read".into());
        }
        return;
    }
    let cut = module.wants_body() && response.body_len > response.body.len() as u64;
    let (unpacked, length, error) = match module.wants_body() {
        false => (Vec::new(), response.body_len, None),
        true => unpack(&module.compression, &response.body, limit.unwrap_or(MOST_UNPACKED)),
    };
    opinion.length = limit.map_or(length, |limit| length.min(limit));
    let error = match () {
        () if limit.is_some_and(|limit| length > limit) => Some(format!("its body is longer than {} bytes", limit.unwrap_or(0))),
        () if part == Part::Broken => Some("its body breaks off".into()),
        () if cut || length > MOST_UNPACKED => Some("its body is longer than can be looked at".into()),
        () => error.map(|error| format!("its body cannot be unpacked: {error}")),
    };
    if let Some(error) = error {
        return if by_regex && !headless(module, &response.body) { opinion.fails_by_regex(error) } else { opinion.fails(error) };
    }
    if by_regex {
        let text = seen(&unpacked);
        if let Some(expression) = matches.iter().find(|e| e.regex().is_match(&text)) {
            opinion.fails_by_regex(format!("its body matches {expression:?}"));
        } else if let Some(expression) = wanted.iter().find(|e| !e.regex().is_match(&text)) {
            opinion.fails_by_regex(format!("its body does not match {expression:?}"));
        }
    }
}

/// Whether a body is no gzip from its first bytes on, though it should be: the exporter finds that out before it looks for expressions.
fn headless(module: &Http, packed: &[u8]) -> bool {
    module.compression.eq_ignore_ascii_case("gzip") && flate2::bufread::GzDecoder::new(packed).header().is_none()
}

/// A body without its encoding, up to `limit` bytes; how long it is (one more than the limit if it is longer), and what went wrong.
fn unpack(encoding: &str, packed: &[u8], limit: u64) -> (Vec<u8>, u64, Option<io::Error>) {
    let mut reader: Box<dyn Read + '_> = match encoding.to_ascii_lowercase().as_str() {
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        "deflate" => Box::new(flate2::read::DeflateDecoder::new(packed)),
        "br" => Box::new(brotli_decompressor::Decompressor::new(packed, 4096)),
        _ => Box::new(packed),
    };
    let mut unpacked = Vec::new();
    let error = reader.by_ref().take(limit.saturating_add(1)).read_to_end(&mut unpacked).err();
    drop(reader);
    let length = unpacked.len() as u64;
    unpacked.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    (unpacked, length, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn module(text: &str) -> Http {
        serde_saphyr::from_str(text).expect(text)
    }

    fn response(body: &[u8]) -> Response {
        let headers = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("server", "x")];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        Response { status: 200, version: 11, headers, body: body.to_vec(), body_len: body.len() as u64 }
    }

    fn good(text: &str, body: &[u8]) -> (bool, bool, u64) {
        let opinion = judge(&module(text), &response(body), false, Part::Whole);
        (opinion.good, opinion.by_regex, opinion.length)
    }

    #[test]
    fn every_value_of_a_repeated_header_is_looked_at() {
        for (text, is_good) in [
            ("{ fail_if_header_matches: [{ header: Set-Cookie, regexp: b=2 }] }", false),
            ("{ fail_if_header_matches: [{ header: Set-Cookie, regexp: c=3 }] }", true),
            ("{ fail_if_header_not_matches: [{ header: Set-Cookie, regexp: b=2 }] }", true),
            ("{ fail_if_header_not_matches: [{ header: Set-Cookie, regexp: c=3 }] }", false),
            ("{ fail_if_header_not_matches: [{ header: X-None, regexp: c }] }", false),
            ("{ fail_if_header_matches: [{ header: X-None, regexp: c }] }", false),
            ("{ fail_if_header_matches: [{ header: X-None, regexp: c, allow_missing: true }] }", true),
        ] {
            assert_eq!(good(text, b"ok"), (is_good, !is_good, 2), "{text}");
        }
    }

    #[test]
    fn a_body_is_unpacked_before_it_is_looked_at_and_its_limit_is_that_of_what_is_unpacked() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&b"needle ".repeat(100)).expect("memory");
        let packed = packer.finish().expect("memory");
        let wants = "compression: gzip, fail_if_body_not_matches_regexp: [needle]";
        assert_eq!(good(&format!("{{ {wants} }}"), &packed), (true, false, 700));
        assert_eq!(good(&format!("{{ {wants}, body_size_limit: 699B }}"), &packed), (false, true, 699));
        assert_eq!(good("{ compression: gzip, body_size_limit: 700B }", &packed), (true, false, 700));
        assert_eq!(good("{ compression: gzip }", b"plain"), (false, false, 0));
        assert!(!good("{ compression: gzip }", &packed[..packed.len() / 2]).0, "it breaks off");
        assert_eq!(good("{ compression: identity, body_size_limit: 3B }", b"plain"), (false, false, 3));
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_one_character_each() {
        let (latin, cut) = (&b"<html>caf\xe9</html>"[..], &b"\xe2\x82\xff"[..]);
        for (wanted, body) in [
            ("(?s)<html>.*</html>", latin),
            ("caf[^<]<", latin),
            (r"caf\W", latin),
            ("^[^a-z]{3}$", cut),
            ("^.{3}$", cut),
            (r"^\x{FFFD}", cut),
        ] {
            let quoted = serde_json::to_string(wanted).expect("it is text");
            let length = body.len() as u64;
            assert_eq!(
                good(&format!("{{ fail_if_body_not_matches_regexp: [{quoted}] }}"), body),
                (true, false, length),
                "{wanted}"
            );
            assert_eq!(good(&format!("{{ fail_if_body_matches_regexp: [{quoted}] }}"), body), (false, true, length), "{wanted}");
        }
    }

    #[test]
    fn an_encoding_without_a_head_is_no_question_of_expressions() {
        let fails = |encoding: &str, body: &[u8]| {
            let (good, by_regex, _) = good(&format!("{{ compression: {encoding}, fail_if_body_not_matches_regexp: [x] }}"), body);
            (good, by_regex)
        };
        // That it is no gzip is known before the body is read; of the others, and of what is cut off later, not.
        for (encoding, body, by_regex) in [
            ("gzip", &b"plain"[..], false),
            ("GZIP", b"", false),
            ("br", b"plain", true),
            ("deflate", b"plain", true),
            ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\xff", true),
        ] {
            assert_eq!(fails(encoding, body), (false, by_regex), "{encoding} {body:?}");
        }
    }

    #[test]
    fn headers_of_the_transfer_are_none_of_the_answers() {
        let headers = [("Transfer-Encoding", "chunked"), ("Trailer", "X-A"), ("Server", "x")];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let chunked = Response { headers, ..response(b"ok") };
        for (name, is_good) in [("transfer-encoding", true), ("Trailer", true), ("Server", false)] {
            let text = format!("{{ fail_if_header_matches: [{{ header: {name}, regexp: '.', allow_missing: true }}] }}");
            assert_eq!(judge(&module(&text), &chunked, false, Part::Whole).good, is_good, "{name}");
        }
    }

    #[test]
    fn what_fails_by_its_status_is_not_looked_at_further() {
        let teapot = Response { status: 418, ..response(b"x") };
        let opinion = judge(&module("{ fail_if_body_matches_regexp: [x] }"), &teapot, true, Part::Whole);
        assert_eq!((opinion.good, opinion.by_regex, opinion.length), (false, false, 1));
        let admitted = module("{ valid_status_codes: [418], fail_if_ssl: true, valid_http_versions: [HTTP/2.0] }");
        let opinion = judge(&admitted, &teapot, true, Part::Whole);
        assert_eq!(opinion.why, ["version HTTP/1.1", "the last request was encrypted"]);
        let moved = judge(&module("{ fail_if_body_matches_regexp: [x] }"), &response(b""), false, Part::Unread);
        assert_eq!((moved.good, moved.by_regex, moved.length), (false, true, 0), "as the exporter");
    }
}
