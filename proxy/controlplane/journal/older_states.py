"""States of routes as earlier releases wrote them, brought into the form of this one.

Each step knows one earlier form as text, not as the values of today, which go on changing; a step that was released is
never edited. Invariant: what is of this form already comes back as it is.
"""

from __future__ import annotations

from typing import Any

import msgspec


def without_compare(text: str) -> str:
    """Form 1 → 2: a shadow had `compare`, which is the file's alone now. Raises ValueError for what is no state."""
    try:
        state = msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    if not isinstance(state, dict):
        raise ValueError("it is no state of a route")  # noqa: TRY004 wrong content, not a wrong call
    pending = state.get("pending")
    for course in (state.get("course"), state.get("written"), state.get("before"), _inside(pending, "back_to")):
        shadow = _inside(course, "shadow")
        if isinstance(shadow, dict):
            shadow.pop("compare", None)
    return msgspec.json.encode(state).decode()


def _inside(mapping: Any, key: str) -> Any:
    return mapping.get(key) if isinstance(mapping, dict) else None
