#!/bin/sh
# Makes the files of made/: real curl, nginx and HAProxy on loopback, nothing else. Needs curl, nginx, haproxy, openssl, python3; ports 18080 to 18449.
# With KEEP=1 the servers stay up behind it: for chromium.py, which makes Chromium's files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$here/made
work=$(mktemp -d)
trap 'exit 1' INT TERM
trap 'kill $(cat "$work"/*.pid) 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$out"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=www.example.test \
    -addext subjectAltName=DNS:www.example.test,IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat "$work/cert.pem" "$work/key.pem" >"$work/both.pem"

# An application that sleeps for /slow, a forwarder that keeps the first answer back for 400 ms, and a port where nobody answers.
python3 "$here/servers.py" 18081 18445 18443 18446 & echo $! >"$work/servers.pid"

cat >"$work/nginx.conf" <<END
daemon off; pid $work/nginx-own.pid; error_log $work/error.log; worker_processes 1;
events {}
http {
    access_log off;
    log_format named escape=json '{"time_iso8601":"\$time_iso8601","msec":"\$msec","remote_addr":"\$remote_addr","remote_port":"\$remote_port",'
        '"server_addr":"\$server_addr","server_port":"\$server_port","host":"\$host","request_uri":"\$request_uri","status":"\$status",'
        '"request_time":"\$request_time","upstream_response_time":"\$upstream_response_time","ssl_protocol":"\$ssl_protocol",'
        '"tcpinfo_rtt":"\$tcpinfo_rtt","connection_requests":"\$connection_requests"}';
    log_format labelled 'time_local:\$time_local\tremote_addr:\$remote_addr\tremote_port:\$remote_port\trequest:\$request\tstatus:\$status\trequest_time:\$request_time\tupstream_response_time:\$upstream_response_time';
    log_format pairs '\$remote_addr:\$remote_port - \$remote_user [\$time_local] "\$request" \$status \$body_bytes_sent "\$http_referer" "\$http_user_agent" request_time=\$request_time upstream_response_time=\$upstream_response_time ssl_protocol=\$ssl_protocol';
    server {
        listen 127.0.0.1:18443 ssl; server_name www.example.test;
        ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; ssl_session_tickets off; ssl_protocols TLSv1.2 TLSv1.3;
        access_log $work/nginx.json named; access_log $work/nginx-labelled.log labelled; access_log $work/nginx-pairs.log pairs;
        access_log $work/nginx-combined.log combined;
        location / { proxy_pass http://127.0.0.1:18081; }
        location /moved { return 302 https://127.0.0.1:18443/; }
    }
    server { listen 127.0.0.1:18080; location / { proxy_pass http://127.0.0.1:18081; } }
}
END
nginx -c "$work/nginx.conf" & echo $! >"$work/nginx.pid"

cat >"$work/haproxy.cfg" <<END
global
    log stdout format raw local0
defaults
    timeout connect 1s
    timeout client 2s
    timeout server 5s
    log global
frontend tcp
    bind 127.0.0.1:18447
    mode tcp
    option tcplog
    default_backend tls
frontend http
    bind 127.0.0.1:18448 ssl crt $work/both.pem
    mode http
    option httplog
    default_backend app
frontend https
    bind 127.0.0.1:18449 ssl crt $work/both.pem
    mode http
    option httpslog
    default_backend app
frontend handshake
    bind 127.0.0.1:18444 ssl crt $work/both.pem
    mode http
    log-format "%ci:%cp [%tr] %ft %b/%s %Th/%Ti/%TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r"
    default_backend app
backend tls
    mode tcp
    server s1 127.0.0.1:18443
backend app
    mode http
    server s1 127.0.0.1:18081
END
haproxy -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>"$work/haproxy.err" & echo $! >"$work/haproxy.pid"
sleep 2

# Times of curl. The second is of the page and the times in one, as people send it.
json() { curl -sk -o /dev/null -w '%{json}\n' "$@" || true; }
json https://127.0.0.1:18443/ >"$out/curl-tls13.json"
curl -sk -w '%{json}' https://127.0.0.1:18443/ >"$out/curl-behind-page.txt"
json --tls-max 1.2 https://127.0.0.1:18443/ >"$out/curl-tls12.json"
json --resolve www.example.test:18443:127.0.0.1 https://www.example.test:18443/slow >"$out/curl-slow-answer.json"
curl -sk -w '%{json}' -o /dev/null https://127.0.0.1:18443/a -o /dev/null https://127.0.0.1:18443/b >"$out/curl-reused-in-one-line.json"
json https://127.0.0.1:18445/ >"$out/curl-late-flight.json"
json -m 1 https://127.0.0.1:18446/ >"$out/curl-no-answer.json"
json https://127.0.0.1:18442/ >"$out/curl-refused.json"
json https://127.0.0.1:18080/ >"$out/curl-not-tls.json"
json https://no.example.test/ >"$out/curl-no-name.json"
json http://127.0.0.1:18080/ >"$out/curl-http.json"
json -L https://127.0.0.1:18443/moved >"$out/curl-redirected.json"
curl -sk --http1.1 -o /dev/null https://127.0.0.1:18444/ https://127.0.0.1:18444/slow -o /dev/null
for port in 18447 18448 18449; do curl -sk -o /dev/null https://127.0.0.1:$port/; done
curl -sk -o /dev/null https://127.0.0.1:18449/slow
echo nonsense | curl -s -m 1 telnet://127.0.0.1:18449 >/dev/null || true
python3 "$here/servers.py" --late-client 18444
sleep 1

cp "$work/nginx.json" "$out/nginx.json"
cp "$work/nginx-labelled.log" "$out/"
cp "$work/nginx-pairs.log" "$out/"
cp "$work/nginx-combined.log" "$out/"
for kind in tcp http https handshake; do grep "\] $kind[~/ ]" "$work/haproxy.log" >"$out/haproxy-$kind.log" || true; done
ls -l "$out"
if [ -n "${KEEP:-}" ]; then
    echo "servers stay up until Ctrl-C"
    wait "$(cat "$work/nginx.pid")"
fi
