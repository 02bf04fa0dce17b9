"""The `shadow` of a route as pydantic models: what is copied, how, and how the answers are compared.

Defaults come from the core, which gives each its reason; values of `compare` are read by `core.compare`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from proxy.core.compare.values import Rules
from proxy.core.route import Copying
from proxy.settings import fields, shadow_fields
from proxy.settings.forms import OneOrMore, Shorthand
from proxy.settings.section import Section, entry, size, time
from proxy.settings.units import GIB, KIB, MIB, format_size

_RULES = Rules()
_COPYING = Copying()
_FRACTION: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}
_WHOLE: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}


class CopiedMatchSection(Section):
    """Which of a route's requests are copied at all: all conditions hold."""

    path: Annotated[str | None, fields.PATH] = entry(
        None, None, "Path prefix on whole segments; any, if left out.", examples=["/api"])
    header: dict[Annotated[str, fields.HEADER], Annotated[str | None, fields.HEADER_CONDITION]] = Field(
        default={}, max_length=1, description="One header name and the value it must have, or `{present: true}`.",
        json_schema_extra={"default": {}}, examples=[{"X-Mirror": "1"}])


class CompareSection(Section):
    """How the two answers to a request are compared, and when a difference is reported."""

    headers: Annotated[list[Annotated[str, shadow_fields.compared_entry("headers")]], OneOrMore()] = entry(
        list(_RULES.headers), list(_RULES.headers), "Which header fields; `*`: all but those that always differ.",
        examples=["*"])
    ignore: list[Annotated[str, shadow_fields.compared_entry("ignore")]] = entry(
        [], [], "What may differ: JSON paths, `header:NAME`, `status`, `body`.",
        examples=[["$.served_at", "$.items[*].token", "header:x-served-by"]])
    unordered: list[Annotated[str, shadow_fields.compared_entry("unordered")]] = entry(
        [], [], "JSON paths of arrays whose order means nothing; `$` is the document.", examples=[["$.tags"]])
    tolerance: Annotated[float, shadow_fields.compared("tolerance", _FRACTION)] = entry(
        _RULES.tolerance, 0, "By how much two numbers may differ and be equal: absolutely, or as a fraction.",
        examples=[0.001, "0.1%"])
    body: Annotated[str, shadow_fields.compared("body", {"enum": ["auto", "json", "text", "bytes", "none"]})] = entry(
        _RULES.body, _RULES.body, "How bodies are compared; `auto`: by their media type.")
    max_body: Annotated[int, shadow_fields.compared("max_body", {"type": "string"}, format_size)] = size(
        _RULES.max_body, "Longer bodies are not compared, before and after decompression.")
    per_second: Annotated[int, shadow_fields.compared("per_second", _WHOLE)] = entry(
        _RULES.per_second, _RULES.per_second, "Pairs compared each second; of more, they are picked evenly.")
    samples: Annotated[int, shadow_fields.compared("samples", _WHOLE)] = entry(
        _RULES.samples, _RULES.samples, "Examples kept of each difference.")
    relative_margin: Annotated[float, shadow_fields.compared("relative_margin", _FRACTION)] = entry(
        _RULES.relative_margin, _RULES.relative_margin,
        "With a control: by which fraction a difference must be more frequent than noise.")
    absolute_margin: Annotated[float, shadow_fields.compared("absolute_margin", _FRACTION)] = entry(
        _RULES.absolute_margin, 0, "With a control: and by how much of all comparisons besides.")
    minimum: Annotated[int, shadow_fields.compared("minimum", _WHOLE)] = entry(
        _RULES.minimum, _RULES.minimum, "With a control: comparisons of an endpoint before anything is reported.")
    endpoints: list[Annotated[str, shadow_fields.compared_entry("endpoints")]] = entry(
        [], [], "Templates such as `/items/{}`; what fits none is learned.", examples=[["/items/{}"]])


class ShadowSection(Section):
    """Copies of requests for another version, whose answers never reach a client."""

    to: Annotated[str, fields.NAME] = Field(description="The version that gets the copies.", examples=["new"])
    percent: Annotated[float, shadow_fields.COPIED_PERCENT] = Field(
        description="How many of the requests, in steps of 0.01.", examples=[10, "12.5%"])
    methods: list[Annotated[str, fields.METHOD]] = Field(
        default=["GET", "HEAD"], min_length=1, description="Which methods are copied.")
    by: Annotated[Literal["request", "key"], fields.choice("request", "key")] = entry(
        _COPYING.by, _COPYING.by, "`request`: chance picks single requests; `key`: whole clients, by `sticky`.")
    match: CopiedMatchSection = entry(CopiedMatchSection(), {}, "Which requests are copied at all.")
    host: Annotated[str | None, fields.AUTHORITY] = entry(
        None, None, "Host of the copies; the client's, if left out.", examples=["new.example.com"])
    drop_headers: list[Annotated[str, shadow_fields.COPY_HEADER]] = entry(
        [], [], "Header fields that copies lose.", examples=[["Cookie", "Authorization"]])
    set_headers: dict[Annotated[str, shadow_fields.COPY_HEADER], Annotated[str, fields.FIELD_VALUE]] = entry(
        {}, {}, "Header fields that copies get, in place of the client's.", examples=[{"Authorization": "Bearer test"}])
    max_body: Annotated[int, fields.size(0, 64 * MIB)] = size(
        _COPYING.max_body, "A request with a longer body is not copied.")
    timeout: Annotated[float, fields.duration(0.001, 3600)] = time(
        _COPYING.timeout_s, "From the copy's first byte to the last of its answer.")
    in_flight: Annotated[int, fields.count(1, 1_000_000)] = entry(
        _COPYING.in_flight, _COPYING.in_flight, "Most copies at once, all workers together.")
    memory: Annotated[int, fields.size(64 * KIB, 64 * GIB)] = size(
        _COPYING.memory, "Most bytes held for copies and answers, all workers together.")
    control: Annotated[bool, fields.FLAG] = entry(
        _COPYING.control, _COPYING.control, "Also copies to the version that answered, to tell noise from differences.")
    alert_below: Annotated[float | None, shadow_fields.RATE_OR_NONE] = entry(
        None, "none", "An event when fewer of the answers match, and when they do again.", examples=["99%"])
    compare: Annotated[CompareSection | None, Shorthand(off=True)] = entry(
        CompareSection(), {}, "How answers are compared; `off`: not at all.")
