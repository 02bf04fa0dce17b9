"""Each test tells one story; its end proves that nothing of it is left in flight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.exploring import examples
from tests.support.story import Story

settings.register_profile("turnout", examples())
settings.load_profile("turnout")


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    told = Story(tmp_path)
    try:
        yield told
    finally:
        told.end()
