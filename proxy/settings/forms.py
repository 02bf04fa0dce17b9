"""Other ways to write what a key holds: one item for a list, one value for a section, a word for its presence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from proxy.settings.fields import Kind, Schema


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """Metadata of a list: a single item may stand without its brackets."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, (list, tuple)) else [value], handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        several = handler(core)
        return {"anyOf": [several["items"], several]}


@dataclass(frozen=True, slots=True)
class Shorthand:
    """Metadata of a section: what else may stand in its place.

    `off`: this word, which means None. `on`: this word, which means the section with its defaults. `key`: a single
    value, which is that of this key, read as `kind`.
    """

    off: bool = False
    on: bool = False
    key: str | None = None
    kind: Kind | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        words = [{"enum": list(self._words)}] if self._words else []
        value = [dict(self.kind.schema)] if self.kind is not None else []
        return {"anyOf": [*words, *value, handler(core)]}

    @property
    def _words(self) -> tuple[str, ...]:
        return (*(("on",) if self.on else ()), *(("off",) if self.off else ()))

    def _read(self, value: Any) -> Any:
        if not isinstance(value, (str, int, float)):
            return value
        if value in self._words:
            return {} if value == "on" else None
        if self.key is not None:
            return {self.key: value}
        words = " or ".join(f"`{word}`" for word in self._words)
        raise ValueError(f"must be a mapping (`key: value`), or {words}")
