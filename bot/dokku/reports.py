"""Read what Dokku answers: text or JSON in, dataclass out. Pure; unknown keys are ignored.

`ps:inspect` holds secrets: Dokku masks most, but not all, values of the environment in it, and
neither command lines nor labels. So only the few fields read below leave this module, Docker's
error among them masked, and an answer of `ps:inspect` that cannot be read is never quoted.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bot.deployments.dokku_facts import (
    FULL_SHA,
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
)
from bot.errors import OddReport
from bot.names import bare_repo, is_app_name

Mask = Callable[[str], str]
"""Gives a text back without its secrets."""

_QUOTED_CHARS = 200
_STATUS = re.compile(r"status-(?P<process>[\w.-]+\.\d+)")
_STATE = re.compile(r"(?P<state>[a-z]+)(?: \(CID: (?P<cid>[0-9a-f]*)\))?")
_KILLED = "-----> Killing app deploy"
_DURATION = re.compile(r"(?:(?P<hours>\d{1,6})h)?(?:(?P<minutes>\d{1,2})m)?(?P<seconds>\d{1,2})s")
_RUN_COLUMNS = ["NAMES", "COMMAND", "CREATED"]
_RUN = re.compile(r'(?P<name>\S+\.run\.\d+) +"(?P<command>[^"]*)"')
_HEAD = re.compile(
    r"(?:-----> Cloning| {7}Fetching remote code for) \S+ from (?P<repo>[^\s#]+)#(?P<ref>\S+)$"
)
_PROCESS_LABEL = "com.dokku.dyno"
_APP_LINE = re.compile(r"\S+Z app\[(?P<process>[\w.-]+)\]: ?(?P<text>.*)", re.DOTALL)
_CONTAINER_ID = re.compile(r"[0-9a-f]{12,64}")
_NO_SUCH_CONTAINER = re.compile(r"No such container: (?P<id>[0-9a-f]{12,64})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """The fields of `ps:report` that the driver uses."""

    deployed: bool | None
    """None: the answer does not say."""
    processes: int | None
    states: Mapping[str, str]
    """Process (`web.1`) -> Docker's word, or `missing`."""
    short_ids: Mapping[str, str]
    """Process -> the first hex digits (11) of its container's id, where they are shown."""
    restore: bool | None = None
    """Whether Dokku starts the processes again; False after `ps:stop`. None: it does not say."""


# --- lists and `:report` commands


def read_run(text: str, runner: str) -> str:
    """Read `run:detached`: the name of the container; empty where it is not shown."""
    name = _last_line(text)
    return name if re.fullmatch(rf"{re.escape(runner)}\.run\.\d+", name) else ""


def read_runs(text: str, mask: Mask) -> Mapping[str, str]:
    """Read `run:list` as text: name -> command. OddReport."""
    lines = text.splitlines()
    if not any(line.split() == _RUN_COLUMNS for line in lines):
        raise odd("run:list", text, mask)
    rows = [_RUN.match(line) for line in lines]
    return {row["name"]: row["command"] for row in rows if row}


def read_build_head(line: str) -> str | None:
    """Read the first line of a build's output: `REPO#REF`, the repository without userinfo."""
    found = _HEAD.match(line)
    return f"{bare_repo(found['repo'])}#{found['ref']}" if found else None


def read_apps(text: str) -> Sequence[str]:
    """Read `apps:list`: names below a header; login noise before the header is skipped."""
    lines = [line.strip() for line in text.splitlines()]
    headers = [at for at, line in enumerate(lines) if line.startswith("=====> ")]
    below = lines[headers[-1] + 1 :] if headers else lines
    return [name for name in below if is_app_name(name)]


def read_app_report(text: str, mask: Mask, bare: Callable[[str], str] = bare_repo) -> AppReport:
    """Read `apps:report APP`, JSON or text. OddReport.

    `bare` is given the address that Dokku recorded, and returns it without its userinfo.
    """
    fields = read_fields(text, "apps:report", mask)
    if "locked" not in fields:
        raise odd("apps:report", text, mask)
    metadata = fields.get("deploy-source-metadata", "")
    address, sep, commit = metadata.rpartition("#") if "#" in metadata else (metadata, "", "")
    return AppReport(
        metadata=f"{bare(address)}{sep}{commit}",
        source=fields.get("deploy-source", ""),
        locked=fields["locked"] == "true",
    )


