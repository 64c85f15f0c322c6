"""Reads the build records of Dokku >= 0.38. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from bot.deployments.dokku_facts import BuildRecord, BuildStatus
from bot.dokku.reports import Mask, odd, read_json

_KILLED = "-----> Killing app deploy"
_DURATION = re.compile(r"(?:(?P<hours>\d{1,6})h)?(?:(?P<minutes>\d{1,2})m)?(?P<seconds>\d{1,2})s")


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
        status=_status(item),
        source=_text(item.get("source") or ""),
        kind=_text(item.get("kind") or "build"),
        exit_code=None if exit_code is None else int(exit_code),
        started_at=_text(item.get("started_at") or ""),
        duration=_duration(item.get("duration")),
    )


def _status(item: Mapping[str, Any]) -> BuildStatus:
    """A word of a later Dokku must not stop every deployment of the app.

    What has not finished may be running, and what has finished has not told how.
    """
    word = _text(item.get("display_status") or item["status"])
    if word in set(BuildStatus):
        return BuildStatus(word)
    return BuildStatus.ABANDONED if item.get("finished_at") else BuildStatus.RUNNING


def _duration(told: object) -> timedelta | None:
    """`37s`, `1m5s`, `2h0m1s`: Go's form, in whole seconds. None for any other.

    It is shown, and decides nothing: an odd one must not make the whole answer an odd one.
    """
    found = _DURATION.fullmatch(told) if isinstance(told, str) else None
    if found is None:
        return None
    return timedelta(**{unit: int(number or 0) for unit, number in found.groupdict().items()})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
