"""Reads the build records of Dokku >= 0.38. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.deployments.model import BuildRecord, BuildStatus
from bot.dokku.reports import Mask, odd, read_json

_KILLED = "-----> Killing app deploy"


def read_builds(text: str, mask: Mask) -> Sequence[BuildRecord]:
    """`builds:list APP --format json`, newest first. Unknown keys are ignored. OddReport."""
    raw = read_json(text, "builds:list", mask)
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise odd("builds:list", text, mask)
    try:
        return [_record(item) for item in raw]
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise odd("builds:list", text, mask) from err


def killed_a_deploy(text: str) -> bool:
    """Whether `builds:cancel` says that it killed a deploy; its exit status is 0 either way."""
    return any(line.strip() == _KILLED for line in text.splitlines())


def _record(item: Mapping[str, Any]) -> BuildRecord:
    """`display_status` is what counts: `status` says running for builds that died."""
    exit_code = item.get("exit_code")
    return BuildRecord(
        id=_text(item["id"]),
        app=_text(item["app"]),
        status=BuildStatus(item.get("display_status") or item["status"]),
        source=_text(item.get("source", "")),
        kind=_text(item.get("kind", "build")),
        exit_code=None if exit_code is None else int(exit_code),
        started_at=_text(item.get("started_at", "")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
