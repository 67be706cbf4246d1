"""Compares what `watch` said with what its wire shows. In: the folder of watch-truth. Out: two tables."""
import collections, json, sqlite3, subprocess, sys

binary, out = sys.argv[1:3]
rounds = [json.loads(data) for (data,) in sqlite3.connect(f"{out}/store.db").execute("SELECT data FROM round ORDER BY started")]
wire = {}
said = subprocess.run([binary, "explain", "--client-side", f"{out}/office.pcapng", "--ndjson"], capture_output=True, text=True, check=True)
for line in said.stdout.splitlines():
    handshake = json.loads(line)
    wire[handshake["client"], handshake["server"]] = handshake

def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")

def flight_on_wire(handshake):
    """ClientHello's departure to the flight's last byte, on the client's wire, in ms."""
    for lane in handshake["lanes"]:
        at = {mark["name"]: mark["ms"] for mark in lane["marks"]}
        if lane["observer"].startswith("client") and "client_hello" in at and "server_flight_end" in at:
            return at["server_flight_end"] - at["client_hello"]
    return None

print("| target | rounds | gated (prober sick) | blamed: nobody | edge | path | loss | resolver | inconclusive | verdict names the edge |")
print("|---|---|---|---|---|---|---|---|---|---|")
bad = 0
for target in ("edge", "slow"):
    of = [r for r in rounds if r["name"].startswith(target + "-")]
    blamed = collections.Counter(r["target_culprit"] or "nobody" for r in of)
    named = sum(r["target_verdict"].startswith(("edge", "aborted/edge")) for r in of)
    print(f"| {target} | {len(of)} | {sum(bool(r['sick']) for r in of)} | " + " | ".join(str(blamed[w]) for w in ("nobody", "edge", "path", "loss", "resolver", "inconclusive")) + f" | {named / len(of):.2%} |")
    if target == "edge":
        bad = blamed["edge"] + blamed["path"] + blamed["loss"]

errors, ours = [], []
for r in rounds:
    if not r["name"].startswith("edge-") or not r["success"] or (r["local"], r["address"]) not in wire:
        continue
    truth = flight_on_wire(wire[r["local"], r["address"]])
    flight = sum(ms for phase, owner, ms in r["parts"] if phase == "server_flight")
    if truth is not None:
        errors.append(abs(flight - truth))
        ours.append(flight)
print(f"\nClientHello to the end of the flight, healthy edge (truth on the wire: about 21 ms), {len(errors)} rounds matched:\n")
print("| who says | median ms | p99 ms | error against the wire, median ms | p99 ms |\n|---|---|---|---|---|")
print(f"| whostalled watch, server_flight | {quantile(ours, .5):.1f} | {quantile(ours, .99):.1f} | {quantile(errors, .5):.2f} | {quantile(errors, .99):.2f} |")
usual = quantile([t for t in (flight_on_wire(h) for h in wire.values() if h["server_name"] == "edge.lab.test") if t], .5)
for name, file in (("blackbox_exporter, phase tls", "blackbox.txt"), ("curl, appconnect − connect", "curl.txt")):
    values = [float(line) for line in open(f"{out}/{file}") if line.strip()]
    off = [abs(v - usual) for v in values]
    print(f"| {name} | {quantile(values, .5):.1f} | {quantile(values, .99):.1f} | {quantile(off, .5):.2f} | {quantile(off, .99):.2f} |")
sys.exit(1 if bad else 0)
