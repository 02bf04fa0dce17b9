"""The proxies that are compared, in the order of every table."""

from __future__ import annotations

from benchmarks.peers.aiohttp_peer import Aiohttp
from benchmarks.peers.base import Peer, Place
from benchmarks.peers.caddy import Caddy
from benchmarks.peers.envoy import Envoy
from benchmarks.peers.haproxy import Haproxy
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.turnout import Turnout

PEERS: tuple[Peer, ...] = (Turnout(), Nginx(), Haproxy(), Envoy(), Caddy(), Aiohttp())

__all__ = ["PEERS", "Peer", "Place"]