def read_process_report(text: str, mask: Mask) -> ProcessReport:
    """Read `ps:report APP`, JSON or text. OddReport."""
    fields = read_fields(text, "ps:report", mask)
    states: dict[str, str] = {}
    short_ids: dict[str, str] = {}
    for key, value in fields.items():
        name = _STATUS.fullmatch(key)
        state = _STATE.match(value)
        if name and state:
            states[name["process"]] = state["state"]
            short_ids[name["process"]] = state["cid"] or ""
    processes = fields.get("processes", "")
    return ProcessReport(
        deployed={"true": True, "false": False}.get(fields.get("deployed", "")),
        processes=int(processes) if processes.isdecimal() else None,
        states=states,
        short_ids=short_ids,
        restore={"true": True, "false": False}.get(fields.get("restore", "")),
    )


def read_sha(text: str) -> str | None:
    """Read `git:report --git-sha`: a full commit; None for `HEAD` (nothing was fetched yet)."""
    value = _last_line(text)
    return value if FULL_SHA.fullmatch(value) else None


def read_branch(text: str) -> str | None:
    """Read `git:report --git-deploy-branch`; None where no branch is set."""
    return _last_line(text) or None


def read_fields(text: str, command: str, mask: Mask) -> dict[str, str]:
    """Read a `:report` answer, JSON or text, as keys and values. OddReport.

    Keys are the JSON keys without their plugin's name (`locked`, `deploy-source-metadata`): the
    only form that the answers of all versions can be brought to.
    """
    plugin = command.partition(":")[0].rstrip("s") if command != "ps:report" else "ps"
    if text.lstrip().startswith("{") or re.search(r"^\{", text, re.MULTILINE):
        raw = read_json(text, command, mask)
        if not isinstance(raw, dict):
            raise odd(command, text, mask)
        pairs = [(str(key), _word(value)) for key, value in raw.items()]
    else:
        pairs = [_pair(line) for line in text.splitlines() if line.startswith(" ") and ":" in line]
    if not pairs:
        raise odd(command, text, mask)
    return {key.removeprefix(f"{plugin}-"): value for key, value in pairs}


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    words = key.split()
    # `Status web 1` is the process web.1; a process type may contain hyphens.
    if words[:1] == ["Status"] and len(words) >= 3:  # noqa: PLR2004 (word, type, number)
        return f"status-{' '.join(words[1:-1])}.{words[-1]}", value.strip()
    return "-".join(words).lower(), value.strip()


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).strip()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


# --- build records (Dokku >= 0.38)


def read_builds(text: str, mask: Mask) -> Sequence[BuildRecord]:
    """Read `builds:list APP --format json`, newest first. OddReport."""
    raw = read_json(text, "builds:list", mask)
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise odd("builds:list", text, mask)
    try:
        return [_record(item) for item in raw]
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise odd("builds:list", text, mask) from err


def killed_a_deploy(text: str) -> bool:
    """Whether `builds:cancel` says that it killed a deploy; its exit status is 0 either way."""
    return any(line.strip() == _KILLED for line in text.splitlines())


def _record(item: Mapping[str, Any]) -> BuildRecord:
    exit_code = item.get("exit_code")
    return BuildRecord(
        id=_text(item["id"]),
        app=_text(item["app"]),
        status=_status(item),
        source=_text(item.get("source") or ""),
        kind=_text(item.get("kind") or "build"),
        exit_code=None if exit_code is None else int(exit_code),
        started_at=_text(item.get("started_at") or ""),
        duration=_duration(item.get("duration")),
    )


