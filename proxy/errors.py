"""What can go wrong, as types: every error names its culprit, and every refusal its answer.

The table of refusals below is the only place that maps a failure to an HTTP status. `http1.refusal` renders one;
nothing else invents an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Culprit(Enum):
    """The side at fault: the first thing an operator asks of an error."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    PROXY = "proxy"
    OPERATOR = "operator"


class TurnoutError(Exception):
    """Root of every error that Turnout raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration: where it stands, and what to do about it.

    `where` is `file:line:col` for a file and a JSON pointer for an API body; `path` is the dotted path of the value.
    """

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class ConfigError(TurnoutError):
    """The configuration is wrong: carries every problem found, in the order of the file. Exit code 3."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that Turnout gives itself, instead of one from a server.

    `retry_after_s`: in how many seconds the client may come again (Retry-After, RFC 9110 §10.2.3); 0 where nobody
    knows.
    """

    status: int
    slug: str
    title: str
    culprit: Culprit
    retry_after_s: int = 0


class RefusedError(TurnoutError):
    """A message or an attempt that is answered with a refusal; `detail` says what exactly, without quoting input."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal.status} {refusal.slug}: {detail}")
        self.refusal = refusal
        self.detail = detail


BAD_REQUEST = Refusal(400, "bad-request", "The request cannot be understood in exactly one way", Culprit.CLIENT)
REQUEST_TIMEOUT = Refusal(408, "request-timeout", "The request did not arrive in time", Culprit.CLIENT)
BODY_TOO_LARGE = Refusal(413, "body-too-large", "The request body is larger than allowed", Culprit.CLIENT)
TARGET_TOO_LONG = Refusal(414, "target-too-long", "The request line is longer than allowed", Culprit.CLIENT)
HEAD_TOO_LARGE = Refusal(431, "head-too-large", "The request head is larger than allowed", Culprit.CLIENT)
TOO_MANY_REQUESTS = Refusal(429, "too-many-requests", "This client sends more requests than it may", Culprit.CLIENT,
                            retry_after_s=1)
TOO_MANY_CONNECTIONS = Refusal(429, "too-many-connections", "This client has more connections than it may",
                               Culprit.CLIENT, retry_after_s=1)
NO_ROUTE = Refusal(404, "no-route", "No route matches this request", Culprit.CLIENT)
EXPECTATION_FAILED = Refusal(417, "expectation-failed", "Only `100-continue` may be expected", Culprit.CLIENT)
NOT_IMPLEMENTED = Refusal(501, "not-implemented", "This proxy does not do that", Culprit.CLIENT)
BAD_GATEWAY = Refusal(502, "bad-gateway", "The server's answer cannot be used", Culprit.UPSTREAM)
CONNECT_FAILED = Refusal(502, "connect-failed", "No connection to the server", Culprit.UPSTREAM)
OVERLOADED = Refusal(503, "overloaded", "The proxy is at its limit", Culprit.PROXY)
VERSION_DOWN = Refusal(503, "version-down", "The version that should answer is down", Culprit.UPSTREAM)
VERSION_BUSY = Refusal(503, "version-busy", "The version has as many requests as it may have", Culprit.UPSTREAM)
WITHDRAWN = Refusal(503, "withdrawn", "The version that had this request was taken out of service", Culprit.OPERATOR)
GATEWAY_TIMEOUT = Refusal(504, "gateway-timeout", "The server did not answer in time", Culprit.UPSTREAM)
CONNECT_TIMEOUT = Refusal(504, "connect-timeout", "The server did not accept in time", Culprit.UPSTREAM)
VERSION_NOT_SUPPORTED = Refusal(505, "version-not-supported", "Only HTTP/1.1 and HTTP/1.0 are spoken", Culprit.CLIENT)
