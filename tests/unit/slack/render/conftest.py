"""Builders and snapshots for rendering."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.deployments.model import Actor, Deployment, Trigger

SNAPSHOTS = Path(__file__).parent / "snapshots"
NOW = datetime(2026, 11, 24, 12, 3, 20, tzinfo=UTC)
SHA = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def a_deployment() -> Callable[..., Deployment]:
    """Build a deployment that started 80 s before `now`; keywords override."""

    def build(**changes: Any) -> Deployment:
        begun = NOW - timedelta(seconds=80)
        values: dict[str, Any] = {
            "id": "01K9ZB3V7N8Q4R5S6T7V8W9X0Y",
            "server": "production",
            "app": "myapp",
            "dokku_app": "myapp",
            "repo": "https://git.example.com/acme/myapp.git",
            "ref": "main",
            "sha": SHA,
            "ready": True,
            "requested_by": Actor(user="U0ADA", team="T1", name="ada"),
            "trigger": Trigger.COMMAND,
            "request_key": "1.2.3",
            "channel": "C1",
            "created_at": begun,
            "started_at": begun,
        }
        return Deployment(**{**values, **changes})

    return build


@pytest.fixture(scope="session")
def check_snapshot() -> Callable[[str, object], None]:
    """Compare with `snapshots/<name>.json`; UPDATE_SNAPSHOTS=1 rewrites it."""

    def check(name: str, value: object) -> None:
        path = SNAPSHOTS / f"{name}.json"
        shown = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.write_text(shown, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == shown, f"{path.name} differs from what is shown"

    return check
