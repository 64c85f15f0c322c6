"""Checks of messages and views: what real Slack refuses to show."""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models import JsonObject
from slack_sdk.models.blocks import Block, DividerBlock
from slack_sdk.models.views import View as SdkView

from bot.simulators.slack import blockkit
from bot.simulators.slack.model import ApiError, Json
from bot.simulators.slack.schema import Problems, complain

UPDATE_TEXT = 4_000
POST_TEXT = 40_000
BLOCKS_TEXT = 12_000
"""Undocumented sum over all blocks; Slack's staff: "12,000 text characters with a buffer"."""
VIEW_BYTES = 250_000
METADATA_BYTES = 16_000


def check_message_blocks(value: Any) -> list[Json]:
    """Check a message's blocks; return them ready to store, ids filled in as Slack does.

    Raises ApiError invalid_blocks_format, invalid_blocks (with JSON pointers),
    msg_blocks_too_long.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ApiError("invalid_blocks_format") from None
    if not isinstance(value, list):
        raise ApiError("invalid_blocks_format")
    problems: Problems = []
    blockkit.message_blocks(value, "/blocks", problems)
    _check_ids(value, "/blocks", problems)
    if not problems:
        _ask_the_sdk(value, "/blocks", problems)
    if problems:
        raise ApiError("invalid_blocks", messages=_worded(problems), errors=problems)
    if (total := sum(map(len, _characters(value)))) > BLOCKS_TEXT:
        raise ApiError(
            "msg_blocks_too_long",
            messages=[f"[ERROR] {total} characters in all blocks, {BLOCKS_TEXT} allowed"],
        )
    return fill_in(value)


def check_view(value: Any, *, kind: Literal["modal", "home"], pointer: str = "/view") -> Json:
    """Check a view as the app sent it; return it ready to store.

    Raises ApiError invalid_arguments (with JSON pointers), view_too_large.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ApiError("invalid_arguments", messages=["[ERROR] view is not JSON"]) from None
    problems: Problems = []
    blockkit.view(value, pointer, problems)
    if isinstance(value, dict):
        if value.get("type") in {"modal", "home"} and value["type"] != kind:
            complain(problems, f"must be a {kind}", f"{pointer}/type")
        if isinstance(value.get("blocks"), list):
            _check_ids(value["blocks"], f"{pointer}/blocks", problems)
        if not problems:
            _ask_the_sdk(value["blocks"], f"{pointer}/blocks", problems)
            # The SDK was asked about each block; of all of them it checks only the number.
            frame = {**value, "blocks": [DividerBlock()] * len(value["blocks"])}
            if problem := _formation_problem(SdkView(**frame)):
                complain(problems, problem, pointer)
    if problems:
        raise ApiError("invalid_arguments", messages=_worded(problems))
    if len(json.dumps(value).encode()) > VIEW_BYTES:
        raise ApiError("view_too_large")
    return {**value, "blocks": fill_in(value["blocks"])}


def check_metadata(value: Any) -> Json | None:
    """Check message metadata; return None for an empty object, which removes it.

    Raises ApiError invalid_metadata_format, invalid_metadata_schema, metadata_too_large.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ApiError("invalid_metadata_format") from None
    if not isinstance(value, dict):
        raise ApiError("invalid_metadata_format")
    if not value:
        return None
    if set(value) != {"event_type", "event_payload"}:
        raise ApiError("invalid_metadata_schema")
    if not isinstance(value["event_type"], str) or not isinstance(value["event_payload"], dict):
        raise ApiError("invalid_metadata_schema")
    if len(json.dumps(value).encode()) > METADATA_BYTES:
        raise ApiError("metadata_too_large")
    return value


def fill_in(blocks: list[Json]) -> list[Json]:
    """Return a copy with the ids and defaults that Slack adds when it stores blocks."""
    filled: list[Json] = []
    for number, block in enumerate(json.loads(json.dumps(blocks))):
        block.setdefault("block_id", f"b{number:03d}")
        elements = list(block.get("elements", ())) if block["type"] == "actions" else []
        elements += [block[key] for key in ("accessory", "element") if key in block]
        for place, element in enumerate(elements):
            element.setdefault("action_id", f"{block['block_id']}-{place}")
        _default_text(block)
        filled.append(block)
    return filled


def _default_text(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _default_text(item)
    elif isinstance(node, dict):
        if node.get("type") == "mrkdwn":
            node.setdefault("verbatim", False)
        elif node.get("type") == "plain_text":
            node.setdefault("emoji", True)
        else:
            for inner in node.values():
                _default_text(inner)


def _check_ids(blocks: list[Any], pointer: str, problems: Problems) -> None:
    seen: set[str] = set()
    for number, block in enumerate(blocks):
        if not isinstance(block, Mapping):
            continue
        block_id = block.get("block_id")
        if isinstance(block_id, str):
            if block_id in seen:
                complain(
                    problems,
                    f"`block_id` {block_id!r} already exists",
                    f"{pointer}/{number}/block_id",
                )
            seen.add(block_id)
        elements = block.get("elements") if block.get("type") == "actions" else None
        actions: set[str] = set()
        for place, element in enumerate(elements if isinstance(elements, list) else ()):
            action_id = element.get("action_id") if isinstance(element, Mapping) else None
            if isinstance(action_id, str):
                if action_id in actions:
                    complain(
                        problems,
                        f"`action_id` {action_id!r} already exists",
                        f"{pointer}/{number}/elements/{place}/action_id",
                    )
                actions.add(action_id)


def _ask_the_sdk(blocks: list[Any], pointer: str, problems: Problems) -> None:
    """Run the checks of Slack's SDK too; they know limits that a table may have wrong."""
    for number, raw in enumerate(blocks):
        if problem := _block_problem(json.dumps(raw)):
            complain(problems, problem, f"{pointer}/{number}")


@functools.lru_cache(maxsize=1_000)
def _block_problem(block: str) -> str:
    """What the SDK has against a block, given as JSON; most blocks of an edit are as before."""
    parsed = Block.parse(json.loads(block))
    return "unsupported type" if parsed is None else _formation_problem(parsed)


def _formation_problem(thing: JsonObject) -> str:
    try:
        thing.to_dict()
    except SlackObjectFormationError as error:
        return str(error)
    return ""


def _characters(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _characters(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in {"text", "url"} and isinstance(value, str):
                yield value
            else:
                yield from _characters(value)


def _worded(problems: Problems) -> list[str]:
    return [f"[ERROR] {problem}" for problem in problems]
