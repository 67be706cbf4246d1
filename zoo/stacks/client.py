"""Handshakes as a plan (JSON, first argument) asks for, with Python's ssl; one JSON line an event on standard output.

The TLS object works on memory, so that the program decides when bytes leave: it stalls before its ClientHello or
between having read the server's flight and sending its own.
"""
import json, socket, ssl, sys, threading, time, urllib.request

PLAN = json.load(open(sys.argv[1]))
LOCK = threading.Lock()
SESSION = [None]


def say(**event):
    with LOCK:
        print(json.dumps(event), flush=True)


def stall(port, stage, ms):
    begun = time.time()
    time.sleep(ms / 1e3)
    say(ev='stall', stage=stage, ms=ms, t=begun, t_end=time.time(), port=port)


def context(one):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not one.get('distrust'):
        c.load_verify_locations(PLAN['ca'])
    c.maximum_version = {'1.2': ssl.TLSVersion.TLSv1_2, '1.3': ssl.TLSVersion.TLSv1_3}[PLAN['version']]
    if one.get('old'):
        c.set_ciphers('DEFAULT:@SECLEVEL=0')
        c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_1
    if PLAN.get('mtls') and not one.get('no_cert'):
        c.load_cert_chain(PLAN['cert'], PLAN['key'])
    if PLAN.get('big_hello'):
        c.set_alpn_protocols(['http/1.1'] + [f'name-of-no-protocol-{i:03}' for i in range(90)])
    return c


SHARED = context({})


def until(sock, test):
    data = b''
    while not test(data):
        more = sock.recv(4096)
        if not more:
            raise EOFError('closed before TLS')
        data += more
    return data


def before_tls(sock, port, one):
    kind = PLAN.get('pre')
    if kind == 'smtp':
        until(sock, lambda d: d.endswith(b'\r\n'))
        sock.sendall(b'EHLO client.lab.test\r\n')
        until(sock, lambda d: b'250 ' in d and d.endswith(b'\r\n'))
        sock.sendall(b'STARTTLS\r\n')
        until(sock, lambda d: d.endswith(b'\r\n'))
    elif kind in ('connect', 'connect-407'):
        sock.sendall(b'CONNECT lab.test:443 HTTP/1.1\r\nHost: lab.test:443\r\n\r\n')
        until(sock, lambda d: d.endswith(b'\r\n\r\n'))
        if kind == 'connect-407':
            sock.sendall(b'CONNECT lab.test:443 HTTP/1.1\r\nHost: lab.test:443\r\nProxy-Authorization: Basic bGFiOmxhYg==\r\n\r\n')
            until(sock, lambda d: d.endswith(b'\r\n\r\n'))
    elif kind == 'postgres':
        sock.sendall(b'\0\0\0\x08\x04\xd2\x16\x2f')
        until(sock, lambda d: d == b'S')


def fetch(port, one):
    begun = time.time()
    try:
        urllib.request.urlopen(one['fetch'], timeout=one.get('fetch_timeout', 5000) / 1e3).read()
    except OSError:
        pass
    say(ev='fetch', port=port, t=begun, t_end=time.time(), url=one['fetch'])


def run(one):
    sock = socket.socket(socket.AF_INET6 if ':' in one['addr'] else socket.AF_INET)
    sock.settimeout(PLAN['timeout_ms'] / 1e3)
    port, error, resumed = None, None, False
    stalls = one.get('stall') or {}
    try:
        sock.bind(('', 0))
        port = sock.getsockname()[1]
        sock.connect((one['addr'], one['port']))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        before_tls(sock, port, one)
        if 'hello' in stalls:
            stall(port, 'hello', stalls['hello'])
        inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        shared = SHARED if not (one.get('distrust') or one.get('old') or one.get('no_cert')) else context(one)
        tls = shared.wrap_bio(inbound, outbound, server_hostname='lab.test', session=SESSION[0] if PLAN.get('resume') else None)

        turns = 0

        def leave():
            nonlocal turns
            turns += 1
            if turns == (3 if PLAN.get('hrr') else 2):
                if 'finished' in stalls:
                    stall(port, 'finished', stalls['finished'])
                if one.get('fetch'):
                    fetch(port, one)
            sock.sendall(outbound.read())

        def pump(step):
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
                    leave()
                if done is not None:
                    return done
                more = sock.recv(16384)
                if not more:
                    raise EOFError('closed')
                inbound.write(more)

        def handshake():
            tls.do_handshake()
            return True

        pump(handshake)
        resumed = bool(tls.session_reused)
        say(ev='shook', port=port, t=time.time())
        tls.write(b'GET / HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n')
        try:
            while pump(lambda: tls.read(16384)) != b'':
                SESSION[0] = tls.session
        except (EOFError, ssl.SSLError):
            pass
        SESSION[0] = tls.session
    except (OSError, EOFError) as e:
        error = f'{type(e).__name__}: {e}'
    sock.close()
    say(ev='done', port=port, ok=error is None, error=error, resumed=resumed, t=time.time())


threads = []
for one in PLAN['handshakes']:
    if PLAN.get('concurrent'):
        t = threading.Thread(target=run, args=(one,))
        t.start()
        threads.append(t)
        time.sleep(PLAN['gap_ms'] / 1e3)
    else:
        run(one)
        time.sleep(PLAN['gap_ms'] / 1e3)
for t in threads:
    t.join()
