//! Files that break off, lie about their types, or are larger than anybody's memory: what was read counts, what was not is said with its
//! place, and nothing is made of what is absent.

use std::io::Read;
use std::ops::ControlFlow;

use analysis::clock::Span;
use whostalled_imports::{Contents, Reason, Request, Seen, Source, Unknown, read, sniff};

fn all(source: Source, bytes: &[u8]) -> (Vec<Request>, Contents) {
    let mut found = Vec::new();
    let contents = read(source, bytes, &mut |request| {
        found.push(request);
        ControlFlow::Continue(())
    });
    (found, contents)
}

fn skipped(contents: &Contents) -> Vec<(Reason, u64, String)> {
    contents.skipped.iter().map(|s| (s.reason, s.n, s.first.to_string())).collect()
}

fn entry(timings: &str) -> String {
    format!(
        r#"{{"startedDateTime":"2026-11-26T12:00:00.000Z","time":100,"request":{{"method":"GET","url":"https://a.test/x?y=1"}},"response":{{"status":200,"content":{{"text":"{}"}}}},"timings":{timings}}}"#,
        "x".repeat(300)
    )
}

fn har(entries: &[String]) -> String {
    format!(r#"{{"log":{{"version":"1.2","entries":[{}],"pages":[]}}}}"#, entries.join(","))
}

const USUAL: &str = r#"{"blocked":1.5,"dns":2,"connect":40,"ssl":20,"send":0.5,"wait":56,"receive":0}"#;

#[test]
fn a_har_that_breaks_off_anywhere_gives_its_whole_entries() {
    let whole = har(&[entry(USUAL), entry(USUAL), entry(USUAL)]);
    let mut most = 0;
    for end in 0..whole.len() {
        let (found, contents) = all(Source::Har, &whole.as_bytes()[..end]);
        assert!(found.len() >= most && contents.cut.is_some(), "{end}: {} after {most}, {contents:?}", found.len());
        most = found.len();
    }
    let (found, contents) = all(Source::Har, whole.as_bytes());
    assert_eq!((found.len(), contents.cut), (3, None));
    let (_, cut) = all(Source::Har, &whole.as_bytes()[..whole.len() - 400]);
    assert_eq!(cut.cut.as_deref(), Some("the file ends behind entry 2"));
}

#[test]
fn minus_one_does_not_apply_and_is_never_a_time() {
    let reused = r#"{"blocked":-1,"dns":-1,"connect":-1,"ssl":-1,"send":0,"wait":80,"receive":1}"#;
    let (found, _) = all(Source::Har, har(&[entry(reused)]).as_bytes());
    let Seen::Client(trace) = &found[0].seen else { panic!("a browser's") };
    assert!(trace.reused && trace.queued.is_none() && trace.lookup.is_none() && trace.connect.is_none() && trace.tls.is_none());
    assert_eq!(trace.ended - trace.started, Span::from_millis(80));
}

#[test]
fn tls_lies_within_connect_or_behind_it_as_the_sum_tells() {
    let of = |time: f64| {
        let text = entry(USUAL).replace("\"time\":100", &format!("\"time\":{time}"));
        let (found, _) = all(Source::Har, har(&[text]).as_bytes());
        let Seen::Client(trace) = found[0].seen.clone() else { panic!("a browser's") };
        let (connect, tls) = (trace.connect.expect("it connected"), trace.tls.expect("by TLS"));
        [connect.done.expect("done") - connect.began, tls.done.expect("done") - tls.began].map(Span::millis)
    };
    assert_eq!(of(100.0), [20.0, 20.0], "Chromium's sum has it once");
    assert_eq!(of(120.0), [40.0, 20.0], "Firefox's has it twice");
}

#[test]
fn entries_of_other_types_are_counted_with_their_numbers() {
    let broken = [
        entry(USUAL),
        "null".into(),
        "7".into(),
        r#"{"request":[],"timings":{"wait":1}}"#.into(),
        entry(r#"{"blocked":"soon","dns":{},"connect":null,"ssl":[1],"send":true,"wait":null}"#),
        entry("null"),
        entry(USUAL).replace("https://a.test/x?y=1", "data:text/plain,x"),
        entry(USUAL).replace("\"request\"", "\"_fromCache\":\"disk\",\"request\""),
        entry(USUAL).replace("200", "\"200\""),
    ];
    let (found, contents) = all(Source::Har, har(&broken).as_bytes());
    assert_eq!(found.iter().map(|r| r.place.number).collect::<Vec<_>>(), [1, 9]);
    let at = |text: &str| text.to_owned();
    assert_eq!(
        skipped(&contents),
        [(Reason::NotUnderstood, 3, at("entry 2")), (Reason::NoTimes, 2, at("entry 5")), (Reason::NotAsked, 2, at("entry 7"))]
    );
    for (text, words) in [
        ("{\"log\": null}", "invalid type: null"),
        ("{\"log\":{}}", "no log.entries"),
        ("{\"log\":{\"entries\":7}}", "invalid type"),
    ] {
        let (_, contents) = all(Source::Har, text.as_bytes());
        assert!(contents.cut.as_deref().is_some_and(|cut| cut.contains(words)), "{text}: {contents:?}");
    }
}

#[test]
fn what_curl_says_in_another_order_is_a_contradiction() {
    let curl = |connect: &str, total: &str| {
        format!(
            r#"{{"time_namelookup":0.001,"time_connect":{connect},"time_appconnect":0.05,"time_pretransfer":0.05,"time_starttransfer":0.09,"time_total":{total},"url_effective":"https://a.test/"}}"#
        )
    };
    let bad = [curl("0.06", "0.09"), curl("-0.01", "0.09"), curl("0.02", "0.01"), curl("0.02", "-1"), curl("0.02", "0.1")];
    let (found, contents) = all(Source::Curl, bad.join("\n").as_bytes());
    assert_eq!((found.len(), skipped(&contents)), (1, vec![(Reason::Contradiction, 4, "object 1".to_owned())]));
    let nulls =
        r#"{"time_total":0.3,"time_connect":null,"time_namelookup":"x","remote_ip":null,"local_port":-1,"url_effective":7}"#;
    let (found, _) = all(Source::Curl, nulls.as_bytes());
    assert_eq!((found[0].key(), found[0].server.ip), (None, None));
    let (found, contents) = all(Source::Curl, curl("0.02", "0.1").trim_end_matches('}').as_bytes());
    assert_eq!((found.len(), contents.cut.as_deref()), (0, Some("the file ends inside an object")));
}

/// curl's object with other values of some fields.
fn curl_with(scheme: &str, more: &str) -> String {
    format!(
        r#"{{"errormsg":null,"exitcode":0,"http_code":200,"local_ip":"192.0.2.7","local_port":40012,"num_connects":1,"remote_ip":"198.51.100.1","remote_port":443,"scheme":"{scheme}","time_connect":0.041,"time_namelookup":0.001,"time_pretransfer":0.641,"time_starttransfer":0.662,"time_total":0.663,"url_effective":"{scheme}://a.test/"{more}}}"#
    )
}

#[test]
fn curls_time_of_tls_is_not_that_of_another_protocol() {
    let tls = |scheme: &str, appconnect: &str| {
        let (found, contents) = all(Source::Curl, curl_with(scheme, &format!(",\"time_appconnect\":{appconnect}")).as_bytes());
        match found.first().map(|request| &request.seen) {
            Some(Seen::Client(trace)) => trace.tls.is_some().to_string(),
            _ => contents.skipped[0].reason.words().to_owned(),
        }
    };
    let refused = Reason::NotTls.words();
    assert!(refused.contains("SSH") && refused.contains("STARTTLS"), "{refused}");
    for (scheme, appconnect, meant) in [
        ("https", "0.64", "true"),
        ("WSS", "0.64", "true"),
        ("ftps", "0.64", "true"),
        ("imaps", "0.64", "true"),
        ("sftp", "0.64", refused),
        ("SCP", "0.64", refused),
        ("smtp", "0.64", refused),
        ("ftp", "0.64", refused),
        ("pop3", "0.64", refused),
        ("smtp", "0.0", "false"),
        ("imap", "0.0", "false"),
        ("dict", "0.0", "false"),
        ("https", "0.0", "false"),
        ("http", "0.0", "false"),
    ] {
        assert_eq!(tls(scheme, appconnect), meant, "{scheme} {appconnect}");
    }
}

#[test]
fn json_that_only_looks_like_curls_is_not_taken_for_it() {
    let access = r#"{"client_ip":"198.51.100.4","client_port":5001,"time_queue":0,"time_connect":5,"time_total":13,"request":"GET / HTTP/1.1"}"#;
    assert_ne!(sniff(access.as_bytes()), Some(Source::Curl));
    assert_ne!(sniff(br#"{"service":"a","url":"/x","time_connect":0.1,"time_total":0.2}"#), Some(Source::Curl));
    let page = format!("<html>{{\"a\":1}}</html>{}", curl_with("https", ",\"time_appconnect\":0.64"));
    assert_eq!(sniff(page.as_bytes()), Some(Source::Curl));
    let (found, _) = all(Source::Curl, br#"{"time_connect":0.1,"time_appconnect":0.2,"time_total":0.3,"url":"https://a.test/"}"#);
    let Seen::Client(trace) = &found[0].seen else { panic!("curl's") };
    assert!(trace.lookup.is_none() && trace.connect.is_some() && found[0].unknown.contains(Unknown::Lookup), "{trace:?}");
}

#[test]
fn a_proxy_before_curl_is_noticed_in_all_versions() {
    for (more, proxy) in
        [("", false), (",\"http_connect\":0", false), (",\"http_connect\":200", true), (",\"http_connect\":407", true)]
    {
        let (found, _) = all(Source::Curl, curl_with("https", &format!(",\"time_appconnect\":0.64{more}")).as_bytes());
        assert_eq!(found[0].unknown.contains(Unknown::Proxy), proxy, "{more}");
    }
}

#[test]
fn a_broken_object_of_curls_is_counted_where_it_stands() {
    let good = curl_with("https", ",\"time_appconnect\":0.64");
    for broken in [
        good.replace("\"time_connect\":0.041", "\"time_connect\":0,041"),
        good.replace("\"scheme\":", "\"scheme\""),
        good.trim_end_matches('}').to_owned(),
        good.replace("\"scheme\":", "\"scheme\"").replacen('{', "{\n  ", 1),
    ] {
        let (found, contents) = all(Source::Curl, format!("{good}\n{broken}\n{good}\n").as_bytes());
        assert_eq!((found.len(), found[1].place.number), (2, 3), "{broken}");
        assert_eq!(skipped(&contents), [(Reason::NotUnderstood, 1, "object 2".to_owned())], "{broken}");
        assert_eq!(contents.cut, None, "{broken}");
    }
    let (found, contents) = all(Source::Curl, good.replace("\"time_connect\":0.041", "\"time_connect\":0,041").as_bytes());
    assert_eq!((found.len(), contents.cut, contents.skipped.len()), (0, None, 1), "the file does not end inside it");
    let cut = &good[..good.find("\"remote_port\"").expect("it is there")];
    assert_eq!(sniff(cut.as_bytes()), Some(Source::Curl), "cut before its times");
    assert_eq!(all(Source::Curl, cut.as_bytes()).1.cut.as_deref(), Some("the file ends inside an object"));
    let page = format!("{{\"time_zone\":'UTC'}} {good}");
    let (found, contents) = all(Source::Curl, page.as_bytes());
    assert_eq!((found.len(), contents.skipped.len()), (1, 0), "a page's own braces");
}

#[test]
fn what_safari_had_in_its_caches_was_not_asked_for() {
    let fetched = |kind: &str| entry(USUAL).replace("\"request\":", &format!("\"_fetchType\":\"{kind}\",\"request\":"));
    let kinds = ["Network Load", "Memory Cache", "Disk Cache", "Service Worker", "Inspector Override"];
    let (found, contents) = all(Source::Har, har(&kinds.map(fetched)).as_bytes());
    assert_eq!(found.iter().map(|request| request.place.number).collect::<Vec<_>>(), [1]);
    assert_eq!(skipped(&contents), [(Reason::NotAsked, 4, "entry 2".to_owned())]);
}

#[test]
fn a_line_that_is_kept_as_log_is_no_har() {
    for (text, meant) in [
        (
            r#"{"log":"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 0/0/0/1/12 200 9","kubernetes":{}}"#,
            Some(Source::HaProxy),
        ),
        (r#"{"log":{"source":{"address":"10.0.0.5:5"}},"message":"198.51.100.4:5001 handshake=512ms"}"#, Some(Source::Line)),
        (r#"{"log":{"offset":7,"file":{"path":"x"}},"message":"nothing"}"#, None),
        (r#"{"log":["198.51.100.4:5001"]}"#, None),
        (r#"{"pages":7,"log":{"creator":{"name":"x"},"#, Some(Source::Har)),
        (r#"{"log":{"#, Some(Source::Har)),
    ] {
        assert_eq!(sniff(text.as_bytes()), meant, "{text}");
    }
}

#[test]
fn a_netlog_without_constants_or_cut_says_so() {
    let (_, contents) = all(Source::NetLog, br#"{"events":[{"type":1}]}"#);
    assert!(contents.cut.as_deref().is_some_and(|cut| cut.contains("no constants before the events")), "{contents:?}");
    for text in [
        &b"{"[..],
        b"{\"constants\":null,\"events\":[",
        b"{\"constants\":{\"logEventTypes\":7},\"events\":[{},7,null,{\"params\":[]},",
    ] {
        let (found, contents) = all(Source::NetLog, text);
        assert!(found.is_empty() && contents.cut.as_deref().is_some_and(|cut| cut.contains("the file ends")), "{contents:?}");
    }
}

#[test]
fn lines_of_other_bytes_are_counted_with_their_numbers() {
    let good = "198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s2 640/0/3/0/0/7/650 200 99 - - ---- 2/2/0/0/0 0/0 \"GET /a HTTP/1.1\"\n";
    let mut bytes = good.as_bytes().to_vec();
    bytes.extend(b"\xff\xfe\n\n# a comment\nworker process 31 exited\n");
    bytes.extend(vec![b'x'; 3 << 20]);
    bytes.extend(b"\n");
    bytes.extend(good.as_bytes());
    let (found, contents) = all(Source::HaProxy, &bytes);
    assert_eq!(found.iter().map(|r| r.place.number).collect::<Vec<_>>(), [1, 7]);
    let reasons: Vec<_> = skipped(&contents).into_iter().map(|(reason, _, first)| (reason, first)).collect();
    let at = |text: &str| text.to_owned();
    assert_eq!(
        reasons,
        [(Reason::NotUtf8, at("line 2")), (Reason::NotUnderstood, at("line 5")), (Reason::TooLong, at("line 6"))]
    );
}

/// A HAR that is made while it is read: so many entries.
struct Endless {
    piece: Vec<u8>,
    at: usize,
    entries: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.piece.len() {
            match self.entries {
                0 => return Ok(0),
                1 => self.piece = b"]}}".to_vec(),
                _ => self.piece = format!("{},", entry(USUAL)).into_bytes(),
            }
            (self.at, self.entries) = (0, self.entries - 1);
            if self.entries == 1 {
                self.piece.pop(); // no comma behind the last
            }
        }
        let n = buffer.len().min(self.piece.len() - self.at);
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[test]
fn a_large_har_is_never_held_as_a_whole() {
    let from = Endless { piece: br#"{"log":{"entries":["#.to_vec(), at: 0, entries: 20_001 };
    let mut n = 0;
    let contents = read(Source::Har, from, &mut |_| {
        n += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((n, contents.cut), (20_000, None));
}

#[test]
fn reading_ends_when_nobody_wants_more() {
    let (whole, mut n) = (har(&[entry(USUAL), entry(USUAL), entry(USUAL)]), 0);
    let contents = read(Source::Har, whole.as_bytes(), &mut |_| {
        n += 1;
        ControlFlow::Break(())
    });
    assert_eq!((n, contents.requests, contents.cut), (1, 1, None));
}

#[test]
fn times_beyond_all_bounds_are_contradictions() {
    for part in ["blocked", "dns", "connect", "ssl", "send", "wait", "receive"] {
        for time in ["1e300", "1e18", "9223372036854775807", "86400001"] {
            let usual = [("connect", "5"), ("ssl", "3"), ("wait", "7")].into_iter().filter(|(name, _)| *name != part);
            let fields: Vec<String> = usual.chain([(part, time)]).map(|(name, time)| format!("\"{name}\":{time}")).collect();
            let timings = format!("{{{}}}", fields.join(","));
            let (found, contents) = all(Source::Har, har(&[entry(&timings), entry(USUAL)]).as_bytes());
            assert_eq!((found.len(), skipped(&contents).len()), (1, 1), "{part} {time}: {contents:?}");
        }
    }
    let usual =
        [("namelookup", "0.001"), ("connect", "0.021"), ("appconnect", "0.64"), ("starttransfer", "0.66"), ("total", "0.7")];
    for part in ["namelookup", "connect", "appconnect", "pretransfer", "posttransfer", "starttransfer", "queue", "total"] {
        for time in ["1e300", "1e18", "9223372036854775807", "4e7"] {
            let given = |(name, usual): &(&str, &str)| format!("\"time_{name}\":{}", if *name == part { time } else { usual });
            let mut fields: Vec<String> = usual.iter().map(given).collect();
            if !usual.iter().any(|(name, _)| *name == part) {
                fields.push(format!("\"time_{part}\":{time}"));
            }
            let (found, contents) = all(Source::Curl, format!("{{{}}}", fields.join(",")).as_bytes());
            // When the last byte was sent, curl may say or not: then it is not told.
            let expected = usize::from(part == "posttransfer");
            assert_eq!((found.len(), skipped(&contents).len()), (expected, 1 - expected), "{part} {time}: {contents:?}");
            assert!(found.iter().all(
                |request| matches!(&request.seen, Seen::Client(trace) if trace.sent.is_none() || trace.sent <= Some(trace.ended))
            ));
        }
    }
}
