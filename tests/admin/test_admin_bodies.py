from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin import bodies
from proxy.admin.bodies import Body, ExplainBody, ReasonBody, RollbackBody, ShadowBody, SplitBody, read
from proxy.admin.problems import Refused


def refused(model: type[Body], body: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        read(model, body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def faults(model: type[Body], body: Any) -> dict[str, str]:
    return {fault["pointer"]: fault["detail"] for fault in refused(model, body).errors}


def test_every_mistake_is_named_at_once_each_with_its_place() -> None:
    found = faults(SplitBody, {"split": {"old": -1, "ne/w": 5}, "reson": "x", "confirm_within": "10", "reason": 7})
    assert set(found) == {"/split/old", "/split/ne~1w", "/reson", "/confirm_within", "/reason"}
    assert "negative" in found["/split/old"]
    assert found["/reson"] == "is not known (did you mean `reason`?)"
    assert found["/confirm_within"] == "`10` has no unit: write `10s` or `10ms`"
    assert found["/reason"] == "must be a string, not `7`"


def test_what_is_no_json_is_another_mistake_than_what_is_wrong_in_it() -> None:
    assert refused(SplitBody, b"{").status == 400
    assert refused(SplitBody, {}).status == 422


def test_a_split_reads_weights_as_the_file_does() -> None:
    body = read(SplitBody, b'{"split": {"old": "87.5%", "new": "12.5%"}, "confirm_within": "1h30m", "reason": "why"}')
    assert (body.split, body.confirm_within, body.reason) == ({"old": 87.5, "new": 12.5}, 5400.0, "why")
    assert read(SplitBody, b'{"split": {"old": 1e2, "new": 0.5}, "confirm_within": null}').split == {
        "old": 100.0, "new": 0.5}


def test_percentages_add_up_and_do_not_mix() -> None:
    assert "add up to 95%" in faults(SplitBody, {"split": {"old": "90%", "new": "5%"}})["/split"]
    assert "mixes" in faults(SplitBody, {"split": {"old": "95%", "new": 5}})["/split"]


@pytest.mark.parametrize("weight", [True, None, [], {}, "many", "-1", "012", "1e3", -0.5, 1e15, 1e-10, "inf"])
def test_what_is_no_weight_is_refused(weight: Any) -> None:
    assert list(faults(SplitBody, {"split": {"old": weight}})) == ["/split/old"]


@given(st.floats(min_value=1e-9, max_value=1e14) | st.integers(0, 10**14))
def test_any_plain_weight_is_taken_as_it_is(weight: float) -> None:
    assert read(SplitBody, json.dumps({"split": {"old": weight}}).encode()).split == {"old": weight}


@pytest.mark.parametrize("confirm", ["0s", "50ms", "366d", 600, "soon", ""])
def test_a_time_to_confirm_is_between_a_blink_and_a_year(confirm: Any) -> None:
    assert list(faults(SplitBody, {"split": {"old": 1}, "confirm_within": confirm})) == ["/confirm_within"]


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[31mred", "a\x00b", "\u202egnorw", "x" * 1001])
def test_a_reason_cannot_rewrite_the_terminal_it_is_shown_in(reason: str) -> None:
    assert list(faults(ReasonBody, {"reason": reason})) == ["/reason"]
    assert read(ReasonBody, json.dumps({"reason": "Fehlerrate über 4 % 🚨"}).encode()).reason


def test_a_body_of_nothing_is_enough_where_nothing_is_needed() -> None:
    assert read(RollbackBody, b"") == RollbackBody(reason="", in_flight="finish", force=False)
    assert read(ReasonBody, b"").reason == ""
    assert refused(SplitBody, b"").detail == "a body is needed: split is missing"


def test_words_and_flags_are_taken_exactly() -> None:
    found = faults(RollbackBody, {"in_flight": "Cut", "force": "true"})
    assert set(found) == {"/in_flight", "/force"}
    assert read(RollbackBody, b'{"in_flight": "cut", "force": true}').in_flight == "cut"


def test_a_shadow_is_changed_by_what_is_given_and_nothing_else() -> None:
    assert read(ShadowBody, b'{"percent": 25}').patch == {"percent": 25.0}
    assert read(ShadowBody, b'{"percent": "12.5%", "methods": ["GET"], "reason": "x"}').patch == {
        "percent": 12.5, "methods": ("GET",)}
    assert read(ShadowBody, b'{"to": null}').patch == {"to": None}
    assert "changes nothing" in faults(ShadowBody, {"reason": "x"})[""]
    assert set(faults(ShadowBody, {"percent": 101, "methods": ["get"], "to": 7})) == {"/percent", "/methods", "/to"}


def test_a_request_is_explained_as_it_could_really_come() -> None:
    body = read(ExplainBody, b'{"path": "/a?b=1", "headers": [["A", "1"], ["A", "2"]], "client": "2001:DB8::1"}')
    assert (body.method, body.headers, body.client) == ("GET", (("A", "1"), ("A", "2")), "2001:db8::1")
    assert read(ExplainBody, b'{"path": "/", "headers": {"A": "1"}}').headers == (("A", "1"),)
    found = faults(ExplainBody, {"path": "/a b", "headers": {"A:": "1"}, "client": "me", "host": "a/b", "method": ""})
    assert set(found) == {"/path", "/headers", "/client", "/host", "/method"}
    assert "/headers" in faults(ExplainBody, {"path": "/", "headers": {"A": "1\r\nB: 2"}})


@pytest.mark.parametrize("body", [[], "text", 7, None, True])
def test_a_body_is_an_object(body: Any) -> None:
    assert "must be an object" in faults(RollbackBody, body)[""]


def test_a_body_of_mistakes_is_answered_with_a_bounded_number_of_them() -> None:
    body = {"split": {"old": 1}, **{f"x{number}": number for number in range(2000)}}
    assert len(refused(SplitBody, body).errors) <= 100


@pytest.mark.parametrize("model", [SplitBody, RollbackBody, ShadowBody, ExplainBody, ReasonBody, bodies.ConfigBody])
def test_the_examples_of_the_description_are_taken(model: type[Body]) -> None:
    schema = model.model_json_schema()
    for name, entry in schema["properties"].items():
        for example in entry.get("examples", []):
            body = {**{key: schema["properties"][key]["examples"][0] for key in schema.get("required", [])}}
            read(model, json.dumps({**body, name: example, **({"percent": 5} if model is ShadowBody else {})}).encode())
