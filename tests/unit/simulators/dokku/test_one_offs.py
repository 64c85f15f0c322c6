"""`run:detached` and `run:list`, held against the recording of a deploy that ran in a container."""

import re
from typing import TYPE_CHECKING

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.recordings import NEWEST, load

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

RECORDED = load(NEWEST, "m9_detached_runner_app")
CLIENT, *COMMAND = RECORDED["detached"].argv[2:]
FORMS = ((r"runner\.run\.\d{4}", "NAME"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"))


def shape(text: str) -> str:
    for pattern, form in FORMS:
        text = re.sub(pattern, form, text)
    return text


async def test_detached_deploy_as_recorded(client: "Client", host: DokkuHost) -> None:
    host.create_app("runner", deployed_sha="a" * 40)
    app = host.create_app("api", deployed_sha="a" * 40, repo="git://git.example/api.git")
    host.hold_for_test("api", at="build step 2/")

    started = await client.run(" ".join(RECORDED["detached"].argv))
    assert shape(started.out) == shape(RECORDED["detached"].stdout)
    assert (started.exit, started.err) == (0, "")
    listed = await client.run("run:list runner")
    assert shape(re.sub(r"\d+ seconds", "1 second", listed.out)) == shape(RECORDED["list"].stdout)
    as_json = await client.run("run:list runner --format json")
    assert shape(as_json.out) == shape(RECORDED["list_json"].stdout)

    client.connection.abort()  # the one-off container does not notice
    await host.until(lambda: host.holding("api"))
    assert app.records[-1].display_status == "running"
    host.release_for_test("api")
    await host.until(lambda: not host.one_offs)
    assert (app.records[-1].status, app.records[-1].exit_code) == ("succeeded", 0)
    assert app.deploy_source_metadata.startswith("git://git.example/api.git#")


async def test_no_container_is_left_at_the_end(client: "Client", host: DokkuHost) -> None:
    host.create_app("runner", deployed_sha="a" * 40)
    host.create_app("api")
    host.refuse_one_offs_for_test()
    await client.run(" ".join(RECORDED["detached"].argv))
    await host.until(lambda: not host.one_offs)
    assert (await client.run("run:list runner")).out == RECORDED["list_none"].stdout
    assert await client.builds("api") == []


async def test_killed_container_takes_its_command_along(client: "Client", host: DokkuHost) -> None:
    host.create_app("runner", deployed_sha="a" * 40)
    app = host.create_app("api", deployed_sha="a" * 40)
    host.hold_for_test("api", at="build step 2/")
    await client.run(" ".join(RECORDED["detached"].argv))
    await host.until(lambda: host.holding("api"))
    host.kill_one_offs_for_test()
    host.release_for_test("api")
    await host.until(lambda: not app.runs)
    assert app.records[-1].display_status == "abandoned"


async def test_runner_must_exist(client: "Client") -> None:
    refused = await client.run(" ".join(RECORDED["detached"].argv))
    assert (refused.exit, refused.err) == (20, " !     App runner does not exist\n")
