"""The Kubernetes examples without a cluster: their parts fit together, and their configurations are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy import __version__
from proxy.settings import Settings, load_bytes
from tests.support.dockerfile import read

ROOT = Path(__file__).parents[2]
FINAL = read(ROOT / "Dockerfile")[-1]
Json = dict[str, Any]
KINDS = {
    "v1": {"ConfigMap", "Secret", "Service"},
    "apps/v1": {"Deployment"},
    "policy/v1": {"PodDisruptionBudget"},
    "monitoring.coreos.com/v1": {"ServiceMonitor"},
}


class Example:
    """The documents of one file."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "config/kubernetes" / f"{name}.yaml").read_text()
        self.documents: list[Json] = list(yaml.safe_load_all(self.text))

    def all(self, kind: str) -> list[Json]:
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Json:
        (found,) = [document for document in self.all(kind) if name in ("", document["metadata"]["name"])]
        return found

    @property
    def pod(self) -> Json:
        spec: Json = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def turnout(self) -> Json:
        (container,) = [container for container in self.pod["containers"] if container["name"] == "turnout"]
        return dict(container)

    def secret(self, reference: Json) -> str:
        value: str = self.one("Secret", reference["name"])["stringData"][reference["key"]]
        return value

    def settings(self, folder: Path) -> Settings:
        """The configuration of the ConfigMap, with the environment and the mounted secrets that the pod has."""
        entries = self.turnout.get("env", [])
        environ = {entry["name"]: self.secret(entry["valueFrom"]["secretKeyRef"]) for entry in entries}
        (text,) = self.one("ConfigMap")["data"].values()
        for mount in self.turnout["volumeMounts"]:
            (volume,) = [volume for volume in self.pod["volumes"] if volume["name"] == mount["name"]]
            for item in volume.get("secret", {}).get("items", []):
                path = folder / item["path"]
                path.write_text(self.secret({"name": volume["secret"]["secretName"], "key": item["key"]}))
                path.chmod(volume["secret"]["defaultMode"])
                text = text.replace(f"{mount['mountPath']}/{item['path']}", str(path))
        return load_bytes(text.encode(), "turnout.yaml", environ)


@pytest.fixture(params=["sidecar", "edge"])
def example(request: pytest.FixtureRequest) -> Example:
    return Example(request.param)


def seconds(settings: Settings) -> float:
    return settings.policy.timeouts.drain


def test_every_document_is_of_a_kind_that_its_version_of_the_api_has(example: Example) -> None:
    for document in example.documents:
        assert document["kind"] in KINDS[document["apiVersion"]]
        assert set(document) <= {"apiVersion", "kind", "metadata", "spec", "data", "stringData", "type"}
        assert re.fullmatch(r"[a-z0-9-]+", document["metadata"]["name"])
    names = [(document["kind"], document["metadata"]["name"]) for document in example.documents]
    assert len(names) == len(set(names))


def test_nothing_hides_behind_anchors_which_not_every_tool_reads(example: Example) -> None:
    assert not re.search(r"(^|\s)[&*][a-z]\w*(\s|$)", example.text)
    assert "<<:" not in example.text


def test_selectors_find_the_pods(example: Example) -> None:
    labels = example.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    selectors = [example.one("Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in example.all("Service")]
    selectors += [budget["spec"]["selector"]["matchLabels"] for budget in example.all("PodDisruptionBudget")]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in example.pod.get("topologySpreadConstraints", [])]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels


def test_the_monitor_finds_the_service_of_the_admin_api_and_is_the_job_that_alerts_ask_for() -> None:
    example = Example("edge")
    monitor = example.one("ServiceMonitor")["spec"]
    found = [
        service for service in example.all("Service")
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]  # fmt: skip
    assert [service["metadata"]["name"] for service in found] == ["turnout-admin"]
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] == found[0]["spec"]["ports"][0]["name"]
    assert endpoint["path"] == "/metrics"
    assert found[0]["metadata"]["labels"][monitor["jobLabel"]] == "turnout"
    assert example.secret(endpoint["authorization"]["credentials"]) == Example("edge").secret(
        {"name": "turnout", "key": "viewer"}
    )


