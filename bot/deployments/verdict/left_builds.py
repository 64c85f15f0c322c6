"""Builds that go on without the bot's connection, or in front of a deployment. Pure.

`builds:cancel` takes no id: it ends what Dokku's lock file names, by the PID in its record. So it
may be sent only where the record of the intended build is the only one that is shown running; and
a record is shown running while any process has its PID, so only a log that grows proves a life.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.deployments.dokku_facts import BuildRecord, BuildStatus
from bot.deployments.model import AuditEntry
from bot.deployments.verdict.outside_changes import command_of, how_to_end
from bot.errors import Declined

ASKED, SENT = "server_cancel_asked", "server_cancel_sent"
"""Audit words: someone asked to cancel a build on the server; Dokku answered `builds:cancel`."""
BUILD = "build"
"""The key of the build's id in both entries."""
NOTHING_SENT = "Nothing was sent."

Trail = Sequence[tuple[datetime, AuditEntry]]


def only_running(records: Sequence[BuildRecord], build_id: str, app: str) -> BuildRecord:
    """The record of that build, if `builds:cancel` can only mean it. Declined, with the reason."""
    record = next((one for one in records if one.id == build_id), None)
    if record is None:
        raise Declined(f"Dokku has no record of build {build_id} any more. {NOTHING_SENT}")
    if record.status is not BuildStatus.RUNNING:
        raise Declined(
            f"Dokku build {build_id} does not run any more: its record says {record.status}. "
            f"{NOTHING_SENT}"
        )
    if record.kind != "build":
        raise Declined(
            f"Dokku build {build_id} is a {command_of(record)}, which holds no deploy lock: "
            f"`builds:cancel` could not end it. {NOTHING_SENT} {how_to_end(record, app)}"
        )
    others = [
        one
        for one in records
        if one.status is BuildStatus.RUNNING and one.kind == "build" and one.id != build_id
    ]
    if others:
        raise Declined(
            f"Dokku build {others[0].id} of {app} runs as well. `builds:cancel` takes no id and "
            f"could end the other one. {NOTHING_SENT}"
        )
    return record


def is_approved(trail: Trail, build_id: str) -> bool:
    """Whether someone asked to cancel that build on the server, and Dokku has not answered since.

    A cancel that was perhaps never sent is sent again, while the record is still shown running.
    """
    asked = False
    for _, entry in trail:
        if entry.detail.get(BUILD) == build_id and entry.action in {ASKED, SENT}:
            asked = entry.action == ASKED
    return asked


def refuse_again(trail: Trail, build_id: str, now: datetime, pause: timedelta) -> None:
    """Declined: someone asked to cancel that build a moment ago."""
    for at, entry in trail:
        # Either way: the clock may have been set back since.
        lately = abs(now - at) < pause
        if entry.action == ASKED and entry.detail.get(BUILD) == build_id and lately:
            by = entry.actor.name or entry.actor.user
            raise Declined(
                f"{by} asked to cancel Dokku build {build_id} on the server a moment ago. Its "
                "record shows soon whether it has ended."
            )
