"""A deployment that was reported as lost, and what its server shows later."""

from datetime import timedelta
from typing import Any

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Deployment, Failure, Live, Phase
from tests.support.builders import (
    METADATA,
    NEW,
    NOW,
    a_snapshot,
    containers,
)
from tests.support.fake_dokku import GOOD, FakeDokku
from tests.support.rig import Rig, a_rig, waiting

LOST = "Contact was lost."


def a_lost_deployment(**changes: Any) -> Deployment:
    """Return a started deployment that was reported as lost, with an unknown live state."""
    given: dict[str, Any] = {
        "phase": Phase.FAILED,
        "failure": Failure.LOST_CONTACT,
        "live": Live.UNKNOWN,
        "reason": LOST,
        "started_at": NOW - timedelta(minutes=10),
        "finished_at": NOW - timedelta(minutes=1),
        "created_at": NOW - timedelta(minutes=11),
        "before": a_snapshot(),
        "build_id": "b1",
    }
    return waiting(**(given | changes))


def a_newer_deployment(**changes: Any) -> Deployment:
    given: dict[str, Any] = {
        "id": "NEWER",
        "request_key": "newer",
        "phase": Phase.FAILED,
        "failure": Failure.BUILD_FAILED,
        "live": Live.PREVIOUS,
        "finished_at": NOW,
    }
    return waiting(**(given | changes))


def an_idle_rig(*rows: Deployment, **options: Any) -> Rig:
    """Create a replica that does nothing by itself."""
    rig = a_rig(*rows, start=False, **options)
    rig.dokku.add_record("b1", BuildStatus.RUNNING, text=GOOD)
    return rig


def put(rig: Rig, row: Deployment) -> None:
    rig.store.rows[row.id] = row
    rig.store.leases[row.id] = rig.store.new_lease()


def build_succeeds(dokku: FakeDokku) -> None:
    """Let the build succeed without the bot."""
    dokku.set_status("b1", BuildStatus.SUCCEEDED, 0)
    dokku.now = containers(NEW)
    dokku.metadata = METADATA


def build_fails(dokku: FakeDokku) -> None:
    dokku.texts["b1"] = ("> fetching", "> building", "> error build_failed npm ci failed")
    dokku.set_status("b1", BuildStatus.FAILED, 1)


async def late_look(rig: Rig, for_s: float = 30.0) -> Deployment:
    await rig.late.look()
    await rig.passes(for_s)
    return rig.row(a_lost_deployment().id)
