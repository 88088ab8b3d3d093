#!/usr/bin/env python3
"""deploy/compose.yaml and deploy/kubernetes: valid by the schemas of docker-compose and of Kubernetes'
own client, what they refer to is there, and dwspool accepts the configurations in them.

usage: manifests.py DWSPOOL_BINARY
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml
from kubernetes import client

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
MODELS = {
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("v1", "Service"): "V1Service",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    # The client is older than v2; the two have the same fields.
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "V2beta2HorizontalPodAutoscaler",
}
problems = []


def require(condition, complaint):
    if not condition:
        problems.append(complaint)


def kubernetes_documents():
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield path.name, document


def lost(before, after, place=""):
    """What a model of the API did not know, and has dropped."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [found for key, value in before.items()
                for found in ([f"{place}.{key}"] if key not in after else lost(value, after[key], f"{place}.{key}"))]
    if isinstance(before, list) and isinstance(after, list):
        return [found for index, pair in enumerate(zip(before, after)) for found in lost(*pair, f"{place}[{index}]")]
    return [] if str(before) == str(after) else [f"{place}: {before!r} became {after!r}"]


def check_schema(name, document):
    """Required fields and types are checked by the models; unknown fields they drop."""
    model = MODELS.get((document["apiVersion"], document["kind"]))
    if model is None:
        require(document["kind"] == "ServiceMonitor", f"{name}: {document['kind']} has no schema here")
        return
    api = client.ApiClient()

    class Answer:
        data = json.dumps(document)

    try:
        parsed = api.deserialize(Answer, model)
    except ValueError as error:
        problems.append(f"{name}: {document['kind']}: {error}")
        return
    for place in lost(document, api.sanitize_for_serialization(parsed)):
        problems.append(f"{name}: {document['kind']}{place} is not known to Kubernetes")


def check_kubernetes(binary):
    found = {}
    for name, document in kubernetes_documents():
        check_schema(name, document)
        found[document["kind"], document["metadata"]["name"]] = document
    if problems:
        return  # what follows trusts the schema
    deployment = found["Deployment", "dwspool"]["spec"]
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    labels = deployment["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for (kind, name), document in found.items():
        spec = document.get("spec", {})
        selector = {"Service": spec.get("selector"), "Deployment": spec.get("selector", {}).get("matchLabels"),
                    "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels")}.get(kind)
        if selector:
            require(selector.items() <= labels.items(), f"{kind} {name} selects no pod")
        if kind == "Service":
            require(all(port["targetPort"] in ports for port in spec["ports"]), f"Service {name}: no such port")
    monitor = found["ServiceMonitor", "dwspool"]["spec"]
    pods = found["Service", "dwspool-pods"]
    require(monitor["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items(),
            "the ServiceMonitor selects no service")
    require({end["port"] for end in monitor["endpoints"]} <= {port["name"] for port in pods["spec"]["ports"]},
            "the ServiceMonitor names a port that the service has not")
    scaled = found["HorizontalPodAutoscaler", "dwspool"]["spec"]["scaleTargetRef"]
    require((scaled["kind"], scaled["name"]) in found, "the autoscaler scales nothing")
    # What the daemon serves, and how long it takes to end.
    server = (DEPLOY.parent / "src/admin/http_server.cpp").read_text(encoding="utf-8")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        require(f'"{get["path"]}"' in server, f"{probe}: dwspool does not serve {get['path']}")
        require(get["port"] in ports, f"{probe}: no such port")
    text = found["ConfigMap", "dwspool"]["data"]["dwspool.yaml"]
    config = yaml.safe_load(text)
    require(config["listen"] == [f"*:{ports['postgresql']}"], "the container's port is not the one that is listened on")
    require(config["http"] == f"*:{ports['metrics']}", "the port of the metrics is another one")
    seconds = int(re.fullmatch(r"(\d+)s", config["shutdown_timeout"]).group(1))
    sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    require(pod["terminationGracePeriodSeconds"] > seconds + sleep, "the pod is killed before its clients have ended")
    # As non-root, without rights, without a writable root.
    security = container["securityContext"]
    require(pod["securityContext"]["runAsNonRoot"] and security["readOnlyRootFilesystem"]
            and not security["allowPrivilegeEscalation"] and security["capabilities"]["drop"] == ["ALL"],
            "the container may do too much")
    user = pod["securityContext"]["runAsUser"]
    require(f"USER {user}:" in (DEPLOY.parent / "Dockerfile").read_text(encoding="utf-8"), "the image has another user")
    accepts(binary, text.replace("/etc/dwspool-secrets/app-password", "secret"), {}, "the ConfigMap")


def accepts(binary, text, environment, what):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "secret").write_text("x\n", encoding="utf-8")
        path = pathlib.Path(folder) / "dwspool.yaml"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run([binary, "--config", str(path), "--test-config"], capture_output=True, text=True,
                              check=False, env=dict(os.environ, **environment))
        require(done.returncode == 0, f"dwspool does not accept {what}: {done.stderr}")


def check_compose(binary):
    path = DEPLOY / "compose.yaml"
    done = subprocess.run(["docker-compose", "-f", str(path), "config"], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"compose.yaml: {done.stderr}")
    if done.returncode != 0:
        return
    services = yaml.safe_load(done.stdout)["services"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            require(pathlib.Path(source).exists(), f"compose.yaml: {name} mounts {source}, which is not there")
    text = (DEPLOY / "compose" / "dwspool.yaml").read_text(encoding="utf-8")
    accepts(binary, text, {"DWS_PASSWORD": "x"}, "compose/dwspool.yaml")
    port = yaml.safe_load(text)["http"].split(":")[1]
    with tempfile.TemporaryDirectory() as folder:
        for source in (DEPLOY / "compose" / "prometheus.yml", DEPLOY / "prometheus" / "dwspool-alerts.yml"):
            (pathlib.Path(folder) / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        done = subprocess.run(["promtool", "check", "config", "prometheus.yml"], cwd=folder, capture_output=True,
                              text=True, check=False)
        require(done.returncode == 0, done.stdout + done.stderr)
    target = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text(encoding="utf-8"))
    require(target["scrape_configs"][0]["static_configs"][0]["targets"] == [f"dwspool:{port}"],
            "compose/prometheus.yml scrapes another port")
    for path in sorted((DEPLOY / "grafana" / "provisioning").glob("*/*.yaml")):
        require(yaml.safe_load(path.read_text(encoding="utf-8"))["apiVersion"] == 1, f"{path.name}: no apiVersion")


def main():
    binary = sys.argv[1]
    check_kubernetes(binary)
    check_compose(binary)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("manifests: well")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
