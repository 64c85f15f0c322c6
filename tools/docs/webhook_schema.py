"""docs/webhook.schema.json: the body of a deployment's event, from the words of the code."""

import json
from collections.abc import Collection, Mapping

from bot.deployments.model import Failure, Live, Status, Trigger
from bot.deployments.refs import MOST_LISTED
from bot.outbox import CORRECTED
from bot.webhooks.payload import EVENTS, LINE_CHARACTERS, TAIL_LINES

Schema = Mapping[str, object]

_TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"}
_TEXT: Schema = {"type": "string"}
_SHA: Schema = {"type": "string", "pattern": "^[0-9a-f]{40}(?:[0-9a-f]{24})?$"}
_ULID: Schema = {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _words(words: Collection[str]) -> Schema:
    return {"type": "string", "enum": sorted(words)}


def _object(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> Schema:
    # Without `additionalProperties: false`: fields may be added, and receivers ignore those.
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": dict(properties)}


def webhook_schema() -> str:
    """The file's text."""
    outcome = {
        "status": _words(set(Status)),
        "failure": _or_null(_words(set(Failure))),
        "live": _or_null(_words(set(Live))),
    }
    data = {
        "id": _ULID,
        "server": _TEXT,
        "app": _TEXT,
        "ref": _TEXT,
        "sha": _or_null(_SHA),
        "previous_sha": _or_null(_SHA),
        **outcome,
        "reason": _or_null(_TEXT),
        "requested_by": _object({"user": _TEXT, "team": _or_null(_TEXT), "name": _or_null(_TEXT)}),
        "trigger": _words(set(Trigger)),
        "queued_at": _or_null(_TIME),
        "started_at": _or_null(_TIME),
        "finished_at": _or_null(_TIME),
        "duration_s": _or_null({"type": "number", "minimum": 0}),
        "build_id": _or_null(_TEXT),
        "rollback_of": _or_null(_ULID),
        "retry_of": _or_null(_ULID),
        "url": _or_null(_TEXT),
        "commits": {
            "type": "array",
            "maxItems": MOST_LISTED,
            "items": _object({"sha": _SHA, "subject": _TEXT, "author": _TEXT}),
        },
        "slack": _object({name: _or_null(_TEXT) for name in ("channel", "ts", "permalink")}),
        "log_tail": {
            "type": "array",
            "maxItems": TAIL_LINES,
            "items": {"type": "string", "maxLength": LINE_CHARACTERS},
        },
        "corrected_from": _object(outcome),
    }
    body = _object(
        {
            "type": _words(EVENTS),
            "timestamp": _TIME,
            "data": _object(data, optional=["corrected_from"]),
        }
    )
    corrected = {"properties": {"type": {"const": CORRECTED}}}
    has_former = {"properties": {"data": {"required": ["corrected_from"]}}}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "deploybot webhook",
        "description": "The body of an event about a deployment. docs/webhooks.md explains it.",
        **body,
        "if": corrected,
        "then": has_former,
        "else": {"not": has_former},
    }
    return json.dumps(schema, indent=2) + "\n"
