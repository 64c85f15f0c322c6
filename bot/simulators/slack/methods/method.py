"""One Web API method: its handler, arguments, token, scopes and tier.

Source: Slack's own method facts (slack-ruby/slack-api-ref, docs.slack.dev/methods). Arguments that
exist but are not modelled are left out on purpose: using one is an error that names it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot.simulators.slack.model import ApiError, Json

ArgumentKind = Literal["string", "boolean", "integer", "json"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a method answers, takes and needs."""

    handler: Callable[[Json], Json]
    """Typed arguments in, answer out. Raises ApiError to refuse."""
    arguments: Mapping[str, ArgumentKind]
    required: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    """Any one of these is enough; empty: no scope is needed."""
    tier: int | None = None
    """Rate limit tier; None is Slack's "special" tier."""
    token: Literal["bot", "app"] = "bot"


def read_arguments(method: Method, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the arguments of a form (all strings) or a JSON body to their types.

    Raises: ApiError invalid_arguments, naming every argument that is unknown, missing or malformed.
    """
    read: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in raw.items():
        # Slack's own SDK adds the team to every call of a client made for one team.
        if value is None or key == "team_id":
            continue
        kind = method.arguments.get(key)
        if kind is None:
            problems.append(f"[ERROR] argument not modelled by this workspace: {key}")
            continue
        try:
            read[key] = _CONVERT[kind](value)
        except (TypeError, ValueError):
            problems.append(f"[ERROR] argument {key} must be a {kind}")
    problems += [
        f"[ERROR] missing required field: {key}" for key in method.required if key not in read
    ]
    if problems:
        raise ApiError("invalid_arguments", messages=problems)
    return read


def _as_string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _as_boolean(value: Any) -> bool:
    match value:
        case True | "true" | "1" | 1:
            return True
        case False | "false" | "0" | 0:
            return False
        case _:
            raise ValueError


def _as_integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(value)


def _as_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


_CONVERT = {
    "string": _as_string,
    "boolean": _as_boolean,
    "integer": _as_integer,
    "json": _as_json,
}