def _status(item: Mapping[str, Any]) -> BuildStatus:
    """Read `display_status`: `status` says running for builds that died.

    An unknown status of a later Dokku must not stop every deployment of the app: unfinished counts
    as running, finished as abandoned (how it ended is not known).
    """
    word = _text(item.get("display_status") or item["status"])
    if word in set(BuildStatus):
        return BuildStatus(word)
    return BuildStatus.ABANDONED if item.get("finished_at") else BuildStatus.RUNNING


def _duration(text: object) -> timedelta | None:
    """Read `37s`, `1m5s`, `2h0m1s`: Go's form, in whole seconds. None for any other text.

    The duration is only shown, so an odd one must not make the whole answer odd.
    """
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    return timedelta(**{unit: int(number or 0) for unit, number in found.groupdict().items()})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


# --- containers


def read_containers(text: str, mask: Mask) -> Containers:
    """Read `ps:inspect`, sorted by process. OddReport, which says nothing of the content."""
    try:
        listed = _containers(json_amid_noise(text), mask)
    except (ValueError, KeyError, TypeError, AttributeError):
        # Without the cause: its message may hold a part of the answer.
        raise OddReport(
            f"Dokku answered `ps:inspect` with {len(text)} characters that could not be read."
        ) from None
    return Containers(listed=tuple(sorted(listed, key=lambda one: (one.process, one.id))))


def read_gone(errors: str) -> frozenset[str]:
    """Ids (12 hex digits) of listed containers that Docker no longer has.

    Empty when Docker prints anything else as well: then it did not answer for all of them. Dokku
    removes crashed containers when the next build begins, and goes on listing them
    (recording inspect_d_crash_loops, step `missing`).
    """
    lines = [line for line in errors.splitlines() if line.strip()]
    found = [_NO_SUCH_CONTAINER.search(line) for line in lines]
    return frozenset(one["id"][:12] for one in found if one) if all(found) else frozenset()


def _containers(raw: object, mask: Mask) -> list[Container]:
    if not isinstance(raw, list):
        raise TypeError
    return [_container(item, mask) for item in raw]


def _container(item: Mapping[str, Any], mask: Mask) -> Container:
    full = item["Id"]
    if not _CONTAINER_ID.fullmatch(full):
        raise ValueError
    state, exit_code = item["State"], item["State"].get("ExitCode")
    return Container(
        id=full[:12],
        process=str(item["Config"]["Labels"][_PROCESS_LABEL]),
        image=str(item["Image"]),
        state=str(state["Status"]),
        restarts=int(item.get("RestartCount", 0)),
        started_at=str(state.get("StartedAt", "")),
        exit_code=None if exit_code is None else int(exit_code),
        # The command line may be in it, and with it a secret.
        problem=" ".join(mask(str(state.get("Error") or "")).split())[:_QUOTED_CHARS],
        oom_killed=state.get("OOMKilled") is True,
    )


# --- what the app itself printed


def read_app_log(lines: Sequence[str], process: str) -> Sequence[str]:
    """The text of one process (`web.1`) in clean lines of `logs`, without time and name."""
    found = [match for line in lines if (match := _APP_LINE.match(line))]
    return [one["text"] for one in found if one["process"] == process]


# --- JSON behind login noise


def read_json(text: str, command: str, mask: Mask) -> Any:
    """Read the JSON of an answer; noise before it (a login banner) is skipped. OddReport."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return json_amid_noise(text)
    except ValueError as err:
        raise odd(command, text, mask) from err


def json_amid_noise(text: str) -> Any:
    """Read the JSON that begins with a line and fills the rest of the text. ValueError."""
    for begin in re.finditer(r"^[\[{]", text, re.MULTILINE):
        try:
            return json.loads(text[begin.start() :])
        except ValueError:
            continue  # a line of the noise: `[ OK ]`
    raise ValueError("no JSON in the answer")


def odd(command: str, text: str, mask: Mask) -> OddReport:
    """Make the error for an answer that cannot be read; it quotes the masked beginning."""
    head = " ".join(mask(text).split())[:_QUOTED_CHARS]
    return OddReport(f"Dokku's answer to `{command}` could not be read: {head!r}")
