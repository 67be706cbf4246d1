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

#[test]
fn what_a_client_writes_into_a_line_is_no_time() {
    let request = "200 99 - - ---- 2/2/0/0/0 0/0";
    for forged in ["{Th=9000} \"GET / HTTP/1.1\"", "\"GET /a?x&Th=9000 HTTP/1.1\"", "\"GET /a; Th=9000 HTTP/1.1\""] {
        assert_eq!(parts(&format!("{HEAD} fe~ be/s2 3/1/2/7/900 {request} {forged}"))[0], None, "{forged}");
    }
    let asked = line(PLACE, &format!("{HEAD} fe~ be/s2 3/1/2/7/900 {request} \"GET /a HTTP/1.1\"")).expect("it is read");
    assert_eq!(asked.path.as_deref(), Some("/a"), "what was asked for is still told");
    let nginx = r#"192.0.2.7:9 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x request_time=9.000 ssl_handshake_time=9.0" rt=0.009"#;
    assert_eq!(parts(nginx), [None, None, None, None, Some(9.0)]);
}

#[test]
fn haproxys_handshake_stands_before_the_timers_of_tcp_too() {
    let tcp = |timers: &str| {
        let text = format!("{HEAD} fe~ be/s {timers} 212 -- 1/1/0/0/0 0/0");
        (parts(&text), line(PLACE, &text).ok().and_then(|request| request.status))
    };
    assert_eq!(tcp("12/900/0/1/5007"), ([Some(12.0), None, Some(0.0), Some(1.0), None], None));
    assert_eq!(tcp("640/0/1/5007"), ([Some(640.0), None, Some(0.0), Some(1.0), None], None));
    let six = parts(&format!("{HEAD} fe~ be/s 640/3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 \"GET / HTTP/1.1\""));
    assert_eq!(six, [Some(640.0), Some(3.0), Some(0.0), Some(7.0), None]);
    let prefixed = r#"<6>2001:db8::7:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/0/3/0/0/7/650 200 99 - - ---- 2/2/0/0/0 0/0 {} "GET / HTTP/1.1""#;
    let request = line(PLACE, prefixed).expect("it is read");
    assert_eq!((request.source, request.client.to_string().as_str()), (Source::HaProxy, "[2001:db8::7]:5001"));
}

#[test]
fn another_unit_or_another_handshake_is_no_time() {
    for other in [
        r#"{"client_ip":"198.51.100.4","client_port":5001,"request_time":900,"status":200,"method":"GET"}"#,
        r#"{"remote_addr":"198.51.100.4","remote_port":"5001","request_time":"900","upstream_response_time":"800"}"#,
        "remote_addr:198.51.100.4\tremote_port:5001\trequest_time:900",
        r#"{"remote_addr":"198.51.100.4","remote_port":"5001","upstream_ssl_handshake_time":"0.640"}"#,
        r#"{"remote":"198.51.100.4:5001","tls_handshake":3000000}"#,
    ] {
        let reason = line(PLACE, other).err();
        assert!(matches!(reason, Some(Reason::NoTimes | Reason::NotUnderstood)), "{other}: {reason:?}");
    }
}

#[test]
fn how_long_envoys_connection_lived_is_nobodys_stall() {
    for tcp in [
        r#"[2022-03-14T21:26:47.519Z] "- - -" 0 - - - "-" 978 795 158381 - "-" "-" "-" "-" "192.168.56.20:3080" outbound|3080||a 10.244.0.9:42680 10.244.0.9:8080 10.244.0.11:53730 a.test -"#,
        r#"{"downstream_remote_address":"198.51.100.4:5001","duration":90000,"response_code":0,"method":null,"response_flags":"-"}"#,
        r#"{"downstream_remote_address":"198.51.100.4:5001","duration":90000,"response_code":"0","method":"-","response_flags":"-"}"#,
    ] {
        assert_eq!(line(PLACE, tcp).err(), Some(Reason::NoTimes), "{tcp}");
    }
}

