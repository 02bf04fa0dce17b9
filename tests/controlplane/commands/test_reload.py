from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.controlplane.commands.ask import Ask, Outcome
from proxy.controlplane.commands.reload import FileWatch
from proxy.controlplane.errors import HandingOver, InvalidChange, NothingToReload, NotJournaled, Outdated
from proxy.core.snapshot import Snapshot
from proxy.errors import ConfigError
from proxy.settings import from_urls, load_file
from tests.support.commanding import Backends, Desk, backends, by_ann, desk, scenario
from tests.support.deadline import until


@dataclass(frozen=True, slots=True)
class Filed:
    """A desk that was started from a file, and the file."""

    desk: Desk
    path: Path
    text: str

    def edit(self, old: str, new: str) -> None:
        """Replace a piece of the first text."""
        assert old in self.text
        self.path.write_text(self.text.replace(old, new))

    async def reload(self, **terms: bool) -> Outcome:
        return await self.desk.commands.reload(by_ann("new file", **terms))

    @property
    def snapshot(self) -> Snapshot:
        return self.desk.supervisor.snapshot


@asynccontextmanager
async def filed(servers: Backends, folder: Path, more: str = "") -> AsyncIterator[Filed]:
    path = folder / "turnout.yaml"
    path.write_text(servers.file(more))
    async with desk(load_file(path)) as it:
        yield Filed(it, path, servers.file(more))


@pytest.fixture
def servers() -> Iterator[Backends]:
    with backends() as made:
        yield made


@scenario
async def test_everything_that_can_change_does_so_in_one_revision(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path, "timeouts: {connect: 2s}\n") as it:
        it.path.write_text(it.text.replace("path: /cart", "path: /basket").replace("connect: 2s", "connect: 1s")
                           .replace("admin: {", "admin: {tokens: [], ")
                           + "access_log: stdout\nlimits: {headers: 64}\nmetrics: {buckets: [1ms, 1s]}\n")
        outcome = await it.reload()
        assert outcome.change is not None
        assert (outcome.revision, outcome.routes, outcome.notes) == (2, ("cart",), ())
        assert it.snapshot.revision == 2
        assert it.snapshot.routes[1].match.path == "/basket"
        assert it.snapshot.policy.timeouts.connect == 1.0
        assert (it.snapshot.policy.access_log, it.snapshot.policy.limits.headers) == ("stdout", 64)
        assert it.desk.commands.settings.buckets == (0.001, 1.0)
        event, = it.desk.events()
        assert (event.verb, event.route, event.reason, event.revision) == ("reload", None, "new file", 2)


