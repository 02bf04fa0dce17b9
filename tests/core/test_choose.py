"""Override, then stickiness, then the split."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.choose import choose
from proxy.core.override import Networks
from proxy.core.route import Match, Override, Sticky
from tests.support.deciding import Request, Script, compiled, plausible, with_cookie
from tests.support.exploring import examples

KEY = b"0123456789abcdef01234567"
OTHER = b"fedcba9876543210fedcba98"
COOKIE = Sticky("cookie")
SESSION = Sticky("cookie", mode="session")
OPERATORS = Override(header="X-Turnout-Version", cookie="turnout_version", query="v",
                     networks=("10.0.0.0/8", "fd00::/8"))


def cookie_of(line: bytes | None) -> bytes:
    assert line is not None
    return line.partition(b";")[0]


def test_without_stickiness_every_request_draws() -> None:
    route = compiled(split=(("old", 90.0), ("new", 10.0)))
    drawn = [choose(route, Request(), Script(draws=[x])) for x in (0.0, 0.89, 0.91, 0.999)]
    assert [c.version for c in drawn] == ["old", "old", "new", "new"]
    assert {(c.reason, c.set_cookie) for c in drawn} == {("split", None)}


def test_with_all_the_weight_on_one_version_nothing_is_drawn() -> None:
    route = compiled(split=(("old", 0.0), ("new", 1.0)))
    assert choose(route, Request(), Script()).version == "new"


def test_a_client_without_a_key_gets_one_that_brings_it_back_to_the_same_version() -> None:
    route = compiled(split=(("old", 50.0), ("new", 50.0)), sticky=COOKIE)
    for number in range(40):
        issued = choose(route, Request(), Script(keys=[b"%024x" % number]))
        assert issued.set_cookie == b"turnout=%024x; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax" % number
        again = choose(route, with_cookie(b"a=b; " + cookie_of(issued.set_cookie)), Script())
        assert (again.index, again.reason, again.set_cookie) == (issued.index, "sticky", None)


def test_the_cookie_of_a_ramp_holds_a_key_and_never_a_version() -> None:
    line = choose(compiled(sticky=COOKIE), Request(), Script(keys=[KEY])).set_cookie
    assert cookie_of(line) == b"turnout=" + KEY


def test_a_browser_session_cookie_has_no_age() -> None:
    route = compiled(sticky=Sticky("cookie", name="c", max_age_s=None))
    assert choose(route, Request(), Script(keys=[KEY])).set_cookie == b"c=%s; Path=/; HttpOnly; SameSite=Lax" % KEY


@pytest.mark.parametrize(
    "value", [b"", b"x", KEY + b"0", KEY[:-1], KEY[:-1] + b"-", b'"' + KEY[:-2] + b'"', b"\xe9" * 24])
def test_a_key_that_turnout_did_not_make_is_replaced(value: bytes) -> None:
    choice = choose(compiled(sticky=COOKIE), with_cookie(b"turnout=" + value), Script(keys=[KEY]))
    assert cookie_of(choice.set_cookie) == b"turnout=" + KEY


def test_keys_are_issued_before_the_candidate_gets_its_first_share() -> None:
    choice = choose(compiled(split=(("old", 1.0), ("new", 0.0)), sticky=COOKIE), Request(), Script(keys=[KEY]))
    assert (choice.version, cookie_of(choice.set_cookie)) == ("old", b"turnout=" + KEY)


def test_weight_zero_moves_everybody_at_once() -> None:
    stickies = [COOKIE, Sticky("app_cookie", name="sid"), Sticky("address")]
    for sticky in stickies:
        route = compiled(split=(("old", 1.0), ("new", 0.0)), sticky=sticky)
        for i in range(50):
            request = with_cookie(b"turnout=%024d; sid=%d" % (i, i), client=f"192.0.2.{i}")
            assert choose(route, request, Script()).version == "old"


@pytest.mark.parametrize(("sticky", "known", "unknown"), [
    (Sticky("app_cookie", name="sid"), with_cookie(b"xsid=no; sid=client 7"), with_cookie(b"xsid=7; sid=")),
    (Sticky("header", name="X-User"), Request(headers={b"x-user": b"7"}), Request(headers={b"x-user": b""})),
    (Sticky("header", name="X-User"), Request(headers={b"x-user": b"7" * 4096}),
     Request(headers={b"x-user": b"7" * 4097})),
    (Sticky("address"), Request(client="2001:db8::7"), Request(client="")),
])
def test_who_brings_a_key_stays_and_who_does_not_draws(sticky: Sticky, known: Request, unknown: Request) -> None:
    route = compiled(split=(("old", 50.0), ("new", 50.0)), sticky=sticky)
    first = choose(route, known, Script())
    assert (first.reason, first.set_cookie) == ("sticky", None)
    assert first is choose(route, known, Script())
    assert [choose(route, unknown, Script(draws=[x])).version for x in (0.1, 0.9)] == ["old", "new"]


def test_addresses_are_split_by_weight() -> None:
    route = compiled(split=(("old", 90.0), ("new", 10.0)), sticky=Sticky("address"))
    got = Counter(choose(route, Request(client=f"10.0.{i >> 8}.{i & 255}"), Script()).version for i in range(8_000))
    assert plausible(got["new"], 8_000, 0.1)


def start(x: float, **more: Any) -> tuple[bytes, str]:
    """A session begun with draw `x`: its cookie, and its version."""
    choice = choose(compiled(sticky=SESSION, **more), Request(), Script(draws=[x]))
    assert choice.reason == "split"
    return cookie_of(choice.set_cookie), choice.version


def test_a_session_keeps_its_version_whatever_the_weights_become() -> None:
    cookie, version = start(0.99)
    assert version == "new"
    for split in ((("old", 95.0), ("new", 5.0)), (("old", 1.0), ("new", 0.0)), (("new", 0.0), ("x", 1.0))):
        kept = choose(compiled(split=split, sticky=SESSION), with_cookie(b"a=b; " + cookie), Script())
        assert (kept.version, kept.reason, kept.set_cookie) == ("new", "sticky", None)


def test_raising_the_generation_ends_every_session() -> None:
    cookie, _ = start(0.99)
    rolled_back = compiled(split=(("old", 1.0), ("new", 0.0)), sticky=SESSION, generation=1)
    home = choose(rolled_back, with_cookie(cookie), Script())
    assert (home.version, home.reason) == ("old", "split")
    assert cookie_of(home.set_cookie) != cookie


def test_a_session_cookie_counts_only_as_signed_for_this_route_and_secret() -> None:
    cookie, _ = start(0.99)
    name, _, mac = cookie.rpartition(b".")
    old, _ = start(0.1)
    last = b"0" if cookie[-1:] != b"0" else b"1"
    forged = [cookie[:-1] + last, name, name + b".", old.rpartition(b".")[0] + b"." + mac, cookie + b"0",
              b"turnout=new", b"turnout=" + KEY, b"turnout=\xff\xfe.0." + mac]
    for value in forged:
        assert choose(compiled(sticky=SESSION), with_cookie(value), Script(draws=[0.0])).set_cookie is not None
    for elsewhere in (compiled("other", sticky=SESSION), compiled(sticky=SESSION, secret=b"another"),
                      compiled(split=(("old", 1.0), ("newer", 1.0)), sticky=SESSION)):
        assert choose(elsewhere, with_cookie(cookie), Script(draws=[0.0])).reason == "split"


def test_a_session_cookie_stays_on_the_path_of_its_route() -> None:
    def line(path: str) -> bytes:
        choice = choose(compiled(sticky=SESSION, match=Match(path=path)), Request(), Script(draws=[0.0]))
        assert choice.set_cookie is not None
        return choice.set_cookie

    assert b"; Path=/shop; Max-Age=2592000; HttpOnly; SameSite=Lax" in line("/shop")
    assert b"; Path=/; " in line("/a;Domain=evil.test")
    assert b"; Path=/; " in line("/a\r\nX: y")


def test_the_name_of_a_version_cannot_break_the_cookie() -> None:
    cookie, version = start(0.0, split=(("v 1.0; ä=\r\n", 1.0), ("old", 1.0)))
    assert cookie.isascii()
    assert not set(cookie) & set(b" ;\r\n,")
    assert choose(compiled(split=(("v 1.0; ä=\r\n", 1.0), ("old", 1.0)), sticky=SESSION), with_cookie(cookie),
                  Script()).version == version


NAMING = [
    Request(client="10.1.2.3", headers={b"x-turnout-version": b"new"}),
    Request(client="::ffff:10.1.2.3", headers={b"cookie": b"turnout_version=new"}),
    Request(client="fd00::1", target=b"/?v=new"),
]


@pytest.mark.parametrize("request_", NAMING)
@pytest.mark.parametrize("sticky", [None, COOKIE, SESSION, Sticky("address")])
def test_override_comes_before_stickiness_and_leaves_the_cookie_alone(request_: Request, sticky: Sticky | None) -> None:
    route = compiled(split=(("old", 1.0), ("new", 0.0)), sticky=sticky, override=OPERATORS)
    choice = choose(route, request_, Script())
    assert (choice.version, choice.reason, choice.set_cookie) == ("new", "override", None)


@pytest.mark.parametrize("client", ["192.0.2.1", "11.0.0.0", "fe00::1", "::ffff:11.0.0.1", "", "unix:", "10.0.0.1x"])
def test_from_guards_overrides(client: str) -> None:
    route = compiled(split=(("old", 1.0), ("new", 0.0)), override=OPERATORS)
    request = Request(client=client, target=b"/?v=new",
                      headers={b"x-turnout-version": b"new", b"cookie": b"turnout_version=new"})
    assert choose(route, request, Script()).version == "old"


def test_without_networks_nobody_overrides() -> None:
    route = compiled(split=(("old", 1.0), ("new", 0.0)), override=Override(header="X-Turnout-Version"))
    assert choose(route, NAMING[0], Script()).version == "old"


def test_an_unknown_name_is_ignored_and_the_next_source_counts() -> None:
    route = compiled(split=(("old", 1.0), ("new", 0.0)), override=OPERATORS)
    both = Request(client="10.0.0.1", target=b"/?v=old",
                   headers={b"x-turnout-version": b"nwe", b"cookie": b"turnout_version=new"})
    assert choose(route, both, Script()).version == "new"
    neither = Request(client="10.0.0.1", headers={b"x-turnout-version": b"nwe"})
    assert choose(route, neither, Script()).reason == "split"


def test_networks_hold_their_addresses() -> None:
    nets = Networks(["192.0.2.0/24", "10.0.0.7", "2001:db8::/32"])
    inside = ("192.0.2.0", "192.0.2.255", "10.0.0.7", "2001:db8:ffff::1", "::ffff:10.0.0.7")
    outside = ("192.0.3.0", "10.0.0.8", "2001:db9::", "0.0.0.7", "::a00:7", "localhost")
    assert all(a in nets for a in inside)
    assert not any(a in nets for a in outside)


def test_common_choices_are_made_beforehand() -> None:
    route = compiled(sticky=COOKIE)
    known = with_cookie(b"turnout=" + KEY)
    assert choose(route, known, Script()) is choose(route, known, Script())
    drawn = compiled()
    assert choose(drawn, Request(), Script(draws=[0.1])) is choose(drawn, Request(), Script(draws=[0.2]))


@examples(150)
@given(named=st.sampled_from((None, b"old", b"new", b"nwe")), inside=st.booleans(),
       sticky=st.sampled_from((None, COOKIE, SESSION, Sticky("header", name="X-User"))), known=st.booleans(),
       x=st.floats(0, 1, exclude_max=True))
def test_override_beats_sticky_beats_split(
        named: bytes | None, inside: bool, sticky: Sticky | None, known: bool, x: float) -> None:
    route = compiled(split=(("old", 60.0), ("new", 40.0)), sticky=sticky, override=OPERATORS)
    headers = {b"x-turnout-version": named} if named else {}
    if known:
        session = cookie_of(choose(compiled(sticky=SESSION), Request(), Script(draws=[0.99])).set_cookie)
        headers |= {b"cookie": session if sticky is SESSION else b"turnout=" + KEY, b"x-user": b"7"}
    choice = choose(route, Request(client="10.0.0.1" if inside else "192.0.2.1", headers=headers), Script([x], [OTHER]))
    if inside and named in (b"old", b"new"):
        assert (choice.reason, choice.version.encode()) == ("override", named)
    elif sticky is COOKIE or (sticky is not None and known):
        assert choice.reason == "sticky"
    else:
        assert (choice.reason, choice.version) == ("split", "old" if x < 0.6 else "new")
