"""The kinds of value a file has: how each is read, and how its JSON Schema tells an editor.

A field is declared as `Annotated[type, KIND]`; reading and schema stand in one place so that they cannot disagree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from proxy.http1 import target
from proxy.settings import addresses, grammar, units

Schema = dict[str, Any]
_VARIABLE = r"\$\{"       # a value that comes from the environment is not the editor's to judge


@dataclass(frozen=True, slots=True)
class Kind:
    """Metadata of a field: `parse` turns what was typed into the value or raises ValueError; `show` turns the value
    into what `parse` takes.
    """

    parse: Callable[[Any], object]
    schema: Schema
    show: Callable[[Any], Any] = lambda value: value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return dict(self.schema)


def pattern(regex: str) -> Schema:
    """The schema of a text of this form, or of one that has a variable in it."""
    return {"type": "string", "pattern": rf"^(?:{regex})$|{_VARIABLE}"}


DECIMAL = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
_SIZE_PATTERN = rf"{DECIMAL} ?(?:B|KiB|MiB|GiB|TiB|kB|MB|GB)"
DURATION_PATTERN = r"(?=.)" + "".join(rf"(?:{DECIMAL}{unit})?" for unit in ("d", "h", "m", "s", "ms", "us"))


_Parse = Callable[[Any], Any]


def _between(parse: _Parse, low: float, high: float, show: Callable[[Any], str]) -> _Parse:
    def parse_within(value: Any) -> Any:
        result = parse(value)
        if not low <= result <= high:
            bound = f"less than {show(low)}" if result < low else f"more than {show(high)}"
            raise ValueError(f"{units.quote(value)} is {bound}")
        return result
    return parse_within


def size(low: int, high: int) -> Kind:
    """Bytes within bounds."""
    return Kind(_between(units.parse_size, low, high, units.format_size), pattern(_SIZE_PATTERN), units.format_size)


def size_or_none(low: int, high: int) -> Kind:
    """Bytes within bounds, or `none` for unbounded."""
    parse = _between(units.parse_size, low, high, units.format_size)
    return Kind(lambda value: None if value == "none" else parse(value), pattern(f"none|{_SIZE_PATTERN}"),
                lambda size: "none" if size is None else units.format_size(size))


def rate_or_none(high: int) -> Kind:
    """Bytes per second; `none` is 0: any rate will do."""
    parse = _between(units.parse_rate, 1, high, units.format_size)
    return Kind(lambda value: 0 if value == "none" else parse(value), pattern(f"none|{_SIZE_PATTERN}/s"),
                lambda rate: f"{units.format_size(rate)}/s" if rate else "none")


def count(low: int, high: int) -> Kind:
    """A whole number within bounds."""
    return Kind(_between(units.parse_count, low, high, str),
                {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, pattern(r"0|[1-9][0-9]*")]})


def duration(low: float, high: float) -> Kind:
    """Seconds within bounds."""
    return Kind(_between(units.parse_duration, low, high, units.format_duration), pattern(DURATION_PATTERN),
                units.format_duration)


def duration_or_none(low: float, high: float) -> Kind:
    """Seconds within bounds, or `none` for never."""
    parse = _between(units.parse_duration, low, high, units.format_duration)
    return Kind(lambda value: None if value == "none" else parse(value), pattern(f"none|{DURATION_PATTERN}"),
                lambda seconds: "none" if seconds is None else units.format_duration(seconds))


def max_age(high: float) -> Kind:
    """Whole seconds that a cookie lives; `none` ends it with the browser's session."""
    parse = _between(units.parse_duration, 1, high, units.format_duration)
    return Kind(lambda value: None if value == "none" else math.ceil(parse(value)),
                pattern(f"none|{DURATION_PATTERN}"))


def choice(*choices: str) -> Kind:
    """One of a few words."""
    return Kind(lambda value: grammar.parse_choice(value, choices), {"type": "string", "enum": list(choices)})


def _weight(value: Any) -> float:
    weight = units.parse_weight(value)
    if weight > 1_000_000:
        raise ValueError(f"{units.quote(value)} is more than 1000000: only the ratio of weights counts")
    return weight


def _secret(value: Any) -> bytes:
    """Never quoted in a message: a message goes to logs."""
    secret = units.text_of(value).encode()
    if not 16 <= len(secret) <= 1024:
        raise ValueError(f"has {len(secret)} bytes: take at least 16, from `openssl rand -hex 32`, and at most 1024")
    return secret


def _salt(value: Any) -> str:
    text = units.text_of(value)
    if not 1 <= len(text) <= 128 or not text.isprintable():
        raise ValueError(f"{units.quote(text)} is not a salt: 1 to 128 printable characters")
    return text


