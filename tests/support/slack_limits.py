"""What Slack would refuse in a message: by its SDK's models, and by the limits of its pages."""

import copy
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models import JsonObject
from slack_sdk.models.blocks import Block, ButtonElement, ConfirmObject, Option

from bot.slack.render.blocks import (
    ALL_TEXT,
    ANY_TEXT,
    FALLBACK_TEXT,
    MESSAGE_BLOCKS,
    nodes,
    texts,
)
from bot.slack.render.text import length

FIELD_TEXT = 2_000


def validate_message(text: str, blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What Slack would refuse in a message; empty if it can be sent."""
    problems = _check_blocks(blocks, MESSAGE_BLOCKS)
    if not 0 < length(text) < FALLBACK_TEXT:
        problems.append(f"text has {length(text)} characters, 1 to {FALLBACK_TEXT - 1} allowed")
    return problems


def _check_blocks(blocks: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    problems: list[str] = []
    if not 0 < len(blocks) <= most:
        problems.append(f"{len(blocks)} blocks, 1 to {most} allowed")
    if (total := sum(length(text) for _, text in texts(blocks))) > ALL_TEXT:
        problems.append(f"{total} characters in all blocks, {ALL_TEXT} allowed")
    for number, block in enumerate(blocks):
        problems += [f"block {number}: {one}" for one in _check_block(json.dumps(block))]
        problems += _twice("action_id", block)  # unique in its block, says Slack
    return problems + _twice("block_id", blocks)


@lru_cache(maxsize=1_000)
def _check_block(written: str) -> Sequence[str]:
    """Check one block, given as JSON: most blocks come again and again."""
    block: Mapping[str, Any] = json.loads(written)
    parsed = Block.parse(json.loads(written))
    if parsed is None:
        return [f"unknown type {block.get('type')}"]
    problems = _check_model(parsed, "block")
    for node in nodes(block):
        if node.get("type") == "button":
            problems += _check_model(ButtonElement(**copy.deepcopy(dict(node))), "button")
        if "confirm" in node and "type" in node:
            problems += _check_model(
                ConfirmObject(**copy.deepcopy(dict(node["confirm"]))), "confirm"
            )
        for option in node.get("options", ()):
            problems += _check_model(Option(**copy.deepcopy(dict(option))), "option")
    for one in block.get("fields", ()):
        if length(one["text"]) > FIELD_TEXT:
            problems.append(f"a field has {length(one['text'])} characters")
    for rich, text in texts(block):
        if not text or (not rich and length(text) > ANY_TEXT):
            problems.append(f"a text has {length(text)} characters")
    return problems


def _twice(key: str, value: Any) -> list[str]:
    named = [node[key] for node in nodes(value) if key in node]
    return [f"{key} {name} twice" for name in sorted(set(named)) if named.count(name) > 1]


def _check_model(thing: JsonObject, where: str) -> list[str]:
    try:
        thing.to_dict()
    except SlackObjectFormationError as error:
        return [f"{where}: {error}"]
    return []
