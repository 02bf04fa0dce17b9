from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings import units


@given(st.integers(0, 10**15 - 1))
def test_a_size_reads_back_as_it_was_written(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size


@given(st.integers(0, 10**11))
def test_a_duration_reads_back_as_it_was_written(milliseconds: int) -> None:
    assert units.parse_duration(units.format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    refusals: list[str] = []
    for parse in (
        units.parse_size,
        units.parse_rate,
        units.parse_duration,
        units.parse_percent,
        units.parse_weight,
        units.parse_count,
        units.parse_number,
    ):
        try:
            parse(text)
        except ValueError as error:
            refusals.append(str(error))
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("512B", 512),
        ("32KiB", 32768),
        ("1.5MiB", 1572864),
        ("2 GiB", 2 << 30),
        ("64kB", 64000),
        ("2MB", 2_000_000),
    ],
)
def test_a_size_has_its_unit_in_the_text(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("30d", 2_592_000),
        ("1d1h1m1s1ms", 90061.001),
        ("0s", 0),
    ],
)
def test_a_duration_has_its_unit_in_the_text(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "1:30", "10 s s", "s", "1m1h", "-1s", "+1s", "1e3s", "\u0661s", "10S", "1..5s", "010s", "1s\n"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "10", "32K", "32kib", "0x10B", "1.5B", "-1B", "KiB", "010KiB", "1_000B", "\u0663B"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_size(text)


@pytest.mark.parametrize("text", ["inf", "nan", "1e3", "-1", "+1", ".5", "5.", "0x1", "1_0", "\u0663", "", "012"])
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_number(text)


def test_a_missing_unit_is_answered_with_the_way_to_write_it() -> None:
    with pytest.raises(ValueError, match="`10` has no unit: write `10s` or `10ms`"):
        units.parse_duration("10")
    with pytest.raises(ValueError, match="`64` has no unit: write `64B`, `64KiB` or `64MiB`"):
        units.parse_size(64)


def test_numbers_of_a_json_body_are_read_like_text_but_true_is_no_number() -> None:
    assert units.parse_weight(5) == 5.0
    assert units.parse_percent(12.5) == 12.5
    with pytest.raises(ValueError):
        units.parse_weight(True)


def test_quoting_keeps_a_message_on_one_short_line() -> None:
    assert units.quote("a\nb\x1b[2J") == "`a\\u000ab\\u001b[2J`"
    assert len(units.quote("x" * 1000)) < 70