def _access_log(value: Any) -> str:
    text = units.text_of(value)
    if text not in ("off", "stdout") and ("/" not in text or not text.isprintable() or text.endswith("/")):
        raise ValueError(f"{units.quote(text)} is not `off`, `stdout` or the path of a file (with a `/` in it)"
                         f"{grammar.suggest(text, ['off', 'stdout'])}")
    return text


def _state_dir(value: Any) -> str | None:
    text = units.text_of(value)
    if not text or not text.isprintable():
        raise ValueError(f"{units.quote(text)} is not a folder, and not `memory`")
    return None if text == "memory" else text


_parse_workers = _between(units.parse_count, 1, 256, str)


def _workers(value: Any) -> int | None:
    return None if value == "auto" else _parse_workers(value)


def _environment_name(value: Any) -> str:
    """Not quoted: who misreads the key writes the secret itself there."""
    text = units.text_of(value)
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError("is not the name of an environment variable (the token itself does not belong in this file)")
    return text


def _secret_file(value: Any) -> str:
    """Not quoted either."""
    text = units.text_of(value)
    if not text or not text.isprintable() or text.endswith("/"):
        raise ValueError("is not the path of a file")
    return text


def _sha256(value: Any) -> bytes:
    text = units.text_of(value)
    if not re.fullmatch("[0-9A-Fa-f]{64}", text):
        raise ValueError("is not a SHA-256, 64 hex digits: take `printf %s \"$TOKEN\" | sha256sum`")
    return bytes.fromhex(text)


def _header_condition(value: Any) -> str | None:
    """A value that the header must have, or None for `{present: true}`."""
    if isinstance(value, dict):
        if value not in ({"present": "true"}, {"present": True}):
            raise ValueError("must be the header's value, or `{present: true}` for any value")
        return None
    if value is None:
        raise ValueError("give the value that the header must have, or `{present: true}` for any value")
    return grammar.parse_field_value(value)


def _authority(value: Any) -> str:
    text = units.text_of(value)
    if not text.isascii() or target.host_name(text.encode()) is None:
        raise ValueError(f"{units.quote(text)} is not a host, such as `new.example.com` or `[::1]:8080`")
    return text


def _flag(value: Any) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError(f"{units.quote(value)} is not `true` or `false`")


TEXT: Schema = {"type": "string"}
WORD_PATTERN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"
_LISTEN_PATTERN = r"unix:/[^/].*|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"
PERCENT_TEXT = pattern(rf"{DECIMAL}%?")

NAME = Kind(grammar.parse_name, pattern(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"))
COOKIE = Kind(grammar.parse_cookie_name, pattern(WORD_PATTERN))
HEADER = Kind(grammar.parse_header_name, pattern(WORD_PATTERN))
QUERY = Kind(grammar.parse_query_name, pattern(r"[A-Za-z0-9._~-]{1,64}"))
METHOD = Kind(grammar.parse_method, pattern(WORD_PATTERN))
HOST = Kind(grammar.parse_match_host, dict(TEXT))
AUTHORITY = Kind(_authority, pattern(target.AUTHORITY.pattern.decode()))
FIELD_VALUE = Kind(grammar.parse_field_value, {"type": ["string", "number"]})
FLAG = Kind(_flag, {"anyOf": [{"type": "boolean"}, {"enum": ["true", "false"]}]})
PATH = Kind(grammar.parse_path, pattern("/[^?#*]*"))
NETWORK = Kind(grammar.parse_network, dict(TEXT))
LISTEN = Kind(addresses.parse_listen, pattern(_LISTEN_PATTERN))
SERVER = Kind(addresses.parse_server, pattern(r"http://[^/?#@]+|unix:/[^/].*"))
WEIGHT = Kind(_weight, {"anyOf": [{"type": "number", "minimum": 0}, PERCENT_TEXT]})
SECRET = Kind(_secret, {"type": "string"})
SALT = Kind(_salt, {"type": ["string", "number"]})
ACCESS_LOG = Kind(_access_log, pattern("off|stdout|.*/.*"))
STATE_DIR = Kind(_state_dir, dict(TEXT))
WORKERS = Kind(_workers, {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 256},
                                    pattern("[1-9][0-9]*")]})
ENVIRONMENT_NAME = Kind(_environment_name, pattern("[A-Za-z_][A-Za-z0-9_]*"))
SECRET_FILE = Kind(_secret_file, dict(TEXT))
SHA256 = Kind(_sha256, pattern("[0-9A-Fa-f]{64}"))
HEADER_CONDITION = Kind(_header_condition, {"anyOf": [
    {"type": ["string", "number"]},
    {"type": "object", "properties": {"present": {"const": True}}, "required": ["present"],
     "additionalProperties": False}]})
