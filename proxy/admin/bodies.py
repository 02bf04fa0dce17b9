"""What a request's body may hold, as models: the same ones validate it and describe it in openapi.json.

Only shapes and single values are checked here. Whether a route has such a version, and what follows from a change, is
for the commands to say; their problems come with the same pointers.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.admin import body_fields as fields
from proxy.admin.problems import Fault, Refused, pointer
from proxy.admin.strict_json import NotJson, parse
from proxy.settings.grammar import suggest
from proxy.settings.units import format_number, quote

MAX_BODY = 64 * 1024
"""A split between a thousand versions takes 20 KiB."""
MAX_FILE_BODY = 1024 * 1024
"""As large as a file may be (`settings.strict_yaml`); one in a JSON string has a little less room."""
_MAX_FAULTS = 100


class Body(BaseModel):
    """A JSON object. Unknown members are faults; a body of nothing stands for `{}` where nothing is needed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def contradictions(cls, data: dict[str, Any]) -> list[Fault]:
        """What is wrong between values that are each right by themselves."""
        del data
        return []


class ReasonBody(Body):
    """Why something is changed."""

    reason: Annotated[str, fields.REASON] = Field(
        default="", description="Why, for the event of the change.", examples=["error rate of new is 4 %"])


class SplitBody(ReasonBody):
    """New weights for a route."""

    split: dict[Annotated[str, fields.NAME], Annotated[float, fields.WEIGHT]] = Field(
        min_length=1, description="Weight of each version; one that is left out gets 0.",
        examples=[{"old": 90, "new": 10}, {"old": "87.5%", "new": "12.5%"}])
    confirm_within: Annotated[float | None, fields.CONFIRM] = Field(
        default=None, description="Go back by itself unless confirmed within this time.", examples=["10m"])

    @classmethod
    def contradictions(cls, data: dict[str, Any]) -> list[Fault]:
        """Percentages and plain weights do not mix, and percentages add up to 100, as in the file."""
        percents = [str(weight).endswith("%") for weight in data["split"].values()]
        if any(percents) and not all(percents):
            return [{"pointer": "/split", "detail": "mixes percentages and plain weights: write all of them with `%`, "
                                                    "or none"}]
        total = math.fsum(float(str(weight).rstrip("%")) for weight in data["split"].values())
        if any(percents) and not math.isclose(total, 100, abs_tol=1e-6):
            return [{"pointer": "/split", "detail": f"the percentages add up to {format_number(round(total, 6))}%, "
                                                    "not to 100%"}]
        return []


class RollbackBody(ReasonBody):
    """How to go home."""

    in_flight: Literal["finish", "cut"] = Field(
        default="finish", description="What becomes of requests and tunnels that the candidates still serve.")
    force: bool = Field(default=False, description="Also to a baseline that is known to be down.")


class ShadowBody(ReasonBody):
    """What changes about a route's shadow; what is left out stays."""

    to: Annotated[str | None, fields.NAME_OR_NULL] = Field(
        default=None, description="The version that gets the copies; `null` ends them.", examples=["new", None])
    percent: Annotated[float, fields.PERCENT] = Field(
        default=0, description="How many of the requests are copied.", examples=[25, "12.5%"],
        json_schema_extra={"default": None})
    methods: Annotated[tuple[str, ...], fields.METHODS] = Field(
        default=(), description="Which methods are copied.", examples=[["GET", "HEAD"]],
        json_schema_extra={"default": None})

    @property
    def patch(self) -> dict[str, object]:
        """The members that were given, without the reason."""
        return {name: getattr(self, name) for name in ("to", "percent", "methods") if name in self.model_fields_set}

    @classmethod
    def contradictions(cls, data: dict[str, Any]) -> list[Fault]:
        """Something has to change."""
        if set(data) <= {"reason"}:
            return [{"pointer": "", "detail": "changes nothing: give `to`, `percent` or `methods`"}]
        return []


class RestoreBody(ReasonBody):
    """What is brought back into service."""

    server: Annotated[str | None, fields.SERVER_OR_NULL] = Field(
        default=None, description="The server's address; without it, every server of the version.",
        examples=["http://10.0.0.7:9001", None])


class DrainBody(RestoreBody):
    """What is taken out of service."""

    force: bool = Field(default=False, description="Also where requests have nowhere else to go.")


class ExplainBody(Body):
    """A request to be explained, as a worker would see it."""

    path: Annotated[str, fields.TARGET] = Field(description="Path and query.", examples=["/cart?item=1"])
    method: Annotated[str, fields.METHOD] = Field(default="GET", description="Request method.")
    host: Annotated[str | None, fields.HOST] = Field(
        default=None, description="Host; by default that of `headers`.", examples=["shop.example.com"])
    headers: Annotated[tuple[tuple[str, str], ...], fields.HEADERS] = Field(
        default=(), description="Header fields, as an object or a list of pairs.", json_schema_extra={"default": {}},
        examples=[{"Cookie": "turnout=0123456789abcdef01234567"}])
    client: Annotated[str, fields.CLIENT] = Field(
        default="", description="The client's address, as trusted proxies report it.", examples=["192.0.2.7"])


class ConfigBody(Body):
    """A configuration file to be checked."""

    config: str = Field(description="The file's text, YAML.", examples=["versions: {old: {servers: [...]}}\n..."])


Model = TypeVar("Model", bound=Body)


def read(model: type[Model], raw: bytes) -> Model:
    """The body as its model. Raises Refused: 400 for what is no JSON, 422 with every fault for what is wrong in it."""
    try:
        data = parse(raw) if raw else {}
    except NotJson as error:
        raise Refused(400, "the body cannot be read in exactly one way", kind="not-json", errors=error.errors) from None
    faults: list[Fault] = []
    try:
        body = model.model_validate(data)
        faults = model.contradictions(data)
    except ValidationError as error:
        faults = [_fault(model, problem) for problem in error.errors(include_url=False)[:_MAX_FAULTS]]
        if not raw:
            faults = [{"pointer": "", "detail": f"a body is needed: {fault['pointer'][1:]} is missing"}
                      for fault in faults[:1]]
    if faults:
        raise invalid(faults)
    return body


def invalid(faults: list[Fault]) -> Refused:
    """The refusal of a body for these faults."""
    detail = faults[0]["detail"] if len(faults) == 1 else f"{len(faults)} things are wrong with the body"
    place = faults[0].get("pointer") if len(faults) == 1 else None
    return Refused(422, f"{place}: {detail}" if place else detail, kind="invalid-body", errors=faults)


def _fault(model: type[Body], problem: Any) -> Fault:
    loc: tuple[str | int, ...] = problem["loc"]
    kind: str = problem["type"]
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
    if kind == "extra_forbidden":
        known = list(model.model_fields)
        near = suggest(str(loc[-1]), known) or f" (known are: {', '.join(known)})"
        detail = f"is not known{near}"
    elif kind == "value_error":
        detail = str(problem["ctx"]["error"])
    elif kind == "literal_error":
        detail = f"{quote(problem['input'])} is not one of {problem['ctx']['expected'].replace(' or ', ', ')}"
    else:
        given = "" if kind in ("missing", "too_short") else f", not {_kind_of(problem['input'])}"
        detail = _WORDS.get(kind, str(problem["msg"])) + given
    return {"pointer": pointer(loc), "detail": detail}


_WORDS = {
    "missing": "is missing", "model_type": "must be an object", "dict_type": "must be an object",
    "string_type": "must be a string", "bool_type": "must be `true` or `false`", "too_short": "must not be empty",
}


def _kind_of(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else quote(value)
