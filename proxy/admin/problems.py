"""Errors of the admin API as RFC 9457 problem details; every answer of the API that is not a success is made here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer that says what is wrong and what to do about it."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return web.Response(
        status=status, text=json.dumps(body), content_type="application/problem+json", headers=headers
    )