#[test]
fn the_key_is_the_connections_own_end() {
    let key = |text: &str| line(PLACE, text).expect("it is read").key().map(|key| key.client.to_string());
    let own = Some("198.51.100.4:5001".to_owned());
    for (text, meant) in [
        (
            r#"[2026-11-26T12:00:00.4Z] "POST /o HTTP/1.1" 200 - via_upstream - "-" 156 91 900 800 "198.51.100.4" "ua" "id" "a.test" "10.0.0.9:80" outbound|80||a 10.0.0.1:5 10.9.9.9:443 198.51.100.4:0 a.test default"#,
            None,
        ),
        (r#"{"downstream_remote_address":"203.0.113.9:0","duration":900,"response_code":200,"method":"GET"}"#, None),
        (
            r#"{"downstream_remote_address":"203.0.113.9:0","downstream_direct_remote_address":"198.51.100.4:5001","duration":900,"response_code":200,"method":"GET"}"#,
            own.clone(),
        ),
        (
            r#"{"remote_addr":"203.0.113.9","remote_port":"1234","realip_remote_addr":"198.51.100.4","realip_remote_port":"5001","request_time":"0.900"}"#,
            own.clone(),
        ),
        (
            r#"{"remote_addr":"203.0.113.9","remote_port":"1234","realip_remote_addr":"198.51.100.4","request_time":"0.900"}"#,
            None,
        ),
        (
            r#"{"remote_addr":"198.51.100.4","remote_port":"5001","realip_remote_addr":"198.51.100.4","request_time":"0.900"}"#,
            own.clone(),
        ),
        (r#"{"remote_addr":"198.51.100.4","remote_port":"5001","client_port":"9","request_time":"0.900"}"#, own),
    ] {
        assert_eq!(key(text), meant, "{text}");
    }
}

#[test]
fn only_a_certificate_of_the_clients_is_said_to_be_refused() {
    let error = |why: &str| {
        let text = format!("2026-10-04T17:05:15.514108Z 198.51.100.4 5001 443 - - - \"-\" - - Failed:{why} TID");
        line(PLACE, &text).ok().and_then(|request| request.error)
    };
    assert_eq!(error("UnmappedConnectionError").as_deref(), Some("the connection failed: UnmappedConnectionError"));
    assert_eq!(error("SelfSignedCert").as_deref(), Some("the connection failed: SelfSignedCert"));
    let refused = "the client's certificate was refused: ClientCertUntrusted";
    assert_eq!(error("ClientCertUntrusted").as_deref(), Some(refused));
}

#[test]
fn a_line_that_a_collector_keeps_is_read_before_its_own_fields() {
    let inner = "198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 0/0/0/1/12 200 9";
    for around in [
        r#"{"log":"LINE","kubernetes":{"pod_name":"p"}}"#,
        r#"{"container_id":"a","source":"stdout","log":"LINE"}"#,
        r#"{"@timestamp":"2026-11-26T12:00:00Z","log":{"source":{"address":"10.0.0.5:51400"}},"message":"LINE"}"#,
        r#"{"host":"10.0.0.5:51400","source":"udp:514","event":"LINE"}"#,
    ] {
        let text = around.replace("LINE", inner);
        assert_eq!(parts(&text)[0], Some(512.0), "{text}");
        assert_eq!(crate::sniff(text.as_bytes()), Some(Source::HaProxy), "{text}");
    }
}

#[test]
fn nginxs_lists_and_dates_are_read() {
    for upstream in
        ["10.0.0.9:8080, 10.0.0.8:8080 0, 5 0.500, 0.400 504, 200", "10.0.0.9:8080 : 10.0.0.8:8080 0 : 5 0.500 : 0.400 504 : 200"]
    {
        let text = format!(
            r#"198.51.100.4 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-" 90 0.903 [d-a-80] [] {upstream} 6e0a"#
        );
        assert_eq!(parts(&text), [None, None, None, Some(900.0), Some(3.0)], "{text}");
    }
    for dated in [
        "time:26/Nov/2026:14:00:00 +0200\tremote_addr:198.51.100.4\trequest_time:0.900",
        r#"{"time":"26/Nov/2026:14:00:00 +0200","remote_addr":"198.51.100.4","request_time":"0.900"}"#,
        r#"{"time_local":"26/Nov/2026:14:00:00 +0200","remote_addr":"198.51.100.4","request":"GET /\x22 HTTP/1.1","request_time":"0.900"}"#,
    ] {
        let request = line(PLACE, dated).expect("it is read");
        assert_eq!(request.when.map(|when| when.text()).as_deref(), Some("2026-11-26T12:00:00Z"), "{dated}");
    }
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
