"""What Kustomize makes of deploy/kubernetes: valid for several Kubernetes versions, and true to our configuration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from collector_processor.config import parse_config
from collector_processor.settings.values import size_bytes

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "replicas", "secure")
VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())
Resource = dict[str, Any]


def kustomized(overlay: str) -> list[Resource]:
    """The resources of an overlay, by ``kustomize`` (``make tools``) or the one in ``kubectl``."""
    path = f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    found = shutil.which("kustomize", path=path)
    kubectl = shutil.which("kubectl", path=path)
    if found is None and kubectl is None:
        pytest.skip("neither kustomize (make tools) nor kubectl is on this machine")
    command = [found, "build"] if found else [str(kubectl), "kustomize"]
    done = subprocess.run([*command, str(FOLDER / overlay)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


@pytest.fixture(scope="module", params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    return kustomized(request.param)


@pytest.fixture(scope="module")
def replicas() -> list[Resource]:
    return kustomized("replicas")


def one(resources: list[Resource], kind: str, name: str) -> Resource:
    [found] = [
        each
        for each in resources
        if each["kind"] == kind and re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", each["metadata"]["name"])
    ]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_valid_to_the_letter(resources: list[Resource], version: str) -> None:
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_an_unknown_field_would_be_found(resources: list[Resource]) -> None:
    broken = dict(one(resources, "Service", "otel-ml"), speck={})
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_the_configuration_in_the_map_is_accepted_and_its_ports_are_those_of_the_pod(resources: list[Resource]) -> None:
    text = one(resources, "ConfigMap", "otel-ml")["data"]["otel-ml.yaml"]
    config = parse_config(text)
    [container] = one(resources, "StatefulSet", "otel-ml")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert sorted(ports.values()) == sorted(int(port) for port in re.findall(r"0\.0\.0\.0:(\d+)", text))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "health"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(config.extensions["file_storage"].directory) == mounts["state"]
    assert container["args"] == ["serve", "--config", f"{mounts['config']}/otel-ml.yaml"]
    for service in ("otel-ml", "otel-ml-replicas"):
        for port in one(resources, "Service", service)["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_what_may_wait_fits_the_memory(resources: list[Resource]) -> None:
    config = parse_config(one(resources, "ConfigMap", "otel-ml")["data"]["otel-ml.yaml"])
    [container] = one(resources, "StatefulSet", "otel-ml")["spec"]["template"]["spec"]["containers"]
    limits = config.monitor.limits
    assert limits.memory is None, "the container's own limit counts"
    assert 4 * limits.journal <= size_bytes(container["resources"]["limits"]["memory"] + "B")


def test_pods_have_no_rights_and_no_token(resources: list[Resource]) -> None:
    for workload in [each for each in resources if each["kind"] in ("StatefulSet", "Deployment")]:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert re.search(r":v?\d+\.\d+\.\d+$", container["image"]), container["image"]
            assert {"requests", "limits"} <= set(container["resources"])


def test_selectors_meet_pods(resources: list[Resource]) -> None:
    pods = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in resources
        if each["kind"] in ("StatefulSet", "Deployment")
    ]
    for each in resources:
        spec = each.get("spec", {})
        match each["kind"]:
            case "Service":
                wanted = spec["selector"]
            case "PodDisruptionBudget":
                wanted = spec["selector"]["matchLabels"]
            case "NetworkPolicy":
                wanted = spec["podSelector"]["matchLabels"]
            case _:
                continue
        assert sum(wanted.items() <= labels.items() for labels in pods) == 1, each["metadata"]["name"]


def test_the_files_of_the_secure_configuration_come_from_mounted_secrets() -> None:
    resources = kustomized("secure")
    config = parse_config(one(resources, "ConfigMap", "otel-ml")["data"]["otel-ml.yaml"])
    pod = one(resources, "StatefulSet", "otel-ml")["spec"]["template"]["spec"]
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in pod["containers"][0]["volumeMounts"]}
    secret = {volume["name"] for volume in pod["volumes"] if "secret" in volume}
    protocols = config.receivers["otlp"].protocols
    for protocol in (protocols.grpc, protocols.http):
        assert protocol is not None
        assert protocol.tls is not None
        assert protocol.auth is not None
        assert {protocol.tls.cert_file.parent, protocol.tls.key_file.parent} == {mounts["tls"]}
    [tokens] = [item for name, item in config.extensions.items() if name.startswith("bearertokenauth")]
    assert tokens.filename is not None
    assert tokens.filename.parent == mounts["tokens"]
    assert secret == {"tls", "tokens"}


def test_the_balancer_knows_every_replica_by_name(replicas: list[Resource]) -> None:
    stateful = one(replicas, "StatefulSet", "otel-ml")
    collector = yaml.safe_load(one(replicas, "ConfigMap", "otel-ml-balancer")["data"]["collector.yaml"])
    headless = one(replicas, "Service", stateful["spec"]["serviceName"])
    assert headless["spec"]["clusterIP"] == "None"
    hosts = collector["exporters"]["load_balancing"]["resolver"]["static"]["hostnames"]
    assert hosts == [
        f"otel-ml-{number}.{headless['metadata']['name']}:4317" for number in range(stateful["spec"]["replicas"])
    ]
    assert stateful["spec"]["replicas"] == 3


def test_the_balancer_chooses_by_model_for_predictions_and_labels_alike(replicas: list[Resource]) -> None:
    collector = yaml.safe_load(one(replicas, "ConfigMap", "otel-ml-balancer")["data"]["collector.yaml"])
    balancing = collector["exporters"]["load_balancing"]
    assert (balancing["routing_key"], balancing["routing_attributes"]) == ("attributes", ["ml.model.name"])
    pipelines = collector["service"]["pipelines"]
    assert pipelines["traces"] == pipelines["logs"]
    used = {name for pipeline in pipelines.values() for name in pipeline["processors"]}
    assert used == set(collector["processors"])


def test_the_collector_accepts_the_balancer_s_configuration(replicas: list[Resource], tmp_path: Path) -> None:
    otelcol = ROOT / ".tools" / "bin" / "otelcol"
    if not otelcol.exists():
        pytest.skip("otelcol is not built (make tools)")
    known = subprocess.run([otelcol, "components"], capture_output=True, text=True, timeout=60, check=True).stdout
    if missing := [name for name in ("filter", "groupbyattrs", "transform") if f"name: {name}\n" not in known]:
        pytest.skip(f"otelcol is built without the processors {', '.join(missing)} (tools/collector-builder.yaml)")
    config = tmp_path / "collector.yaml"
    config.write_text(one(replicas, "ConfigMap", "otel-ml-balancer")["data"]["collector.yaml"])
    done = subprocess.run(
        [otelcol, "validate", f"--config={config}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
