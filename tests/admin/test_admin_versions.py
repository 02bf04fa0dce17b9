from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.controlplane.health.values import ProbeResult
from proxy.core.health.values import Probe
from proxy.ipc.messages import Noticed
from proxy.telemetry import names as metric
from tests.support.admin import Asked, run, settings
from tests.support.deadline import until
from tests.support.predecessors import Former

VERSIONS = "/api/v1/versions"


def address(it: Asked, version: str) -> str:
    [found] = [each.servers[0].address for each in it.control.supervisor.snapshot.versions if each.name == version]
    return found


def configure(it: Asked) -> None:
    it.control.health.configure(it.control.supervisor.snapshot)


def eject(it: Asked, version: str, for_s: float = 60.0) -> None:
    health = it.control.health
    configure(it)
    health.noticed(Noticed(version, address(it, version), True, 1, health.clock() + for_s, 1, "5 failures in a row"))


async def drain(it: Asked, version: str) -> None:
    """Take the version's server out of service, in the snapshot as in the book."""
    supervisor = it.control.supervisor
    pairs = supervisor.snapshot.drained | {(version, address(it, version))}
    await supervisor.apply(replace(supervisor.snapshot, drained=pairs, revision=supervisor.snapshot.revision + 1))
    configure(it)


def count(it: Asked, *gauges: tuple[str, tuple[str, ...], float]) -> None:
    it.control.supervisor.fold.add(99, [], gauges, [])


async def view(it: Asked, version: str) -> Any:
    return (await it.get(f"{VERSIONS}/{version}")).body


def test_a_version_that_is_well_says_so_and_nothing_more() -> None:
    async def test(it: Asked) -> None:
        new = await view(it, "new")
        assert new == {
            "name": "new", "state": "up", "why": "", "in_flight": 0, "idle": False, "queue": 0, "limit": None,
            "servers": [{
                "address": address(it, "new"), "state": "up", "why": "", "phi": None, "in_flight": 0, "idle": False,
                "drained": False, "probe": None, "ejected_until_s": None,
            }],
        }

    run(test, start=False)


def test_all_versions_are_listed_in_the_order_of_the_file_as_status_shows_them() -> None:
    async def test(it: Asked) -> None:
        listed = (await it.get(VERSIONS)).body
        assert [version["name"] for version in listed["versions"]] == ["old", "new"]
        assert listed["revision"] == 1
        assert (await it.get("/api/v1/status")).body["versions"] == {each["name"]: each for each in listed["versions"]}

    run(test, start=False)


