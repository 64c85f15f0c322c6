"""`builds:*`: the build records, their output, and cancelling."""

import json
from collections.abc import Sequence
from typing import Any

from bot.simulators.dokku.app import App
from bot.simulators.dokku.clock import go_duration, stamp_ns, stamp_s
from bot.simulators.dokku.commands import reports
from bot.simulators.dokku.commands.shared import Refused, Unmodelled, find_app, put, take_format
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import BuildRecord, Nowhere, Output
from bot.simulators.dokku.recordings import step

TAIL_LINES = 1000
COLUMNS = ("Build ID", "Kind", "Status", "PID", "Source", "Started", "Duration")


async def list_builds(host: DokkuHost, words: list[str], output: Output) -> int:
    """List an app's records; without an app the running (and abandoned) ones of all apps."""
    form, rest = take_format(words)
    wanted, rest = _take_filters(rest)
    if rest:
        records = find_app(host, rest).sorted_records()
    else:
        every = [one for app in host.apps.values() for one in app.sorted_records()]
        records = [one for one in every if one.status == "running"]
        records.sort(key=lambda one: one.id, reverse=True)
        records.sort(key=lambda one: one.display_status != "running")
    records = [one for one in records if _matches(one, wanted)]
    if form == "json":
        found = [as_object(host, one) for one in records]
        await put(output, out=json.dumps(found, separators=(",", ":")) + "\n")
    elif not records:
        await put(output, out=step(host.version, "a_first_deploy_ok", "builds_list_none").stdout)
    else:
        await put(output, out=_table(host, records))
    return 0


def _take_filters(words: list[str]) -> tuple[dict[str, str], list[str]]:
    wanted: dict[str, str] = {}
    rest = list(words)
    while rest and any(word in {"--status", "--kind"} for word in rest[:-1]):
        index = next(i for i, word in enumerate(rest) if word in {"--status", "--kind"})
        wanted[rest[index].removeprefix("--")] = rest[index + 1]
        del rest[index : index + 2]
    if any(word.startswith("--") for word in rest):
        raise Unmodelled(f"builds:list {rest}")
    return wanted, rest


def _matches(record: BuildRecord, wanted: dict[str, str]) -> bool:
    return record.display_status == wanted.get("status", record.display_status) and (
        record.kind == wanted.get("kind", record.kind)
    )


def as_object(host: DokkuHost, record: BuildRecord) -> dict[str, Any]:
    """Return a record as its JSON object, without fields that are not known yet."""
    end = record.finished_at or host.clock.now()
    found: dict[str, Any] = {
        "id": record.id,
        "app": record.app,
        "kind": record.kind,
        "pid": record.pid,
        "started_at": stamp_ns(record.started_at),
    }
    if record.finished_at is not None:
        found["finished_at"] = stamp_ns(record.finished_at)
    found |= {"status": record.status, "source": record.source}
    if record.exit_code is not None:
        found["exit_code"] = record.exit_code
    return found | {
        "display_status": record.display_status,
        "duration": go_duration(end - record.started_at),
        "log_path": record.log_path,
    }


