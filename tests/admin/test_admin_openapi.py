"""The description and what is served are the same thing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import pytest
import schemathesis

from proxy.admin.api import Api
from proxy.admin.bodies import SplitBody
from proxy.admin.openapi import document
from tests.support.admin import Asked, asked, run

Json = dict[str, Any]


def described() -> tuple[Json, Api]:
    async def make() -> tuple[Json, Api]:
        async with asked(start=False) as it:
            answer = await it.get("/api/v1/openapi.json")
            assert answer.status == 200
            api = Api(it.control)
            api.tally.close()
            return answer.body, api

    return asyncio.run(make())


@pytest.fixture(scope="module")
def description() -> Json:
    return described()[0]


def test_what_is_served_is_described_and_what_is_described_is_served() -> None:
    description, api = described()
    routes = {(route.method, route.resource.canonical) for route in api.app().router.routes()
              if route.resource is not None and route.method != "HEAD"}
    paths = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    assert routes == paths
    assert len(paths) >= 29


def test_every_schema_in_it_is_one(description: Json) -> None:
    assert description["openapi"] == "3.1.0"
    for schema in description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(description: Json) -> None:
    schemas = description["components"]["schemas"]

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for entry in value.values() for found in references(entry)]
        return [found for entry in value for found in references(entry)] if isinstance(value, list) else []

    found = references(description)
    assert found
    assert {reference.rpartition("/")[2] for reference in found} == set(schemas)


def test_it_is_openapi_3_1_to_a_strict_reader(description: Json) -> None:
    schema = schemathesis.openapi.from_dict(description)
    schema.validate()
    assert len(list(schema.get_all_operations())) == sum(map(len, description["paths"].values()))


def test_each_operation_says_who_may_and_what_it_answers(description: Json) -> None:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert any(status.startswith("2") for status in operation["responses"])
            open_to_all = operation["security"] == []
            assert open_to_all == (path in ("/livez", "/readyz"))
            if not open_to_all:
                assert {"401", "403", "429"} <= set(operation["responses"])
            if method in ("put", "patch"):
                assert {"412", "413", "415", "422"} <= set(operation["responses"])


def test_names_of_operations_are_all_different(description: Json) -> None:
    names = [operation["operationId"] for methods in description["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)
    assert "put_routes_route_split" in names


def test_what_the_description_of_a_body_takes_the_body_takes(description: Json) -> None:
    schema = {**description["components"]["schemas"]["SplitBody"]}
    validator = jsonschema.Draft202012Validator(schema)
    for body, good in (
        ({"split": {"old": 1, "new": 0.5}}, True), ({"split": {"old": "95%", "new": "5%"}}, True),
        ({"split": {}}, False),
        ({"split": {"old": -1}}, False), ({"split": {"o d": 1}}, False), ({"split": {"old": 1}, "x": 1}, False),
        ({"split": {"old": 1}, "confirm_within": "10m"}, True), ({"split": {"old": 1}, "confirm_within": "10"}, False),
        ({}, False),
    ):
        assert validator.is_valid(body) is good, body
    assert json.dumps(description)
    assert document([])["paths"] == {}
    assert set(SplitBody.model_fields) == set(schema["properties"])


def test_answers_are_as_described(description: Json) -> None:
    """Every answer that can be had at once, against its schema; the scenario with random requests does more."""
    async def test(it: Asked) -> None:
        await it.split({"old": 50, "new": 50}, confirm_within="10m")
        for path, methods in description["paths"].items():
            if "get" not in methods or "stream" in path:
                continue
            answer = await it.get(path.format(route="shop", version="old"))
            content = methods["get"]["responses"][str(answer.status)]["content"]
            if "application/json" in content:
                _check(description, content["application/json"]["schema"], answer.body)
        for method, path, body in (
            ("PUT", "/api/v1/routes/{route}/split", {"split": {"old": 1, "new": 1}}),
            ("POST", "/api/v1/routes/{route}/rollback", {}), ("POST", "/api/v1/rollback", {}),
            ("POST", "/api/v1/explain", {"path": "/api/x"}), ("POST", "/api/v1/config/validate", {"config": "a: 1"}),
            ("PUT", "/api/v1/routes/{route}/split", {"split": {"x": 1, "y": 2}}),
            ("POST", "/api/v1/routes/{route}/confirm", None), ("POST", "/api/v1/config/reload", None),
            ("POST", "/api/v1/upgrade", None), ("POST", "/api/v1/versions/{version}/drain", {"force": True}),
            ("POST", "/api/v1/versions/{version}/restore", {"server": "nowhere"}),
        ):
            answer = await it.ask(method, path.format(route="shop", version="old"), body)
            responses = description["paths"][path][method.lower()]["responses"]
            content = responses[str(answer.status)]["content"]
            _check(description, content[answer.headers["Content-Type"].partition(";")[0]]["schema"], answer.body)

    run(test)


def _check(description: Json, schema: Json, body: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": description["components"]}).validate(body)
