"""Every metric of Turnout by name: its type, its labels, and what it means, in the order of the page.

Invariant: nothing is on /metrics that does not stand here. The names follow https://prometheus.io/docs/practices/naming/:
base units, `_total` for what only grows. `python -m proxy.telemetry.families` prints the table of docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxy.telemetry import names as counted
from proxy.telemetry import shadowing

Kind = Literal["counter", "gauge", "histogram", "info"]
_UNITS = ("seconds", "bytes")

SHARE = "turnout_split_share"
WEIGHT = "turnout_split_weight"
ROLE = "turnout_route_version_info"
REVERTS = "turnout_change_reverts_timestamp_seconds"
REVISION = "turnout_config_revision"
RELOAD_OK = "turnout_config_last_reload_successful"
RELOAD_AT = "turnout_config_last_reload_timestamp_seconds"
EVENTS = "turnout_events_total"
JOURNAL_FAILURES = "turnout_journal_failures_total"
EVENTS_LOST = "turnout_events_lost_total"
LOGIN_FAILURES = "turnout_admin_login_failures_total"
CONNECTIONS_LIMIT = "turnout_connections_limit"
WORKERS = "turnout_workers"
RESTARTS = "turnout_worker_restarts_total"
COMPARER_UP = "turnout_comparer_up"
COMPARER_RESTARTS = "turnout_comparer_restarts_total"
BUILD = "turnout_build_info"
START = "turnout_start_time_seconds"
EFFECTIVE_SHARE = "turnout_split_effective_share"
VERSION_UP = "turnout_version_up"
SERVER_UP = "turnout_server_up"
SERVER_STATE = "turnout_server_state"
SUSPICION = "turnout_server_suspicion"
PROBES = "turnout_probes_total"
PROBE_SECONDS = "turnout_probe_seconds"
EJECTIONS = "turnout_ejections_total"
PROCESS_CPU = "turnout_process_cpu_seconds_total"
PROCESS_MEMORY = "turnout_process_resident_memory_bytes"
PROCESS_FDS = "turnout_process_open_fds"
PROCESS_MAX_FDS = "turnout_process_max_fds"
PROCESS_START = "turnout_process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `labels` in the order in which rows carry their values."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def base(self) -> str:
        """The name without the suffix that the type adds (OpenMetrics names a family by it)."""
        return self.name.removesuffix("_total").removesuffix("_info")

    @property
    def unit(self) -> str:
        """The base unit in the name; empty where it counts things."""
        last = self.base.rpartition("_")[2]
        return last if last in _UNITS else ""


_PAIR = ("route", "version")
_SERVER = ("version", "server")

_ALL: tuple[tuple[str, Kind, tuple[str, ...], str], ...] = (
    (counted.REQUESTS, "counter", (*_PAIR, "code"),
     "Answers per client: requests that ended, by the version that gave the answer, or should have, and the status "
     "that the client got (499: it left before; other: not in 100 to 599)."),
    (counted.ATTEMPTS, "counter", (*_PAIR, "outcome"),
     "Attempts per version, however many a request took and whoever answered the client in the end, by what came of "
     "them: answered, error (a 5xx), connect, reset, timeout, bad-answer, gone (the client left), withdrawn."),
    (counted.DURATION, "histogram", _PAIR,
     "From the head of a request to the end of its answer; a bucket may miss what is up to 9 % below its bound."),
    (counted.INFLIGHT, "gauge", _PAIR, "Requests that have a version and no complete answer."),
    (counted.RETRIES, "counter", _PAIR, "Attempts at this version that were given up for another one."),
    (counted.RESCUES, "counter", (*_PAIR, "outcome"),
     "Requests that failed at this version and were sent to the baseline instead (answered, failed)."),
    (counted.DIVERTED, "counter", _PAIR,
     "Requests that the split gave to this version while it was down, and that the baseline took."),
    (counted.BUDGET_EXHAUSTED, "counter", ("route",),
     "Retries and rescues that were not made because the route's budget for them was spent."),
    (counted.RECEIVED, "counter", _PAIR, "Bytes of bodies and tunnels received from clients."),
    (counted.SENT, "counter", _PAIR, "Bytes of bodies and tunnels sent to clients."),
    (counted.TUNNELS, "gauge", _PAIR, "Open tunnels (WebSocket and other upgrades)."),
    (counted.TUNNELS_WITHDRAWN, "counter", _PAIR, "Tunnels closed because their version lost its share."),
    (SHARE, "gauge", _PAIR, "Part of the route's requests that the split gives to this version, 0 to 1."),
    (EFFECTIVE_SHARE, "gauge", _PAIR,
     "Part of the route's requests that this version is really sent while versions are down or drained, 0 to 1."),
    (WEIGHT, "gauge", _PAIR, "Weight of this version in the split in force."),
    (ROLE, "info", (*_PAIR, "role"), "Whether this version is the baseline of the route or a candidate."),
    (REVERTS, "gauge", ("route",), "When the unconfirmed change of this route will be undone, in seconds since 1970."),
    (counted.SHADOW_REQUESTS, "counter", ("route", "outcome"), "Copies that ended, by what became of them."),
    (counted.SHADOW_SKIPPED, "counter", ("route", "reason"), "Requests that were not copied or not compared, and why."),
    (counted.SHADOW_FRACTION, "gauge", ("route",),
     "What load leaves of the copies that are asked for, 0 to 1, at the worker that sheds most."),
    (shadowing.COMPARED, "counter", ("route", "result"),
     "Pairs of answers that were compared, by result (matched, different); what differs by noise alone matches."),
    (shadowing.MISMATCHES, "counter", ("route", "field"),
     "Comparisons that showed a reported difference: status, header:NAME (of those configured), header:*, body:KIND."),
    (shadowing.MATCH_RATIO, "gauge", ("route",), "Part of the comparisons of the last minute that match, 0 to 1."),
    (shadowing.DURATION, "histogram", _PAIR,
     "Of copied requests, how long each version took to answer: the one that answered the client beside the shadow."),
    (COMPARER_UP, "gauge", (), "Whether the process that compares answers works, 1 or 0; absent where none is needed."),
    (COMPARER_RESTARTS, "counter", (), "Comparer processes that ended unasked and were replaced."),
    (shadowing.DROPPED, "counter", (), "Pairs that were not compared because the comparer had too much to do."),
    (shadowing.BROKEN, "counter", (), "Connections to the comparer that were closed for what they sent."),
    (VERSION_UP, "gauge", ("version",), "Whether this version takes traffic, 1 or 0 (down, or drained)."),
    (counted.QUEUE_LENGTH, "gauge", ("version",), "Requests that wait for a place at this version."),
    (counted.QUEUED, "counter", ("version",), "Requests that had to wait for a place at this version."),
    (counted.SHED, "counter", ("version", "reason"),
     "Requests that found no place at this version and were answered 503: queue-full, queue-timeout, no-place (without "
     "a queue), spill (the baseline took no more in its place)."),
    (counted.CONCURRENCY_LIMIT, "gauge", ("version",),
     "Requests that this version may have in flight now, over all workers; absent without a limit."),
    (SERVER_UP, "gauge", _SERVER, "Whether this server takes traffic, 1 or 0."),
    (SERVER_STATE, "gauge", (*_SERVER, "state"),
     "1 for the state that this server is in, 0 for the others: up, suspect (late with its answers to probes), out (by "
     "probes), ejected (by traffic), trial (gets one request), warming (comes back), drained (by an operator)."),
    (SUSPICION, "gauge", _SERVER,
     "How unlikely (φ, minus its power of ten) it is that this server is well and only late to answer its probes."),
    (counted.SERVER_INFLIGHT, "gauge", _SERVER, "Requests and tunnels in flight at this server."),
    (PROBES, "counter", (*_SERVER, "outcome"),
     "Probes of this server, by what came of them: ok, status, body, timeout, refused, error."),
    (PROBE_SECONDS, "gauge", _SERVER, "How long the last probe of this server took."),
    (EJECTIONS, "counter", _SERVER, "How often this server was put out by what traffic showed."),
    (counted.UPSTREAM_ERRORS, "counter", ("version", "server", "kind"),
     "Attempts that failed at a server, also those that a retry made good."),
    (counted.REFUSALS, "counter", ("reason",), "Answers that Turnout gave itself, by the reason they name."),
    (counted.CONNECTIONS, "gauge", (), "Open connections of clients."),
    (CONNECTIONS_LIMIT, "gauge", (), "Connections of clients that may be open; more wait in the kernel's queue."),
    (counted.CLIENT_LIMITED, "counter", ("limit",),
     "Connections closed and requests refused because one client address had too many (connections, rate)."),
    (counted.ACCEPT_PAUSED, "gauge", ("reason",),
     "Workers that let new connections wait in the kernel's queue: they have as many as they may (connections), as "
     "many as their files allow (descriptors), or more memory than they should (memory)."),
    (counted.ACCEPTED, "counter", (), "Connections accepted from clients."),
    (counted.UPSTREAM_CONNECTIONS, "gauge", (), "Open connections to servers, in use and idle."),
    (counted.LOG_DROPPED, "counter", (), "Lines of the access log that were lost because its reader was too slow."),
    (counted.ACCESS_LOG_FAILED, "gauge", (), "Workers that cannot write their access log at present."),
    (REVISION, "gauge", (), "Revision of the routing in force; every change adds one."),
    (RELOAD_OK, "gauge", (), "Whether the configuration file was good when it was read last: 1 or 0."),
    (RELOAD_AT, "gauge", (), "When the configuration file was read last, in seconds since 1970."),
    (EVENTS, "counter", ("verb",), "Events in the journal since this supervisor started, by verb."),
    (JOURNAL_FAILURES, "counter", (), "Changes that were refused because the journal could not keep them."),
    (EVENTS_LOST, "counter", (),
     "Events that changed nothing (a server went out, a worker was replaced, …) and are not in the journal: it could "
     "not keep them, or more came than it could take."),
    (LOGIN_FAILURES, "counter", (), "Requests to the admin API without a valid token."),
    (WORKERS, "gauge", ("state",), "Places for workers by the state of the process in them."),
    (RESTARTS, "counter", ("process",), "Worker processes that ended unasked and were replaced."),
    (counted.LAG, "gauge", ("process",), "The latest that the event loop of a worker was since its last report."),
    (BUILD, "info", ("version", "python"), "Release of Turnout and of Python."),
    (START, "gauge", (), "When the supervisor started, in seconds since 1970."),
    (PROCESS_CPU, "counter", ("process",), "CPU time, user and system, of the process and of those it replaced."),
    (PROCESS_MEMORY, "gauge", ("process",), "Resident memory."),
    (PROCESS_FDS, "gauge", ("process",), "Open file descriptors."),
    (PROCESS_MAX_FDS, "gauge", ("process",), "File descriptors that may be open."),
    (PROCESS_START, "gauge", ("process",), "When the process started, in seconds since 1970."),
)

FAMILIES: dict[str, Family] = {name: Family(name, kind, labels, text) for name, kind, labels, text in _ALL}
"""All of them by name."""


def series_names(family: Family) -> tuple[str, ...]:
    """Return the names that a query can ask for."""
    if family.kind == "histogram":
        return (f"{family.name}_bucket", f"{family.name}_count", f"{family.name}_sum")
    return (family.name,)


def table() -> str:
    """Return all of them as a table in Markdown."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
