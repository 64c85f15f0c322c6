"""A setting's default is `bot/config/settings.py`'s; a class that repeats it has the same one."""

from dataclasses import MISSING, Field, fields
from typing import Any

import pytest

from bot.config.settings import ServerTable, SettingsTable, Table
from bot.deployments.model import AppPolicy, Deployment
from bot.deployments.timing import Timing
from bot.ssh_target import SshTarget


@pytest.mark.parametrize(
    ("repeats", "table", "names"),
    [
        (
            Timing,
            SettingsTable,
            {
                "poll_interval",
                "max_poll_errors",
                "settle",
                "queue_ttl",
                "approval_ttl",
                "tracker_ttl",
                "late_interval",
                "late_duration",
            },
        ),
        (Deployment, SettingsTable, {"max_duration"}),
        (AppPolicy, SettingsTable, {"max_duration"}),
        (SshTarget, ServerTable, {"port", "runner", "user"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_repeated_defaults_are_the_settings_own(
    repeats: type, table: type[Table], names: set[str]
) -> None:
    repeated: dict[str, Field[Any]] = {
        one.name: one
        for one in fields(repeats)
        if one.name in table.model_fields and one.default is not MISSING
    }

    assert repeated.keys() == names
    for name, one in repeated.items():
        assert one.default == table.model_fields[name].default, name