def _table(host: DokkuHost, records: Sequence[BuildRecord]) -> str:
    rows = [COLUMNS, *(_row(host, one) for one in records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _row(host: DokkuHost, record: BuildRecord) -> tuple[str, ...]:
    end = record.finished_at or host.clock.now()
    return (
        record.id,
        record.kind,
        record.display_status,
        str(record.pid),
        record.source,
        stamp_s(record.started_at),
        go_duration(end - record.started_at),
    )


async def info(host: DokkuHost, words: list[str], output: Output) -> int:
    """Print one record."""
    form, rest = take_format(words)
    app = find_app(host, rest)
    build_id = "".join(rest[1:2])
    record = app.record(build_id)
    if record is None:
        recorded = step(host.version, "i_app_missing", "builds_info_web_nosuchid")
        text = recorded.stderr.replace("web/nosuchid", f"{app.name}/{build_id}")
        raise Refused(text, recorded.exit_status)
    if form == "json":
        found = as_object(host, record)
        await put(output, out=json.dumps(found, separators=(",", ":")) + "\n")
        return 0
    end = record.finished_at or host.clock.now()
    rows = {
        "Build ID": record.id,
        "App": record.app,
        "Kind": record.kind,
        "Status": record.display_status,
        "PID": str(record.pid),
        "Source": record.source,
        "Started": stamp_s(record.started_at),
        "Finished": stamp_s(record.finished_at) if record.finished_at else "",
        "Duration": go_duration(end - record.started_at),
        "Exit Code": "" if record.exit_code is None else str(record.exit_code),
        "Log": record.log_path,
    }
    width = len("Exit Code:") + 2
    lines = [f"{key}:".ljust(width) + value for key, value in rows.items() if value]
    await put(output, out="\n".join(lines) + "\n")
    return 0


async def report(host: DokkuHost, words: list[str], output: Output) -> int:
    """Report the newest record."""
    form, rest = take_format(words)
    app = find_app(host, rest)
    values = reports.builds_values(app)
    if len(rest) > 1:
        raise Unmodelled(f"builds:report {rest[1:]}")
    if form == "json":
        await put(output, out=reports.as_json(host, "builds", values))
    else:
        await put(output, out=reports.as_text(host, "builds", app, values))
    return 0


async def show_output(host: DokkuHost, words: list[str], output: Output) -> int:
    """Print a build's log; of a running build the last 1000 lines, then follow it."""
    app = find_app(host, words)
    build_id = "".join(words[1:2]) or "current"
    if build_id == "current":
        if app.lock_file is None:
            text = step(host.version, "a_first_deploy_ok", "output_none").stdout
            await put(output, out=text)
            return 0
        build_id = app.lock_file
        if app.record(build_id) is None:
            name = "l4_cancel_after_refused_second_deploy"
            await put(output, out=step(host.version, name, "output_nothing").stdout)
            return 0
    record = app.record(build_id)
    if record is None:
        return 0
    if record.display_status != "running":
        await output.write("out", bytes(record.log))
        return 0
    await _follow(host, record, output)
    return 0


async def _follow(host: DokkuHost, record: BuildRecord, output: Output) -> None:
    """Follow like `tail -n 1000 -f`: past the end of the build, until the reader leaves."""
    position = _tail_begin(record.log)
    while not output.closed:
        if position < len(record.log):
            part = bytes(record.log[position:])
            position += len(part)
            await output.write("out", part)
        else:
            await host.changed()


def _tail_begin(log: bytearray) -> int:
    position = len(log)
    for _ in range(TAIL_LINES + 1):
        found = log.rfind(b"\n", 0, position)
        if found < 0:
            return 0
        position = found
    return position + 1


async def cancel(host: DokkuHost, words: list[str], output: Output) -> int:
    """Kill the deploy that holds the app's lock; four answers mean that nothing was killed."""
    app = find_app(host, words)
    await put(output, out=_cancel(host, app, outside=isinstance(output, Nowhere)))
    return 0


def _cancel(host: DokkuHost, app: App, *, outside: bool) -> str:
    if app.lock_file is None:
        return step(host.version, "l1_cancel_mid_build", "cancel_nothing").stdout
    record = app.record(app.lock_file)
    if record is None:
        name = "l4_cancel_after_refused_second_deploy"
        return step(host.version, name, "cancel_nothing").stdout
    if record.status != "running":
        # Not recorded; the sentence is from Dokku's source.
        return f"-----> Build {record.id} is no longer running (status={record.status})\n"
    holder = app.lock_holder
    record.finished_at, record.exit_code = host.clock.now(), -1
    app.lock_file = None
    if holder is None or holder.record is not record:
        record.status = "failed"
        host.write_journal("marked_failed", app, id=record.id)
        return step(host.version, "n1_dokku_killed_mid_build", "cancel_terminated").stdout
    record.status = "canceled"
    holder.stop("canceled")
    host.write_journal("canceled", app, id=record.id, run=holder.number, outside=outside)
    return step(host.version, "l1_cancel_mid_build", "cancel").stdout


COMMANDS = {
    "builds:list": list_builds,
    "builds:info": info,
    "builds:report": report,
    "builds:output": show_output,
    "builds:cancel": cancel,
}
