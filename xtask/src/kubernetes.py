"""Holds manifests to the schemas of Kubernetes and of the Prometheus operator, without a network. In: our binary, which
is asked about its own files in config maps, and manifests. Out: what is wrong with them."""

import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1

# The oldest and the newest that the schemas' package knows of what is in use.
VERSIONS = ["1.28", kubernetes_validate.latest_version()]
RECORDER = {"BPF", "NET_ADMIN", "NET_RAW", "PERFMON"}


def unknown(given, understood, at=""):
    """Fields that the operator's model has dropped: it knows no such field."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(understood, dict) or key not in understood:
                yield f"{at}.{key}"
            else:
                yield from unknown(value, understood[key], f"{at}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from unknown(value, understood[index], f"{at}[{index}]")


def probe(document):
    model = v1.Probe.model_validate(document)
    understood = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    for field in unknown(document, understood):
        yield f"the operator knows no field {field}"


def rights(document):
    """What our containers may do is what the documentation says."""
    for container in document["spec"]["template"]["spec"]["containers"]:
        context = container["securityContext"]
        capabilities = context["capabilities"]
        added = set(capabilities.get("add", []))
        if context.get("privileged") or context["allowPrivilegeEscalation"] or capabilities["drop"] != ["ALL"]:
            yield f"container {container['name']} has more rights than it needs"
        if added != (RECORDER if document["kind"] == "DaemonSet" else set()):
            yield f"container {container['name']} has the capabilities {sorted(added)}"


def configuration(document):
    """Files of ours in a config map, as our binary reads them."""
    ways = {"checks.toml": ["watch", "--validate"], "capture.toml": ["capture", "--validate", "--config"]}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in document["data"].items():
            # Folders that only the pod has.
            text = text.replace("/var/lib/whostalled-capture", folder).replace("/var/lib/whostalled", folder)
            (pathlib.Path(folder) / name).write_text(text)
        for name in document["data"].keys() & ways.keys():
            said = subprocess.run([binary, *ways[name], name], cwd=folder, capture_output=True, text=True, check=False)
            if said.returncode != 0:
                yield f"{name}: {said.stderr.strip()}"


def wrong(document):
    if document["apiVersion"].startswith("monitoring.coreos.com/"):
        yield from probe(document)
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {error.message}"
    if document["kind"] == "ConfigMap":
        yield from configuration(document)
    if document["kind"] in ("Deployment", "DaemonSet"):
        yield from rights(document)


bad = 0
binary, *names = sys.argv[1:]
for name in names:
    with open(name) as file:
        for document in yaml.safe_load_all(file):
            said = list(wrong(document))
            bad += len(said)
            for line in said:
                print(f"{name}: {document['kind']} {document['metadata']['name']}: {line}")
            if not said:
                print(f"ok: {name}: {document['kind']} {document['metadata']['name']}")
sys.exit(1 if bad else 0)
