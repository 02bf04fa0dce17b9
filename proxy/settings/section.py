"""What every section of the file is, and how its keys are declared: with their defaults as one would write them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proxy.settings.units import format_duration, format_size


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors, and a key without a value is as good as left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = keys_of(cls)
        return {key: value for key, value in data.items() if value is not None or key not in known}


def keys_of(section: type[BaseModel]) -> dict[str, str]:
    """The keys of a section as they stand in the file → the attribute that holds them."""
    return {info.alias or name: name for name, info in section.model_fields.items()}


def entry(default: Any, shown: Any, description: str, **more: Any) -> Any:
    """A key with its default, and that as it would be written in the file (`shown`)."""
    return Field(default, description=description, json_schema_extra={"default": shown}, **more)


def size(default: int, description: str, **more: Any) -> Any:
    """A key that holds bytes."""
    return entry(default, format_size(default), description, **more)


def time(default: float, description: str, **more: Any) -> Any:
    """A key that holds seconds."""
    return entry(default, format_duration(default), description, **more)
