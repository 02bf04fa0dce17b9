"""How many files and sockets each process may open, and how many connections that allows.

A proxied request needs two descriptors, the client's and the server's; so the client connections of one worker stay
below half of its limit, and accepting never meets EMFILE while the limit holds.
"""

from __future__ import annotations

import resource

from proxy.core.overload.room import connections_within


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, for this process and those it starts; returns what holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def affordable_connections(configured: int, descriptors: int, workers: int) -> int:
    """Return how many client connections all workers together may hold: what is configured, if descriptors suffice.

    `descriptors` is the limit of each process. At least one per worker, or nothing could be asked at all.
    """
    per_worker = connections_within(descriptors)
    return configured if per_worker is None else min(configured, per_worker * workers)
