//! Lines in the formats that programs document: the client with its port, or "unread"; never another end.

mod common;

use common::said;

#[test]
fn documented_formats_give_the_client_or_nobody() {
    let mut wrong = Vec::new();
    for (format, line, meant) in [
        ("HAProxy, no format", "haproxy[14385]: Connect from 198.51.100.4:5001 to 10.0.3.31:8012 (www/HTTP)", "every"),
        (
            "HAProxy, tcplog",
            "Feb  6 12:12:56 lb haproxy[14387]: 198.51.100.4:5001 [06/Feb/2026:12:12:51.443] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0",
            "every",
        ),
        (
            "HAProxy, httplog without a head",
            r#"198.51.100.4:5001 [06/Feb/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /i HTTP/1.1""#,
            "every",
        ),
        (
            "HAProxy, Th among numbers",
            "198.51.100.4:5001 [06/Feb/2026:12:14:14.655] fe~ be/s1 512 0 0 0 1 3 516 200 321",
            "every",
        ),
        (
            "HAProxy, Th/Ti/TR/Tq/Tw/Tc/Tr/Td/Tt",
            "198.51.100.4:5001 [06/Feb/2026:12:14:14.655] fe~ be/s1 512/0/0/512/0/1/3/0/516 200 321",
            "every",
        ),
        (
            "HAProxy, failed",
            "Feb 28 02:07:51 lb haproxy[9]: 198.51.100.4:5001 [28/Feb/2026:02:07:51.623] https/192.168.5.100:443: SSL handshake failure (error:0A0000C1:SSL routines::no shared cipher)",
            "named",
        ),
        (
            "HAProxy, JSON",
            r#"{"host":"lb","ident":"haproxy","time":{"tq":1,"tt":9},"network":{"client_ip":"198.51.100.4","client_port":5001,"frontend_ip":"10.0.0.1","frontend_port":443},"response":{"status_code":200}}"#,
            "every",
        ),
        (
            "HAProxy, JSON with Th",
            r#"{"network":{"client_ip":"198.51.100.4","client_port":5001,"frontend_ip":"10.0.0.1","frontend_port":443},"time":{"th":512},"response":{"status_code":200}}"#,
            "512",
        ),
        (
            "HAProxy, JSON without the port",
            r#"{"timestamp":1,"frontend_name":"f","remote_addr":"198.51.100.4","upstream_addr":"10.0.0.9","bytes_read":7}"#,
            "unread",
        ),
        ("nginx, as documented", "198.51.100.4:5001 connection_time=0.520 request_time=0.008 connection_requests=1", "512"),
        ("nginx, a later request", "198.51.100.4:5001 connection_time=9.520 request_time=0.008 connection_requests=2", "every"),
        ("nginx, by hand", "198.51.100.4:5001 handshake_time=0.512", "512"),
        (
            "nginx, combined with the port",
            r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/2.0" 200 52 "-" "curl/8""#,
            "every",
        ),
        ("nginx, combined", r#"198.51.100.4 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/2.0" 200 52 "-" "curl/8""#, "unread"),
        (
            "nginx, key=value",
            r#"remote_addr="198.51.100.4" remote_port="5001" server_addr="10.0.0.1" server_port="443" request="GET / HTTP/1.1" status="200""#,
            "every",
        ),
        (
            "nginx, JSON",
            r#"{"time_iso8601":"2026-11-26T12:00:00+00:00","remote_addr":"198.51.100.4","remote_port":"5001","server_addr":"10.0.0.1","server_port":"443","upstream_addr":"10.0.0.9:80","status":"200","request":"GET / HTTP/1.1"}"#,
            "every",
        ),
        (
            "nginx, error",
            r#"2026/11/26 12:00:00 [error] 31#31: *12 upstream timed out (110) while SSL handshaking to upstream, client: 198.51.100.4, server: a.test, request: "GET / HTTP/1.1", upstream: "https://10.0.0.9:8443/", host: "a.test""#,
            "unread",
        ),
        (
            "nginx, stream",
            r#"198.51.100.4 [26/Nov/2026:12:00:00 +0000] TCP 200 1024 517 0.512 "10.0.0.9:8443" "517" "1024" "0.001""#,
            "unread",
        ),
        (
            "ingress-nginx, behind a proxy",
            r#"198.51.100.4 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-" 90 0.003 [d-a-80] [] 10.0.0.9:8080 5 0.003 200 6e0a"#,
            "unread",
        ),
        ("Apache, with the port", r#"198.51.100.4:5001 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5"#, "every"),
        (
            "Apache, error",
            "[Thu Nov 26 12:00:00.123456 2026] [ssl:info] [pid 1:tid 2] [client 198.51.100.4:5001] AH02008: SSL library error 1 in handshake (server a.test:443)",
            "named",
        ),
        (
            "Caddy, JSON",
            r#"{"level":"info","ts":1.5,"logger":"http.log.access","request":{"remote_ip":"198.51.100.4","remote_port":"5001","client_ip":"203.0.113.9","method":"GET","headers":{"X-Forwarded-For":["203.0.113.9"]}},"status":200}"#,
            "every",
        ),
        (
            "Caddy, console",
            "2026/11/26 12:00:00.420\tDEBUG\thttp.stdlib\thttp: TLS handshake error from 198.51.100.4:5001: EOF",
            "named",
        ),
        (
            "Go",
            "2026/11/26 12:00:00 http: TLS handshake error from 198.51.100.4:5001: remote error: tls: bad certificate",
            "named",
        ),
        (
            "Traefik, CLF",
            r#"198.51.100.4 - - [26/Nov/2026:12:00:00 +0000] "GET / HTTP/2.0" 200 52 "-" "-" 1 "app@docker" "http://10.0.0.9:80" 3ms"#,
            "unread",
        ),
        (
            "Traefik, JSON",
            r#"{"ClientAddr":"198.51.100.4:5001","ClientHost":"198.51.100.4","ClientPort":"5001","DownstreamStatus":404,"RequestMethod":"GET","ServiceAddr":"10.0.0.9:80","ServiceURL":"http://10.0.0.9:80"}"#,
            "every",
        ),
        (
            "Traefik, debug",
            r#"time="2026-11-26T12:00:00Z" level=debug msg="http: TLS handshake error from 198.51.100.4:5001: EOF""#,
            "named",
        ),
        (
            "Envoy, default",
            r#"[2026-11-26T12:00:00.310Z] "POST /x HTTP/2" 204 - 154 0 226 100 "198.51.100.4" "ua" "id" "a.test" "tcp://10.0.0.9:80""#,
            "unread",
        ),
        (
            "Envoy, JSON",
            r#"{"start_time":"2026-11-26T12:00:00Z","downstream_remote_address":"198.51.100.4:5001","downstream_local_address":"10.0.0.1:443","upstream_host":"10.0.0.9:80","upstream_local_address":"10.0.0.1:40000","response_code":0,"response_flags":"DC","method":null}"#,
            "every",
        ),
        (
            "Envoy, from a header",
            r#"{"downstream_remote_address":"198.51.100.4:0","downstream_local_address":"10.0.0.1:443","response_code":200}"#,
            "unread",
        ),
        (
            "Envoy, the direct peer",
            r#"{"downstream_remote_address":"203.0.113.9:0","downstream_direct_remote_address":"198.51.100.4:5001","response_code":200}"#,
            "every",
        ),
        (
            "Istio, text",
            r#"[2026-11-26T12:00:00.4Z] "POST /o HTTP/1.1" 503 UC via_upstream - "-" 156 91 4 - "-" "ua" "id" "a.test" "10.0.0.9:80" outbound|80||a 10.0.0.1:5 10.9.9.9:80 198.51.100.4:5001 - default"#,
            "unread",
        ),
        (
            "ALB",
            r#"https 2026-07-02T22:23:00.186641Z app/lb/50dc 198.51.100.4:5001 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://a.test:443/ HTTP/1.1" "curl/7" ECDHE TLSv1.2 arn "Root=1""#,
            "every",
        ),
        (
            "ALB, connections",
            "2026-10-04T17:05:15.514108Z 198.51.100.4 5001 443 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 0.512 \"CN=a\" 2026 2027 Success TID",
            "512",
        ),
        (
            "NLB",
            r#"tls 2.0 2026-12-20T02:59:40 net/lb/c6 g3d4 198.51.100.4:5001 172.100.100.185:443 700 512 98 246 - arn - ECDHE tlsv12 - a.test - - -"#,
            "512",
        ),
        (
            "Classic ELB",
            r#"2026-05-13T23:39:43.945958Z lb 198.51.100.4:5001 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://a.test:80/ HTTP/1.1" "curl/7" - -"#,
            "every",
        ),
        ("stunnel, accepted", "2026.11.26 12:00:00 LOG5[7]: Service [https] accepted connection from 198.51.100.4:5001", "every"),
        ("stunnel, upstream", "2026.11.26 12:00:00 LOG5[7]: s_connect: connected 10.0.0.9:8080", "unread"),
        (
            "stunnel, its own end",
            "2026.11.26 12:00:00 LOG5[7]: Service [https] connected remote server from 127.0.0.1:54822",
            "unread",
        ),
        (
            "Exim",
            "2026-11-26 12:00:00 TLS error on connection from h.test (x) [198.51.100.4]:5001 I=[10.0.0.1]:465 (SSL_accept): timed out",
            "named",
        ),
        (
            "Dovecot",
            "Nov 26 12:00:00 mx dovecot: imap-login: Disconnected: TLS handshake failed (no auth attempts in 9 secs): user=<>, rip=198.51.100.4, lip=10.0.0.1, TLS handshaking, session=<x>",
            "unread",
        ),
        (
            "Dovecot, with ports",
            "Nov 26 12:00:00 mx dovecot: imap-login: TLS handshake slow: user=<>, rip=198.51.100.4, rport=5001, lip=10.0.0.1, lport=993",
            "named",
        ),
        (
            "Postfix",
            "Nov 26 12:00:00 mx postfix/smtpd[9]: SSL_accept error from unknown[198.51.100.4]:5001: lost connection",
            "named",
        ),
        ("OpenVPN", "Thu Nov 26 12:00:00 2026 198.51.100.4:5001 TLS Error: TLS handshake failed", "named"),
        (
            "Zeek, ssl",
            r#"{"ts":1.5,"uid":"C1","id.orig_h":"198.51.100.4","id.orig_p":5001,"id.resp_h":"10.0.0.1","id.resp_p":443,"version":"TLSv13","established":true}"#,
            "every",
        ),
        (
            "Suricata, tls",
            r#"{"timestamp":"2026-11-26T12:00:00Z","event_type":"tls","src_ip":"198.51.100.4","src_port":5001,"dest_ip":"10.0.0.1","dest_port":443,"proto":"TCP"}"#,
            "every",
        ),
        (
            "ECS",
            r#"{"@timestamp":"2026-11-26T12:00:00Z","client":{"ip":"198.51.100.4","port":5001},"server":{"ip":"10.0.0.1","port":443},"http":{"request":{"method":"GET"}}}"#,
            "every",
        ),
        ("CEF", "CEF:0|F5|ASM|1|2|slow TLS|5|src=198.51.100.4 spt=5001 dst=10.0.0.1 dpt=443 msg=slow handshake", "named"),
        (
            "FortiGate",
            r#"date=2026-11-26 time=12:00:00 type="event" srcip=198.51.100.4 srcport=5001 dstip=10.0.0.1 dstport=443 handshake="full" msg="SSL handshake sent""#,
            "named",
        ),
        (
            "Node, pino",
            r#"{"level":40,"time":1,"req":{"method":"GET","url":"/","remoteAddress":"::ffff:198.51.100.4","remotePort":5001},"msg":"request completed"}"#,
            "every",
        ),
        ("gRPC", r#"level=warn msg="tls handshake took 512ms" peer=ipv4:198.51.100.4:5001"#, "512"),
        ("Java", "WARN handshake with /198.51.100.4:5001 took 512 ms", "512"),
        (
            "Cloudflare",
            r#"{"ClientIP":"198.51.100.4","ClientSrcPort":5001,"EdgeServerIP":"10.0.0.1","OriginIP":"10.0.0.9","EdgeResponseStatus":200,"ClientRequestMethod":"GET"}"#,
            "every",
        ),
        (
            "Application Gateway",
            r#"{"operationName":"ApplicationGatewayAccess","properties":{"clientIP":"198.51.100.4","clientPort":5001,"httpMethod":"GET","httpStatus":200,"serverRouted":"10.0.0.9:80"}}"#,
            "every",
        ),
        (
            "Google's load balancer",
            r#"{"httpRequest":{"remoteIp":"198.51.100.4","serverIp":"10.0.0.9","status":200,"requestMethod":"GET"}}"#,
            "unread",
        ),
        (
            "docker",
            r#"{"log":"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 0/0/0/1/12 200 9\n","stream":"stdout","time":"2026-11-26T12:00:00Z"}"#,
            "512",
        ),
        (
            "Fluent Bit",
            r#"{"log":"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 0/0/0/1/12 200 9","kubernetes":{"pod_name":"p","pod_ip":"10.0.0.3"}}"#,
            "512",
        ),
        (
            "CRI",
            "2026-11-26T12:00:00.1Z stdout F 198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s 0/0/0/1/12 200 9",
            "every",
        ),
        ("docker compose", "edge-1  | 198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 0/0/0/1/12 200 9", "512"),
        (
            "the journal, JSON",
            r#"{"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"haproxy","_PID":"7","MESSAGE":"198.51.100.4:5001 [26/Nov/2026:12:00:00.101] fe~ be/s Th=512 0/0/0/1/12 200 9"}"#,
            "512",
        ),
        ("Graylog", r#"{"source":"10.0.0.5","client_ip":"198.51.100.4","client_port":5001,"message":"slow handshake"}"#, "named"),
        ("Filebeat", r#"{"log":{"source":{"address":"10.0.0.5:51400"}},"message":"198.51.100.4:5001 handshake=512ms"}"#, "512"),
        (
            "nginx, realip",
            r#"{"remote_addr":"203.0.113.9","remote_port":"1","realip_remote_addr":"198.51.100.4","realip_remote_port":"5001","status":200}"#,
            "every",
        ),
        ("GELF", r#"{"version":"1.1","host":"lb","short_message":"slow handshake of 198.51.100.4:5001","level":4}"#, "named"),
        (
            "LTSV",
            "time:26/Nov/2026:12:00:00 +0000\thost:198.51.100.4\tport:5001\treq:GET / HTTP/1.1\tstatus:200\treqtime:0.512",
            "every",
        ),
        ("LTSV, the listener's port", "time:1\thost:198.51.100.4\tport:443\tstatus:200", "unread"),
        (
            "RFC 5424 with data",
            r#"<134>1 2026-11-26T12:00:00Z lb edge 3 - [m@1 a="b"] client=198.51.100.4:5001 handshake_ms=512"#,
            "512",
        ),
        ("PROXY", "PROXY TCP4 198.51.100.4 10.0.0.1 5001 443", "unread"),
        ("W3C", "2026-11-26 12:00:00 10.0.0.1 GET / - 443 - 198.51.100.4 Mozilla 200 0 0 512", "unread"),
        ("Squid", "1795000000.123 512 198.51.100.4 TCP_TUNNEL/200 39 CONNECT a.test:443 - HIER_DIRECT/10.0.0.9 -", "unread"),
        ("two ends without a word", "slow: 10.0.0.9:8080 198.51.100.4:5001", "unread"),
        ("an arrow", "198.51.100.4:5001 -> 10.0.0.1:443 slow", "named"),
        ("a server alone", "server: 10.0.0.1:8443 was slow", "unread"),
        ("a listener alone", "slow handshake at 10.0.0.1:443", "unread"),
    ] {
        if said(line) != meant {
            wrong.push(format!("{format}: {} instead of {meant}: {line}", said(line)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
