"""The kinds of value a request's body has: how each is read, and how openapi.json describes it.

Reading and schema stand side by side so that they cannot disagree. Values with a unit are written as in the file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from proxy.http1.target import AUTHORITY, host_name
from proxy.settings import grammar, units
from proxy.settings.units import quote

MAX_REASON = 1000
"""Characters of a reason: a paragraph, and what an event of the journal may cost."""
MAX_ADDRESS = 300
"""Characters of a server's address: a name has at most 253 (RFC 1035 §2.3.4), the path of a Unix socket 107."""
MAX_FIELDS = 256
"""Header fields of an explained request: more than any worker lets through."""
_LEAST, _MOST = 1e-9, 1e15
"""Bounds of a weight that is not 0, as in the file: nine decimals, fifteen digits."""
_SHORTEST_CONFIRM_S, _LONGEST_CONFIRM_S = 0.1, 365 * 86_400.0

_DECIMAL = r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?"
_DURATION = r"(?=.)" + "".join(rf"(?:{_DECIMAL}{unit})?" for unit in ("d", "h", "m", "s", "ms"))
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"
_FIELD_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"                         # RFC 9110 §5.6.2
_FIELD_VALUE = r"(?:[!-~\xa0-\xff](?:[ -~\t\xa0-\xff]*[!-~\xa0-\xff])?)?"  # RFC 9110 §5.5
_TARGET = r"/[!\"$-~]*"                                                    # what workers let through: no `#`

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """Metadata of a field: `parse` turns what came into the value or raises ValueError."""

    parse: Callable[[Any], object]
    schema: Json

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        return dict(self.schema)


def text_of(value: Any) -> str:
    """The value if it is a string. Raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {quote(value)}")  # noqa: TRY004 pydantic collects ValueError
    return value


def _matching(pattern: str) -> Json:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _reason(value: Any) -> str:
    text = text_of(value)
    if len(text) > MAX_REASON:
        raise ValueError(f"is longer than {MAX_REASON} characters")
    if not text.isprintable():
        # It is shown in terminals and logs: a control character there could rewrite what stands beside it.
        raise ValueError("must be one line of printable characters")
    return text


def _weight(value: Any) -> float:
    if isinstance(value, float) and not 0 <= value < _MOST:
        raise ValueError(f"{quote(value)} is not a weight: at least 0, less than 10^15")
    weight = value if isinstance(value, float) else units.parse_weight(value)
    if 0 < weight < _LEAST:
        raise ValueError(f"{quote(value)} is too small: a weight is 0 or at least 0.000000001")
    return abs(weight)      # -0.0 is 0


def _percent(value: Any) -> float:
    if isinstance(value, float) and 0 <= value <= 100:
        return abs(value)
    return units.parse_percent(value)


def _confirm(value: Any) -> float | None:
    if value is None:
        return None
    seconds = units.parse_duration(text_of(value))
    if not _SHORTEST_CONFIRM_S <= seconds <= _LONGEST_CONFIRM_S:
        raise ValueError(f"{quote(value)} is not between `100ms` and `365d`")
    return seconds


def _server(value: Any) -> str | None:
    """Any text of a length that an address can have: which servers there are is for the commands to say."""
    if value is not None and not 0 < len(text_of(value)) <= MAX_ADDRESS:
        raise ValueError(f"must be an address of 1 to {MAX_ADDRESS} characters, or null for every server")
    return None if value is None else str(value)


def _methods(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of request methods, not empty")
    methods = tuple(grammar.parse_method(text_of(item)) for item in value)
    if len(set(methods)) < len(methods):
        raise ValueError("names a method twice")
    return methods


def _method(value: Any) -> str:
    if not re.fullmatch(_FIELD_NAME, text_of(value)):
        raise ValueError(f"{quote(value)} is not a request method")
    return str(value)


def _target(value: Any) -> str:
    if not re.fullmatch(_TARGET, text_of(value)):
        raise ValueError(f"{quote(value)} is not a path as it stands in a request: `/` and visible ASCII without `#`")
    return str(value)


def _host(value: Any) -> str | None:
    if value is None:
        return None
    text = text_of(value)
    if not text.isascii() or host_name(text.encode()) is None:
        raise ValueError(f"{quote(text)} is not a host, such as `shop.example.com` or `[::1]:8080`")
    return text


def _client(value: Any) -> str:
    text = text_of(value)
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        raise ValueError(f"{quote(text)} is not an IP address, such as `192.0.2.7` or `2001:db8::7`") from None


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    """`{"name": "value"}`, or `[["name", "value"], …]`, which can repeat a name."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise ValueError("must be an object, or a list of `[name, value]`")  # noqa: TRY004 pydantic collects ValueError
    if len(pairs) > MAX_FIELDS:
        raise ValueError(f"has more than {MAX_FIELDS} fields")
    return tuple(_header(pair) for pair in pairs)


def _header(pair: Any) -> tuple[str, str]:
    if not isinstance(pair, (list, tuple)) or [type(part) for part in pair] != [str, str]:
        raise ValueError("holds something that is not a name and its value, both strings")
    name, text = pair
    if not re.fullmatch(_FIELD_NAME, name):
        raise ValueError(f"{quote(name)} is not a header name")
    if not re.fullmatch(_FIELD_VALUE, text):
        raise ValueError(f"the value of {quote(name)} cannot stand in a request")
    return name, text


_PERCENT_TEXT = _matching(f"(?:{_DECIMAL})%?")
_HEADER_TEXT = {"type": "string", "pattern": f"^{_FIELD_VALUE}$"}

NAME = Kind(lambda value: grammar.parse_name(text_of(value)), _matching(_NAME))
NAME_OR_NULL = Kind(lambda value: None if value is None else grammar.parse_name(text_of(value)),
                    {"anyOf": [_matching(_NAME), {"type": "null"}]})
SERVER_OR_NULL = Kind(_server, {"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ADDRESS},
                                          {"type": "null"}]})
REASON = Kind(_reason, {"type": "string", "maxLength": MAX_REASON})
WEIGHT = Kind(_weight, {"anyOf": [{"type": "number", "minimum": _LEAST, "exclusiveMaximum": _MOST}, {"const": 0},
                                  _PERCENT_TEXT]})
PERCENT = Kind(_percent, {"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, _PERCENT_TEXT]})
CONFIRM = Kind(_confirm, {"anyOf": [_matching(_DURATION), {"type": "null"}]})
METHODS = Kind(_methods, {"type": "array", "minItems": 1, "uniqueItems": True, "items": _matching(_FIELD_NAME)})
METHOD = Kind(_method, _matching(_FIELD_NAME))
TARGET = Kind(_target, _matching(_TARGET))
HOST = Kind(_host, {"anyOf": [_matching(AUTHORITY.pattern.decode()), {"type": "null"}]})
CLIENT = Kind(_client, {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"},
                                  {"const": ""}]})
HEADERS = Kind(_headers, {"anyOf": [
    {"type": "object", "propertyNames": _matching(_FIELD_NAME), "additionalProperties": _HEADER_TEXT,
     "maxProperties": MAX_FIELDS},
    {"type": "array", "maxItems": MAX_FIELDS, "items": {
        "type": "array", "prefixItems": [_matching(_FIELD_NAME), _HEADER_TEXT], "items": False, "minItems": 2}}]})
