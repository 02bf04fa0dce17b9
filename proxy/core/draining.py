"""Servers that an operator takes out of service, and brings back: what is drained, and whether more of it may be.

A drain is a pair of a version and the address of one of its servers; an empty address stands for all of them, also for
those that the file gives the version later. Invariant: a version that is drained as a whole has no other pair; what a
worker is told (`out_of_service`) names servers only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from proxy.core.changes import ChangeError, Service, Step
from proxy.core.route import Route, Version
from proxy.core.state import Course, Drains, State

ALL = ""
"""In the place of an address: every server of the version."""
_NAMED = 5          # routes in a message


def drain(
    state: State, versions: Collection[Version], routes: Iterable[Route], version: Version, server: str | None = None,
    *, force: bool = False,
) -> Step:
    """Take a server of the version (its address), or None: all of them, out of service. What is so already stays so.

    Raises ChangeError (last-server) where requests of a route would have nowhere to go any more, unless `force`.
    """
    mine = _of(state.drained, version.name)
    if ALL in mine or server in mine:
        return Step(state)
    step = _step(state, "drain", version.name, server, frozenset({ALL}) if server is None else mine | {server})
    stranded = [] if force else _stranded(state, step.state, versions, routes)
    if stranded:
        raise ChangeError("last-server", _move_first(version, server, stranded, step.state, versions))
    return step


def restore(state: State, version: Version, server: str | None = None) -> Step:
    """Bring a server of the version (its address) back, or None: all of them, whatever drained them.

    One server of a version that is drained as a whole leaves the others drained, each by itself.
    """
    mine = _of(state.drained, version.name)
    left = frozenset(_addresses(version)) if ALL in mine else mine
    after = frozenset() if server is None else left - {server}
    return Step(state) if after == mine else _step(state, "restore", version.name, server, after)


def named(state: State, versions: Iterable[Version]) -> tuple[Drains, tuple[Service, ...]]:
    """The drains of what the file still names, and what became of the others, one entry for each."""
    there = {version.name: {ALL, *_addresses(version)} for version in versions}
    drained, gone = state.drained, []
    for pair in sorted(state.drained):
        name, server = pair
        if server in there.get(name, ()):
            continue
        left = drained - {pair}
        why = "the file has this server no more" if name in there else "the file has this version no more"
        gone.append(_service("restore", name, server or None, drained, left, why))
        drained = left
    return drained, tuple(gone)


def out_of_service(drained: Drains, versions: Iterable[Version]) -> Drains:
    """The same, with every server by its address: for a snapshot."""
    return frozenset(
        (version.name, address) for version in versions for address in _addresses(version)
        if (version.name, ALL) in drained or (version.name, address) in drained) if drained else drained


def drained_servers(drained: Drains, version: Version) -> list[str]:
    """The addresses of the version's servers that are out of service, in the order of the file."""
    out = out_of_service(drained, [version])
    return [address for address in _addresses(version) if (version.name, address) in out]


def in_service(drained: Drains, versions: Iterable[Version]) -> tuple[Version, ...]:
    """The versions with the servers that are not drained; one may be left without any."""
    out = out_of_service(drained, versions := tuple(versions))
    return tuple(
        version if not out else replace(version, servers=tuple(
            server for server in version.servers if (version.name, server.address) not in out))
        for version in versions)


def without_servers(drained: Drains, versions: Iterable[Version]) -> frozenset[str]:
    """The names of the versions of which every server is drained."""
    return frozenset(version.name for version in in_service(drained, versions) if not version.servers)


def lost(route: Route, split: Iterable[tuple[str, float]], empty: Collection[str]) -> list[str]:
    """The versions with a weight whose requests nobody would answer, when those in `empty` have no server in service.

    A candidate's requests go to the baseline then, if the route says so and the baseline has servers.
    """
    refuge = route.when_down == "baseline" and route.baseline not in empty
    return [version for version, weight in split
            if weight > 0 and version in empty and (version == route.baseline or not refuge)]


def consequences(
    before: State, after: State, versions: Collection[Version], routes: Iterable[Route]
) -> tuple[str, ...]:
    """What the author of a drain should know of each version that has no server left in service by it."""
    was, now = without_servers(before.drained, versions), without_servers(after.drained, versions)
    known = [(route, after.routes[route.name].course.split) for route in routes if route.name in after.routes]
    notes: list[str] = []
    for version in sorted(now - was):
        gone = [route.name for route, split in known if version in lost(route, split, now)]
        diverted = [route.name for route, split in known if dict(split).get(version) and route.name not in gone]
        stuck = [route.name for route, split in known if route.baseline == version and not dict(split).get(version)]
        notes += [f"requests of {listed(names)} for `{version}` {what} until it is restored" for names, what in (
            (gone, "are refused"), (diverted, "go to the baseline")) if names]
        notes += [f"{listed(stuck)} cannot be rolled back to `{version}` until it is restored"] if stuck else []
        copied = [route.name for route, _ in known if _gets_copies(after.routes[route.name].course, version)]
        notes += [f"nothing of {listed(copied)} is copied to `{version}` until it is restored"] if copied else []
    return tuple(notes)


