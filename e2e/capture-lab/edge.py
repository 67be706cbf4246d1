#!/usr/bin/env python3
"""Runs at the edge of the stage: recorder, HAProxy, bulk traffic; clients at the office. Arguments: the binary, the output folder."""
import glob, json, os, re, shutil, signal, subprocess, sys, time, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from skipping import skipped

BIN, OUT = sys.argv[1:]
BEGUN = time.time()
DASHBOARD = os.path.abspath("dist/grafana/whostalled-capture.json")
# Says that the lab's network is AS64502, "Lab Office".
ORIGINS = os.path.abspath("recorder/tests/origins/asn.mmdb")
OFFICE = [BIN, "lab-exec", os.environ["WHOSTALLED_LAB_HOST_office"]]
CA = os.environ["WHOSTALLED_LAB_CA"]
passed = failed = 0
running = []


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok' if good else 'FAILED'}: {name}{'' if good else f' ({detail})'}", flush=True)


def start(name, *command, **more):
    log = open(f"{OUT}/{name}.log", "ab")
    child = subprocess.Popen(command, stdout=log, stderr=log, **more)
    running.append(child)
    return child


def wait_for(what, seconds=15):
    until = time.time() + seconds
    while time.time() < until:
        if found := what():
            return found
        time.sleep(0.05)
    return what()


def at(seconds):
    time.sleep(max(0, BEGUN + seconds - time.time()))


def evidence():
    return {os.path.basename(f) for f in glob.glob(f"{OUT}/evidence/*.pcapng")}


def verdict(name):
    return name.removesuffix(".pcapng").split("_", 2)[2]


def curl(port=443, count=4, at_once=1):
    """`count` handshakes from the office; gives how many succeeded."""
    good = 0
    for _ in range(0, count, at_once):
        children = [
            subprocess.Popen([*OFFICE, "curl", "-s", "-o", "/dev/null", "-m", "9", "--cacert", CA, f"https://edge.lab.test:{port}/"])
            for _ in range(at_once)
        ]
        good += sum(child.wait() == 0 for child in children)
    return good


def status():
    out = subprocess.run([BIN, "capture", "status", "--json", "--control", f"{OUT}/control.sock"], capture_output=True, text=True)
    return json.loads(out.stdout) if out.returncode == 0 else {}


# One thread that sleeps before it reads each ClientHello.
SLEEPY = """
import socket, ssl, sys, time
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain(sys.argv[2], sys.argv[3])
l = socket.create_server((sys.argv[1], 9443))
while True:
    plain, _ = l.accept()
    time.sleep(0.3)
    try:
        with c.wrap_socket(plain, server_side=True) as s: s.recv(1000); s.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nok')
    except OSError: pass
"""


