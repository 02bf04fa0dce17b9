"""Turnouts that are each other's shadow, or their own: a copy is never copied again."""

from __future__ import annotations

from pathlib import Path

from tests.support.shadow_shop import OLD, copies, originals, says, shop, url_of
from tests.support.story import dead_address


def test_two_turnouts_that_shadow_each_other_copy_each_request_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with says(OLD) as one, says(OLD) as other, shop(tmp_path / "a", one, dead_address(), {"percent": 0}) as here, \
            shop(tmp_path / "b", other, here.turnout.address) as there:
        here.urls["new"] = url_of(there.turnout.address)
        here.write(percent=100)
        here.turnout.post("/api/v1/config/reload")
        for first, then in ((here, there), (there, here)):
            before = then.report()["totals"]["copied"]
            for count in range(1, 21):
                assert first.turnout.ask(f"/{count}")[0] == 200
            first.wait_settled(20)
            assert then.report()["totals"]["copied"] == before, "a copy is not copied"
        assert [len(copies(origin)) for origin in (one, other)] == [there.total("copied"), here.total("copied")]
        assert [len(originals(origin)) for origin in (one, other)] == [20, 20]


def test_a_turnout_that_is_its_own_shadow_copies_each_request_once(tmp_path: Path) -> None:
    with says(OLD) as old, shop(tmp_path, old, dead_address(), {"percent": 0}) as it:
        it.urls["new"] = url_of(it.turnout.address)
        it.write(percent=100)
        it.turnout.post("/api/v1/config/reload")
        for count in range(1, 21):
            assert it.turnout.ask(f"/{count}")[0] == 200
        it.wait_settled(20)
        assert (len(originals(old)), len(copies(old))) == (20, it.total("copied"))
        assert copies(old)
