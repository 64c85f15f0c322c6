"""Reads `ps:inspect`. Pure. Only the few fields below leave this module: the answer holds secrets.

Dokku masks most, but not all, values of the environment in it, and neither command lines nor
labels. So an answer that cannot be read is never quoted.
"""

import re
from collections.abc import Mapping
from typing import Any

from bot.deployments.dokku_facts import Container, Containers
from bot.dokku.reports import json_amid_noise
from bot.errors import OddReport

_DYNO = "com.dokku.dyno"
_GONE = re.compile(r"No such container: (?P<id>[0-9a-f]{12,64})", re.IGNORECASE)
_ID = re.compile(r"[0-9a-f]{12,64}")


def read_containers(text: str) -> Containers:
    """The containers in an answer, sorted by process. OddReport says nothing of its content."""
    try:
        listed = _containers(json_amid_noise(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without the cause: its message may hold a part of the answer.
        raise OddReport(
            f"Dokku answered `ps:inspect` with {len(text)} characters that could not be read."
        ) from None
    return Containers(listed=tuple(sorted(listed, key=lambda one: (one.process, one.id))))


def read_gone(errors: str) -> frozenset[str]:
    """Ids (12 hex) of listed containers that docker does not have any more.

    Empty when docker says anything else as well: then it did not answer for all of them. Dokku
    removes crashed-out containers when the next build begins, and goes on listing them
    (recording inspect_d_crash_loops, step `missing`).
    """
    lines = [line for line in errors.splitlines() if line.strip()]
    found = [_GONE.search(line) for line in lines]
    return frozenset(one["id"][:12] for one in found if one) if all(found) else frozenset()


def _containers(raw: object) -> list[Container]:
    if not isinstance(raw, list):
        raise TypeError
    return [_container(item) for item in raw]


def _container(item: Mapping[str, Any]) -> Container:
    full = item["Id"]
    if not _ID.fullmatch(full):
        raise ValueError
    return Container(
        id=full[:12],
        process=str(item["Config"]["Labels"][_DYNO]),
        image=str(item["Image"]),
        state=str(item["State"]["Status"]),
        restarts=int(item.get("RestartCount", 0)),
        started_at=str(item["State"].get("StartedAt", "")),
    )
