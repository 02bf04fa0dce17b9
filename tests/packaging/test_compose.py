"""docker-compose.yml without an engine: its parts fit together, and what it starts of ours starts."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from proxy.settings import Settings, load_file
from tests.support.deadline import wait_until
from tests.support.dockerfile import read
from tests.support.turnout import running

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
FINAL = read(ROOT / "Dockerfile")[-1]
OURS = [name for name, service in SERVICES.items() if "build" in service]
TOKEN = re.sub(r"\$\{TURNOUT_TOKEN:-(.*)\}", r"\1", SERVICES["turnout"]["environment"]["TURNOUT_TOKEN"])
KNOWN_KEYS = {
    "image", "build", "entrypoint", "command", "environment", "volumes", "secrets", "ports", "healthcheck",
    "depends_on", "read_only", "cap_drop", "security_opt", "restart", "tmpfs", "stop_grace_period",
}  # fmt: skip
"""Of https://docs.docker.com/reference/compose-file/services/, those used here: a misspelt one is found."""


def settings() -> Settings:
    return load_file(ROOT / "config/compose/turnout.yaml", {"TURNOUT_TOKEN": TOKEN})


def mounts(service: str) -> dict[str, str]:
    """Where in the container → what of the project or which volume."""
    parts = [entry.split(":") for entry in SERVICES[service].get("volumes", [])]
    return {part[1]: part[0] for part in parts}


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_there_is_all_that_a_migration_needs() -> None:
    assert set(SERVICES) == {"old", "new", "turnout", "load", "prometheus", "grafana"}
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"name", "services", "volumes", "secrets"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_watched_and_pinned(name: str) -> None:
    service = SERVICES[name]
    assert set(service) <= KNOWN_KEYS
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD", "no shell"
    image, _, tag = service["image"].partition(":")
    assert name in OURS or re.fullmatch(r"v?\d+\.\d+\.\d+", tag), f"{image} is not pinned"
    for key in ("command", "entrypoint"):
        assert isinstance(service.get(key, []), list), "no shell"


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_built_from_the_dockerfile_and_start_what_is_in_it(name: str) -> None:
    assert SERVICES[name]["build"] == {"context": "."}
    program = SERVICES[name].get("entrypoint", FINAL.of("ENTRYPOINT")[0].words)[0]
    assert program.startswith("/opt/turnout/bin/")
    assert SERVICES[name]["healthcheck"]["test"][1].startswith("/opt/turnout/bin/")


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there_and_only_volumes_can_be_written(name: str) -> None:
    for entry in SERVICES[name].get("volumes", []):
        source = entry.partition(":")[0]
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert entry.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
    for secret in SERVICES[name].get("secrets", []):
        assert (ROOT / COMPOSE["secrets"][secret]["file"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_files_that_a_command_names_are_mounted(name: str) -> None:
    inside = mounts(name)
    words = [*SERVICES[name].get("entrypoint", []), *SERVICES[name].get("command", [])]
    words += SERVICES[name]["healthcheck"]["test"]
    for word in words:
        path = word.rpartition("=")[2]
        if re.fullmatch(r"/(demo|etc)/.*", path):
            home = max((place for place in inside if path.startswith(place)), key=len)
            assert (ROOT / (inside[home] + path.removeprefix(home))).is_file(), path


@pytest.mark.parametrize("name", SERVICES)
def test_who_waits_for_a_service_waits_until_it_is_healthy(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


def test_the_ports_are_those_of_the_configurations() -> None:
    turnout = settings()
    published = {port.rpartition(":")[2] for port in SERVICES["turnout"]["ports"]}
    assert published == {str(listen.port) for listen in (*turnout.listen, turnout.admin.listen)}
    assert SERVICES["load"]["entrypoint"][2] == f"http://turnout:{turnout.listen[0].port}/"
    for version in turnout.versions:
        (server,) = version.servers
        assert server.host == version.name
        words = SERVICES[server.host]["entrypoint"]
        assert words[words.index("--version") + 1] == version.name
        assert "--port" not in words
        assert f"http://127.0.0.1:{server.port}/healthz" in SERVICES[server.host]["healthcheck"]["test"][-1]


def test_the_configuration_is_right_and_gives_nobody_a_warning() -> None:
    turnout = settings()
    assert turnout.warnings == ()
    assert mounts("turnout")[str(turnout.state_dir)] == "state"
    assert seconds(SERVICES["turnout"]["stop_grace_period"]) > turnout.policy.timeouts.drain


def test_prometheus_asks_turnout_with_a_token_that_turnout_knows() -> None:
    config = yaml.safe_load((ROOT / "config/compose/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    usual = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text())
    assert job["job_name"] == usual["scrape_configs"][0]["job_name"], "the alerts ask for this name"
    assert job["static_configs"] == [{"targets": [f"turnout:{settings().admin.listen.port}"]}]
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    token = (ROOT / COMPOSE["secrets"][secret]["file"]).read_text().rstrip("\n")
    digests = {holder.digest: holder.role for holder in settings().admin.tokens}
    assert digests[sha256(token.encode()).digest()] == "viewer"
    assert digests[sha256(TOKEN.encode()).digest()] == "operator"


def test_prometheus_and_grafana_find_rules_and_dashboards_where_they_are_mounted() -> None:
    config = yaml.safe_load((ROOT / "config/compose/prometheus.yml").read_text())
    for pattern in config["rule_files"]:
        folder, _, names = pattern.rpartition("/")
        assert list((ROOT / mounts("prometheus")[folder]).glob(names))
    provider = yaml.safe_load((ROOT / "config/grafana/provisioning/dashboards/turnout.yml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    dashboards = ROOT / mounts("grafana")[folder]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / home.removeprefix(f"{folder}/")).is_file()
    source = (ROOT / "config/grafana/provisioning/datasources/prometheus.yml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", source)) <= set(SERVICES["grafana"]["environment"])


def test_promtool_takes_the_configuration_of_prometheus() -> None:
    promtool = Path("/usr/bin/promtool")
    if not promtool.exists():
        pytest.skip("there is no promtool")
    config = ROOT / "config/compose/prometheus.yml"
    words = [str(promtool), "check", "config", "--syntax-only", str(config)]
    checked = subprocess.run(words, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@contextmanager
def started(*words: str) -> Iterator[IO[str]]:
    """Start a program of compose's with this Python; what it prints."""
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


@contextmanager
def backend(version: str) -> Iterator[str]:
    """What compose starts as this version, on a free port; its URL."""
    words = SERVICES[version]["entrypoint"][2:]
    with started(str(ROOT / "config/compose/backend.py"), *words, "--host", "127.0.0.1", "--port", "0") as lines:
        yield f"http://127.0.0.1:{lines.readline().rpartition(' ')[2].strip()}"


def test_users_reach_both_backends_through_turnout_and_prometheus_may_ask_it(tmp_path: Path) -> None:
    users, beat = str(ROOT / "config/compose/load.py"), str(tmp_path / "beat")
    check = [sys.executable, users, "--check", "--beat", beat]
    assert subprocess.run(check).returncode == 1, "nobody has asked yet"
    with backend("old") as old, backend("new") as new:
        text = (ROOT / "config/compose/turnout.yaml").read_text()
        for shown, here in {
            "0.0.0.0:8080": "127.0.0.1:0", "0.0.0.0:9900": "127.0.0.1:0", "/var/lib/turnout": str(tmp_path / "state"),
            "http://old:8000": old, "http://new:8000": new, "old: 95, new: 5": "old: 1, new: 1",
        }.items():  # fmt: skip
            assert shown in text
            text = text.replace(shown, here)
        (tmp_path / "turnout.yaml").write_text(text)
        with running("-c", str(tmp_path / "turnout.yaml"), environ={"TURNOUT_TOKEN": TOKEN}) as turnout:
            url = "http://{}:{}/".format(*turnout.address)
            with started(users, url, "--users", "20", "--rate", "100", "--beat", beat) as lines:
                wait_until(lambda: {"new 200", "old 200"} <= set(re.findall(r"\w+ \d+", lines.readline())), "both")
            assert subprocess.run(check).returncode == 0
            token = (ROOT / "config/compose/prometheus.token").read_text().strip()
            with_token = {"Authorization": f"Bearer {token}"}
            request = urllib.request.Request(f"{turnout.admin}/api/v1/status", headers=with_token)
            with urllib.request.urlopen(request) as answer:
                assert answer.status == 200


def test_the_rate_of_users_has_a_limit() -> None:
    words = [sys.executable, str(ROOT / "config/compose/load.py"), "http://127.0.0.1:1/", "--rate", "5000"]
    refused = subprocess.run(words, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "a rate of at most 200" in refused.stderr
