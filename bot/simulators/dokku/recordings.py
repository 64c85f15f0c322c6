"""The recorded answers of a real Dokku: the only text that the simulator may print."""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRANSCRIPTS = Path(__file__).parent / "transcripts"
NEWEST = "0.38.27"
OLD_VERSION = "0.35.20"
VERSIONS = (NEWEST, OLD_VERSION)
SAME_IN_ALL_VERSIONS = frozenset({"i_app_missing"})
"""Scenarios with the same texts and exit statuses on 0.35, recorded once."""

# Measured and quoted, but not recorded: the same Dokku 0.38.27 as the recordings, with an app.json
# whose task exits 3 (scenario y1). A test checks that no other unrecorded line is printed.
TASK_FAILED = " !     Execution of {task} task failed: {command}\n"
"""`task` is predeploy or postdeploy, `command` what app.json contains. Exit status 1."""
FAILED_TASK_COMMAND = "/app/migrate"

_TOKEN = re.compile(r"\{\{(\w+)\}\}")
_TYPES = "(?:web|worker)"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One recorded line of a command's output, with tokens for what differs between deploys."""

    delay_s: float
    """Recorded seconds since the previous line (for the first: since the command's start)."""
    stream: str
    """`out` or `err`."""
    text: str
    """Ends in a newline and contains tokens such as `{{app}}`."""

    def render(self, values: Mapping[str, object]) -> str:
        """Replace the tokens by values. Raises KeyError for a token without a value."""
        return render(self.text, values)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One recorded SSH command."""

    name: str
    argv: tuple[str, ...]
    at_s: float
    """Recorded seconds from the start of the scenario to the start of the command."""
    exit_status: int
    """Negative: none was sent, because the client was gone or a signal killed the command."""
    killed: bool
    """A signal killed the command on the server."""
    wall_s: float
    stdout: str
    stderr: str
    lines: tuple[Line, ...]
    """Its output by line, with tokens; empty for a query that was not streamed."""
    chunks: tuple[tuple[float, str, str], ...]
    """Its output as it arrived: seconds since its start, `out` or `err`, text."""


def render(template: str, values: Mapping[str, object]) -> str:
    """Replace the tokens of a template. Raises KeyError for a token without a value."""
    return _TOKEN.sub(lambda match: str(values[match.group(1)]), template)


@functools.cache
def load(version: str, scenario: str) -> Mapping[str, Step]:
    """Read the kept steps of one recorded scenario, by name."""
    folder = NEWEST if scenario in SAME_IN_ALL_VERSIONS else version
    path = TRANSCRIPTS / folder / f"{scenario}.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    return {step["name"]: _step(step) for step in raw["steps"]}


def step(version: str, scenario: str, name: str) -> Step:
    """Return one recorded step. Raises KeyError if it was not kept."""
    return load(version, scenario)[name]


def between(lines: tuple[Line, ...], start: str | None, end: str | None) -> tuple[Line, ...]:
    """Cut a section: from the first line that contains `start` to before the next with `end`.

    None means the start or the end of the recording.
    Raises LookupError if a text is not in the recording.
    """
    first = 0 if start is None else _find(lines, start, 0)
    last = len(lines) if end is None else _find(lines, end, first + 1)
    return lines[first:last]


def _find(lines: tuple[Line, ...], text: str, begin: int) -> int:
    for index in range(begin, len(lines)):
        if text in lines[index].text:
            return index
    raise LookupError(f"no recorded line contains {text!r}")


def _step(raw: dict[str, Any]) -> Step:
    argv = tuple(raw["argv"])
    chunks = raw.get("chunks") or _unstreamed(raw)
    return Step(
        name=raw["name"],
        argv=argv,
        at_s=raw["t"],
        exit_status=-1 if raw["exit"] is None else raw["exit"],
        killed="exit_signal" in raw,
        wall_s=raw["wall_s"],
        stdout=raw.get("stdout") or "",
        stderr=raw.get("stderr") or "",
        lines=_lines(chunks, argv),
        chunks=tuple((at_s, stream, text) for at_s, stream, text in chunks),
    )


def _unstreamed(raw: dict[str, Any]) -> list[tuple[float, str, str]]:
    if raw["argv"][0] != "git:sync":
        return []
    parts = (("out", raw.get("stdout")), ("err", raw.get("stderr")))
    return [(raw["wall_s"], stream, text) for stream, text in parts if text]


def _lines(chunks: list[tuple[float, str, str]], argv: tuple[str, ...]) -> tuple[Line, ...]:
    """Split recorded chunks into lines; a line has the time of the chunk in which it begins."""
    found: list[tuple[float, str, str]] = []
    open_line: dict[str, int] = {}
    for at_s, stream, text in chunks:
        for part in text.splitlines(keepends=True):
            if stream in open_line:
                index = open_line.pop(stream)
                began_s, _, head = found[index]
                found[index] = (began_s, stream, head + part)
            else:
                index = len(found)
                found.append((at_s, stream, part))
            if not part.endswith("\n"):
                open_line[stream] = index
    lines: list[Line] = []
    before_s = 0.0
    for at_s, stream, text in found:
        template = generalise(text, argv)
        lines.append(Line(delay_s=max(0.0, at_s - before_s), stream=stream, text=template))
        before_s = at_s
    return tuple(lines)


def generalise(text: str, argv: tuple[str, ...]) -> str:
    """Replace app, URL, ref, SHA, ids, ports and instants of a recorded line by tokens."""
    words = [word for word in argv[1:] if not word.startswith("--")]
    if not words:
        return text
    app = words[0]
    url, ref = (words[1], words[2]) if argv[0] == "git:sync" and len(words) > 2 else ("", "")  # noqa: PLR2004 - app, url, ref
    if url:
        text = text.replace(f"{url}#{ref}", "{{url}}#{{ref}}").replace(url, "{{url}}")
        text = text.replace(url.removesuffix(".git"), "{{url_base}}")
        text = re.sub("exported: /[\\w.]+", "exported: {{repo_path}}", text)
        text = re.sub(rf"\b{re.escape(host_of(url))}\b", "{{repo_host}}", text)
    for pattern, replacement in _rules(app, ref):
        text = pattern.sub(replacement, text)
    return text


def host_of(url: str) -> str:
    """Return the host name of a repository's URL, or the text itself if it is not a URL."""
    place = url.partition("://")[2] or url.partition("@")[2]
    place = place.partition("/")[0].rpartition("@")[2] or place
    return re.split("[/:]", place, maxsplit=1)[0] or url


