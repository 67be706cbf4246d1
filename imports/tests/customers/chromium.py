"""Makes Chromium's files of made/: NetLogs by --log-net-log and HARs by Playwright, against make.sh's servers. Nothing but loopback is asked:
every other name is mapped to "not found".

    python3 chromium.py OUT [CHROMIUM]        while `KEEP=1 make.sh` holds its servers up; HARs need `pip install playwright`

NetLogs are shortened: of the constants the tables that are read stay, of the events those of sources that had to do with the page. Bytes
of certificates are left out. What stays is as Chromium wrote it, one event a line; the one that is cut is what a killed browser left.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

OUT = sys.argv[1]
CHROMIUM = sys.argv[2] if len(sys.argv) > 2 else "chromium"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP www.example.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
WANTED = (
    "CONNECT_JOB", "HOST_RESOLVER_MANAGER_REQUEST", "HTTP2_SESSION", "HTTP_STREAM", "HTTP_TRANSACTION", "SOCKET_POOL", "SOCKET_IN_USE",
    "SSL_", "TCP_CONNECT", "URL_REQUEST_START_JOB",
)  # fmt: skip


def browse(url, name, kill_after=None):
    with tempfile.TemporaryDirectory() as profile:
        log = os.path.join(profile, "net.json")
        arguments = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}/p", f"--log-net-log={log}"]
        if kill_after is None:
            subprocess.run([*arguments, "--timeout=4000", "--dump-dom", url], capture_output=True, timeout=60)
        else:
            browser = subprocess.Popen([*arguments, "--remote-debugging-port=0", url], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            time.sleep(kill_after)
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
        with open(log, encoding="utf-8", errors="replace") as raw:
            shorten(raw.read(), os.path.join(OUT, name), cut=kill_after is not None)


def shorten(text, path, cut):
    head, _, rest = text.partition('"events": [')
    constants = json.loads(head.rstrip().rstrip(",") + "}")["constants"]
    kept = {key: constants[key] for key in ("logEventPhase", "logEventTypes", "timeTickOffset")}
    names = {number: name for name, number in constants["logEventTypes"].items()}
    events, last = [], ""
    for line in rest.splitlines():
        line = line.strip()
        try:
            events.append(json.loads(line.rstrip(",").removesuffix("],").removesuffix("]")))
        except ValueError:
            last = line or last
    ours = {e["source"]["id"] for e in events if "127.0.0.1" in json.dumps(e) or "www.example.test" in json.dumps(e)}
    while True:
        more = {e["params"]["source_dependency"]["id"] for e in events if e["source"]["id"] in ours and "source_dependency" in e.get("params", {})}
        if more <= ours:
            break
        ours |= more
    events = [e for e in events if e["source"]["id"] in ours and any(w in names[e["type"]] for w in WANTED)]
    for event in events:
        params = event.get("params", {})
        params.pop("certificates", None)
        params.pop("headers", None)
        if names[event["type"]].startswith("SSL_HANDSHAKE_MESSAGE") and params.get("type") != 1:
            params.pop("bytes", None)
    body = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    with open(path, "w", encoding="utf-8") as out:
        out.write('{"constants":' + json.dumps(kept, separators=(",", ":")) + ',\n"events": [\n' + body)
        # A killed browser's file ends where its last write did.
        out.write(",\n" + last[:40] if cut else '],\n"polledData": {}}\n')


def har(urls, name):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM if "/" in CHROMIUM else f"/usr/bin/{CHROMIUM}", args=FLAGS)
        context = browser.new_context(ignore_https_errors=True, record_har_path=os.path.join(OUT, name), record_har_content="omit")
        page = context.new_page()
        for url in urls:
            try:
                page.goto(url, timeout=3000)
            except Exception as error:  # a page that does not come is what is wanted
                print(url, str(error).splitlines()[0])
        context.close()
        browser.close()


browse("https://www.example.test:18443/", "netlog.json")
browse("https://127.0.0.1:18445/", "netlog-late-flight.json")
browse("https://127.0.0.1:18442/", "netlog-refused.json")
browse("https://127.0.0.1:18446/", "netlog-killed.json", kill_after=4)
har(["https://www.example.test:18443/", "https://www.example.test:18443/slow"], "chromium.har")
har(["https://127.0.0.1:18445/", "https://127.0.0.1:18442/"], "chromium-late-and-refused.har")
