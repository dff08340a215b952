"""The published JSON Schema of manifests is the one that the code reads by."""

import json
from pathlib import Path

import jsonschema_rs

from atoll import canonical
from atoll.computation.manifest import Manifest
from atoll.wire import schema
from support.computations import manifest

PUBLISHED = Path(__file__).parents[3] / "docs" / "formats" / "manifest.schema.json"


def made() -> str:
    """What is published; write this to the file after a change of the format."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:atoll:manifest:v2",
    }
    return json.dumps({**head, **schema.json_schema(Manifest)}, indent=1) + "\n"


def test_it_follows_from_the_code() -> None:
    assert PUBLISHED.read_text("utf-8") == made()


def test_a_manifest_is_valid_by_it_and_a_damaged_one_is_not() -> None:
    validator = jsonschema_rs.Draft202012Validator(json.loads(PUBLISHED.read_bytes()))
    plain = canonical.loads(manifest().to_bytes())
    validator.validate(plain)
    assert not validator.is_valid({**plain, "surprise": 1})
    assert not validator.is_valid({**plain, "steps": []})
    assert not validator.is_valid({**plain, "type": "atoll.manifest/v1"})
