from __future__ import annotations

import pytest

from proxy.admin.conditions import etag, is_known, seen_revisions
from proxy.admin.problems import Refused


@pytest.mark.parametrize(("fields", "revisions"), [
    ([], None), (["*"], None), (['"7"'], {7}), (['"7", "8"'], {7, 8}), (['"7"', '"8"'], {7, 8}), (['W/"7"'], set()),
    (['"seven"'], set()), (['"07"'], set()), (['""'], set()), (['"a,b", "7"'], {7}), ([',"7" ,, "9"'], {7, 9}),
    (['"99999999999999999999"'], set()),
])
def test_if_match_names_the_revisions_that_may_be_changed(fields: list[str], revisions: set[int] | None) -> None:
    assert seen_revisions(fields) == revisions


@pytest.mark.parametrize("text", [
    "7", '"7', "'7'", '"7" "8"', "*, *", '*, "7"', 'w/"7"', "x" * 8000, '"7",' * 2000 + "x",
])
def test_what_is_no_list_of_tags_is_refused_and_not_ignored(text: str) -> None:
    with pytest.raises(Refused) as caught:
        seen_revisions([text])
    assert caught.value.status == 400


def test_what_one_has_seen_is_known_weak_or_strong() -> None:
    assert is_known([etag(7)], 7)
    assert is_known(['W/"7"', '"9"'], 7)
    assert is_known(["*"], 7)
    assert not is_known([etag(6)], 7)
    assert not is_known([], 7)
    assert not is_known(["7"], 7)
