"""Servers of make.sh, on loopback: an application (/slow sleeps for 300 ms), a forwarder that keeps the first answer back for 400 ms, and
a port that accepts and says nothing. With --late-client PORT: a TLS client that waits for 500 ms before its ClientHello."""

import http.server
import socket
import ssl
import sys
import threading
import time


class Application(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            time.sleep(0.3)
        body = b"<html><p>{}</p></html>\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def pump(source, sink, delay):
    first = True
    try:
        while data := source.recv(65536):
            if first:
                time.sleep(delay)
                first = False
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def forward(port, to):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", to))
        threading.Thread(target=pump, args=(client, server, 0), daemon=True).start()
        threading.Thread(target=pump, args=(server, client, 0.4), daemon=True).start()


def silent(port):
    listener = socket.create_server(("127.0.0.1", port))
    kept = []
    while True:
        kept.append(listener.accept())


def late_client(port):
    raw = socket.create_connection(("127.0.0.1", port))
    time.sleep(0.5)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(raw) as tls:
        tls.sendall(b"GET /late HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n")
        while tls.recv(65536):
            pass


if sys.argv[1] == "--late-client":
    late_client(int(sys.argv[2]))
else:
    application, late, to, nobody = map(int, sys.argv[1:])
    threading.Thread(target=forward, args=(late, to), daemon=True).start()
    threading.Thread(target=silent, args=(nobody,), daemon=True).start()
    http.server.ThreadingHTTPServer(("127.0.0.1", application), Application).serve_forever()
