"""Whether there is room for another connection: what descriptors allow, what memory allows, and which one is short.

Accepting pauses before either runs out, because running out hits those who are there already.
"""

from __future__ import annotations

from operator import itemgetter

RESERVED = 64
"""Descriptors of a process that are no connections: listening sockets, channel, event loop, logs."""
RESUME_BELOW = 0.95
"""Of the memory that a worker may have: a little less than where it stopped, so that it does not flutter."""
SMALL_CROWD = 16
"""Connections that a worker may have however large it is. What it holds then is not theirs (allocators seldom give
everything back), and a proxy that lets nobody in any more would not even be asked what is wrong."""
OF_CONTAINER = 0.8
"""Of the memory of its container that workers take when they are not told how much: the rest is for the supervisor,
the comparer and the kernel's buffers of sockets, and being killed for the last byte helps nobody."""


def connections_within(descriptors: int) -> int | None:
    """How many client connections a process with so many descriptors may hold; None where they are unlimited (< 0).

    A proxied request needs two, the client's and the server's. At least 1, or nothing could be asked at all.
    """
    return None if descriptors < 0 else max(1, (descriptors - RESERVED) // 2)


def connections_left(descriptors: int, allowed: int) -> int | None:
    """How many connections to servers such a process may have beside its client connections; None: any number.

    `allowed`: client connections by configuration.
    """
    affordable = connections_within(descriptors)
    return None if affordable is None else max(1, descriptors - RESERVED - min(allowed, affordable))


def memory_within(container: int | None, machine: int) -> int | None:
    """How many bytes all workers may take where nothing is configured; None: as much as there is.

    `container`: what the process's group may use at most, in bytes; None without such a limit.
    """
    return int(container * OF_CONTAINER) if container is not None and container < machine else None


def is_too_large(resident: int, share: int | None, *, was: bool) -> bool:
    """Whether a process of this size is above its share, in bytes; `was`: whether it was before."""
    return share is not None and resident > (share * RESUME_BELOW if was else share)


def most_connections(allowed: int, affordable: int | None, *, too_large: bool) -> tuple[int, str]:
    """How many connections a worker may have now, and what there is too little of for one more.

    `allowed` by configuration, `affordable` by descriptors (None: any number). The second is one of "connections",
    "descriptors" and "memory".
    """
    bounds = [(allowed, "connections")]
    if affordable is not None and affordable <= allowed:
        bounds.insert(0, (affordable, "descriptors"))
    if too_large:
        bounds.append((SMALL_CROWD, "memory"))
    return min(bounds, key=itemgetter(0))
