"""What can be asked of the API, as one table: routing, roles, checks and openapi.json are all made from it.

So nothing is served that is not described, and nothing is described that is not served.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from proxy.admin.access import Role
from proxy.admin.bodies import MAX_BODY, Body, read
from proxy.admin.conditions import seen_revisions
from proxy.admin.problems import Refused
from proxy.controlplane.commands.ask import Ask
from proxy.controlplane.events import Author
from proxy.settings.grammar import suggest
from proxy.settings.units import quote

JSON = "application/json"
_CHARSET = re.compile(r"application/json(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the query. `read` turns the text into the value or raises ValueError."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]
    default: Any = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request that may be served, read and checked: what a handler gets."""

    request: web.Request
    author: Author
    query: Mapping[str, Any]
    body: Any = None

    @property
    def route(self) -> str:
        """The name of the route in the path."""
        return self.request.match_info["route"]

    def ask(self, confirm_within_s: float | None = None) -> Ask:
        """Who asks for a change, why, and on what conditions."""
        return Ask(self.author, self.body.reason, seen_revisions(self.request.headers.getall("If-Match", [])),
                   self.query["dry_run"], confirm_within_s)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    `answer`: the type that its JSON answer has, None where it is not JSON. `media`: what it answers with. `body`: the
    model of its JSON body; None where it takes none, or `raw_body` names the media types that the handler reads itself.
    `refusals`: the statuses of its problems, besides those that every request can get. `conditional`: whether it
    honours If-Match; `has_etag`: whether its answer has an ETag all the same. `answers_head`: whether HEAD is answered
    like GET. `also`: other successes, by status, with the type of their JSON (None: no body).
    """

    method: str
    path: str
    handler: Handler
    role: Role
    summary: str
    answer: Any = None
    media: tuple[str, ...] = (JSON,)
    status: int = 200
    body: type[Body] | None = None
    raw_body: tuple[str, ...] = ()
    query: tuple[Parameter, ...] = ()
    refusals: tuple[int, ...] = ()
    conditional: bool = False
    answers_head: bool = True
    has_etag: bool = False
    also: Mapping[int, Any] = field(default_factory=dict)


async def prepare(operation: Operation, request: web.Request, author: Author, body_s: float) -> Call:
    """Read and check a request for an operation. Raises Refused for everything that is wrong with it."""
    query = read_query(operation.query, request)
    if operation.raw_body:
        return Call(request, author, query)
    if operation.body is None:
        if request.body_exists and request.content_length != 0:
            raise Refused(400, "no body is taken here")
        return Call(request, author, query)
    check_content_type(request, (JSON,))
    return Call(request, author, query, read(operation.body, await read_bytes(request, MAX_BODY, body_s)))


def read_query(parameters: tuple[Parameter, ...], request: web.Request) -> dict[str, Any]:
    """The values of the query's parameters. Raises Refused (400): unknown, doubled and unreadable ones, all at once."""
    values = {parameter.name: parameter.default for parameter in parameters}
    given = request.query
    if not given:
        return values
    known = {parameter.name: parameter for parameter in parameters}
    faults = []
    for name in dict.fromkeys(given):
        texts = given.getall(name)
        try:
            values[name] = _read_parameter(known, name, texts)
        except ValueError as error:
            faults.append({"parameter": name[:64], "detail": str(error)})
    if faults:
        raise Refused(400, "; ".join(f"{fault['parameter']} {fault['detail']}" for fault in faults[:3]),
                      kind="bad-query", errors=faults)
    return values


def _read_parameter(known: Mapping[str, Parameter], name: str, texts: list[str]) -> Any:
    parameter = known.get(name)
    if parameter is None:
        raise ValueError(f"is not known{suggest(name, list(known))}")
    if len(texts) > 1:
        raise ValueError("is given twice")
    return parameter.read(texts[0])


def check_content_type(request: web.Request, allowed: tuple[str, ...]) -> None:
    """Raise Refused (415) unless the body is of one of these types, or there is neither body nor type.

    A web form can send only `application/x-www-form-urlencoded`, `multipart/form-data` and `text/plain` to another
    origin without being asked first (Fetch §2.2.2), so a JSON type is also a guard; an empty form is still a form.
    """
    given = request.headers.get("Content-Type")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "bodies are taken as they are: leave out `Content-Encoding`")
    if given is None and not (request.body_exists and request.content_length != 0):
        return
    media = (given or "").partition(";")[0].strip().lower()
    if media not in allowed or (media == JSON and not _CHARSET.fullmatch(given or "")):
        raise Refused(415, f"the body must be {' or '.join(f'`{media}`' for media in allowed)}, in UTF-8",
                      headers={"Accept-Post": ", ".join(allowed)})


async def read_bytes(request: web.Request, limit: int, within_s: float) -> bytes:
    """The whole body. Raises Refused: 413 when it is larger than `limit`, 408 when it takes longer than `within_s`."""
    too_large = Refused(413, f"the body is larger than {limit // 1024} KiB")
    if (request.content_length or 0) > limit:
        raise too_large
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within_s):
            while piece := await request.content.readany():
                size += len(piece)
                if size > limit:
                    raise too_large
                pieces.append(piece)
    except TimeoutError:
        raise Refused(408, f"the body did not come within {within_s:g} s") from None
    except web.RequestPayloadError:
        raise Refused(400, "the body's framing is broken") from None
    return b"".join(pieces)


def _read_flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"must be `true` or `false`, not {quote(text)}")
    return text == "true"


def flag(name: str, description: str) -> Parameter:
    """A parameter that is `true` or `false`, and false where it is left out."""
    return Parameter(name, description, {"type": "boolean", "default": False}, _read_flag, default=False)


def number(name: str, description: str, low: int, high: int, default: int) -> Parameter:
    """A parameter that is a whole number within bounds."""

    def read_number(text: str) -> int:
        if not re.fullmatch(r"0|[1-9][0-9]{0,15}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {quote(text)}")
        return int(text)

    schema = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    return Parameter(name, description, schema, read_number, default)


DRY_RUN = flag("dry_run", "Change nothing, and say what would.")
