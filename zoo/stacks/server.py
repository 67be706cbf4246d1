"""A TLS server that stalls where a plan (JSON, first argument) says, with Python's ssl; one JSON line an event.

Connections are counted in the order of accept. Before TLS it can speak SMTP, be a CONNECT proxy, or answer PostgreSQL's
SSLRequest. Also the third host: plain HTTP that answers /NUMBER after so many milliseconds.
"""
import json, socket, ssl, sys, threading, time

PLAN = json.load(open(sys.argv[1]))
LOCK = threading.Lock()


def say(**event):
    with LOCK:
        print(json.dumps(event), flush=True)


def stall(peer, stage, ms):
    begun = time.time()
    time.sleep(ms / 1e3)
    say(ev='stall', stage=stage, ms=ms, t=begun, t_end=time.time(), peer=peer)


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(PLAN['chain'], PLAN['key'])
    if PLAN.get('mtls'):
        c.verify_mode = ssl.CERT_REQUIRED
        c.load_verify_locations(PLAN['ca'])
    if PLAN.get('hrr'):
        c.set_ecdh_curve('secp384r1')
    c.set_alpn_protocols(['http/1.1'])
    return c


def line(sock):
    data = b''
    while not data.endswith(b'\n'):
        more = sock.recv(4096)
        if not more:
            raise EOFError
        data += more
    return data


def before_tls(sock, peer, stalls):
    kind = PLAN.get('pre')
    late = lambda stage: stage in stalls and stall(peer, stage, stalls[stage])
    if kind == 'smtp':
        late('greeting')
        sock.sendall(b'220 lab.test ESMTP\r\n')
        line(sock)
        sock.sendall(b'250-lab.test\r\n250 STARTTLS\r\n')
        line(sock)
        late('goahead')
        sock.sendall(b'220 2.0.0 ready\r\n')
    elif kind in ('connect', 'connect-407'):
        while not line(sock).endswith(b'\r\n\r\n'):
            pass
        if kind == 'connect-407':
            late('challenge')
            sock.sendall(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="lab"\r\nContent-Length: 0\r\n\r\n')
            while not line(sock).endswith(b'\r\n\r\n'):
                pass
        late('goahead')
        sock.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
    elif kind == 'postgres':
        sock.recv(8)
        late('goahead')
        sock.sendall(b'S')


def plain(sock):
    try:
        path = line(sock).split()[1].decode()
        time.sleep(int(path.strip('/')) / 1e3)
        sock.sendall(b'HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n')
    except (OSError, EOFError, ValueError, IndexError):
        pass
    sock.close()


def serve(sock, peer, number, tls_context):
    stalls = PLAN.get('stalls', {}).get(str(number), {})
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before_tls(sock, peer, stalls)
        inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = tls_context.wrap_bio(inbound, outbound, server_side=True)
        turns = 0

        def pump(step):
            nonlocal turns
            while True:
                try:
                    done = step()
                except ssl.SSLWantReadError:
                    done = None
                except ssl.SSLError:
                    if outbound.pending:
                        sock.sendall(outbound.read())
                    raise
                if outbound.pending:
                    turns += 1
                    for turn, stage in ((1, 'hello'), (2, 'second')):
                        if turns == turn and stage in stalls:
                            stall(peer, stage, stalls[stage])
                    sock.sendall(outbound.read())
                if done is not None:
                    return done
                more = sock.recv(16384)
                if not more:
                    raise EOFError
                if 'close' in stalls:
                    say(ev='close', t=time.time(), peer=peer)
                    raise EOFError
                inbound.write(more)

        def handshake():
            tls.do_handshake()
            return True

        pump(handshake)
        pump(lambda: tls.read(16384))
        if 'answer' in stalls:
            stall(peer, 'answer', stalls['answer'])
        tls.write(b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n')
        try:
            tls.unwrap()
        except ssl.SSLError:
            pass
        sock.sendall(outbound.read())
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(2)
        while sock.recv(4096):
            pass
    except (OSError, EOFError) as e:
        say(ev='failed', peer=peer, error=f'{type(e).__name__}: {e}')
    sock.close()


def listen(address, port, handler):
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ':' in address:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    s.listen(64)

    def loop():
        while True:
            sock, peer = s.accept()
            handler(sock, peer[1])
    threading.Thread(target=loop).start()


if PLAN.get('plain'):
    listen(PLAN['addrs'][0], PLAN['port'], lambda sock, peer: threading.Thread(target=plain, args=(sock,)).start())
else:
    CONTEXT, NUMBER = context(), [0]

    def accepted(sock, peer):
        with LOCK:
            number = NUMBER[0]
            NUMBER[0] += 1
        threading.Thread(target=serve, args=(sock, peer, number, CONTEXT)).start()
    for a in PLAN['addrs']:
        listen(a, PLAN['port'], accepted)
