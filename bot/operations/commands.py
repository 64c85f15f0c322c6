"""Each command of an operator: read settings, open the database, print lines.

What only some commands need is imported by them: Slack, SSH and the database take most of the time
of a command that asks none of them.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from bot.config.loading import load_settings
from bot.deployments.locks.rules import describe
from bot.deployments.model import Deployment
from bot.operations import locking, records
from bot.operations.printing import print_json, print_lines, print_log

if TYPE_CHECKING:
    from bot.deployments.live.reader import LiveReport
    from bot.store.sql_store import SqlStore

DONE = 0
FAILED = 1

Found = TypeVar("Found")


def _with_store(work: "Callable[[SqlStore], Awaitable[Found]]") -> Found:
    from bot.operations.database import open_records  # noqa: PLC0415 - slow

    async def opened() -> Found:
        async with open_records(load_settings(complete=False)) as store:
            return await work(store)

    return asyncio.run(opened())


def _print(*lines: str) -> int:
    print_lines(lines)
    return DONE


def _print_json(value: object) -> int:
    print_json(value)
    return DONE


def check(*, json: bool) -> int:
    """Print all checks, one line each. Returns 1 if something is wrong, 2 if a setting is."""
    from bot.operations.check import run_checks  # noqa: PLC0415 - slow
    from bot.operations.findings import exit_status, summary  # noqa: PLC0415 - only here

    found = asyncio.run(run_checks())
    if json:
        _print_json({"ok": all(one.ok for one in found), "checks": [one.json() for one in found]})
    else:
        print_lines([one.line() for one in found], masked=True)
        print_lines([summary(found)])
    return exit_status(found)


def status(which: str | None, *, json: bool) -> int:
    """Print all unfinished deployments, or one in full."""
    now = records.now_utc()
    if which is None:
        unfinished = _with_store(lambda store: store.unfinished())
        if json:
            return _print_json({"deployments": [records.as_json(one, now) for one in unfinished]})
        lines = [records.one_line(one, now) for one in unfinished]
        return _print(*(lines or ["Nothing is running or queued."]))
    one, seen = asyncio.run(_find_and_look(which))
    from bot.operations import live  # noqa: PLC0415 - slow

    if json:
        more = {} if seen is None else {"live_now": live.as_json(seen)}
        return _print_json(records.as_json(one, now) | more)
    return _print(*records.details(one, now), *(live.lines(seen) if seen else ()))


async def _find_and_look(which: str) -> "tuple[Deployment, LiveReport | None]":
    """The deployment, and the app's live state if `which` is an app."""
    from bot.operations import live  # noqa: PLC0415 - slow
    from bot.operations.database import open_records  # noqa: PLC0415 - slow

    async with open_records(load_settings(complete=False)) as store:
        one = await records.find(store, which)
        by_name = which in {one.app, one.dokku_app}
        return one, await live.look(store, one) if by_name else None


def history(name: str, *, server: str | None, limit: int, json: bool) -> int:
    """Print the newest deployments of an app with their audit trails."""
    now = records.now_utc()

    async def read(store: "SqlStore") -> tuple[records.History, records.Trail]:
        found = await records.history(store, name, server=server, limit=limit)
        return found, await records.lock_trail(store, [one for one, _ in found])

    found, locked = _with_store(read)
    if json:
        return _print_json(
            {
                "deployments": [
                    records.as_json(one, now)
                    | {"audit": [records.audit_json(at, entry) for at, entry in trail]}
                    for one, trail in found
                ],
                "locks": [records.audit_json(at, entry) for at, entry in locked],
            }
        )
    lines: list[str] = []
    for one, trail in found:
        lines += [records.one_line(one, now)]
        lines += [records.audit_line(at, entry) for at, entry in trail]
    if locked:
        lines += ["Locks:", *[records.audit_line(at, entry) for at, entry in locked[-limit:]]]
    return _print(*lines)


def logs(which: str) -> int:
    """Print the whole stored log."""

    async def read(store: "SqlStore") -> str:
        return await store.logs.read((await records.find(store, which)).id)

    print_log(_with_store(read))
    return DONE


def cancel(which: str) -> int:
    """Write the cancel request; the running bot acts on it."""
    return _print(_with_store(lambda store: records.ask_cancel(store, which, records.now_utc())))


