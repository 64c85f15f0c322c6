"""Hold webhook bodies against the schema that receivers get."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[2] / "docs" / "webhook.schema.json"


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def schema_errors(body: Mapping[str, object]) -> list[str]:
    """What of a body the schema forbids, each with its place."""
    # As a receiver reads it: a tuple is a list there.
    read = json.loads(json.dumps(body))
    found = _validator().iter_errors(read)
    return [f"{one.json_path}: {one.message}" for one in found]
