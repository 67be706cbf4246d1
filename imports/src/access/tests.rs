use super::*;

const PLACE: Place = Place { unit: Unit::Line, number: 1 };

fn trace(text: &str) -> EdgeTrace {
    match line(PLACE, text).unwrap_or_else(|reason| panic!("{text}: {reason:?}")).seen {
        Seen::Edge(trace) => trace,
        Seen::Client(_) => panic!("{text}: an edge's log"),
    }
}

/// Handshake, receiving, own, backend, undivided, in milliseconds.
fn parts(text: &str) -> [Option<f64>; 5] {
    let trace = trace(text);
    [trace.handshake, trace.receiving, trace.own, trace.backend, trace.undivided].map(|span| span.map(Span::millis))
}

const HEAD: &str = "Nov 26 12:00:00 lb haproxy[9]: 198.51.100.4:5001 [26/Nov/2026:12:00:00.101]";

#[test]
fn haproxys_timers_by_their_number() {
    let request = "200 99 - - ---- 2/2/0/0/0 0/0 \"GET /a HTTP/1.1\"";
    assert_eq!(parts(&format!("{HEAD} fe~ be/s2 3/1/2/7/900 {request}")), [None, Some(3.0), Some(1.0), Some(9.0), None]);
    assert_eq!(
        parts(&format!("{HEAD} fe~ be/s2 640/5/3/1/2/7/900 {request}")),
        [Some(640.0), Some(3.0), Some(1.0), Some(9.0), None]
    );
    assert_eq!(
        parts(&format!("{HEAD} fe~ be/s2 3/1/2/7/900 {request} Th=12")),
        [Some(12.0), Some(3.0), Some(1.0), Some(9.0), None]
    );
    assert_eq!(parts(&format!("{HEAD} fe be/s2 4/30/4000 312 -- 0/0/0/0/3 0/0")), [None, None, Some(4.0), Some(30.0), None]);
    assert_eq!(parts(&format!("{HEAD} fe be/s2 4/30/+4000 312 -- 0/0/0/0/3 0/0")), [None, None, Some(4.0), Some(30.0), None]);
}

#[test]
fn steps_that_were_not_reached_are_absent_and_never_zero() {
    let text = format!("{HEAD} fe~ be/<NOSRV> 5/-1/-1/-1/5 503 9 - - SC-- 2/2/0/0/0 0/0 \"GET /a HTTP/1.1\"");
    assert_eq!(parts(&text), [None, Some(5.0), None, None, None]);
    assert!(!trace(&text).complete);
    assert!(!trace(&format!("{HEAD} fe be/<NOSRV> -1/-1/0 0 SC 0/0/0/0/3 0/0")).complete);
}

#[test]
fn requests_behind_a_connections_first_have_no_handshake() {
    let text = format!("{HEAD} fe~ be/s2 0/811/3/1/2/7/900 200 99 - - ---- 2/2/0/0/0 0/0 \"GET /a HTTP/1.1\"");
    assert_eq!((trace(&text).handshake, trace(&text).reused), (None, true));
    let nginx = r#"{"remote_addr":"192.0.2.7","remote_port":"9","request_time":"0.004","ssl_handshake_time":"0.5","connection_requests":"2"}"#;
    assert_eq!((trace(nginx).handshake, trace(nginx).reused), (None, true));
}

#[test]
fn failed_handshakes_give_the_key_and_no_time() {
    let request = line(PLACE, &format!("{HEAD} fe/1: SSL handshake failure")).expect("it is read");
    assert_eq!(request.key().map(|key| key.client.to_string()).as_deref(), Some("198.51.100.4:5001"));
    assert_eq!(request.error.as_deref(), Some("SSL handshake failure"));
    assert_eq!(request.seen, Seen::Edge(EdgeTrace::default()));
}

#[test]
fn the_whole_line_is_read_within_dockers_and_the_journals_json() {
    let inner = "198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/0/3/0/0/7/650 200 9 - - ---- 1/1/0/0/0 0/0 \\\"GET / HTTP/1.1\\\"";
    let docker = format!(r#"{{"log":"{inner}\n","stream":"stdout","time":"2026-11-26T12:00:00Z"}}"#);
    let journal = format!(r#"{{"__REALTIME_TIMESTAMP":"1","MESSAGE":"{inner}"}}"#);
    assert_eq!(parts(&journal)[0], Some(640.0));
    assert_eq!(parts(docker.trim())[0], Some(640.0));
}

#[test]
fn nginx_by_any_form_with_names() {
    let all = [None, None, None, Some(7.0), Some(2.0)];
    assert_eq!(
        parts(r#"{"remote_addr":"192.0.2.7","remote_port":"9","request_time":"0.009","upstream_response_time":"0.004, 0.003"}"#),
        all
    );
    assert_eq!(
        parts(
            "time:26/Nov/2026:12:00:00 +0000\tremote_addr:192.0.2.7\tremote_port:9\trequest_time:0.009\tupstream_response_time:0.007"
        ),
        all
    );
    let line =
        r#"192.0.2.7:9 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl" rt=0.009 uct="0.001" urt="0.007""#;
    assert_eq!(parts(line), all, "the short names that many use");
    let round_trip = trace(r#"{"remote_addr":"192.0.2.7","request_time":"0.009","tcpinfo_rtt":"31000"}"#).round_trip;
    assert_eq!(round_trip, Some(Span::from_millis(31)));
}

#[test]
fn lines_without_times_say_what_to_log() {
    for line_ in [
        r#"192.0.2.7 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8.5.0""#,
        "Nov 26 12:00:00 10.0.0.5 edge[3]: 198.51.100.4:5001 was slow",
    ] {
        assert_eq!(line(PLACE, line_).err(), Some(Reason::NoTimes), "{line_}");
    }
    for other in ["worker process 31 exited", "", "{\"a\": 1}", "tls", "https 2026 x", "[x] \"GET / HTTP/1.1\" 200 -"] {
        assert_eq!(line(PLACE, other).err(), Some(Reason::NotUnderstood), "{other}");
    }
}

#[test]
fn other_logs_with_a_handshakes_time_are_read_as_the_recorder_reads_them() {
    let request = line(PLACE, "[2001:db8::7]:40012 - handshake=0.512").expect("it is read");
    assert_eq!((request.source, request.client.to_string().as_str()), (Source::Line, "[2001:db8::7]:40012"));
    assert_eq!(parts("[2001:db8::7]:40012 - handshake=0.512")[0], Some(512.0));
}

proptest::proptest! {
    #[test]
    fn no_line_is_too_strange(text in ".{0,200}") {
        let _ = line(PLACE, &text);
    }

    #[test]
    fn nor_any_cut_or_changed_one(cut in 0usize..400, at in 0usize..400, byte in "[ -~]") {
        let whole = format!("{HEAD} fe~ be/s2 640/5/3/1/2/7/900 200 99 - - ---- 2/2/0/0/0 0/0 \"GET /a HTTP/1.1\"");
        let mut text: String = whole.chars().take(cut).collect();
        if at < text.len() {
            text.replace_range(at..=at, &byte);
        }
        let _ = line(PLACE, &text);
    }
}
