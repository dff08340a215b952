"""The chart renders to legal objects of Kubernetes whose settings the services understand."""

import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import pytest

from atoll import settings, version
from atoll_attestor import config as attestor
from atoll_cli.nats_server import find_binary
from atoll_gateway import config as gateway
from atoll_manager import config as manager
from integration.helm.conftest import CHART, NAMESPACE, Chart
from support.command import atoll

LEAST: Final[dict[str, Any]] = {
    "image": {"repository": "registry.example/atoll"},
    "nats": {"image": "registry.example/nats:2.12"},
}
WHOLE: Final[dict[str, Any]] = {
    "image": {
        "repository": "registry.example/atoll",
        "digest": "sha256:" + "ab" * 32,
        "pullSecrets": ["registry"],
    },
    "nats": {"image": "registry.example/nats:2.12", "replicas": 3, "storageClass": "fast"},
    "gateway": {"replicas": 3, "env": {"ATOLL_GATEWAY_UNPLACEABLE": "refuse"}},
    "manager": {
        "simulated": True,
        "devices": ["/dev/sev-guest"],
        "tolerations": [{"key": "enclaves", "operator": "Exists"}],
    },
    "metrics": {"serviceMonitor": True},
    "networkPolicy": {"apiFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
}
OUTSIDE: Final[dict[str, Any]] = {
    "image": {"repository": "registry.example/atoll", "tag": "1"},
    "nats": {"url": "tls://a.example:4222,tls://b.example:4222"},
    "gateway": {"replicas": 1},
    "attestor": {"replicas": 1},
    "manager": {"enabled": False},
    "metrics": {"enabled": False},
    "networkPolicy": {"natsTo": [{"ipBlock": {"cidr": "10.1.2.0/24"}}]},
}
CASES: Final = pytest.mark.parametrize(
    "values", [LEAST, WHOLE, OUTSIDE], ids=["least", "whole", "outside"]
)
KUBERNETES: Final = ("1.27.0", "1.37.0")
"""The oldest that Chart.yaml allows, and the newest that there are schemas for."""
ELSEWHERE: Final = frozenset({"ServiceMonitor"})
"""Kinds of the Prometheus operator, whose schemas are not Kubernetes's."""
CONFIGS: Final[Mapping[str, tuple[Any, str]]] = {
    "gateway": (gateway.GatewayConfig, gateway.PREFIX),
    "attestor": (attestor.AttestorConfig, attestor.PREFIX),
    "manager": (manager.ManagerConfig, manager.PREFIX),
}


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def workloads(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    kinds = ("Deployment", "DaemonSet", "StatefulSet")
    return {name: each for kind in kinds for name, each in of_kind(objects, kind).items()}


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Of one pod; what Kubernetes fills in is a name of some kind."""
    return {each["name"]: each.get("value", "node-1") for each in container["env"]}


@CASES
def test_helm_finds_nothing_wrong(chart: Chart, values: dict[str, Any]) -> None:
    found = chart.lint(values)

    assert found["errors"] == []
    assert [each for each in found["messages"] if each["severity"] > 1] == []


@CASES
@pytest.mark.parametrize("release", KUBERNETES)
def test_every_object_is_legal_in_kubernetes(
    chart: Chart, schemas: Any, values: dict[str, Any], release: str
) -> None:
    objects = chart.render(values)
    assert len(objects) > 5
    for each in objects:
        if each["kind"] not in ELSEWHERE:
            schemas.validate(each, release, strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)


@CASES
def test_services_understand_their_settings(chart: Chart, values: dict[str, Any]) -> None:
    objects = chart.render(values)
    seen = set()
    for name, each in workloads(objects).items():
        part = name.rpartition("-")[2]
        if part not in CONFIGS:
            continue
        seen.add(part)
        kind, prefix = CONFIGS[part]
        (container,) = each["spec"]["template"]["spec"]["containers"]
        config = settings.read(kind, prefix, environment(container))
        assert config.nats_url.startswith("tls://")
        # Whatever file is named is in a volume that is mounted there.
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for path in re.findall(r"'(/[^']*)'", repr(list(environment(container).values()))):
            assert any(Path(path).is_relative_to(mount) for mount in mounts), path
    managed = values.get("manager", {}).get("enabled", True)
    assert seen == set(CONFIGS) - (set() if managed else {"manager"})


@CASES
def test_commands_are_the_programs_that_we_install(chart: Chart, values: dict[str, Any]) -> None:
    installed = {each.name for each in entry_points(group="console_scripts")} | {"nats-server"}

    for each in workloads(chart.render(values)).values():
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert container["command"][0] in installed


@CASES
def test_pods_are_confined_and_probed(chart: Chart, values: dict[str, Any]) -> None:
    for name, each in workloads(chart.render(values)).items():
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        if not name.endswith("-manager"):
            assert container["securityContext"]["runAsNonRoot"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        privileged = container["securityContext"].get("privileged", False)
        assert privileged == ("/dev/sev-guest" in str(container["volumeMounts"]))
        if values.get("metrics", {}).get("enabled", True) or name.endswith(("-gateway", "-nats")):
            assert "livenessProbe" in container
        ports = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            for action in ("httpGet", "tcpSocket"):
                port = container.get(probe, {}).get(action, {}).get("port")
                assert port is None or port in ports


@CASES
def test_whatever_selects_pods_selects_some(chart: Chart, values: dict[str, Any]) -> None:
    objects = chart.render(values)
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in workloads(objects).values()]
    for each in objects:
        selectors = {
            "Service": each["spec"].get("selector", {}) if "spec" in each else {},
            "PodDisruptionBudget": each.get("spec", {}).get("selector", {}),
            "NetworkPolicy": each.get("spec", {}).get("podSelector", {}),
        }
        wanted = selectors.get(each["kind"])
        if wanted is None:
            continue
        labels = wanted.get("matchLabels", wanted if each["kind"] == "Service" else {})
        assert labels
        assert any(labels.items() <= pod.items() for pod in pods), each["metadata"]["name"]


def test_no_secret_is_made_and_all_that_are_needed_are_documented(chart: Chart) -> None:
    objects = chart.render(WHOLE)
    text = (CHART.parent / "README.md").read_text()

    assert of_kind(objects, "Secret") == {}
    for each in workloads(objects).values():
        for volume in each["spec"]["template"]["spec"]["volumes"]:
            if "secret" in volume:
                assert f"`{volume['secret']['secretName']}`" in text


def test_servers_take_their_configuration(chart: Chart, tmp_path: Path) -> None:
    """By nats-server's own check, with the files that `atoll init` writes."""
    made = tmp_path / "d"
    assert atoll(tmp_path, "init", made, "--host", "nats.example").status == 0
    (tmp_path / "secret").mkdir()
    text = (made / "bus" / "auth.conf").read_text()
    (tmp_path / "secret" / "auth.conf").write_text(
        re.sub(r'"dir": "[^"]*"', f'"dir": "{tmp_path}/jwt"', text)
    )
    (config,) = of_kind(chart.render(WHOLE), "ConfigMap").values()
    rendered = (
        config["data"]["nats-server.conf"]
        .replace("/etc/nats/secret", str(made / "tls"))
        .replace("/etc/nats/ca", str(made / "tls"))
        .replace("/data", str(tmp_path))
    )
    path = tmp_path / "nats-server.conf"
    path.write_text(rendered)

    done = subprocess.run(
        [find_binary(), "-t", "-c", path],
        env={"POD_NAME": "demo-atoll-nats-0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rendered.count("nats-route://demo-atoll-nats-") == 3


def test_the_bus_inside_is_where_services_look_for_it(chart: Chart) -> None:
    objects = chart.render(LEAST)
    (container,) = workloads(objects)["demo-atoll-gateway"]["spec"]["template"]["spec"][
        "containers"
    ]
    url = environment(container)["ATOLL_GATEWAY_NATS_URL"]

    assert url == f"tls://demo-atoll-nats.{NAMESPACE}.svc:4222"
    assert "demo-atoll-nats" in of_kind(objects, "Service")
    assert container["image"] == f"registry.example/atoll:{version.VERSION}"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"nats": {"image": "x"}}, "repository"),
        ({**LEAST, "nats": {}}, "nats.image"),
        ({**LEAST, "nats": {"image": "x", "replicas": 2}}, "replicas"),
        ({**LEAST, "nats": {"url": "http://x"}}, "url"),
        ({**LEAST, "gateway": {"env": {"PATH": "/x"}}}, "PATH"),
        ({**LEAST, "manager": {"nodeSelector": {}, "slots": 0}}, "slots"),
        ({**LEAST, "gatway": {}}, "gatway"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_by_name(
    chart: Chart, values: dict[str, Any], why: str
) -> None:
    with pytest.raises(chart.helm.HelmError) as caught:
        chart.render(values)

    assert why in str(caught.value)


def test_the_chart_is_of_this_release() -> None:
    text = (CHART / "Chart.yaml").read_text()

    assert f"appVersion: {version.VERSION}" in text
    assert f"\nversion: {version.VERSION}\n" in text
