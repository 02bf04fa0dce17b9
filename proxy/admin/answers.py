"""Successful answers: JSON, with or without an ETag."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from proxy.admin.conditions import etag

JSON = "application/json"


def json_bytes(view: Any) -> bytes:
    """A view as one line of JSON: a terminal shows it whole, and a line-wise reader takes it as one."""
    return msgspec.json.encode(view) + b"\n"


def json_answer(view: Any, status: int = 200, revision: int | None = None) -> web.Response:
    """A view as an answer; `revision` becomes its ETag."""
    headers = None if revision is None else {"ETag": etag(revision)}
    return web.Response(status=status, body=json_bytes(view), content_type=JSON, headers=headers)
