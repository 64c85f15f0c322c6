"""A repository's password: Dokku and git get it, and nobody else ever sees or stores it."""

import json
import logging
from pathlib import Path

import pytest

from bot.deployments.model import Live, Phase
from tests.scenarios.conftest import open_world
from tests.support.planted import everything_in

PASSWORD = "f0rge-pass%2Fw0rd"
READABLE = "f0rge-pass/w0rd"


def with_userinfo(address: str) -> str:
    return address.replace("://", f"://robot:{PASSWORD}@")


@pytest.mark.parametrize("known_from", ["template", "table", "dokku"])
async def test_deploy_proves_its_success_and_keeps_no_password(
    tmp_path: Path,
    known_from: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_world(tmp_path) as world:
        forge = world.simulators.forge
        forge.private_for_test("myapp", f"robot:{READABLE}")
        address = with_userinfo(forge.url("myapp"))
        # Someone deployed it with the address that holds the password.
        recorded = world.app.deploy_source_metadata
        assert recorded.startswith(forge.url("myapp"))
        world.app.deploy_source_metadata = with_userinfo(recorded)
        world.environ.pop("DEPLOYBOT_REPO_TEMPLATE")
        if known_from == "template":
            world.environ["DEPLOYBOT_REPO_TEMPLATE"] = with_userinfo(forge.url("{app}"))
        if known_from == "table":
            (tmp_path / "deploybot.toml").write_text(f'[apps.myapp]\nrepo = "{address}"\n')
        await world.start_bot()
        await world.deploy("myapp main")
        message = await world.until_message("Deployed", "myapp")
        (row,) = await world.rows()
        assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)
        assert row.sha == forge.sha("myapp", "main")
        assert row.repo == forge.url("myapp")
        # Dokku was given all of it.
        assert world.app.deploy_source_metadata == f"{address}#{row.sha}"
        await world.simulators.receiver.wait_delivered(1)
        await world.deploy("rollback myapp")
        texts = {
            "message": f"{message.text} {message.blocks}",
            "slack": json.dumps([dict(call.args) for call in world.slack.calls], default=str),
            "webhooks": json.dumps([dict(one.body) for one in world.simulators.receiver.received]),
            "rows": repr(await world.rows()),
        }
    texts["log"] = caplog.text
    texts["database"] = everything_in(tmp_path / "deploybot.db")
    assert [place for place, text in texts.items() if PASSWORD in text or READABLE in text] == []
    assert "robot" not in texts["database"] + texts["webhooks"]
