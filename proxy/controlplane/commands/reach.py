"""Whether a version is known to be down: asked of its servers, just before traffic is to be sent there.

Servers are asked before a change has its turn (`answers`), so that those who say nothing hold up nobody else's; what
only becomes clear then is asked then (`must_be_reachable`).

A server that an operator has drained is not asked: traffic cannot go there, whatever it would say.

Invariant: only a refusal is knowledge. A connection that takes too long, a name that does not resolve at this moment,
or a limit of our own says nothing about the server, and stands in nobody's way (invariant 8 of the design).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Collection, Iterable, Mapping

from proxy.controlplane.errors import BaselineDown, VersionDrained
from proxy.core.changes import Step, gaining
from proxy.core.draining import in_service, out_of_service
from proxy.core.route import Server, Version

WITHIN_S = 0.1
"""How long a rollback may be held up by the question. A server that takes longer to accept is not known to be down."""
_AT_ONCE = 256      # connections; each takes a descriptor for a moment

_NAMED = 5          # routes or versions in a message

_REFUSALS = frozenset({
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENOENT,
    errno.ENOTSOCK, errno.ENOTDIR,
})

_Address = tuple[int, object]

Answers = Mapping[Version, tuple[str, ...]]
"""For each version that was asked, with the servers that were: why they refuse; empty if it is not known to be down.
"""


async def answers(step: Step, versions: Iterable[Version]) -> Answers:
    """Ask the versions to which the step sends more traffic. Takes `WITHIN_S` at most."""
    asked = _concerned(step, in_service(step.state.drained, versions))
    down = await known_down(asked)
    return {version: down.get(version.name, ()) for version in asked}


async def must_be_reachable(step: Step, versions: Collection[Version], advice: str, known: Answers) -> None:
    """Raise BaselineDown if the step sends more traffic to a version that is known to be down, or drained.

    `advice`: what can be done besides. `known`: the answers that there are already; others are asked now.
    """
    drained = _drained(step, versions)
    if drained:
        raise BaselineDown(f"{_drained_told(step, drained)}, {advice}",
                           [f"{server.address}: drained" for version in drained for server in version.servers])
    concerned = _concerned(step, in_service(step.state.drained, versions))
    down = {version.name: known[version] for version in concerned if known.get(version)}
    down |= await known_down(version for version in concerned if version not in known)
    if not down:
        return
    drains = sorted(out_of_service(step.state.drained, versions))
    raise BaselineDown(f"{_going(step, down)}, where no server accepts a connection: start one, {advice}",
                       [*(why for servers in down.values() for why in servers),
                        *(f"{server}: drained" for name, server in drains if name in down)])


def must_be_in_service(step: Step, versions: Collection[Version]) -> None:
    """Raise VersionDrained if the step sends more traffic to a version of which every server is drained."""
    drained = _drained(step, versions)
    if drained:
        raise VersionDrained(_drained_told(step, drained))


def _drained(step: Step, versions: Collection[Version]) -> list[Version]:
    """The versions to which the step sends more traffic, and which have no server in service."""
    if not step.state.drained:
        return []
    empty = {version.name for version in in_service(step.state.drained, versions) if not version.servers}
    return [version for version in _concerned(step, versions) if version.name in empty]


def _drained_told(step: Step, drained: Collection[Version]) -> str:
    names = [version.name for version in drained]
    return f"{_going(step, names)}, where every server is drained: `turnout restore {names[0]}` first"


def _going(step: Step, there: Collection[str]) -> str:
    """Which routes would go to these versions."""
    routes = sorted({route for route, version in _gains(step) if version in there})
    more = f" and {len(routes) - _NAMED} more" if len(routes) > _NAMED else ""
    going, names = (", ".join(f"`{name}`" for name in list(which)[:_NAMED]) for which in (routes, there))
    return f"{going}{more} would go to {names}"


def _gains(step: Step) -> set[tuple[str, str]]:
    """Route and version by name wherever the step sends more traffic."""
    return {(move.route, version) for move in step.moves if move.before and move.after
            for version in gaining(move.before, move.after)}


def _concerned(step: Step, versions: Iterable[Version]) -> list[Version]:
    names = {version for _, version in _gains(step)}
    return [version for version in versions if version.name in names]


async def known_down(versions: Iterable[Version], within_s: float = WITHIN_S) -> dict[str, tuple[str, ...]]:
    """The versions that nobody can reach: for each, `address: why` of all its servers. Takes `within_s` at most."""
    versions = tuple(versions)
    room = asyncio.Semaphore(_AT_ONCE)
    found = await asyncio.gather(*(_refusals(version, room, within_s) for version in versions))
    return {version.name: why for version, why in zip(versions, found, strict=True) if why}


async def _refusals(version: Version, room: asyncio.Semaphore, within_s: float) -> tuple[str, ...]:
    """Why each server refuses; empty as soon as one does not, or when one has said nothing in time."""
    tries = [asyncio.create_task(_try(server, room), name=f"reach {server.address}") for server in version.servers]
    loop = asyncio.get_running_loop()
    until, waiting = loop.time() + within_s, set(tries)
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=max(0.0, until - loop.time()), return_when=asyncio.FIRST_COMPLETED)
            # After a pause of our own the time is up and the answers are there nevertheless: those count.
            if not done or any(attempt.result() is None for attempt in done):
                return ()
        return tuple(str(attempt.result()) for attempt in tries)
    finally:
        for attempt in waiting:
            attempt.cancel()


async def _try(server: Server, room: asyncio.Semaphore) -> str | None:
    """Why the server refuses; None when it accepts, or nothing is known."""
    async with room:
        try:
            refusals = [await _connect(address) for address in await _resolve(server)]
        except OSError:     # the name does not resolve now, or we have no descriptor left
            return None
    code = refusals[0] if refusals else None
    if code is None or not all(refusals):
        return None
    return f"{server.address}: {os.strerror(code).lower()}"


async def _resolve(server: Server) -> list[_Address]:
    if server.unix_path is not None:
        return [(socket.AF_UNIX, server.unix_path)]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, server.host)
        except OSError:
            continue
        return [(family, (server.host, server.port))]       # an address needs no resolver, which would take a thread
    found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


async def _connect(address: _Address) -> int | None:
    """The errno of a refusal; None when it accepts. Raises OSError for what is no refusal."""
    family, where = address
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, where)  # type: ignore[arg-type]  # as the family has it
        except OSError as error:
            if error.errno in _REFUSALS:
                return error.errno
            raise
        return None