@scenario
async def test_a_file_that_says_what_is_in_force_makes_no_revision(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        it.path.write_text("# a comment moves every line\n" + it.text)
        outcome = await it.reload()
        assert (outcome.revision, outcome.change) == (1, None)
        assert outcome.notes == ("the file says what is in force already",)
        assert it.desk.events() == []


@scenario
async def test_a_bad_file_changes_nothing_and_says_so_everywhere_until_a_good_one_comes(
    servers: Backends, tmp_path: Path
) -> None:
    async with filed(servers, tmp_path) as it:
        commands, snapshot = it.desk.commands, it.snapshot
        it.edit("split: {old: 95, new: 5}", "split: {old: 95, nwe: 5}")
        it.desk.time.now += 60
        with pytest.raises(ConfigError, match=r"turnout.yaml:9:\d+: .*nwe"):
            await it.reload()
        await commands.flush()
        assert (commands.last_reload_ok, commands.last_reload_at) == (False, it.desk.time())
        assert it.snapshot is snapshot
        event, = it.desk.events()
        assert (event.verb, event.author.name, event.revision) == ("reload-failed", "ann", 1)
        assert "nwe" in event.reason
        it.path.unlink()
        with pytest.raises(ConfigError, match="cannot be read"):
            await it.reload()
        it.path.write_text(it.text)
        assert (await it.reload()).change is None
        assert commands.last_reload_ok


@scenario
async def test_a_course_from_run_time_outlives_a_reload_until_the_file_has_another_opinion(
    servers: Backends, tmp_path: Path
) -> None:
    async with filed(servers, tmp_path) as it:
        await it.desk.commands.split("shop", {"old": 1, "new": 1}, by_ann())
        it.edit("split: {old: 50, new: 50}", "split: {old: 40, new: 60}")
        await it.reload()
        assert (it.desk.split("shop"), it.desk.split("cart")) == ({"old": 1, "new": 1}, {"old": 40, "new": 60})
        it.edit("split: {old: 95, new: 5}", "split: {old: 90, new: 10}")
        outcome = await it.reload()
        assert it.desk.split("shop") == {"old": 90, "new": 10}
        assert outcome.routes == ("cart", "shop")
        wins, = it.desk.events("file-wins")
        assert wins.before == {"split": {"old": 1, "new": 1}, "shadow": None}
        assert wins.after == {"split": {"old": 90, "new": 10}, "shadow": None}
        assert wins.reason == "new file · the file's own course for this route has changed"
        await it.desk.commands.undo("shop", by_ann())
        assert it.desk.split("shop") == {"old": 1, "new": 1}


@scenario
async def test_routes_come_and_go_with_the_file(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        it.edit("name: cart", "name: basket")
        outcome = await it.reload()
        assert outcome.routes == ("basket", "cart")
        assert it.desk.commands.state.routes.keys() == {"shop", "basket"}
        assert it.desk.split("basket") == {"old": 50, "new": 50}
        assert {(event.route, event.before is None, event.after is None) for event in it.desk.events("reload")} == {
            (None, True, True), ("basket", True, False), ("cart", False, True)}
        await it.desk.commands.rollback("basket", by_ann())


@scenario
async def test_what_waits_for_an_upgrade_is_named_until_then_and_settings_say_what_is_in_force(
    servers: Backends, tmp_path: Path
) -> None:
    async with filed(servers, tmp_path) as it:
        it.path.write_text(it.text.replace("workers: 2", "workers: 1") + "state_dir: ./other\n")
        for _ in range(2):
            outcome = await it.reload()
            assert outcome.change is None
            assert outcome.notes[:2] == ("`workers` takes effect with `turnout upgrade`",
                                         "`state_dir` takes effect with `turnout upgrade`")
        assert it.desk.commands.settings.workers == 2


@scenario
async def test_a_dry_run_leaves_no_trace(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        it.edit("path: /cart", "path: /basket")
        outcome = await it.reload(dry_run=True)
        assert (outcome.revision, outcome.change, outcome.routes) == (2, None, ("cart",))
        it.edit("path: /cart", "pth: /cart")
        with pytest.raises(ConfigError):
            await it.reload(dry_run=True)
        await it.desk.commands.flush()
        assert it.desk.commands.last_reload_ok
        assert (it.desk.events(), it.snapshot.revision) == ([], 1)


@scenario
async def test_terms_are_checked_as_for_every_change(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        it.edit("path: /cart", "path: /basket")
        with pytest.raises(Outdated):
            await it.desk.commands.reload(by_ann(seen=7))
        with pytest.raises(InvalidChange, match="/confirm_within"):
            await it.desk.commands.reload(by_ann(within_s=5.0))
        it.desk.journal.close()
        with pytest.raises(NotJournaled):
            await it.reload()
        assert it.desk.commands.settings.routes[1].match.path == "/cart"
        assert it.snapshot.revision == 1


@scenario
async def test_without_a_file_there_is_nothing_to_reload() -> None:
    settings = from_urls("http://127.0.0.1:9", "http://127.0.0.1:19", 5, workers=1)
    async with desk(settings) as it:
        with pytest.raises(NothingToReload, match="turnout run -c FILE"):
            await it.commands.reload(by_ann())
        assert it.commands.last_reload_ok


@scenario
async def test_reloads_and_changes_at_the_same_time_are_all_made_in_turn(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        it.edit("path: /cart", "path: /basket")
        await asyncio.gather(
            it.reload(), it.desk.commands.split("shop", {"new": 1}, by_ann()), it.reload(),
            it.desk.commands.rollback("cart", by_ann()),
        )
        assert it.snapshot.revision == 4
        assert (it.desk.split("shop"), it.desk.split("cart")) == ({"old": 0, "new": 1}, {"old": 0, "new": 100})
        assert it.snapshot.routes[1].match.path == "/basket"


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


def watching(it: Filed, pause: Callable[[float], Awaitable[None]] = no_pause) -> FileWatch:
    return FileWatch(lambda: it.desk.commands.settings, it.desk.commands.reload, pause)


@scenario
async def test_the_watch_reloads_when_the_content_changes_and_says_on_whose_behalf(
    servers: Backends, tmp_path: Path
) -> None:
    async with filed(servers, tmp_path, "watch: 100ms\n") as it:
        watch = asyncio.create_task(watching(it, asyncio.sleep).run())
        it.edit("path: /cart", "path: /basket")
        await until(lambda: it.snapshot.revision == 2, "the file is in force")
        event, = it.desk.events("reload")
        assert (event.author.name, event.author.origin) == ("file", str(it.path))
        watch.cancel()


@scenario
async def test_a_look_at_a_file_that_stays_as_it_is_does_nothing(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        watch, at = watching(it), it.desk.commands.last_reload_at
        await watch.look(str(it.path))      # the first one always reads: the file may have changed since the start
        it.desk.time.now += 5
        await watch.look(str(it.path))
        assert it.desk.commands.last_reload_at == at
        it.path.touch()
        await watch.look(str(it.path))
        assert it.desk.commands.last_reload_at == at
        assert it.snapshot.revision == 1


@scenario
async def test_a_file_that_vanishes_for_a_moment_changes_nothing(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        watch = watching(it)
        await watch.look(str(it.path))
        it.path.unlink()
        await watch.look(str(it.path))
        await it.desk.commands.flush()
        assert (it.desk.commands.last_reload_ok, it.desk.events()) == (True, [])
        it.edit("path: /cart", "path: /basket")
        await watch.look(str(it.path))
        assert it.snapshot.revision == 2


@scenario
async def test_what_is_refused_during_an_upgrade_is_due_still_if_that_fails(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        it.edit("path: /cart", "path: /basket")
        watch = watching(it)
        with it.desk.commands.no_reload("an upgrade reads the file anew"):
            with pytest.raises(HandingOver, match="nothing was reloaded: an upgrade reads the file anew"):
                await it.reload()
            await watch.look(str(it.path))
            assert it.snapshot.routes[1].match.path == "/cart"
            await it.desk.commands.split("shop", {"new": 1}, by_ann())
        await it.desk.commands.flush()
        assert (it.desk.commands.last_reload_ok, it.desk.events("reload-failed")) == (True, [])
        await watch.look(str(it.path))
        assert it.snapshot.routes[1].match.path == "/basket"


@scenario
async def test_a_file_that_is_still_being_written_is_not_read(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path) as it:
        async def write_on(_seconds: float) -> None:
            it.path.write_text(it.text + "access_log: stdout\n")

        watch = watching(it, write_on)
        half = it.text[:it.text.index("  - {name: cart")]       # valid, and without one of the routes
        it.path.write_text(half)
        await watch.look(str(it.path))
        assert it.snapshot.revision == 1
        await watch.look(str(it.path))
        assert it.snapshot.policy.access_log == "stdout"
        assert len(it.snapshot.routes) == 2


@scenario
async def test_a_bad_content_is_told_once_and_one_that_could_not_be_journaled_is_tried_again(
    servers: Backends, tmp_path: Path
) -> None:
    async with filed(servers, tmp_path) as it:
        watch = watching(it)
        it.edit("path: /cart", "pth: /cart")
        for _ in range(3):
            await watch.look(str(it.path))
        await it.desk.commands.flush()
        assert len(it.desk.events("reload-failed")) == 1
        it.edit("path: /cart", "path: /basket")
        await it.desk.commands.pause("a successor takes over")
        await watch.look(str(it.path))
        it.desk.commands.resume()
        await watch.look(str(it.path))
        assert it.snapshot.revision == 2


@scenario
async def test_the_watch_can_be_turned_off_and_on_by_the_file_itself(servers: Backends, tmp_path: Path) -> None:
    async with filed(servers, tmp_path, "watch: none\n") as it:
        assert it.desk.commands.settings.watch_s is None
        it.path.write_text(it.text.replace("watch: none", "watch: 2s"))
        await it.desk.commands.reload(Ask(by_ann().author))
        assert it.desk.commands.settings.watch_s == 2.0


@scenario
async def test_what_can_be_read_only_once_or_never_ends_holds_nobody_up(servers: Backends, tmp_path: Path) -> None:
    """A pipe makes its reader wait for a writer: for ever, in a thread that the end of the process waits for."""
    async with filed(servers, tmp_path) as it:
        it.path.unlink()
        os.mkfifo(it.path)
        async with asyncio.timeout(5):
            await watching(it).look(str(it.path))
            with pytest.raises(ConfigError, match="cannot be read again"):
                await it.reload()
        assert not it.desk.commands.last_reload_ok
        it.path.unlink()
        it.path.write_text(it.text)
        await it.reload()
        assert it.desk.commands.last_reload_ok


@scenario
async def test_of_a_huge_file_the_watch_reads_no_more_than_a_configuration_may_hold(
    servers: Backends, tmp_path: Path
) -> None:
    async with filed(servers, tmp_path) as it:
        with it.path.open("wb") as file:
            file.truncate(1 << 40)
        async with asyncio.timeout(5):
            await watching(it).look(str(it.path))
        await it.desk.commands.flush()
        failed, = it.desk.events("reload-failed")
        assert "is larger than 1 MiB" in failed.reason
