"""Comparison settings from what an operator wrote."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.compare.rules import problems_of, rules_from, rules_of, to_text
from proxy.core.compare.values import Rules

FULL: dict[str, Any] = {
    "headers": ["Content-Type", "*"], "ignore": ["$.items[*].id", "header:X-Own", "status", "body"],
    "unordered": ["$..tags"], "tolerance": 0.001, "body": "json", "max_body": "1MiB", "samples": 3,
    "relative_margin": "20%", "absolute_margin": "0.5%", "minimum": 500,
    "endpoints": ["/items/{}", "/"], "control": True, "per_second": 50,
}


def test_settings_become_rules() -> None:
    assert problems_of(FULL) == []
    assert rules_of(FULL) == Rules(
        ("content-type", "*"), ("$.items[*].id", "header:x-own", "status", "body"), ("$..tags",), 0.001, "json",
        1024**2, 3, 0.2, 0.005, 500, ("/items/{}", "/"), True, 50)


def test_texts_of_a_file_are_read_as_the_numbers_of_the_api() -> None:
    assert rules_of({"minimum": "500", "samples": "3", "control": "true", "tolerance": "0.5", "max_body": 1024}) == (
        rules_of({"minimum": 500, "samples": 3, "control": True, "tolerance": 0.5, "max_body": "1KiB"}))


@pytest.mark.parametrize("settings", [{}, FULL, {"ignore": []}, {"headers": []}])
def test_the_text_of_rules_gives_the_rules_back(settings: dict[str, Any]) -> None:
    rules = rules_of(settings)
    assert rules_from(to_text(rules)) == rules


def test_equal_rules_have_one_text() -> None:
    assert to_text(rules_of({"samples": 5, "body": "auto"})) == to_text(rules_of({})) == "{}"


@pytest.mark.parametrize(("settings", "where", "says"), [
    ({"ignored": []}, "/ignored", "did you mean `ignore`?"),
    ({"xyz": 1}, "/xyz", "there are headers"),
    ({"a/b": 1}, "/a~1b", "is not known"),
    ({"ignore": "$.a"}, "/ignore", "must be a list"),
    ({"ignore": ["$.a", "items"]}, "/ignore/1", "neither a JSON path"),
    ({"ignore": ["$.a[0]"]}, "/ignore/0", "at character 4"),
    ({"ignore": ["$.a", "$.a"]}, "/ignore/1", "given twice"),
    ({"ignore": [1]}, "/ignore/0", "must be a text"),
    ({"ignore": ["header:a b"]}, "/ignore/0", "not the name of a header"),
    ({"ignore": ["$.a"] * 300}, "/ignore", "at most 256"),
    ({"unordered": ["status"]}, "/unordered/0", "must begin with `$`"),
    ({"headers": ["a:"]}, "/headers/0", "not the name of a header"),
    ({"tolerance": -1}, "/tolerance", "from 0"),
    ({"tolerance": float("nan")}, "/tolerance", "from 0"),
    ({"tolerance": True}, "/tolerance", "from 0"),
    ({"tolerance": 10**400}, "/tolerance", "from 0"),
    ({"relative_margin": "many"}, "/relative_margin", "percentage"),
    ({"body": "xml"}, "/body", "must be one of"),
    ({"body": ["json"]}, "/body", "must be one of"),
    ({"max_body": "1GB"}, "/max_body", "256KiB"),
    ({"max_body": 0}, "/max_body", "256KiB"),
    ({"max_body": "17MiB"}, "/max_body", "16MiB"),
    ({"samples": 21}, "/samples", "from 0 to 20"),
    ({"minimum": 1.5}, "/minimum", "whole number"),
    ({"endpoints": ["items"]}, "/endpoints/0", "a path"),
    ({"endpoints": ["/a?b"]}, "/endpoints/0", "no query"),
    ({"endpoints": ["/a{}"]}, "/endpoints/0", "whole segment"),
    ({"control": "maybe"}, "/control", "true or false"),
    ({"control": []}, "/control", "true or false"),
])
def test_what_is_wrong_is_told_with_its_place(settings: dict[str, object], where: str, says: str) -> None:
    [problem] = problems_of(settings)
    assert problem.where == where
    assert says in problem.message


def test_all_problems_are_found_at_once() -> None:
    wrong = problems_of({"boddy": 1, "ignore": ["x", "$", "y"], "samples": "many"})
    assert [problem.where for problem in wrong] == ["/boddy", "/ignore/0", "/ignore/2", "/samples"]