def test_ports_are_those_of_the_configuration(example: Example, tmp_path: Path) -> None:
    settings = example.settings(tmp_path)
    declared = {port["name"]: port["containerPort"] for port in example.turnout["ports"]}
    assert declared["http"] == settings.listen[0].port
    assert declared.get("admin", settings.admin.listen.port) == settings.admin.listen.port
    for service in example.all("Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in declared
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = example.turnout.get(probe, {}).get("httpGet")
        if get is not None:
            assert declared[get["port"]] == settings.admin.listen.port
            assert get["path"] in ("/livez", "/readyz"), "no other path goes without a token"


def test_the_configuration_is_right_and_gives_nobody_a_warning(example: Example, tmp_path: Path) -> None:
    assert example.settings(tmp_path).warnings == ()


def test_probes_reach_the_admin_api(example: Example, tmp_path: Path) -> None:
    """On loopback the kubelet's requests do not get there: then they must be commands of the image."""
    on_loopback = example.settings(tmp_path).admin.listen.host == "127.0.0.1"
    for probe in ("readinessProbe", "livenessProbe"):
        how = example.turnout[probe]
        assert ("exec" in how) == on_loopback
        if on_loopback:
            assert tuple(how["exec"]["command"][:2]) == FINAL.of("HEALTHCHECK")[0].words
            assert how["timeoutSeconds"] > 2, "healthcheck itself gives up after 2 s"


def test_there_is_time_to_drain_before_it_is_killed(example: Example, tmp_path: Path) -> None:
    pause = example.turnout["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert example.pod["terminationGracePeriodSeconds"] >= pause + seconds(example.settings(tmp_path)) + 5


def test_the_application_beside_turnout_outlives_its_drain(tmp_path: Path) -> None:
    example = Example("sidecar")
    (app,) = [container for container in example.pod["containers"] if container["name"] == "app"]
    pause = example.turnout["lifecycle"]["preStop"]["sleep"]["seconds"]
    stays = app["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause + seconds(example.settings(tmp_path)) < stays < example.pod["terminationGracePeriodSeconds"]
    (new,) = [version for version in example.settings(tmp_path).versions if version.name == "new"]
    assert new.servers[0].port == app["ports"][0]["containerPort"]


def test_it_runs_under_the_restricted_standard(example: Example) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pod = example.pod["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in example.pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
    user = {**pod, **example.turnout["securityContext"]}["runAsUser"]
    assert str(user) == FINAL.of("USER")[0].words[0].partition(":")[0]


def test_what_is_mounted_is_there(example: Example) -> None:
    volumes = {volume["name"]: volume for volume in example.pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in example.turnout["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    config = example.one("ConfigMap")["metadata"]["name"]
    assert volumes[mounts["/etc/turnout"]["name"]]["configMap"] == {"name": config}
    assert "subPath" not in mounts["/etc/turnout"], "the kubelet never updates those"
    assert example.turnout["args"][-1] == f"/etc/turnout/{next(iter(example.one('ConfigMap')['data']))}"
    assert {"/tmp", FINAL.of("VOLUME")[0].words[0]} <= set(mounts)


def test_the_state_is_where_the_volume_is(example: Example, tmp_path: Path) -> None:
    assert example.settings(tmp_path).state_dir in {mount["mountPath"] for mount in example.turnout["volumeMounts"]}


def test_containers_ask_for_what_they_need_and_have_a_limit_of_memory(example: Example) -> None:
    for container in example.pod["containers"]:
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_the_image_is_that_of_this_release(example: Example) -> None:
    assert example.turnout["image"].endswith(f"/turnout:{__version__}")


def test_the_secrets_are_visibly_not_secrets() -> None:
    for value in Example("edge").one("Secret")["stringData"].values():
        assert value.startswith("replace-me-")
