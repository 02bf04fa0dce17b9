from __future__ import annotations

import asyncio

from proxy.controlplane.upgrade.succession import Succession
from tests.support.deadline import until
from tests.support.predecessors import Former


def test_it_is_over_when_each_has_gone_and_not_when_each_is_quiet() -> None:
    succession, formers, over = Succession(quiet_s=60.0), [Former(), Former()], []
    for former in formers:
        succession.add(former)
        former.is_quiet.set()
    for former in formers:
        over.append(succession.is_over)
        former.is_gone.set()
    assert [*over, succession.is_over] == [False, False, True]


def test_a_change_waits_until_all_are_told_and_quiet() -> None:
    async def test() -> None:
        succession, formers = Succession(quiet_s=60.0), [Former(), Former()]
        for former in formers:
            succession.add(former)
        change = asyncio.create_task(succession.outlive([("shop", "new")]))
        await asyncio.sleep(0)
        succession.send_home(5.0)
        formers[0].is_quiet.set()
        await until(lambda: ("cut", (("shop", "new"),)) in formers[1].told, "they are told what is cut")
        assert not change.done()
        formers[1].is_quiet.set()
        await change
        assert formers[0].told == [("leave", 5.0), ("cut", (("shop", "new"),))]

    asyncio.run(test())


def test_one_that_does_not_become_quiet_is_ended_and_those_that_have_are_not() -> None:
    async def test() -> None:
        succession, former = Succession(quiet_s=0.05), Former()
        succession.add(former)
        succession.send_home(5.0)
        await succession.outlive(())
        assert former.told == [("leave", 5.0), "kill the loud"]

    asyncio.run(test())


def test_where_nobody_was_nothing_is_waited_for() -> None:
    async def test() -> None:
        succession = Succession(quiet_s=60.0)
        await succession.outlive(())
        await succession.end(60.0)
        assert not succession.forget()

    asyncio.run(test())


def test_those_whose_place_nobody_takes_are_left_alone_and_nothing_waits_for_them() -> None:
    async def test() -> None:
        succession, former = Succession(quiet_s=60.0), Former()
        succession.add(former)
        change = asyncio.create_task(succession.outlive(()))
        await asyncio.sleep(0)
        assert succession.forget()
        former.is_quiet.set()
        await change
        await succession.end(60.0)
        assert former.told == ["forget"]

    asyncio.run(test())


def test_at_the_end_those_that_are_still_there_are_ended() -> None:
    async def test() -> None:
        succession, former = Succession(quiet_s=60.0), Former()
        succession.add(former)
        await succession.end(0.05)
        assert former.told == [("leave", 0.05), "kill"]

    asyncio.run(test())