def request(
    kind: str,
    which: str,
    *,
    ref: str | None = None,
    server: str | None = None,
    channel: str | None = None,
    wait: bool = False,
) -> int:
    """Ask the running bot to deploy, retry or roll back. With `wait`, returns 1 without success."""
    from bot.deployments.requests.from_shell import ShellRequestKind  # noqa: PLC0415 - slow
    from bot.operations import requesting  # noqa: PLC0415 - slow

    line = requesting.CommandLine(
        kind=ShellRequestKind(kind),
        which=which,
        ref=ref,
        server=server,
        channel=channel,
        wait=wait,
    )
    return asyncio.run(requesting.request(line, _say))


def _say(line: str) -> None:
    print_lines([line])
    sys.stdout.flush()  # in CI it is a pipe


def lock(name: str, *, lasts: str | None, reason: str, server: str | None) -> int:
    """Set a lock; the running bot obeys it at once."""
    line = locking.read(name, lasts, reason, server)
    return _print(_with_store(lambda store: locking.lock(store, line)))


def unlock(name: str, *, server: str | None) -> int:
    """End a lock."""
    return _print(_with_store(lambda store: locking.unlock(store, name, server)))


def locks(*, json: bool) -> int:
    """Print all locks."""
    held = _with_store(locking.held)
    if json:
        return _print_json({"locks": [locking.as_json(one) for one in held]})
    return _print(*([describe(one) for one in held] or ["Nothing is locked."]))


def approve(which: str) -> int:
    """Approve a waiting deployment; the running bot starts it."""
    from bot.operations import approvals  # noqa: PLC0415 - slow

    return _print(asyncio.run(approvals.approve(which)))


def reject(which: str, *, reason: str | None) -> int:
    """Reject a waiting deployment; the running bot shows it."""
    from bot.operations import approvals  # noqa: PLC0415 - slow

    return _print(asyncio.run(approvals.reject(which, reason)))


def webhooks_list(*, limit: int, json: bool) -> int:
    """Print the deliveries, and the endpoints that are off."""
    from bot.operations import webhooks  # noqa: PLC0415 - slow

    known = webhooks.addresses(load_settings(complete=False).endpoints())
    rows, off = _with_store(lambda store: webhooks.list_deliveries(store.outbox, limit, known))
    if json:
        return _print_json(
            {"deliveries": [webhooks.delivery_json(row, known) for row in rows], "off": dict(off)}
        )
    lines = [webhooks.delivery_line(row, known) for row in rows] or ["No deliveries yet."]
    return _print(*[f"off: {url} ({why})" for url, why in off.items()], *lines)


def webhooks_replay(delivery: str) -> int:
    """Deliver again."""
    from bot.operations import webhooks  # noqa: PLC0415 - slow

    return _print(_with_store(lambda store: webhooks.replay(store.outbox, delivery)))


def webhooks_enable(url: str) -> int:
    """Turn an endpoint on again."""
    from bot.operations import webhooks  # noqa: PLC0415 - slow

    return _print(_with_store(lambda store: webhooks.enable(store.outbox, url)))


def webhooks_test(url: str | None) -> int:
    """Send a test event. Returns 1 if an endpoint did not take it."""
    from bot.operations import webhooks  # noqa: PLC0415 - slow

    sent = asyncio.run(webhooks.send_test(load_settings(complete=False), url))
    print_lines([line for _, line in sent])
    return DONE if all(taken for taken, _ in sent) else FAILED


def db_upgrade() -> int:
    """Create or upgrade the tables."""
    from bot.operations.database import upgrade_database  # noqa: PLC0415 - slow

    return _print(asyncio.run(upgrade_database(load_settings(complete=False))))


def db_check() -> int:
    """Print whether the database answers and has the right tables."""
    from bot.operations.database import check_database  # noqa: PLC0415 - slow

    return _print(asyncio.run(check_database(load_settings(complete=False))))


def config_show(*, json: bool) -> int:
    """Print every setting; secrets are masked."""
    from bot.operations.settings import shown, shown_line  # noqa: PLC0415 - only here

    found = list(shown(load_settings(complete=False)))  # masked one by one
    if json:
        values = {one.name: {"value": one.value, "source": one.source} for one in found}
        print_json(values, masked=True)
        return DONE
    print_lines([shown_line(one) for one in found], masked=True)
    return DONE