def needed(state: State, versions: Collection[Version], routes: Iterable[Route], version: str) -> list[str]:
    """The routes whose requests would have nowhere to go if nobody answered for the version, either."""
    empty = without_servers(state.drained, versions)
    splits = {name: held.course.split for name, held in state.routes.items()}
    return [route.name for route in routes if route.name in splits
            and set(lost(route, splits[route.name], empty | {version})) - set(lost(route, splits[route.name], empty))]


def elsewhere(state: State, versions: Collection[Version], version: Version, server: str | None) -> tuple[str, ...]:
    """What to know before a server of the version (None: any of them) is stopped: it may serve other versions, too."""
    stopped = set(_addresses(version)) if server is None else {server}
    others = [other.name for other in in_service(state.drained, versions)
              if other.name != version.name and stopped & set(_addresses(other))]
    what = f"a server of `{version.name}`" if server is None else server
    return (f"{what} is in service for {listed(others)}, too: drain it there before you stop it",) if others else ()


def refused(state: State, versions: Collection[Version], routes: Iterable[Route]) -> tuple[str, ...]:
    """What the author of another change should know: the versions whose requests nobody answers, since all is drained.

    A file may do what a drain may not: send traffic to what is drained, or take away the servers that were not.
    """
    empty = without_servers(state.drained, versions)
    routes_of: dict[str, list[str]] = {}
    for route in routes if empty else ():
        for version in lost(route, state.routes[route.name].course.split, empty):
            routes_of.setdefault(version, []).append(route.name)
    return tuple(f"requests of {listed(names)} for `{version}` are refused, since it is drained: `turnout restore "
                 f"{version}`" for version, names in routes_of.items())


def _stranded(before: State, after: State, versions: Collection[Version], routes: Iterable[Route]) -> list[Route]:
    """The routes of which a version loses its last server in a step, with nowhere else for its requests to go."""
    was, now = without_servers(before.drained, versions), without_servers(after.drained, versions)
    if was == now:
        return []
    splits = {name: held.course.split for name, held in after.routes.items()}
    return [route for route in routes if route.name in splits
            and set(lost(route, splits[route.name], now)) - set(lost(route, splits[route.name], was))]


def _move_first(
    version: Version, server: str | None, routes: list[Route], after: State, versions: Collection[Version]
) -> str:
    empty = without_servers(after.drained, versions)
    names = listed([route.name for route in routes])
    what = f"`{version.name}` is" if server is None else f"{server}, the last server of `{version.name}` in service, is"
    ways = "; ".join(_way_out(route, version.name, after, empty) for route in routes[:_NAMED])
    return (f"{what} still needed: requests of {names} would have nowhere to go; move them first ({ways}), or drain it "
            "all the same with `force`")


def _way_out(route: Route, version: str, after: State, empty: Collection[str]) -> str:
    """What to type so that the route does without the version."""
    split = after.routes[route.name].course.split
    others = [name for name, _ in split if name not in empty]
    if others:
        to = route.baseline if route.baseline in others else others[0]
        return f"`turnout weight {route.name} {' '.join(f'{name}={100 if name == to else 0}' for name, _ in split)}`"
    drained = [name for name, _ in split if name != version]
    return f"`turnout restore {drained[0]}`" if drained else f"give `{version}` another server: it is the only version"


def _gets_copies(course: Course, version: str) -> bool:
    return course.shadow is not None and course.shadow.to == version and course.shadow.percent > 0


def listed(names: Collection[str]) -> str:
    """Names in a sentence, a few of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"`{name}`" for name in list(names)[:_NAMED]) + more


def _step(state: State, verb: str, version: str, server: str | None, mine: frozenset[str]) -> Step:
    """The state where the version has these drains."""
    drained = frozenset(pair for pair in state.drained if pair[0] != version) | {(version, each) for each in mine}
    following = replace(state, revision=state.revision + 1, drained=drained)
    return Step(following, services=(_service(verb, version, server, state.drained, drained),))


def _service(verb: str, version: str, server: str | None, before: Drains, after: Drains, reason: str = "") -> Service:
    was, now = (tuple(sorted(_of(drained, version))) for drained in (before, after))
    return Service(verb, version, server, was, now, reason)


def _of(drained: Drains, version: str) -> frozenset[str]:
    return frozenset(server for name, server in drained if name == version)


def _addresses(version: Version) -> list[str]:
    return [server.address for server in version.servers]