@pytest.mark.parametrize("name", ["nev", "%00", "a%2Fb", "%2E%2E", "x" * 500])
def test_a_version_that_is_not_there_is_a_404(name: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.get(f"{VERSIONS}/{name}")
        assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (404, "application/problem+json")

    run(test, start=False)


def test_a_version_of_which_no_server_is_in_is_down_and_its_share_goes_to_the_baseline() -> None:
    async def test(it: Asked) -> None:
        eject(it, "new", for_s=60.0)
        new = await view(it, "new")
        [server] = new["servers"]
        assert (new["state"], server["state"], server["why"]) == ("down", "ejected", "5 failures in a row")
        assert new["why"]
        assert 50 < server["ejected_until_s"] <= 60
        shop = (await it.get("/api/v1/routes/shop")).body
        assert (shop["shares"], shop["effective"]) == ({"old": 0.95, "new": 0.05}, {"old": 1.0, "new": 0.0})
        assert (await it.get("/api/v1/routes")).body["routes"][0]["effective"] == shop["effective"]
        assert (await it.get("/api/v1/status")).body["routes"][0]["effective"] == shop["effective"]

    run(test, start=False)


def test_an_open_breaker_is_why_a_version_is_down_with_every_server_up() -> None:
    async def test(it: Asked) -> None:
        configure(it)
        health = it.control.health
        health.noticed(Noticed("new", "", True, 1, health.clock() + 2, 1, "9 of 10 attempts failed"))
        new = await view(it, "new")
        assert (new["state"], new["why"]) == ("down", "9 of 10 attempts failed")
        assert new["servers"][0]["state"] == "up"

    run(test, start=False)


def test_a_new_split_shows_the_effective_share_of_that_split() -> None:
    async def test(it: Asked) -> None:
        eject(it, "new")
        answer = await it.ask("PUT", "/api/v1/routes/shop/split?dry_run=true", {"split": {"old": 1, "new": 1}})
        assert answer.body["route"]["shares"] == {"old": 0.5, "new": 0.5}
        assert answer.body["route"]["effective"] == {"old": 1.0, "new": 0.0}

    run(test, start=False)


def test_the_last_probe_and_the_suspicion_are_shown() -> None:
    of = settings()
    probing = replace(of, versions=tuple(
        replace(version, health=replace(version.health, probe=Probe())) for version in of.versions))

    async def test(it: Asked) -> None:
        configure(it)
        key = ("new", address(it, "new"))
        it.control.health.probed(key, ProbeResult("timeout", 1_700_000_000.0, 0.5, "no answer within 0.5 s"))
        [server] = (await view(it, "new"))["servers"]
        assert server["probe"] == {
            "ok": False, "at": 1_700_000_000.0, "took_ms": 500.0, "detail": "no answer within 0.5 s"}
        assert server["phi"] >= 0
        page = (await it.get("/metrics")).body
        label = f'{{outcome="timeout",server="{key[1]}",version="new"}}'
        assert f"turnout_probes_total{label} 1.0" in page

    run(test, probing, start=False)


def test_what_is_in_flight_is_summed_over_workers_and_servers_and_says_who_waits() -> None:
    async def test(it: Asked) -> None:
        count(it, (metric.SERVER_INFLIGHT, ("new", address(it, "new")), 7), (metric.QUEUE_LENGTH, ("new",), 3),
              (metric.CONCURRENCY_LIMIT, ("new",), 16))
        new = await view(it, "new")
        assert (new["in_flight"], new["servers"][0]["in_flight"], new["queue"], new["limit"]) == (7, 7, 3, 16)

    run(test, start=False)


def test_a_drained_server_is_idle_when_nothing_is_in_flight_and_every_worker_has_said_so() -> None:
    async def test(it: Asked) -> None:
        supervisor = it.control.supervisor
        count(it, (metric.SERVER_INFLIGHT, ("new", address(it, "new")), 1))
        await drain(it, "new")
        await until(lambda: all(slot.process and slot.process.counted == 2 for slot in supervisor.slots), "counted")
        busy = await view(it, "new")
        assert (busy["state"], busy["idle"], busy["servers"][0]["drained"]) == ("drained", False, True)
        count(it)
        idle = await view(it, "new")
        assert (idle["idle"], idle["servers"][0]["idle"], idle["why"]) == (True, True, "every server is drained")

    run(test)


def test_nothing_is_idle_as_long_as_a_worker_has_not_counted_since_the_drain() -> None:
    async def test(it: Asked) -> None:
        await drain(it, "new")
        process = it.control.supervisor.slots[0].process
        assert process is not None
        process.counted = 1
        assert (await view(it, "new"))["idle"] is False

    run(test)


def test_nothing_is_idle_as_long_as_workers_of_a_predecessor_are_there() -> None:
    async def test(it: Asked) -> None:
        supervisor = it.control.supervisor
        await drain(it, "new")
        await until(lambda: all(slot.process and slot.process.counted == 2 for slot in supervisor.slots), "counted")
        former = Former()
        supervisor.follow(former)
        assert (await view(it, "new"))["idle"] is False
        former.is_gone.set()
        assert (await view(it, "new"))["idle"] is True

    run(test)


def test_a_drained_version_is_not_up_in_the_metrics_and_its_share_is_sent_elsewhere() -> None:
    async def test(it: Asked) -> None:
        await drain(it, "new")
        page = (await it.get("/metrics")).body
        assert 'turnout_version_up{version="new"} 0.0' in page
        assert 'turnout_version_up{version="old"} 1.0' in page
        assert 'turnout_split_effective_share{route="shop",version="new"} 0.0' in page
        assert f'turnout_server_state{{server="{address(it, "new")}",state="drained",version="new"}} 1.0' in page
        assert f'turnout_ejections_total{{server="{address(it, "new")}",version="new"}} 0.0' in page

    run(test)