@functools.cache
def _rules(app: str, ref: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Order matters: rules for processes and other containers go before those for the app's name.

    `web` is both an app and a process type in the recordings.
    """
    name, hex12, hex64 = re.escape(app), "[0-9a-f]{12}", "[0-9a-f]{64}"
    dyno = rf"{_TYPES}\.\d+"
    rules = [
        (r"name='web health'", "name='{{web_health}}'"),
        (r"simulated crash", "simulated {{end_of_life}}"),
        (rf"labweb {_TYPES} starting", "labweb {{type}} starting"),
        (rf"sha256:{hex64}", "sha256:{{layer}}"),
        (rf"sandbox {hex64}", "sandbox {{sandbox}}"),
        (rf"Stopping {hex64} \({_TYPES}\)", "Stopping {{old_id}} ({{type}})"),
        (rf"\b{hex64}\b", "{{id}}"),
        (r"rev=[0-9a-f]{40}", "rev={{rev}}"),
        (r"\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b", "{{old7}}..{{new7}}"),
        (
            rf"previous container\(s\) \({hex12}\) named {name}\.{dyno}",
            "previous container(s) ({{old_id12}}) named {{app}}.{{dyno}}",
        ),
        (
            rf"container \({hex12}\) {name}\.{dyno} to {name}\.{dyno}\.\d+",
            "container ({{old_id12}}) {{app}}.{{dyno}} to {{app}}.{{dyno}}.{{unix}}",
        ),
        (
            rf"container {name}\.{dyno}\.\d+ \({hex12}\) to {name}\.{dyno}",
            "container {{app}}.{{dyno}}.{{unix}} ({{old_id12}}) to {{app}}.{{dyno}}",
        ),
        (rf"{name}\.{dyno}\.upcoming-\d+", "{{app}}.{{dyno}}.upcoming-{{upcoming}}"),
        (rf"\b{name}\.{dyno}\b", "{{app}}.{{dyno}}"),
        (rf"Retagging old image {hex12}", "Retagging old image {{old_image12}}"),
        (rf"^{hex12} as dokku", "{{older_image12}} as dokku"),
        (rf"\({hex12}", "({{id12}}"),
        (rf"\({dyno}\)", "({{dyno}})"),
        (rf"(\{{\{{id12\}}\}}) {dyno}\)", r"\1 {{dyno}})"),
        (rf"Deploying {_TYPES} \(count=\d+\)", "Deploying {{type}} (count={{count}})"),
        (rf"\({_TYPES}\)", "({{type}})"),
        (
            rf"process-container {name} (\w+) dokku/{name}:latest latest {_TYPES} \d+ \d+",
            r"process-container {{app}} \1 dokku/{{app}}:latest latest {{job}}",
        ),
        (rf"processes: {_TYPES}=\d+(?: {_TYPES}=\d+)*", "processes: {{scale}}"),
        (rf"//{name}\.{name}\.example", "//{{app}}.dokku.example"),
        (rf"\b{name}\b(?! image| container shutdown| containers in)", "{{app}}"),
    ]
    if ref and not re.fullmatch("[0-9a-f]{40}", ref):
        branch = re.escape(ref)
        rules[:0] = [
            (rf"\b{branch} {{7}}-> {branch}\b", "{{branch10}} -> {{branch}}"),
            (rf"deploy-branch to {branch}\b", "deploy-branch to {{branch}}"),
            (rf"'{branch}'", "'{{ref}}'"),
            (rf"fatal: {branch}\^", "fatal: {{ref}}^"),
        ]
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)
