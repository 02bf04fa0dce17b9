"""Errors of the admin API as RFC 9457 problem details; every answer of the API that is not a success is made here.

`type` tells programs what is wrong: a name in the `urn:turnout:problem:` space, or `about:blank` where the status says
it all. `detail` tells people what to do. `errors` has one entry per thing that is wrong with a request, each with the
JSON pointer (RFC 6901) of the place in the body, or the name of the query parameter or header field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from proxy.errors import TurnoutError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:turnout:problem:"
COMMON_FIELDS = {"Server": "turnout", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""What stands in every answer, problem or not."""

Fault = dict[str, str]
"""One entry of `errors`: `detail`, and one of `pointer`, `parameter` and `field` for the place."""


class Refused(TurnoutError):  # noqa: N818  it is what the answer says, not a failure of Turnout
    """A request that is answered with a problem; raised anywhere below a handler. `more`: further members."""

    def __init__(self, status: int, detail: str, *, kind: str | None = None, errors: Sequence[Fault] = (),
                 headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.errors = errors
        self.headers = headers
        self.more = more

    def answer(self) -> web.Response:
        """The answer that says so."""
        more = {**({"errors": list(self.errors)} if self.errors else {}), **self.more}
        return problem(self.status, self.detail, self.headers, kind=self.kind, **more)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, *, kind: str | None = None,
            **more: Any) -> web.Response:
    """Return an answer that says what is wrong and what to do about it."""
    body = {
        "type": TYPE_PREFIX + kind if kind else "about:blank",
        "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more,
    }
    return web.Response(status=status, body=msgspec.json.encode(body) + b"\n", content_type=MEDIA_TYPE,
                        headers=headers)


def pointer(path: Iterable[str | int]) -> str:
    """The JSON pointer of a place in a body (RFC 6901 §3): `/split/new`; empty for the whole."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
