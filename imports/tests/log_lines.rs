//! Lines that were once misread, by kind: what a client writes itself, other ends, other handshakes, times without a unit, lines that come
//! for every connection.

mod common;

use common::{CLIENT, said};
use whostalled_imports::logline::{Fields, read};

fn hold(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(line, meant)| said(line) != *meant)
        .map(|(line, meant)| format!("{} instead of {meant}: {line}", said(line)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_client_writes_into_a_line_says_nothing() {
    hold(&[
        (
            r#"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 {bot (handshake=9000)} "GET / HTTP/1.1""#,
            "every",
        ),
        (
            r#"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 {it 's} {x} "GET /a;th=9000'; HTTP/1.1""#,
            "every",
        ),
        (
            r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/2.0" 200 52 "-" "bot (client=203.0.113.9:4444; handshake=9000)""#,
            "every",
        ),
        (
            r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/2.0" 200 52 "-" "TLS handshake took 9000 ms from 203.0.113.9:4444""#,
            "every",
        ),
        (r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "GET /\" (handshake=9000) HTTP/1.1" 200 52 "-" "x""#, "every"),
        (
            r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 52 "-" "{\x22a\x22:1}" user_agent="x (handshake=9000)""#,
            "every",
        ),
        (
            r#"remote=198.51.100.4:5001 status=200 http/user-agent="bot handshake took 9000 ms, client=203.0.113.9:4444" request="GET /;th=9000""#,
            "every",
        ),
        (
            r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "{"client":"203.0.113.9:4444","handshake_ms":9000}""#,
            "unread",
        ),
        (
            "2026-11-26T12:00:00.310Z 1 2 WRK-00 INFO\t[01GE1Q api b-1] \t198.51.100.4:5001 -> 10.0.0.9:8080 \t1ms \tHTTPS a.test GET /a;handshake=9000 200",
            "every",
        ),
        (
            r#"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 "GET / HTTP/1.1" 0/0000000000000000/0/0/0 x Th=9000 y/TLSv1.3/TLS_AES_128_GCM_SHA256"#,
            "every",
        ),
        ("198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 3/0/0/7/900 200 99 GET /a;th=9000", "every"),
        ("198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 3/0/0/7/900 200 99 /a;th=9000", "every"),
        (
            r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "POST / HTTP/1.1" 200 5 {"client":"203.0.113.9:4444","handshake_ms":9000}"#,
            "every",
        ),
        (r#"{"ClientAddr":"198.51.100.4:5001","RequestMethod":"GET","request_X-Handshake-Ms":"9000"}"#, "every"),
        (r#"{"ClientAddr":"198.51.100.4:5001","RequestMethod":"GET","request_Tls-Handshake-Ms":"9000"}"#, "every"),
        (r#"{"remote_addr":"198.51.100.4","remote_port":"5001","status":"200","http_handshake_ms":"9000"}"#, "every"),
        (
            r#"{"remote_addr":"198.51.100.4","remote_port":"5001","status":"200","arg_handshake":"9000","cookie_handshake":"9000"}"#,
            "every",
        ),
        (r#"{"remote_addr":"198.51.100.4","status":"200","http_client_ip":"203.0.113.9:4444"}"#, "unread"),
        (r#"{"ClientHost":"198.51.100.4","RequestMethod":"GET","request_Client-Ip":"203.0.113.9:4444"}"#, "unread"),
        (r#"status: 200 ua: "203.0.113.9:4444""#, "unread"),
        (r#"status=200 user_agent="203.0.113.9:4444""#, "unread"),
        (
            r#"unix:1 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 {203.0.113.9:4444} "GET / HTTP/1.1""#,
            "unread",
        ),
        (
            r#"{"remote_addr":"198.51.100.4","remote_port":"5001","status":200,"request_headers":{"handshake_ms":"9000","client":"203.0.113.9:4444"}}"#,
            "every",
        ),
    ]);
}

#[test]
fn the_end_that_was_connected_to_is_not_the_clients() {
    hold(&[
        ("2026.04.10 09:55:14 LOG3[0]: s_connect: s_poll_wait 10.244.0.9:20049: TIMEOUTconnect exceeded", "unread"),
        ("2026/11/26 12:00:00 http: proxy error: dial tcp 10.0.0.9:8080: connect: connection refused", "unread"),
        (
            "[Tue Dec 02 19:45:05.837552 2025] [proxy:error] [pid 1038:tid 1111] (13)Permission denied: AH00957: FCGI: attempt to connect to 127.0.0.1:9001 (127.0.0.1:9001) failed",
            "unread",
        ),
        (
            "2026/11/26 12:00:00 [warn] 31#31: *12 [lua] healthcheck.lua:1150: log(): [healthcheck] (0dc6:up) unhealthy TCP increment (1/2) for 'a.test(10.0.0.9:8080)', context: ngx.timer",
            "unread",
        ),
        ("Error: connect ECONNREFUSED 10.0.0.9:8080", "unread"),
        ("Error: connect ETIMEDOUT 10.0.0.9:8443", "unread"),
        ("edge: 10.0.0.9:8080: No route to host", "unread"),
        ("io.netty.channel.ConnectTimeoutException: connection timed out: /10.0.0.9:8080", "unread"),
        ("error trying to connect: tcp connect error: 10.0.0.9:8080", "unread"),
        ("redis connect failed peer=10.0.0.9:6379", "unread"),
        ("WARN connect failed, trying again {remote=10.0.0.9:8080, attempt=2}", "unread"),
        (r#"{"level":"error","msg":"dial failed","remote":"10.0.0.9:8080"}"#, "unread"),
        (r#"{"level":"error","msg":"giving up","peer":"10.0.0.9:8080","error":"connect: connection refused"}"#, "unread"),
        (r#"level=error msg="connect: no route to host" peer=10.0.0.9:8080"#, "unread"),
        (r#"{"client":"198.51.100.4:5001","msg":"slow handshake","error":"connect: connection refused"}"#, "named"),
        ("WARN upstream app timed out, 10.0.0.9:8080 took 512 ms", "unread"),
        ("slow: forwarding to 10.0.0.9:8080, peer (10.0.0.9:8080)", "unread"),
        ("198.51.100.4:5001 slow, upstream app down", "named"),
        ("edge[7]: 198.51.100.4:5001 slow, upstream app down", "named"),
        ("nginx-proxy: 198.51.100.4:5001 slow", "named"),
        ("WARN upstream timed out: 10.0.0.9:8080", "unread"),
        ("connect to upstream refused for client 198.51.100.4:5001", "named"),
    ]);
}

#[test]
fn of_gos_two_ends_the_left_is_the_programs_own() {
    hold(&[
        ("2026/11/26 12:00:00 read tcp 10.42.0.5:8443->198.51.100.4:5001: i/o timeout", "named"),
        ("2026/11/26 12:00:00 write tcp4 10.42.0.5:443->198.51.100.4:5001: write: broken pipe", "named"),
        ("2026/11/26 12:00:00 write tcp 10.42.0.5:44321->10.0.0.9:8443: write: broken pipe", "unread"),
        (
            "2026/11/26 12:00:00 http: proxy error: read tcp 10.0.0.5:44321->10.0.0.9:8443: read: connection reset by peer",
            "unread",
        ),
        ("2026/11/26 12:00:00 dial tcp 10.0.0.5:8443->10.0.0.9:8443: i/o timeout", "unread"),
    ]);
}

#[test]
fn a_word_as_from_makes_no_listener_a_client() {
    hold(&[
        (
            r#"[2026-11-26 12:00:00.123][12][debug][connection] [source/common/tls/ssl_socket.cc:251] [Tags: "ConnectionId":"1"] remote address:10.0.0.9:443,TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end"#,
            "unread",
        ),
        ("error while reading response from 10.0.0.9:443", "unread"),
        ("error while reading response header from 10.0.0.9:9001", "unread"),
        ("peer 10.0.0.9:8443 was slow", "unread"),
        ("TLS handshake error from 198.51.100.4:5001", "named"),
    ]);
}

#[test]
fn an_address_without_a_word_of_whose_it_is_is_nobodys() {
    hold(&[
        (
            r#"{"level":"info","logger":"http.handlers.reverse_proxy.health_checker.active","msg":"HTTP request failed","host":"192.0.2.161:3001","error":"dial tcp: connection refused"}"#,
            "unread",
        ),
        (r#"{"msg":"listening","addr":"10.0.0.1:8443"}"#, "unread"),
        ("level=info msg=listening addr=10.0.0.1:8443", "unread"),
        ("level:info\tmsg:listening\thost:10.0.0.1\tport:8443", "unread"),
        (r#"level=warn msg="slow handshake" instance="10.0.0.1:8443""#, "unread"),
        (r#"{"client_ip":"198.51.100.4","remote_port":443,"handshake_ms":640}"#, "unread"),
        ("[tls] slow: client_ip=198.51.100.4 client_port=5001 handshake_ms=640", "640"),
    ]);
}

#[test]
fn a_collectors_sender_is_not_the_client_of_the_line_it_keeps() {
    let line = "198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 3/0/0/7/900 200 99";
    for around in [
        r#"{"host":"10.0.0.5:51400","message":"LINE","source_type":"socket"}"#,
        r#"{"@version":"1","host":"10.0.0.5","port":51400,"message":"LINE"}"#,
        r#"{"body":"LINE","attributes":{"net.transport":"IP.TCP","net.peer.ip":"10.0.0.5","net.peer.port":"51400"}}"#,
        r#"{"host":"lb","message":"LINE","source_ip":"10.0.0.5","source_type":"syslog"}"#,
        r#"{"SOURCEIP":"10.0.0.5","PROGRAM":"haproxy","MESSAGE":"LINE"}"#,
        r#"{"message":"LINE","source_host":"10.0.0.5","source_port":"51400"}"#,
        r#"{"time":1795694400,"host":"lb","source":"udp:514","event":"LINE"}"#,
        r#"{"client":"10.0.0.5:51400","message":"LINE"}"#,
    ] {
        hold(&[(&around.replace("LINE", line), "512")]);
    }
    hold(&[
        (r#"{"source_ip":"10.0.0.5","source_port":51400,"message":"TLS handshake error from 198.51.100.4:5001: EOF"}"#, "named"),
        (r#"{"remote":"198.51.100.4:5001","message":"slow, proxied to 10.0.0.9:8080"}"#, "named"),
        (r#"{"client_ip":"198.51.100.4","client_port":5001,"message":"10.0.0.9:8080 was slow","handshake_ms":512}"#, "512"),
    ]);
    let entry = [("_SOURCE", "x"), ("SOURCEIP", "10.0.0.5"), ("SOURCEPORT", "51400"), ("MESSAGE", line)];
    let read = whostalled_imports::logline::read_fields(entry, &Fields::default());
    assert_eq!(read.map(|said| said.client.to_string()).as_deref(), Ok(CLIENT));
}

#[test]
fn an_address_in_brackets_is_not_passed_over() {
    hold(&[
        ("[198.51.100.4:5001] [26/Nov/2026:12:00:00 +0000] TCP 200 0.512 10.0.0.9:8443", "unread"),
        ("[198.51.100.4:5001] slow", "named"),
        ("slow client [198.51.100.4:5001], sent to [10.0.0.9:8443]", "named"),
        ("[[::ffff:198.51.100.4]:5001] slow", "named"),
    ]);
}

#[test]
fn only_the_clients_tls_handshake_is_a_time() {
    hold(&[
        (r#"{"remote_addr":"198.51.100.4","remote_port":"5001","upstream_ssl_handshake_time":"0.640","status":"200"}"#, "every"),
        (r#"{"client":"198.51.100.4:5001","tcp_handshake_ms":640,"status":200}"#, "every"),
        (r#"{"remote":"198.51.100.4:5001","tls_handshake_bytes":4312}"#, "every"),
        (r#"{"remote":"198.51.100.4:5001","tls_handshake_start":1795694400123}"#, "named"),
        (r#"{"remote":"198.51.100.4:5001","tls_handshake_cipher":"4865","status":200}"#, "every"),
        (r#"{"remote":"198.51.100.4:5001","websocket_handshake_ms":640,"status":200}"#, "every"),
        ("client=198.51.100.4:5001 backend.handshake_ms=640 status=200", "every"),
        ("client=198.51.100.4:5001 status=200 upstream TLS handshake took 640 ms", "every"),
        ("client=198.51.100.4:5001 status=200 handshake with backend 10.0.0.9:443 took 640 ms", "every"),
        (r#"{"remote":"198.51.100.4:5001","edge":{"tlsHandshakeLatencyMs":640}}"#, "640"),
        ("INFO {peer=198.51.100.4:5001, handshake_ms=640}", "640"),
    ]);
}

#[test]
fn a_number_without_a_unit_is_no_length_of_time() {
    hold(&[
        (
            r#"{"time":"2026-11-26T12:00:00Z","level":"INFO","msg":"accepted","remote":"198.51.100.4:5001","tls_handshake":3000000}"#,
            "unread",
        ),
        (r#"{"level":"info","remote":"198.51.100.4:5001","tls_handshake":3.125,"message":"accepted"}"#, "unread"),
        (r#"{"remote":"198.51.100.4:5001","handshake_duration":512}"#, "unread"),
        ("client=198.51.100.4:5001 handshake=512000000", "unread"),
        ("client=198.51.100.4:5001 handshake=512", "512"),
        (r#"{"remote":"198.51.100.4:5001","ssl_handshake_time":0.512}"#, "512"),
        (r#"{"downstream_remote_address":"198.51.100.4:5001","downstream_handshake_duration":512}"#, "512"),
    ]);
    let fields = Fields { duration: Some("tls_handshake".into()), own: true, ..Fields::default() };
    let read = read(r#"{"remote":"198.51.100.4:5001","tls_handshake":512}"#, &fields);
    assert_eq!(read.map(|said| said.took.map(|took| took.as_millis())), Ok(Some(512)), "named by hand it is as documented");
}

#[test]
fn haproxys_lines_are_known_behind_whatever_stands_before_them() {
    let tcp = "198.51.100.4:5001 [06/Feb/2026:12:12:51.443] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0";
    let th = r#"198.51.100.4:5001 [06/Feb/2026:12:12:51.443] fe~ be/s 640/0/3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 "GET / HTTP/1.1""#;
    for before in [
        "[pod/haproxy-0/haproxy] ",
        "2026-11-26T12:00:00.123456789Z ",
        "[pod/haproxy-0/haproxy] 2026-11-26T12:00:00.123456789Z ",
        "<6>",
        "312 <134>1 2026-11-26T12:00:00Z lb haproxy 9 - - ",
        "haproxy-7d9f haproxy ",
    ] {
        hold(&[(&format!("{before}{tcp}"), "every"), (&format!("{before}{th}"), "640")]);
    }
    hold(&[
        ("[pod/edge-0/edge] 198.51.100.4:5001 was slow", "named"),
        ("<6>198.51.100.4:5001 handshake=0.512", "512"),
        ("198.51.100.4 by 10.0.0.9:8080 [26/Nov/2026:12:00:00 +0000] handshake=0.512", "unread"),
        ("2026-11-26T12:00:00Z 10.0.0.9:443 was slow", "unread"),
        ("[pod/edge-0/edge] 10.0.0.9:443 was slow", "unread"),
    ]);
}

#[test]
fn braces_with_nothing_in_them_are_no_json() {
    hold(&[
        (
            r#"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 {} {} "GET / HTTP/1.1""#,
            "512",
        ),
        (
            r#"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/0/3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 {} "GET / HTTP/1.1""#,
            "640",
        ),
        ("slow handshake from 198.51.100.4:5001 { }", "named"),
    ]);
}

#[test]
fn haproxys_handshake_stands_before_the_timers_of_any_format() {
    hold(&[
        ("198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/0/1/5007 212 -- 1/1/0/0/0 0/0", "640"),
        ("198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/900/0/1/5007 212 -- 1/1/0/0/0 0/0", "640"),
        ("198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/900/0/1/+5007 +212 CD 1/1/0/0/0 0/0", "640"),
        (
            r#"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 "GET / HTTP/1.1""#,
            "640",
        ),
        ("198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 640/3/0/1 x y", "every"),
    ]);
    let v6 = |line: &str| read(line, &Fields::default()).map(|said| (said.client.to_string(), said.took.map(|t| t.as_millis())));
    let meant = Ok(("[2001:db8::7]:5001".to_owned(), Some(512)));
    assert_eq!(v6("2001:db8::7:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 3/0/0/7/900 200 99"), meant);
    assert_eq!(v6("<6>2001:db8::7:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 512/3/0/0/7/900 200 99 - - ----"), meant);
}

#[test]
fn lines_of_every_connection_or_request_are_no_triggers() {
    hold(&[
        (
            r#"{"t":{"$date":"2026-11-26T12:00:00.000+00:00"},"s":"I","c":"NETWORK","id":22943,"ctx":"listener","msg":"Connection accepted","attr":{"remote":"198.51.100.4:5001","connectionId":7,"connectionCount":2}}"#,
            "every",
        ),
        (
            r#"{"level":"debug","ts":1.5,"logger":"tls.handshake","msg":"matched certificate in cache","remote_ip":"198.51.100.4","remote_port":"5001","subjects":["a.test"],"managed":true}"#,
            "every",
        ),
        ("1795000000.123    512 198.51.100.4:5001 TCP_TUNNEL/200 39 CONNECT a.test:443 - HIER_DIRECT/10.0.0.9 -", "every"),
        (
            "2026-11-26T12:00:00.310Z 1795694400310123 1234 WRK-00 INFO\t[01GE1Q api back-1] \t198.51.100.4:5001 -> 10.0.0.9:8080 \t512ms 10us 516ms 23 2049 \tHTTPS a.test GET /x 200",
            "every",
        ),
        (r#"{"ci":"198.51.100.4","cp":5001,"ft":"fe~","ST":200,"B":99,"Tt":12,"HM":"GET"}"#, "every"),
        (r#"{"clientip":"198.51.100.4","client_port":5001,"verb":"GET","response":"200"}"#, "every"),
        (r#"level=debug msg="choosing certificate" remote=198.51.100.4:5001"#, "every"),
        (r#"{"s":"I","msg":"Connection ended","attr":{"remote":"198.51.100.4:5001"}}"#, "every"),
        ("WARN slow handshake client=198.51.100.4:5001 GET /x", "named"),
        (r#"{"level":"warn","msg":"client is late","remote":"198.51.100.4:5001"}"#, "named"),
        (r#"{"level":"debug","msg":"slow client","remote":"198.51.100.4:5001"}"#, "named"),
        // Th is 0 for the later requests of a connection.
        (
            r#"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 0/811/3/0/0/7/900 200 99 - - ---- 2/2/0/0/0 0/0 "GET / HTTP/1.1""#,
            "every",
        ),
        ("haproxy[1]: 198.51.100.4:5001 fe~ Th=0 Ti=811", "every"),
        (r#"{"client":"198.51.100.4:5001","time":{"th":0}}"#, "every"),
        (
            r#"{"remote_addr":"198.51.100.4","remote_port":"5001","ssl_handshake_time":"0.512","connection_requests":"2"}"#,
            "every",
        ),
    ]);
}

#[test]
fn names_by_hand_are_read_in_quotation_marks_too() {
    let fields = Fields { client: Some("c".into()), duration: Some("t".into()), own: true, ..Fields::default() };
    for line in
        [r#"c="198.51.100.4:5001" t="0.512" ua="x""#, r#"{"c":"198.51.100.4:5001","t":0.512}"#, "c=198.51.100.4:5001 t=512ms"]
    {
        let said = read(line, &fields).map(|said| (said.client.to_string(), said.took.map(|took| took.as_millis())));
        assert_eq!(said, Ok((CLIENT.to_owned(), Some(512))), "{line}");
    }
}

#[test]
fn what_a_configuration_names_goes_before_a_line_that_is_kept() {
    let fields = Fields { client: Some("peer".into()), own: true, ..Fields::default() };
    let line = r#"{"peer":"198.51.100.4:5001","message":"203.0.113.9:4444 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 3/0/0/7/900 200 99"}"#;
    assert_eq!(read(line, &fields).map(|said| said.client.to_string()).as_deref(), Ok(CLIENT));
}

#[test]
fn a_client_alone_or_behind_its_program_may_have_any_port() {
    for line in
        ["192.0.2.7:77", "192.0.2.7:77 handshake=300ms", "haproxy[1]: 192.0.2.7:77 fe~ Th=300", "edge-1  | 192.0.2.7:77 was slow"]
    {
        let said = read(line, &Fields::default()).map(|said| said.client.to_string());
        assert_eq!(said.as_deref(), Ok("192.0.2.7:77"), "{line}");
    }
    let entry =
        whostalled_imports::logline::read_fields([("__CURSOR", "s=1;i=3"), ("MESSAGE", "192.0.2.7:77")], &Fields::default());
    assert_eq!(entry.map(|said| said.client.to_string()).as_deref(), Ok("192.0.2.7:77"));
}

#[test]
fn a_long_line_costs_no_more_than_its_length() {
    let took = |line: &str| {
        let began = std::time::Instant::now();
        let _ = read(line, &Fields::default());
        began.elapsed()
    };
    for piece in [
        " 'x",
        " \"x",
        "\\\"",
        " {",
        " {}",
        "{\"",
        " a=",
        " a: b=",
        " 198.51.100.4:5001",
        " to 198.51.100.4:5001",
        " GET /",
        " read tcp a->",
        "/x/y/",
        " x:1 [26/Nov/2026:12:00:00.101]",
        "handshake ",
        " 1/1",
        "://",
        ": ",
        "\ta:",
        "[[",
        "ü'",
        "\" 0/0/0/0/0 /a",
    ] {
        let [short, long] = [1 << 10, 1 << 14].map(|len| {
            // A field of the journal may hold several lines.
            let line = piece.repeat(len / piece.len()) + "\nx";
            took(&line).min(took(&line))
        });
        // 16 times as long; quadratic work would take 256 times.
        assert!(long < short * 100 + std::time::Duration::from_millis(100), "{piece:?}: {short:?}, {long:?}");
    }
}

#[test]
fn the_end_before_a_header_was_believed_is_the_connections_own() {
    hold(&[
        (r#"{"remote_addr":"203.0.113.9","remote_port":"1234","realip_remote_addr":"198.51.100.4","status":200}"#, "unread"),
        (r#"{"remote_addr":"198.51.100.4","remote_port":"5001","realip_remote_addr":"198.51.100.4","status":200}"#, "every"),
        (
            r#"{"downstream_remote_address":"203.0.113.9:4444","downstream_direct_remote_address":"198.51.100.4:0","response_code":200}"#,
            "unread",
        ),
    ]);
}

#[test]
fn what_a_client_sent_is_no_line_of_a_proxy() {
    let forged = r#""body":"203.0.113.9:4444 [26/Nov/2026:12:00:00.101] fe~ be/s Th=9000 3/0/0/7/900 200 99""#;
    let as_json = r#""body":"{\"client\":\"203.0.113.9:4444\",\"handshake_ms\":9000}""#;
    for body in [forged, as_json] {
        for own in [r#""status":200,"request_time":"0.003""#, r#""method":"POST""#, r#""request":"POST / HTTP/1.1""#] {
            let line = format!(r#"{{"remote_addr":"198.51.100.4","remote_port":"5001",{own},{body}}}"#);
            let said = read(&line, &Fields::default()).expect("it names a client");
            assert_eq!((said.client.to_string().as_str(), said.took, said.every), ("198.51.100.4:5001", None, true), "{line}");
        }
    }
}

#[test]
fn a_level_is_no_method() {
    for level in ["TRACE", "trace"] {
        let line = format!(r#"{{"level":"{level}","msg":"dial failed","remote":"10.0.0.9:8080","handshake_ms":900}}"#);
        assert!(read(&line, &Fields::default()).is_err(), "{line}");
    }
}

#[test]
fn a_time_in_words_is_not_lost_for_a_number_without_a_unit() {
    let line = r#"{"source_ip":"10.0.0.5","source_port":51400,"tls_handshake":3,"message":"handshake from 198.51.100.4:5001 took 512 ms"}"#;
    let said = read(line, &Fields::default()).expect("it names a client");
    assert_eq!((said.client.to_string().as_str(), said.took.map(|took| took.as_millis())), ("198.51.100.4:5001", Some(512)));
}

#[test]
fn what_nginx_escapes_is_read_and_nothing_else_is_changed() {
    let line =
        r#"{"remote_addr":"198.51.100.4","remote_port":"5001","agent":"a\x22b","path":"C:\\xyz","ssl_handshake_time":"0.512"}"#;
    let said = read(line, &Fields::default()).expect("it names a client");
    assert_eq!((said.client.to_string().as_str(), said.took.map(|took| took.as_millis())), ("198.51.100.4:5001", Some(512)));
}
