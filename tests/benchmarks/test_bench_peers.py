from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from benchmarks import origin
from benchmarks.peers import PEERS, Peer, Place

BY_NAME = {peer.name: peer for peer in PEERS}


def place(**changes: object) -> Place:
    values: dict[str, object] = {
        "port": 18080, "admin_port": 19900, "folder": Path("/run/bench"), "old": ("127.0.0.1:9001",),
        "new": ("127.0.0.1:9002",), **changes}
    return Place(**values)  # type: ignore[arg-type]


def text(name: str, **changes: object) -> str:
    return "\n".join(BY_NAME[name].files(place(**changes)).values())


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_says_what_it_is_and_where_to_get_it(peer: Peer) -> None:
    assert all((peer.name, peer.title, peer.get, peer.split))


@pytest.mark.parametrize("name", ["turnout", "nginx", "haproxy", "envoy", "caddy"])
def test_every_configuration_has_its_port_and_both_versions(name: str) -> None:
    rendered = text(name)
    for port in ("18080", "9001", "9002"):
        assert port in rendered


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_configuration_is_in_the_folder_that_the_command_names(peer: Peer) -> None:
    command = peer.command(place())
    names = peer.files(place())
    assert any(f"/run/bench/{name}" in command for name in names)


def test_envoy_draws_by_the_cookie() -> None:
    config = json.loads(text("envoy"))
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert route["weighted_clusters"]["use_hash_policy"] is True
    assert route["hash_policy"] == [{"cookie": {"name": "uid"}}]
    assert [cluster["weight"] for cluster in route["weighted_clusters"]["clusters"]] == [90, 10]


def test_turnout_has_as_many_routes_and_servers_as_asked() -> None:
    config = yaml.safe_load(text("turnout", routes=1000, old=tuple(f"127.0.0.{n}:9001" for n in range(1, 51))))
    assert len(config["routes"]) == 1000
    assert config["routes"][998]["match"] == {"path": "/r998"}
    assert config["routes"][999]["match"] == {"path": "/"}
    assert len(config["versions"]["old"]["servers"]) == 50
    assert config["workers"] == 1


def test_nginx_has_a_location_per_route() -> None:
    assert text("nginx", routes=1000).count("location ") == 1000


def test_the_service_listens_on_fifty_loopback_addresses() -> None:
    rendered = origin.render(origin.Origin(9001, 9002), Path("/run/bench"), as_root=False, descriptors=1000)
    assert rendered.count("listen 127.0.0.") == origin.SERVERS + 1
    assert "user root" not in rendered


def test_content_is_of_the_size_asked_and_no_two_places_are_alike() -> None:
    body = origin.content(16 * 1024)
    assert len(body) == 16 * 1024
    assert len({body[at:at + 16] for at in range(0, len(body), 16)}) == 1024
