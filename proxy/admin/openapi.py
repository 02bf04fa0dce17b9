"""openapi.json (3.1), made from the table of operations, the models of bodies and the types of answers.

Nothing in it is written twice: a parameter, body or answer that is not checked or made by the same value is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter

from proxy import __version__
from proxy.admin import problems
from proxy.admin.operations import JSON, Operation, Parameter
from proxy.admin.shapes import ProblemShape

_REF = "#/components/schemas/{model}"
_EVERYWHERE = (400, 401, 403, 421, 429)
"""What any request can be answered: a query that is wrong, and what the guard says."""
_OPEN = (400, 421)
_WITH_BODY = (408, 413, 415, 422)
_NOT_THERE = 404
_ETAG = {"description": "The revision, in quotes.", "schema": {"type": "string", "pattern": '^"[0-9]+"$'}}
_PATH = re.compile(r"\{([a-z_]+)\}")

Json = dict[str, Any]


def document(operations: Iterable[Operation]) -> Json:
    """The description of these operations."""
    schemas: Json = {}
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Turnout", "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Moves live traffic between versions of a service. Times are seconds since the epoch.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {
            "type": "http", "scheme": "bearer", "description": "One of `admin.tokens`; none where there are none."}}},
    }


def _operation(operation: Operation, schemas: Json) -> Json:
    described: Json = {
        "operationId": _id(operation),
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *map(_parameter, operation.query), *_conditions(operation)],
        "responses": _responses(operation, schemas),
        "security": [] if operation.role == "nobody" else [{"token": []}, {}],
    }
    if operation.role != "nobody":
        described["description"] = f"Needs the role `{operation.role}`, where there are tokens."
    if body := _body(operation, schemas):
        described["requestBody"] = body
    return described


def _id(operation: Operation) -> str:
    words = [word.strip("{}") for word in re.split(r"[/.]", operation.path) if word not in ("", "api", "v1")]
    return "_".join([operation.method.lower(), *words])


def _path_parameters(operation: Operation) -> list[Json]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PATH.findall(operation.path)]


def _parameter(parameter: Parameter) -> Json:
    return {"name": parameter.name, "in": "query", "description": parameter.description,
            "schema": dict(parameter.schema)}


def _conditions(operation: Operation) -> list[Json]:
    if not operation.conditional:
        return []
    return [{"name": "If-Match", "in": "header", "schema": {"type": "string"}, "description":
             "Change it only if its ETag is one of these; 412 with the current state otherwise."}]


def _body(operation: Operation, schemas: Json) -> Json | None:
    if operation.body is None:
        return None
    content: Json = {JSON: {"schema": _schema(operation.body, schemas, "validation")}}
    for media in operation.raw_body:
        content.setdefault(media, {"schema": {"type": "string"}})
    required = any(info.is_required() for info in operation.body.model_fields.values())
    return {"required": required, "content": content}


def _responses(operation: Operation, schemas: Json) -> Json:
    right: Json = {"description": HTTPStatus(operation.status).phrase}
    content = {media: {"schema": _schema(operation.answer, schemas, "serialization") if media == JSON
                       else {"type": "string"}} for media in operation.media}
    if content:
        right["content"] = content
    if operation.conditional or operation.has_etag:
        right["headers"] = {"ETag": _ETAG}
    responses = {str(operation.status): right}
    for status, answer in operation.also.items():
        other: Json = {"description": HTTPStatus(status).phrase}
        if answer is not None:
            other["content"] = {JSON: {"schema": _schema(answer, schemas, "serialization")}}
        responses[str(status)] = other
    refusal = _schema(ProblemShape, schemas, "serialization")
    for status in _refusals(operation):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase, "content": {problems.MEDIA_TYPE: {"schema": refusal}}}
    return dict(sorted(responses.items()))


def _refusals(operation: Operation) -> Iterable[int]:
    statuses = {*(_OPEN if operation.role == "nobody" else _EVERYWHERE), *operation.refusals}
    if operation.body is not None or operation.raw_body:
        statuses.update(_WITH_BODY)
    if "{" in operation.path:
        statuses.add(_NOT_THERE)
    if operation.conditional:
        statuses.add(412)
    return statuses


def _schema(of: Any, schemas: Json, mode: Any) -> Json:
    """A reference to the schema of a model or type; it and all it needs are put among the components."""
    if of is Any or of is dict:
        return {"type": "object"}
    made = TypeAdapter(of).json_schema(ref_template=_REF, mode=mode)
    for name, schema in made.pop("$defs", {}).items():
        schemas[name] = _tidy(schema)
    name = made["title"]
    schemas[name] = _tidy(made)
    return {"$ref": _REF.format(model=name)}


def _tidy(schema: Any) -> Any:
    """Without the titles and defaults that only repeat names; a mapping by pattern takes no other keys."""
    if isinstance(schema, list):
        return [_tidy(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {word: _tidy(entry) for word, entry in schema.items()
            if not (word == "title" and isinstance(entry, str)) and not (word == "default" and entry is None)}
    if "patternProperties" in tidy:
        tidy.setdefault("additionalProperties", False)
    return tidy
