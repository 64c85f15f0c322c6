"""Writes the pages that are made from the code; `make docs` runs it, a test compares."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from bot.config.sources import variable_of
from bot.config.tables import AppTable, Knobs, ServerTable, WebhookTable, is_later
from bot.config.values import show_duration
from bot.metrics import Metrics
from bot.slack.manifest import manifest_text
from tools.docs.commands_page import commands_page
from tools.docs.verdicts_page import verdicts_page

_METRICS = "<!-- metrics: made by `make docs` -->"
_METRICS_END = "<!-- end of metrics -->"

_INTRODUCTION = """\
# Configuration

<!-- Made from bot/config/tables.py by `make docs`; edit there. -->

Settings are read, in this order, from the environment, from a file `.env` in the working
directory, and from `deploybot.toml` (or the file that `DEPLOYBOT_CONFIG` names); what is found
first counts. One server needs no file: the variables are enough. An empty variable counts as
not set.

A mistake stops the start with one line on stderr (the source, the setting, what is wrong, how to
mend it) and exit status 2. That goes for unknown keys in the file and unknown variables that
begin with `DEPLOYBOT_`, too. `deploybot config show` prints every setting, where it came from, and
no secret. `deploybot check` tries them.

Durations are seconds (`90`) or a number with a unit: `90s`, `30m`, `2h`.
"""

_TOP = """
## Top level

Each row can stand in the environment or, under its key, at the top of `deploybot.toml`.
"""

_SERVERS = """
## Servers: `[servers.NAME]`

The variables describe the server named `default`; further ones, or all of them, have a table
each. NAME is what people type after `to`: `/deploy myapp main to production`.
"""

_KEYS = """
A private key or host key may be a path, relative to the working directory, or the text itself.
Where a platform's variables cannot hold several lines, write `\\n` for each newline, or encode the
whole key with `base64`. The key is loaded when the bot starts, so that a wrong passphrase is known
at once. Get the host key with `ssh-keyscan HOST` and compare its fingerprint on the server:
`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`.
"""

_APPS = """
## Apps: `[apps.NAME]`

NAME is what people type. An app needs no table, unless `only_listed_apps` is set. A table holds
for its Dokku app under both names. Two tables for one Dokku app on one server are an error.
"""

_WEBHOOKS = """
## Webhooks: `[[webhooks]]`

One block for each address; the variables add one more without a file. What is sent, and how to
verify it, is in [webhooks.md](webhooks.md).
"""

_EXAMPLE = """
## A whole file

```toml
{example}```
"""


def configuration_page(example: str) -> str:
    """docs/configuration.md; `example` is the text of deploybot.toml.example."""
    parts = (
        _INTRODUCTION,
        _TOP,
        _rows(Knobs, ("servers", "apps", "webhooks")),
        _SERVERS,
        _rows(ServerTable),
        _KEYS,
        _APPS,
        _rows(AppTable),
        _WEBHOOKS,
        _rows(WebhookTable),
        _EXAMPLE.format(example=example),
    )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _rows(table: type[BaseModel], leave_out: tuple[str, ...] = ()) -> str:
    lines = ["| key | variable | meaning | default |", "|---|---|---|---|"]
    for name, knob in table.model_fields.items():
        if name not in leave_out and not is_later(knob):
            spelt = variable_of(knob)
            shown = f"`{spelt}`" if spelt else ""
            lines.append(f"| `{name}` | {shown} | {knob.description} | {_default(knob)} |")
    return "\n".join(lines)


def _default(knob: FieldInfo) -> str:
    if knob.is_required():
        return "required"
    value = knob.get_default()
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    match value:
        case None | frozenset() if not value:
            return "-"
        case timedelta():
            return f"`{show_duration(value)}`"
        case bool():
            return "`true`" if value else "`false`"
        case frozenset():
            return ", ".join(f"`{item}`" for item in sorted(value))
        case _:
            return f"`{value}`"


def metrics_table() -> str:
    """The rows of docs/operations.md."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for one in Metrics().described():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {one.meaning} |")
    return "\n".join(lines)


def operations_page(text: str) -> str:
    """docs/operations.md with the rows that its markers enclose made anew."""
    before, _, rest = text.partition(_METRICS)
    _, _, after = rest.partition(_METRICS_END)
    return f"{before}{_METRICS}\n{metrics_table()}\n{_METRICS_END}{after}"


def pages(root: Path) -> Mapping[Path, str]:
    """Every generated file and its text."""
    example = (root / "deploybot.toml.example").read_text()
    operations = root / "docs" / "operations.md"
    return {
        operations: operations_page(operations.read_text()),
        root / "docs" / "commands.md": commands_page(),
        root / "docs" / "configuration.md": configuration_page(example),
        root / "docs" / "verdicts.md": verdicts_page(),
        root / "manifest.yml": manifest_text(),
    }


def write_pages(root: Path) -> None:
    """Write them."""
    for path, text in pages(root).items():
        path.write_text(text)


if __name__ == "__main__":
    write_pages(Path.cwd())
