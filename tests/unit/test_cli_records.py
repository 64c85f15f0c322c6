"""Operators' commands on a real database file."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.cli import run_cli
from bot.clock import SystemClock
from bot.deployments.model import (
    Actor,
    Approval,
    AuditEntry,
    Deployment,
    Event,
    Failure,
    Live,
    Phase,
    Who,
)
from bot.outbox import Endpoint, webhook_lane
from bot.store.engine import open_store
from bot.store.sql_store import SqlStore
from bot.webhooks.payload import planner
from tests.support.builders import NOW, SHA, a_deployment

Capsys = pytest.CaptureFixture[str]
ID = "01K9ZB0000000000000000000A"
OTHER = "01K9ZC0000000000000000000B"
URL = "https://ops.example.com/hook"


class Shell:
    """A working directory with a database, and the commands run in it."""

    def __init__(self, capsys: Capsys) -> None:
        self._capsys = capsys

    def work(self, act: Callable[[SqlStore], Awaitable[None]]) -> None:
        async def opened() -> None:
            clock = SystemClock()
            plan = planner([Endpoint(url=URL, secret="x")], clock=clock)
            async with open_store("sqlite:///deploybot.db", clock=clock, planner=plan) as store:
                await act(store)

        asyncio.run(opened())

    def create(self, *deployments: Deployment) -> None:
        async def act(store: SqlStore) -> None:
            for one in deployments:
                entry = AuditEntry(
                    actor=one.requested_by,
                    through="command",
                    action="requested",
                    detail={"ref": one.ref},
                )
                await store.create(one, entry)

        self.work(act)

    def end(self, deployment: Deployment) -> None:
        async def act(store: SqlStore) -> None:
            ended = replace(
                deployment,
                phase=Phase.FAILED,
                failure=Failure.EXPIRED,
                live=Live.PREVIOUS,
                reason="It waited too long.",
                finished_at=NOW + timedelta(seconds=80),
            )
            entry = AuditEntry(actor=Actor(user="bot"), through="service", action="ended")
            event = Event(type="deployment.finished")
            await store.save(ended, was=Phase.QUEUED, by=Who.SERVICE, audit=entry, event=event)

        self.work(act)

    def run(self, *words: str, status: int = 0) -> str:
        self._capsys.readouterr()
        assert run_cli(words) == status
        said = self._capsys.readouterr()
        return said.err if status else said.out


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    made = Shell(capsys)
    made.run("db", "upgrade")
    return made


def test_db_upgrade_creates_the_tables_that_db_check_confirms(shell: Shell) -> None:
    assert "revision" in shell.run("db", "check")
    assert Path("deploybot.db").exists()
    assert "revision" in shell.run("db", "upgrade")


def test_reading_commands_never_create_a_database(shell: Shell, tmp_path: Path) -> None:
    Path("deploybot.db").unlink()

    assert "there is no file" in shell.run("status", status=2)
    assert not Path("deploybot.db").exists()


def test_status_lists_unfinished_deployments(shell: Shell) -> None:
    assert shell.run("status") == "Nothing is running or queued.\n"
    shell.create(a_deployment(id=ID, app="web", sha=SHA))

    line = shell.run("status")

    assert line.startswith(f"{ID}  web main {SHA[:7]} on production: pending (queued), ")
    assert line.endswith("by ada (U0ADA)\n")
    (listed,) = json.loads(shell.run("status", "--json"))["deployments"]
    assert (listed["id"], listed["status"], listed["phase"]) == (ID, "pending", "queued")


def test_status_by_id_by_part_of_it_and_by_app(shell: Shell) -> None:
    deployment = a_deployment(id=ID, app="web", sha=SHA)
    shell.create(deployment)
    shell.end(deployment)

    by_id = shell.run("status", ID)

    assert "failed (expired), live: previous, 1m 20s" in by_id
    assert "It waited too long." in by_id
    assert shell.run("status", ID[:8].lower()) == by_id
    by_app = shell.run("status", "web")
    assert by_app.startswith(by_id)
    assert "Live now, web on production:\n  What is live now is unknown." in by_app
    assert "Its server cannot be asked from here: environment: SLACK_BOT_TOKEN: " in by_app


def test_status_json_has_the_webhook_fields(shell: Shell) -> None:
    shell.create(a_deployment(id=ID, app="web"))

    fields = json.loads(shell.run("status", "web", "--json"))

    assert fields["id"] == ID
    assert fields["live_now"]["match"] == "unreadable"
    assert (fields["live_now"]["sha"], fields["live_now"]["processes"]) == (None, None)
    assert fields["requested_by"] == {"user": "U0ADA", "team": "T01", "name": "ada"}
    assert fields["sha"] is None
    assert "log_tail" not in fields


def test_app_means_its_unfinished_deployment_before_its_newest(shell: Shell) -> None:
    first = a_deployment(id=ID, app="web")
    newer = a_deployment(
        id=OTHER, app="web", request_key="command:2", created_at=NOW + timedelta(seconds=1)
    )
    shell.create(first, newer)
    shell.end(newer)

    assert shell.run("status", "web").startswith(ID)


def test_ambiguous_part_of_an_id_is_declined(shell: Shell) -> None:
    shell.create(
        a_deployment(id="01K9ZB000000000000000000AA"),
        a_deployment(id="01K9ZB000000000000000000AB", request_key="command:2"),
    )

    assert "More than one" in shell.run("status", "01K9ZB", status=1)


def test_unknown_deployment_prints_one_line_and_exits_with_1(shell: Shell) -> None:
    for words in (("status", "wiki"), ("logs", "wiki"), ("history", "wiki"), ("cancel", "wiki")):
        said = shell.run(*words, status=1)
        assert said.startswith("deploybot: No deployment")
        assert said.count("\n") == 1


def test_history_shows_the_audit_trail(shell: Shell) -> None:
    deployment = a_deployment(id=ID, app="web")
    shell.create(deployment)
    shell.end(deployment)

    said = shell.run("history", "web")

    assert said.splitlines()[0].startswith(ID)
    assert "requested by ada (U0ADA) through command (ref: main)" in said
    assert "ended by bot through service" in said
    (one,) = json.loads(shell.run("history", "web", "--json"))["deployments"]
    assert [entry["action"] for entry in one["audit"]] == ["requested", "ended"]
    assert shell.run("history", "web", "--server", "staging", status=1)


def test_logs_prints_the_whole_log(shell: Shell) -> None:
    deployment = a_deployment(id=ID, app="web")
    shell.create(deployment)

    async def act(store: SqlStore) -> None:
        fence = await store.leases.claim(ID, "replica", timedelta(seconds=20))
        assert fence is not None
        await store.logs.append(ID, ["-----> Building web", "done"], fence=fence)

    shell.work(act)

    assert shell.run("logs", "web") == "-----> Building web\ndone\n"


def test_cancel_is_requested_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "grace")
    monkeypatch.delenv("SUDO_USER", raising=False)
    shell.create(a_deployment(id=ID, app="web"))

    assert "Asked to cancel" in shell.run("cancel", "web")
    assert "already being cancelled, requested by grace (cli)" in shell.run("cancel", ID)
    assert "cancel_asked by grace (cli)" in shell.run("history", "web")


def test_cancel_of_an_ended_deployment_is_declined(shell: Shell) -> None:
    deployment = a_deployment(id=ID, app="web")
    shell.create(deployment)
    shell.end(deployment)

    assert "has already ended: failed. Nothing was cancelled." in shell.run("cancel", ID, status=1)


def test_approval_at_the_shell(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "grace")
    monkeypatch.delenv("SUDO_USER", raising=False)
    awaiting = {
        "app": "web",
        "phase": Phase.AWAITING_APPROVAL,
        "queued_at": None,
        "approval": Approval.SECOND_PERSON,
        "sha": "9" * 40,
        "ready": True,
    }
    shell.create(a_deployment(id=ID, **awaiting))

    assert "pending (awaiting_approval)" in shell.run("status", "web")
    assert "Approved web `main` (9999999). It is queued now." in shell.run("approve", "web")
    assert "approved by grace (cli) through cli" in shell.run("history", "web")
    said = shell.run("approve", ID, status=1)
    assert said == ("deploybot: web `main` was already approved, by grace. Nothing was changed.\n")


def test_decision_at_the_shell_is_about_what_waits_for_one(shell: Shell) -> None:
    asks = {"app": "web", "phase": Phase.AWAITING_APPROVAL, "sha": "9" * 40, "ready": True}
    first, second = "01K9ZC0000000000000000000A", "01K9ZC0000000000000000000B"
    shell.create(a_deployment(id=ID, app="web", request_key="queued"))
    shell.create(a_deployment(id=first, request_key="1", **asks))
    shell.create(a_deployment(id=second, request_key="2", **asks))

    said = shell.run("reject", "web", status=1)
    assert f"2 deployments of web wait for an approval. Name one: {first}, {second}" in said
    assert "Rejected web `main`" in shell.run("reject", first)
    assert "Approved web `main` (9999999)" in shell.run("approve", "web")


def test_rejection_at_the_shell(shell: Shell) -> None:
    shell.create(
        a_deployment(id=ID, app="web", phase=Phase.AWAITING_APPROVAL, queued_at=None, ready=True)
    )

    said = shell.run("reject", "web", "--reason", "not on a Friday")

    assert "Rejected web `main`. Nothing was sent to Dokku." in said
    shown = shell.run("status", ID)
    assert "failed (rejected)" in shown
    assert "rejected it: not on a Friday" in shown


def test_webhooks_list_and_replay(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_URL", URL)
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_SECRET", "long enough and random")
    assert shell.run("webhooks", "list") == "No deliveries yet.\n"
    deployment = a_deployment(id=ID, app="web")
    shell.create(deployment)
    shell.end(deployment)

    line = shell.run("webhooks", "list")
    (one,) = json.loads(shell.run("webhooks", "list", "--json"))["deliveries"]

    assert URL in line
    assert (one["url"], one["event"], one["deployment"], one["state"]) == (
        URL,
        "deployment.finished",
        ID,
        "waiting",
    )
    assert "due again" in shell.run("webhooks", "replay", one["id"])
    assert "There is no delivery" in shell.run("webhooks", "replay", "nonsense", status=1)


def test_webhooks_enable_turns_an_endpoint_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_URL", URL)
    monkeypatch.setenv("DEPLOYBOT_WEBHOOK_SECRET", "long enough and random")

    async def act(store: SqlStore) -> None:
        await store.outbox.turn_off(webhook_lane(URL), "answered 410")

    shell.work(act)

    assert f"off: {URL} (answered 410)" in shell.run("webhooks", "list")
    assert shell.run("webhooks", "enable", URL) == f"{URL} is on again.\n"
    assert "is not turned off" in shell.run("webhooks", "enable", URL, status=1)


@pytest.mark.parametrize("configured", [True, False])
def test_secret_webhook_address_is_never_shown(shell: Shell, *, configured: bool) -> None:
    url = "https://hooks.slack.com/services/T0/B0/hunter22hunter22"
    if configured:
        Path("deploybot.toml").write_text(f'[[webhooks]]\nurl = "{url}"\nformat = "slack"\n')

    async def act(store: SqlStore) -> None:
        await store.outbox.turn_off(webhook_lane(url), "answered 410")

    shell.work(act)
    name = webhook_lane(url).removeprefix("webhook:")

    assert f"off: {name} (answered 410)" in shell.run("webhooks", "list")
    assert shell.run("webhooks", "enable", name) == f"{name} is on again.\n"
    shell.work(act)
    assert "hunter22" not in shell.run("webhooks", "enable", url)
    assert "hunter22" not in shell.run("webhooks", "enable", url, status=1)


def test_config_show_names_every_source_and_no_secret(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-hunter22")
    monkeypatch.setenv("DATABASE_URL", "postgresql://bot:hunter22@db/bot")
    monkeypatch.setenv("DEPLOYBOT_REPO_TEMPLATE", "https://hunter22@git.example/{app}.git")
    Path("deploybot.toml").write_text(
        'settle = "5s"\n'
        "[servers.production]\n"
        'host = "dokku.example.com"\nssh_key = "hunter22"\nknown_hosts = "known"\n'
        "[apps.web]\n"
        'repo = "https://u:hunter22@git.example/web.git"\n'
        "[[webhooks]]\n"
        'url = "https://hooks.example.com/hunter22"\nformat = "slack"\n'
    )

    said = shell.run("config", "show")

    assert "hunter22" not in said
    assert "settle = 5s  (settle, deploybot.toml)" in said
    assert "slack_bot_token = ********  (SLACK_BOT_TOKEN, environment)" in said
    assert "database_url = postgresql://bot:********@db/bot" in said
    assert "poll_interval = 10s  (default)" in said
    assert "servers.production.host = dokku.example.com" in said
    shown = json.loads(shell.run("config", "show", "--json"))
    assert shown["apps.web.repo"]["value"] == "https://u:********@git.example/web.git"
    assert "hunter22" not in json.dumps(shown)


def test_lock_is_set_shown_and_ended_at_the_shell(shell: Shell) -> None:
    said = shell.run("lock", "all", "--for", "2h", "--reason", "audit")
    assert said.startswith("Every app is locked by ")
    assert said.endswith(": audit.\n")
    (one,) = json.loads(shell.run("locks", "--json"))["locks"]
    assert (one["app"], one["server"], one["reason"]) == ("all", None, "audit")
    assert one["holder"]["user"] == "cli"
    assert shell.run("unlock", "all") == "Every app is unlocked.\n"
    assert shell.run("locks") == "Nothing is locked.\n"
    shell.create(a_deployment())
    shown = shell.run("history", "web")
    assert "locked by " in shown.partition("Locks:\n")[2]
    assert "unlocked by " in shown
    trail = json.loads(shell.run("history", "web", "--json"))["locks"]
    assert [entry["action"] for entry in trail] == ["locked", "unlocked"]
    assert "No lock is on every app" in shell.run("unlock", "all", status=1)
    assert "--for: not a duration" in shell.run("lock", "all", "--for", "soon", status=2)
