"""Reads the `:report` commands and lists of Dokku. Pure; by key, unknown keys are ignored."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.deployments.dokku_facts import FULL_SHA, AppReport
from bot.errors import OddReport

_HEAD = 200
_STATUS = re.compile(r"status-(?P<process>[\w.-]+\.\d+)")
_STATE = re.compile(r"(?P<state>[a-z]+)(?: \(CID: (?P<cid>[0-9a-f]*)\))?")
_APP = re.compile(r"[a-z0-9][a-z0-9._-]*")
Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """What `ps:report` says that we use."""

    deployed: bool | None
    """None: not said."""
    processes: int | None
    states: Mapping[str, str]
    """Process (`web.1`) -> Docker's word, or `missing`."""
    short_ids: Mapping[str, str]
    """Process -> the first hex digits (11) of its container's id, where they are shown."""


def read_json(text: str, command: str, mask: Mask) -> Any:
    """JSON out of an answer; noise before it (a login banner) is passed over. OddReport."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return json_amid_noise(text)
    except ValueError as err:
        raise odd(command, text, mask) from err


def json_amid_noise(text: str) -> Any:
    """The JSON that fills the rest of the text from the start of some line on. ValueError."""
    for begin in re.finditer(r"^[\[{]", text, re.MULTILINE):
        try:
            return json.loads(text[begin.start() :])
        except ValueError:
            continue  # a line of the noise: `[ OK ]`
    raise ValueError("no JSON in the answer")


def odd(command: str, text: str, mask: Mask) -> OddReport:
    """The error for an answer that cannot be read, with its masked head."""
    head = " ".join(mask(text).split())[:_HEAD]
    return OddReport(f"Dokku answered `{command}` with something that could not be read: {head!r}")


def read_fields(text: str, command: str, mask: Mask) -> dict[str, str]:
    """A `:report` in either form as keys -> values.

    Keys are the JSON ones without their plugin's name (`locked`, `deploy-source-metadata`): that
    is the only form that all versions, JSON and text, can be brought to.
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


def read_app_report(text: str, mask: Mask) -> AppReport:
    """`apps:report APP`, JSON or text."""
    fields = read_fields(text, "apps:report", mask)
    if "locked" not in fields:
        raise odd("apps:report", text, mask)
    return AppReport(
        metadata=fields.get("deploy-source-metadata", ""),
        source=fields.get("deploy-source", ""),
        locked=fields["locked"] == "true",
    )


def read_process_report(text: str, mask: Mask) -> ProcessReport:
    """`ps:report APP`, JSON or text."""
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
    )


def read_apps(text: str) -> Sequence[str]:
    """`apps:list`: names below a header; what a login prints before it is passed over."""
    lines = [line.strip() for line in text.splitlines()]
    headers = [place for place, line in enumerate(lines) if line.startswith("=====> ")]
    below = lines[headers[-1] + 1 :] if headers else lines
    return [name for name in below if _APP.fullmatch(name)]


def read_sha(text: str) -> str | None:
    """`git:report --git-sha`: a full commit, else None (`HEAD`: nothing was fetched yet)."""
    value = _last_line(text)
    return value if FULL_SHA.fullmatch(value) else None


def read_branch(text: str) -> str | None:
    """`git:report --git-deploy-branch`: empty where none is set yet."""
    return _last_line(text) or None


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    words = key.split()
    # `Status web 1` is the process web.1; a process type itself may contain hyphens.
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