def main():
    # A second interface of the edge, for bulk data that the lab's wire could not carry.
    subprocess.run(["ip", "link", "add", "bulk0", "type", "veth", "peer", "name", "bulk1"], check=True)
    bulk = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
    running.append(bulk)
    time.sleep(0.3)
    subprocess.run(["ip", "link", "set", "bulk1", "netns", str(bulk.pid)], check=True)
    subprocess.run("ip addr add 10.88.0.1/24 dev bulk0; ip link set bulk0 up", shell=True, check=True)
    inside = ["nsenter", "-t", str(bulk.pid), "-n"]
    subprocess.run([*inside, "sh", "-c", "ip addr add 10.88.0.2/24 dev bulk1; ip link set bulk1 up"], check=True)
    have_bulk = shutil.which("iperf3")

    certificate = os.path.dirname(CA)
    pem = f"{OUT}/edge.pem"
    with open(pem, "wb") as both:
        for part in ("chain.pem", "key.pem"):
            both.write(open(f"{certificate}/{part}", "rb").read())
    os.chmod(pem, 0o600)
    with open(f"{OUT}/haproxy.cfg", "w") as cfg:
        cfg.write(f"""global
  log 127.0.0.1:5514 local0
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
  log global
  log-format "%ci:%cp [%tr] %ft %b/%s Th=%Th Ti=%Ti %ST"
frontend fe
  bind 10.77.0.11:8443,10.88.0.1:8443 ssl crt {pem}
  http-request return status 200 content-type text/plain string ok
""")
    address = subprocess.run("ip -4 -o addr show eth0 | grep -o '10[.][0-9.]*' | head -1", shell=True, capture_output=True, text=True).stdout.strip()
    text = open(f"{OUT}/haproxy.cfg").read().replace("10.77.0.11", address)
    open(f"{OUT}/haproxy.cfg", "w").write(text)
    haproxy = start("haproxy", "haproxy", "-db", "-f", f"{OUT}/haproxy.cfg") if shutil.which("haproxy") else None

    with open(f"{OUT}/capture.toml", "w") as config:
        config.write(f"""[capture]
site = "lab"
interfaces = ["eth0", "bulk0"]
ports = [443, 8443, 9443, 5443]
memory = "16MiB"
control = "{OUT}/control.sock"
[evidence]
folder = "{OUT}/evidence"
network_burst = 100
[slow]
excess = "150ms"
[origin]
databases = ["{ORIGINS}"]
[[log]]
kind = "syslog"
listen = "127.0.0.1:5514"
at_least = "150ms"
[alerts]
store = "{OUT}/alerts.db"
window = "5s"
every = "1s"
least = 3
resolve_after = 2
""")
    recorder = start("recorder", BIN, "capture", "--config", f"{OUT}/capture.toml")
    ready = wait_for(lambda: os.path.exists(f"{OUT}/control.sock"))
    check("the recorder begins", ready and recorder.poll() is None, open(f"{OUT}/recorder.log").read())
    if not ready:
        return
    if have_bulk:
        start("iperf3-server", "iperf3", "-s", "-p", "5443", "-B", "10.88.0.1")
        time.sleep(0.3)
        start("iperf3", *inside, "iperf3", "-c", "10.88.0.1", "-p", "5443", "-b", "2G", "-t", "50", "-R", "--json")
    else:
        check("bulk data is not required here", skipped("tools", "bulk data beside the handshakes: iperf3 is not installed"))

    curl(count=4)
    if haproxy:
        curl(port=8443, count=2)
    at(5.5)
    check("healthy handshakes leave nothing on the disk", not evidence(), evidence())

    seen = set()
    for i, (fault, expected, concurrent) in enumerate(
        [("detour", "path", 1), ("hold", "path", 1), ("lost", "loss", 1), ("squeeze", "client", 4), ("capacity", "edge", 4)]
    ):
        at(6.5 + 12 * i)
        good = curl(count=12 if fault == "capacity" else 4, at_once=concurrent)
        if haproxy and fault == "hold":
            good += curl(port=8443, count=2)
        at(6 + 12 * i + 11)
        new = evidence() - seen
        seen |= new
        verdicts = sorted(map(verdict, new))
        wanted = [v for v in verdicts if v.split("-")[0].split("_")[0] == expected]
        check(f"{fault}: slow handshakes are on the disk, {expected} at fault", len(wanted) >= 3 and len(wanted) == len(verdicts), verdicts)

    before = evidence()
    start("sleepy", sys.executable, "-c", SLEEPY, address, f"{os.path.dirname(CA)}/chain.pem", f"{os.path.dirname(CA)}/key.pem")
    time.sleep(0.7)
    curl(port=9443, count=4)
    wait_for(lambda: len(evidence() - before) >= 4, 4)
    verdicts = sorted(map(verdict, evidence() - before))
    looks = "no view of the server" not in open(f"{OUT}/recorder.log").read()
    if looks:
        check("a server that sleeps is told from a host that starves it", sum(v.startswith("edge_app") for v in verdicts) >= 3, verdicts)
    else:
        check("a view of the server is not required here", skipped("bpf", "a server that sleeps: " + open(f"{OUT}/recorder.log").read().strip()))

    now = status().get("status", {})
    check("clients are counted by autonomous system", "of them from AS64502 Lab Office" in now.get("sentence", ""), now.get("sentence"))
    check("no handshake packet was lost", now.get("lost") == 0 and now.get("connections", 0) >= 20, now)
    share = now.get("passed", 0) / max(1, now.get("seen", 1))
    if have_bulk:
        check("bulk data stays in the kernel", now.get("seen", 0) > 100_000 and share < 0.02, f"{share:.4f} of {now.get('seen')}")
    metrics = urllib.request.urlopen("http://127.0.0.1:9720/metrics").read().decode()
    if haproxy:
        said = re.findall(r'triggers_total\{source="log",outcome="(\w+)"\} (\d+)', metrics)
        check("HAProxy's slow handshakes are triggers, its fast ones are not", dict(said).keys() >= {"not_slow"} and any(o in ("kept", "duplicate") for o, _ in said), said)
    else:
        check("HAProxy is not required here", skipped("tools", "HAProxy's lines: haproxy is not installed"))
    drawn = set(re.findall(r"whostalled_capture_\w+", open(DASHBOARD).read()))
    missing = {name for name in drawn if not re.search(rf"^{name}[{{ ]", metrics, re.M)}
    check("every metric that the dashboard draws is there", drawn and not missing, missing)
    open(f"{OUT}/page.html", "w").write(urllib.request.urlopen("http://127.0.0.1:9720/").read().decode())
    open(f"{OUT}/status.txt", "w").write(subprocess.run([BIN, "capture", "status", "--control", f"{OUT}/control.sock"], capture_output=True, text=True).stdout)
    incidents = subprocess.run([BIN, "incidents", "--json", "--store", f"{OUT}/alerts.db"], capture_output=True, text=True)
    culprits = {i["culprit"] for i in json.loads(incidents.stdout)}
    check("path, loss and edge were alerts, the clients' stall was none", {"path", "loss", "edge"} <= culprits and "client" not in culprits, culprits)
    for name in sorted(evidence()):
        read = subprocess.run([BIN, "explain", "--json", f"{OUT}/evidence/{name}"], capture_output=True, text=True)
        report = json.loads(read.stdout)
        if report["handshakes"] != 1 or report["warnings"]:
            check(f"{name} is one flow and whole", False, report["warnings"])
            break
    else:
        check("each file is one flow and whole", True)
    if shutil.which("tshark"):
        read = subprocess.run(["tshark", "-r", f"{OUT}/evidence/{min(evidence())}"], capture_output=True, text=True)
        check("stock Wireshark reads them", read.returncode == 0 and "Client Hello" in read.stdout, read.stderr)
        fields = ["-T", "fields", "-e", "tcp.srcport", "-e", "frame.packet_flags_direction"]
        read = subprocess.run(["tshark", "-r", f"{OUT}/evidence/{min(evidence())}", *fields], capture_output=True, text=True)
        ways = {line.split("\t")[0] in ("443", "8443"): int(line.split("\t")[1], 0) for line in read.stdout.splitlines()}
        check("and sees which way each packet went", ways == {False: 1, True: 2}, read.stdout + read.stderr)
    recorder.send_signal(signal.SIGTERM)
    check("it ends when asked", recorder.wait(10) == 0)


try:
    main()
finally:
    for child in running:
        child.kill()
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
