"""The document says what the routes do, because both are made from one table."""

import json
import re
from typing import Any

import jsonschema_rs
import openapi_spec_validator
import pytest
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from atoll.wire import schema
from atoll_gateway.http import openapi
from atoll_gateway.http.operation import Operation
from atoll_gateway.http.routes import OPERATIONS
from support.gateway import submission
from unit.gateway.http.gateway import Gateway

DOCUMENT = openapi.document("1.2.3")


def operation(row: Operation) -> dict[str, Any]:
    found = DOCUMENT["paths"][row.path][row.method.lower()]
    assert isinstance(found, dict)
    return found


def test_is_legal_openapi() -> None:
    openapi_spec_validator.validate(DOCUMENT)


@pytest.mark.parametrize("place", ["info", "paths"])
def test_the_checker_would_notice(place: str) -> None:
    broken = {**DOCUMENT, place: {"wrong": 1}}
    with pytest.raises(OpenAPIValidationError):
        openapi_spec_validator.validate(broken)


async def test_is_served_to_everybody() -> None:
    answer = await Gateway().call("GET", "/openapi.json", token=None)
    assert answer.status == 200
    assert answer.json["openapi"] == "3.1.0"
    assert answer.json["paths"] == DOCUMENT["paths"]


def test_no_two_operations_share_an_id_or_a_place() -> None:
    assert len({row.id for row in OPERATIONS}) == len(OPERATIONS)
    assert len({(row.method, row.path) for row in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.id)
def test_every_operation_names_its_parameters_answers_and_errors(row: Operation) -> None:
    found = operation(row)
    in_path = {item["name"] for item in found["parameters"] if item["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", row.path))
    statuses = set(map(int, found["responses"]))
    assert statuses == {*row.answers, *openapi.error_statuses(row)}
    assert {400, 500, 503} <= statuses
    assert (401 in statuses) == row.secured == bool(found["security"])
    assert ("requestBody" in found) == (row.body is not None) == (413 in statuses)


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {str(value["$ref"])} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    names = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert references(DOCUMENT["paths"]) == names


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_component_is_legal_json_schema(name: str) -> None:
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])


async def test_answers_have_the_form_that_is_documented() -> None:
    gateway = Gateway()
    answer = await gateway.submit()
    schemas = DOCUMENT["components"]["schemas"]
    jsonschema_rs.Draft202012Validator(schemas["JobView"]).validate(answer.json)
    refused = await gateway.call("GET", "/v1/jobs/nobody")
    jsonschema_rs.Draft202012Validator(schemas["HttpError"]).validate(refused.json)
    plain = schema.to_plain(submission(), json=True)
    jsonschema_rs.Draft202012Validator(schemas["SubmitRequest"]).validate(plain)


def test_the_document_is_the_same_every_time() -> None:
    assert openapi.encoded("1") == openapi.encoded("1")
    assert json.loads(openapi.encoded("1"))["info"]["version"] == "1"
