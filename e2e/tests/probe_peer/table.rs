//! What is probed by both: modules and targets. `{http}` and the like are ports; `{ca}` is the root's file.

/// One probe.
pub struct Case {
    pub name: &'static str,
    /// The module, behind its name.
    pub module: &'static str,
    pub target: &'static str,
    /// More of the question.
    pub more: &'static str,
    /// Metrics that differ, each for a reason that docs/probe.md gives under this word.
    pub differs: &'static [(&'static str, &'static str)],
}

const fn case(name: &'static str, module: &'static str, target: &'static str) -> Case {
    Case { name, module, target, more: "", differs: &[] }
}

impl Case {
    const fn but(self, differs: &'static [(&'static str, &'static str)]) -> Self {
        Self { differs, ..self }
    }

    const fn asking(self, more: &'static str) -> Self {
        Self { more, ..self }
    }
}

const PLAIN: &str = "{ prober: http }";
const TLS: &str = "{ prober: http, http: { tls_config: { ca_file: {ca} } } }";
const TLS1: &str = "{ prober: http, http: { enable_http2: false, tls_config: { ca_file: {ca} } } }";
const BRIEF: &str = "{ prober: http, timeout: 500ms }";

/// The table.
pub const CASES: &[Case] = &[
    case("http ok", PLAIN, "http://127.0.0.1:{http}/ok"),
    case("http without scheme", PLAIN, "127.0.0.1:{http}/ok"),
    case("http by name", PLAIN, "http://localhost:{http}/ok"),
    case("http by name, ip4", "{ prober: http, http: { preferred_ip_protocol: ip4 } }", "http://localhost:{http}/ok"),
    case(
        "http by name, ip6 alone",
        "{ prober: http, http: { preferred_ip_protocol: ip6, ip_protocol_fallback: false } }",
        "http://127.0.0.1:{http}/ok",
    ),
    case(
        "http, ip4 alone",
        "{ prober: http, http: { preferred_ip_protocol: ip4, ip_protocol_fallback: false } }",
        "127.0.0.1:{http}/ok",
    ),
    case("http 404", PLAIN, "http://127.0.0.1:{http}/missing"),
    case("http 204", PLAIN, "http://127.0.0.1:{http}/empty"),
    case(
        "http valid_status_codes",
        "{ prober: http, http: { valid_status_codes: [418, 200] } }",
        "http://127.0.0.1:{http}/teapot",
    ),
    case(
        "http valid_status_codes, another",
        "{ prober: http, http: { valid_status_codes: [204] } }",
        "http://127.0.0.1:{http}/ok",
    ),
    case("http refused", PLAIN, "http://127.0.0.1:{nobody}/"),
    case("http no such name", PLAIN, "http://nobody.invalid/"),
    case("http slow", BRIEF, "http://127.0.0.1:{silent}/"),
    case("http closed", PLAIN, "http://127.0.0.1:{http}/closed"),
    case("http garbage", PLAIN, "http://127.0.0.1:{http}/garbage"),
    case("http short body", PLAIN, "http://127.0.0.1:{http}/short"),
    case("http POST, no body", "{ prober: http, http: { method: POST } }", "http://127.0.0.1:{http}/length"),
    case("http redirect cut short", PLAIN, "http://127.0.0.1:{http}/cut"),
    case("http slow body", BRIEF, "http://127.0.0.1:{http}/slow-body"),
    case(
        "http slow body and an expression",
        "{ prober: http, timeout: 500ms, http: { fail_if_body_not_matches_regexp: [ok] } }",
        "http://127.0.0.1:{http}/slow-body",
    ),
    case("http long head", PLAIN, "http://127.0.0.1:{http}/long-head"),
    case("http folded header", PLAIN, "http://127.0.0.1:{http}/folded"),
    case("http 304", "{ prober: http, http: { valid_status_codes: [304] } }", "http://127.0.0.1:{http}/unmodified"),
    case("http last modified, an older form", PLAIN, "http://127.0.0.1:{http}/modified-850"),
    case(
        "http body that is no UTF-8",
        "{ prober: http, http: { fail_if_body_not_matches_regexp: ['(?s)<html>.*</html>'] } }",
        "http://127.0.0.1:{http}/latin1",
    ),
    case("http chunked", PLAIN, "http://127.0.0.1:{http}/chunked"),
    case("http until close", PLAIN, "http://127.0.0.1:{http}/close"),
    case("http 1.0", PLAIN, "http://127.0.0.1:{http}/http10"),
    case(
        "http 1.0 not wanted",
        "{ prober: http, http: { valid_http_versions: [\"HTTP/1.1\"] } }",
        "http://127.0.0.1:{http}/http10",
    ),
    case("http HEAD", "{ prober: http, http: { method: HEAD } }", "http://127.0.0.1:{http}/head"),
    case("http last modified", PLAIN, "http://127.0.0.1:{http}/modified"),
    case("http not a URL", PLAIN, "http://[::1"),
    case("http another scheme", PLAIN, "ftp://127.0.0.1/"),
    // Redirects.
    case("redirect relative", PLAIN, "http://127.0.0.1:{http}/relative/dir/x"),
    case(
        "redirect query",
        "{ prober: http, http: { fail_if_body_not_matches_regexp: ['^x=1$'] } }",
        "http://127.0.0.1:{http}/query/dir",
    ),
    case("redirect loop", PLAIN, "http://127.0.0.1:{http}/loop"),
    case("redirect not followed", "{ prober: http, http: { follow_redirects: false } }", "http://127.0.0.1:{http}/to-echo"),
    case(
        "redirect not followed, as wanted",
        "{ prober: http, http: { no_follow_redirects: true, valid_status_codes: [302] } }",
        "http://127.0.0.1:{http}/to-echo",
    ),
    case(
        "redirect not followed, its body looked at",
        "{ prober: http, http: { no_follow_redirects: true, valid_status_codes: [302], fail_if_body_not_matches_regexp: [moved] } }",
        "http://127.0.0.1:{http}/to-echo",
    ),
    case("redirect nowhere", PLAIN, "http://127.0.0.1:{http}/to-ftp"),
    case("redirect without Location", PLAIN, "http://127.0.0.1:{http}/no-location"),
    case("redirect to TLS", TLS, "http://localhost:{http}/to-https"),
    case("redirect to plain", TLS1, "https://localhost:{https}/to-http"),
    case("cookie", PLAIN, "http://127.0.0.1:{http}/cookie"),
    case(
        "POST 302",
        "{ prober: http, http: { method: POST, body: hi, fail_if_body_not_matches_regexp: ['^method=GET host=127\\.0\\.0\\.1:\\d+ body=$'] } }",
        "http://127.0.0.1:{http}/to-echo",
    ),
    case(
        "POST 303",
        "{ prober: http, http: { method: POST, body: hi, fail_if_body_not_matches_regexp: ['^method=GET .* body=$'] } }",
        "http://127.0.0.1:{http}/303",
    ),
    case(
        "PUT 301",
        "{ prober: http, http: { method: PUT, body: hi, fail_if_body_not_matches_regexp: ['^method=GET .* body=$'] } }",
        "http://127.0.0.1:{http}/301",
    ),
    case(
        "POST 307",
        "{ prober: http, http: { method: POST, body: hi, fail_if_body_not_matches_regexp: ['^method=POST .* body=hi$'] } }",
        "http://127.0.0.1:{http}/307",
    ),
    case(
        "redirect to another host, with a header that may be secret",
        "{ prober: http, http: { headers: { X-A: s3cret }, fail_if_body_not_matches_regexp: ['^s3cret$'] } }",
        "http://127.0.0.1:{http}/to-repeated",
    )
    .but(&[
        ("probe_success", "secrets on redirects"),
        ("probe_failed_due_to_regex", "secrets on redirects"),
        ("probe_http_content_length", "secrets on redirects"),
        ("probe_http_uncompressed_body_length", "secrets on redirects"),
    ]),
    // What is sent.
    case(
        "POST",
        "{ prober: http, http: { method: POST, body: '{}', headers: { Content-Type: application/json } } }",
        "http://127.0.0.1:{http}/echo",
    ),
    case(
        "body of a file",
        "{ prober: http, http: { method: POST, body: !!binary aGk=, fail_if_body_not_matches_regexp: [body=hi$] } }",
        "http://127.0.0.1:{http}/echo",
    ),
    case(
        "header Host",
        "{ prober: http, http: { headers: { Host: v.test }, fail_if_body_not_matches_regexp: ['host=v\\.test '] } }",
        "http://127.0.0.1:{http}/echo",
    ),
    case(
        "hostname",
        "{ prober: http, http: { fail_if_body_not_matches_regexp: ['host=w\\.test '] } }",
        "http://127.0.0.1:{http}/echo",
    )
    .asking("&hostname=w.test"),
    case("hostname and TLS", TLS1, "https://127.0.0.1:{https}/ok").asking("&hostname=localhost"),
    case(
        "header Host and TLS",
        "{ prober: http, http: { headers: { Host: localhost }, tls_config: { ca_file: {ca} } } }",
        "https://127.0.0.1:{https}/ok",
    ),
    case("user in the address", PLAIN, "http://me:pw@127.0.0.1:{http}/auth"),
    case("basic_auth", "{ prober: http, http: { basic_auth: { username: me, password: pw } } }", "http://127.0.0.1:{http}/auth"),
    case(
        "basic_auth wrong",
        "{ prober: http, http: { basic_auth: { username: me, password: no } } }",
        "http://127.0.0.1:{http}/auth",
    ),
    case("bearer_token", "{ prober: http, http: { bearer_token: t0ken } }", "http://127.0.0.1:{http}/auth"),
    case(
        "authorization",
        "{ prober: http, http: { authorization: { type: Token, credentials: t0ken } } }",
        "http://127.0.0.1:{http}/auth",
    ),
    case("credentials not there", "{ prober: http, http: { bearer_token_file: /no/such/file } }", "http://127.0.0.1:{http}/auth"),
    // What is looked at.
    case("body matches", "{ prober: http, http: { fail_if_body_matches_regexp: [o, k] } }", "http://127.0.0.1:{http}/ok"),
    case(
        "body does not match",
        "{ prober: http, http: { fail_if_body_not_matches_regexp: ['{\"status\":\"DOWN\"}'] } }",
        "http://127.0.0.1:{http}/json",
    ),
    case(
        "body matches as wanted",
        "{ prober: http, http: { fail_if_body_not_matches_regexp: ['{\"status\":\"UP\"}'] } }",
        "http://127.0.0.1:{http}/json",
    ),
    case(
        "body of a 404 is not looked at",
        "{ prober: http, http: { fail_if_body_matches_regexp: ['no'] } }",
        "http://127.0.0.1:{http}/missing",
    ),
    case("big body", "{ prober: http, http: { fail_if_body_not_matches_regexp: ['x$'] } }", "http://127.0.0.1:{http}/big"),
    case("body_size_limit", "{ prober: http, http: { body_size_limit: 1MB } }", "http://127.0.0.1:{http}/big"),
    case("body_size_limit enough", "{ prober: http, http: { body_size_limit: 3MB } }", "http://127.0.0.1:{http}/big"),
    case(
        "header matches",
        "{ prober: http, http: { fail_if_header_matches: [{ header: set-cookie, regexp: b=2 }] } }",
        "http://127.0.0.1:{http}/twice",
    ),
    case(
        "header matches as wanted",
        "{ prober: http, http: { fail_if_header_not_matches: [{ header: Set-Cookie, regexp: b=2 }] } }",
        "http://127.0.0.1:{http}/twice",
    ),
    case(
        "header missing",
        "{ prober: http, http: { fail_if_header_not_matches: [{ header: X-No, regexp: b }] } }",
        "http://127.0.0.1:{http}/twice",
    ),
    case(
        "header may be missing",
        "{ prober: http, http: { fail_if_header_matches: [{ header: X-No, regexp: b, allow_missing: true }] } }",
        "http://127.0.0.1:{http}/twice",
    ),
    case(
        "gzip",
        "{ prober: http, http: { compression: gzip, headers: { Accept-Encoding: gzip }, fail_if_body_not_matches_regexp: [needle] } }",
        "http://127.0.0.1:{http}/gzip",
    ),
    case(
        "gzip that is none, and an expression",
        "{ prober: http, http: { compression: gzip, fail_if_body_not_matches_regexp: [ok] } }",
        "http://127.0.0.1:{http}/ok",
    ),
    case("gzip that is none", "{ prober: http, http: { compression: gzip } }", "http://127.0.0.1:{http}/ok"),
    case(
        "gzip not unpacked",
        "{ prober: http, http: { fail_if_body_matches_regexp: [needle] } }",
        "http://127.0.0.1:{http}/gzip",
    ),
    case("fail_if_not_ssl", "{ prober: http, http: { fail_if_not_ssl: true } }", "http://127.0.0.1:{http}/ok"),
    // TLS.
    case("https", TLS1, "https://localhost:{https}/ok"),
    case("https, HTTP/2 offered", TLS, "https://localhost:{https}/ok"),
    case("https unknown issuer", PLAIN, "https://localhost:{https}/ok"),
    case(
        "https another name",
        "{ prober: http, http: { tls_config: { ca_file: {ca}, server_name: a.test } } }",
        "https://localhost:{https}/ok",
    ),
    case(
        "https not verified",
        "{ prober: http, http: { tls_config: { insecure_skip_verify: true } } }",
        "https://127.0.0.1:{https}/ok",
    ),
    case(
        "https TLS 1.3",
        "{ prober: http, http: { tls_config: { ca_file: {ca}, min_version: TLS13 } } }",
        "https://localhost:{https}/ok",
    ),
    case("https to plain", BRIEF, "https://localhost:{http}/ok"),
    case(
        "fail_if_ssl",
        "{ prober: http, http: { fail_if_ssl: true, tls_config: { ca_file: {ca} } } }",
        "https://localhost:{https}/ok",
    ),
    case("no such CA", "{ prober: http, http: { tls_config: { ca_file: /no/such/ca.pem } } }", "https://localhost:{https}/ok"),
    case("https 404", TLS, "https://localhost:{https}/missing"),
    // HTTP/2.
    case("h2", TLS, "https://localhost:{h2}/ok"),
    case(
        "h2 wanted",
        "{ prober: http, http: { valid_http_versions: [\"HTTP/2.0\"], tls_config: { ca_file: {ca} } } }",
        "https://localhost:{h2}/ok",
    ),
    case("h2 not offered", TLS1, "https://localhost:{h2}/ok"),
    case(
        "h2 wanted and not offered",
        "{ prober: http, http: { valid_http_versions: [\"HTTP/2.0\"], enable_http2: false, tls_config: { ca_file: {ca} } } }",
        "https://localhost:{h2}/ok",
    ),
    case("h2 redirect", TLS, "https://localhost:{h2}/moved"),
    case("h2 404", TLS, "https://localhost:{h2}/missing"),
    case(
        "h2 POST",
        "{ prober: http, http: { method: POST, body: hello, headers: { Host: localhost }, tls_config: { ca_file: {ca} }, fail_if_body_not_matches_regexp: ['^POST localhost$'] } }",
        "https://localhost:{h2}/echo",
    ),
    // A proxy.
    case("proxy", "{ prober: http, http: { proxy_url: 'http://127.0.0.1:{proxy}' } }", "http://localhost:{http}/ok"),
    case(
        "proxy and TLS",
        "{ prober: http, http: { proxy_url: 'http://127.0.0.1:{proxy}', enable_http2: false, tls_config: { ca_file: {ca} } } }",
        "https://localhost:{https}/ok",
    ),
    case(
        "proxy that is not there",
        "{ prober: http, http: { proxy_url: 'http://127.0.0.1:{nobody}' } }",
        "http://localhost:{http}/ok",
    ),
    case(
        "proxy that refuses",
        "{ prober: http, http: { proxy_url: 'http://127.0.0.1:{proxy}' } }",
        "https://localhost:{nobody}/ok",
    ),
    case(
        "proxy, nothing looked up",
        "{ prober: http, http: { proxy_url: 'http://127.0.0.1:{proxy}', skip_resolve_phase_with_proxy: true } }",
        "http://localhost:{http}/ok",
    ),
    // TCP.
    case("tcp", "{ prober: tcp }", "127.0.0.1:{http}"),
    case("tcp by name", "{ prober: tcp, tcp: { preferred_ip_protocol: ip4 } }", "localhost:{http}"),
    case("tcp refused", "{ prober: tcp }", "127.0.0.1:{nobody}"),
    case("tcp without port", "{ prober: tcp }", "127.0.0.1"),
    case("tcp no such name", "{ prober: tcp }", "nobody.invalid:80"),
    case("tcp from", "{ prober: tcp, tcp: { source_ip_address: 127.0.0.2 } }", "127.0.0.1:{http}"),
    case("tls", "{ prober: tcp, tcp: { tls: true, tls_config: { ca_file: {ca} } } }", "localhost:{https}"),
    case("tls unknown issuer", "{ prober: tcp, tcp: { tls: true } }", "localhost:{https}"),
    case(
        "tls not verified",
        "{ prober: tcp, tcp: { tls: true, tls_config: { insecure_skip_verify: true } } }",
        "localhost:{https}",
    ),
    case(
        "tls to plain",
        "{ prober: tcp, timeout: 500ms, tcp: { tls: true, tls_config: { ca_file: {ca} } } }",
        "localhost:{http}",
    ),
    case("expect", "{ prober: tcp, tcp: { query_response: [{ expect: '^220 ([^ ]+) ESMTP (.+)$' }] } }", "127.0.0.1:{smtp}"),
    case(
        "expect another",
        "{ prober: tcp, tcp: { query_response: [{ send: 'NICK x' }, { expect: 'PING :(.*)', send: 'PONG ${1}' }, { expect: nothing }] } }",
        "127.0.0.1:{irc}",
    ),
    case("expect in vain", "{ prober: tcp, timeout: 500ms, tcp: { query_response: [{ expect: '^SSH' }] } }", "127.0.0.1:{smtp}"),
    case(
        "irc",
        "{ prober: tcp, tcp: { query_response: [{ send: 'NICK prober' }, { send: 'USER a b c :d' }, { expect: 'PING :([^ ]+)', send: 'PONG ${1}' }, { expect: '^:[^ ]+ 001' }] } }",
        "127.0.0.1:{irc}",
    ),
    case(
        "starttls",
        "{ prober: tcp, tcp: { tls_config: { ca_file: {ca} }, query_response: [{ expect: '^220 ' }, { send: \"EHLO prober\\r\" }, { expect: '^250-STARTTLS' }, { send: \"STARTTLS\\r\" }, { expect: '^220' }, { starttls: true }, { send: \"EHLO prober\\r\" }, { expect: '^250-AUTH' }, { send: \"QUIT\\r\" }] } }",
        "localhost:{smtp}",
    ),
    case(
        "starttls unknown issuer",
        "{ prober: tcp, tcp: { query_response: [{ expect: '^220 ' }, { send: \"STARTTLS\\r\" }, { expect: '^220' }, { starttls: true }] } }",
        "localhost:{smtp}",
    ),
    // ICMP.
    case("icmp", "{ prober: icmp }", "127.0.0.1"),
    case("icmp by name", "{ prober: icmp, icmp: { preferred_ip_protocol: ip4 } }", "localhost"),
    case("icmp ip6", "{ prober: icmp }", "::1"),
    case("icmp ttl", "{ prober: icmp, icmp: { ttl: 5, payload_size: 1000 } }", "127.0.0.1"),
    case("icmp whole", "{ prober: icmp, icmp: { dont_fragment: true } }", "127.0.0.1"),
    case("icmp from", "{ prober: icmp, icmp: { source_ip_address: 127.0.0.2 } }", "127.0.0.1"),
    case("icmp ip4 alone", "{ prober: icmp, icmp: { preferred_ip_protocol: ip4, ip_protocol_fallback: false } }", "::1"),
    case("icmp no such name", "{ prober: icmp }", "nobody.invalid"),
    // DNS.
    case("dns", "{ prober: dns, dns: { query_name: a.test, query_type: A } }", "127.0.0.1:{dns}"),
    case("dns any", "{ prober: dns, dns: { query_name: a.test } }", "127.0.0.1:{dns}"),
    case("dns soa", "{ prober: dns, dns: { query_name: a.test, query_type: SOA } }", "127.0.0.1:{dns}"),
    case(
        "dns soa of none",
        "{ prober: dns, dns: { query_name: b.test, query_type: SOA, valid_rcodes: [NXDOMAIN] } }",
        "127.0.0.1:{dns}",
    ),
    case("dns nxdomain", "{ prober: dns, dns: { query_name: b.test, query_type: A } }", "127.0.0.1:{dns}"),
    case("dns tcp", "{ prober: dns, dns: { query_name: a.test, query_type: A, transport_protocol: tcp } }", "localhost:{dns}"),
    case(
        "dns over tls",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, transport_protocol: tcp, dns_over_tls: true, tls_config: { ca_file: {ca} } } }",
        "localhost:{dns_tls}",
    ),
    case(
        "dns over tls, unknown issuer",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, transport_protocol: tcp, dns_over_tls: true } }",
        "localhost:{dns_tls}",
    ),
    case("dns refused", "{ prober: dns, dns: { query_name: a.test, transport_protocol: tcp } }", "127.0.0.1:{nobody}"),
    case(
        "dns silent",
        "{ prober: dns, timeout: 500ms, dns: { query_name: a.test, transport_protocol: tcp } }",
        "127.0.0.1:{silent}",
    ),
    case(
        "dns answer matches",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, validate_answer_rrs: { fail_if_not_matches_regexp: [\"^a.test.\\t300\\tIN\\tA\\t192\\\\.0\\\\.2\\\\.[12]$\"] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns answer does not match",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, validate_answer_rrs: { fail_if_none_matches_regexp: ['192.0.2.3'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns answer is bad",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, validate_answer_rrs: { fail_if_matches_regexp: ['192.0.2.2'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns every answer",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, validate_answer_rrs: { fail_if_all_match_regexp: ['192.0.2.2'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns text",
        "{ prober: dns, dns: { query_name: a.test, query_type: TXT, validate_answer_rrs: { fail_if_not_matches_regexp: ['\"v=spf1\" \"say \\\\\"hello\\\\\"\"$'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns soa text",
        "{ prober: dns, dns: { query_name: a.test, query_type: SOA, validate_answer_rrs: { fail_if_not_matches_regexp: ['SOA\\tns\\.a\\.test\\. me\\.a\\.test\\. \\d+ 1 2 3 4$'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns DNAME",
        "{ prober: dns, dns: { query_name: a.test, query_type: DNAME, validate_answer_rrs: { fail_if_not_matches_regexp: ['DNAME\\tb\\.test\\.$'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns DS and an unknown type",
        "{ prober: dns, dns: { query_name: a.test, query_type: DS, validate_answer_rrs: { fail_if_not_matches_regexp: ['IN\\tDS\\t12345 8 2 ABCD$|CLASS1\\tTYPE65400\\t.# 2 01ab$'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns SSHFP",
        "{ prober: dns, dns: { query_name: a.test, query_type: SSHFP, validate_answer_rrs: { fail_if_not_matches_regexp: ['SSHFP\\t4 2 ABCD$'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns name of any octets",
        "{ prober: dns, dns: { query_name: 'a_b.0/25.test', valid_rcodes: [NXDOMAIN] } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns authority and additional",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, validate_authority_rrs: { fail_if_not_matches_regexp: ['NS\\tns.a.test.'] }, validate_additional_rrs: { fail_if_matches_regexp: ['192.0.2.53'] } } }",
        "127.0.0.1:{dns}",
    ),
    case(
        "dns class",
        "{ prober: dns, dns: { query_name: a.test, query_type: A, query_class: CH, recursion_desired: false } }",
        "127.0.0.1:{dns}",
    ),
];
