"""Write the pages that are made from the code. `make docs` runs it; a test compares."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bot.config.settings import (
    RULES,
    AppTable,
    RulesTable,
    ServerTable,
    SettingsTable,
    Table,
    WebhookTable,
)
from bot.config.values import show_duration
from bot.metrics import Metrics
from bot.slack.manifest import manifest_text
from tools.docs.builders_page import builders_page
from tools.docs.commands_page import commands_page
from tools.docs.verdicts_page import verdicts_page
from tools.docs.webhook_schema import webhook_schema

_METRICS = "<!-- metrics: made by `make docs` -->"
_METRICS_END = "<!-- end of metrics -->"

_INTRODUCTION = """\
# Configuration

<!-- Made from bot/config/settings.py by `make docs`; edit there. -->

The bot reads its settings from three sources. The first that has a value wins:

1. the environment (an empty variable counts as not set),
2. a file `.env` in the working directory,
3. `deploybot.toml` in the working directory, or the file that `DEPLOYBOT_CONFIG` names.

With one Dokku server, the variables are enough. Further servers, rules for apps and further
webhooks need the file.

If a setting is wrong, the bot does not start. It prints one line on stderr (source, setting, what
is wrong, how to fix it) and exits with status 2. An unknown key in the file or an unknown variable
that begins with `DEPLOYBOT_` is such a mistake, too.

- `deploybot config show` prints every setting and where it came from. Secrets are masked.
- `deploybot check` tries the settings: database, Slack, Dokku servers, webhooks.

Durations are seconds (`90`) or a number with a unit: `90s`, `30m`, `2h`.
"""

_TOP = """
## Top level

Set each one by its variable, or by its key at the top of `deploybot.toml`.

The bot needs `slack_bot_token`, and `slack_app_token` (Socket Mode: the bot connects to Slack) or
`slack_signing_secret` (HTTP mode: Slack calls the bot). If both are set, it uses Socket Mode.
"""

_SERVERS = """
## Servers: `[servers.NAME]`

The variables describe the server named `default`. Any other server has its own table. NAME is what
people type after `to`: `/deploy myapp main to production`.
"""

_KEYS = """
### Keys

A private key or host key is a path (relative to the working directory) or the text itself. If your
platform's variables cannot hold several lines, write `\\n` for each newline, or encode the whole
key with `base64`. The bot loads the key when it starts, so a wrong passphrase shows at once.

To get the host key:

1. Run `ssh-keyscan HOST`.
2. Compare its fingerprint with the one that the server itself shows:
   `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`.
"""

_RULES = """
## Rules of deployments: `[defaults]`, `[servers.NAME]`, `[apps.NAME]`

Each of these keys counts from the app's own table, else from its server's, else from `[defaults]`.
`[defaults]` also takes `max_duration`.
"""

_APPS = """
## Apps: `[apps.NAME]`

NAME is what people type. An app needs no table, unless `only_listed_apps` is set. A table applies
to its Dokku app under both names. Two tables for one Dokku app on one server are an error.
"""

_WEBHOOKS = """
## Webhooks: `[[webhooks]]`

One block for each endpoint. The variables add one more without a file. [webhooks.md](webhooks.md)
describes what is sent, and how to verify it.
"""

_EXAMPLE = """
## A complete file

```toml
{example}```
"""


def configuration_page(example: str) -> str:
    """docs/configuration.md; `example` is the text of deploybot.toml.example."""
    parts = (
        _INTRODUCTION,
        _TOP,
        _rows(SettingsTable, ("servers", "apps", "webhooks", "defaults")),
        _SERVERS,
        _rows(ServerTable, RULES),
        _KEYS,
        _APPS,
        _rows(AppTable, RULES),
        _RULES,
        _rows(RulesTable),
        _WEBHOOKS,
        _rows(WebhookTable),
        _EXAMPLE.format(example=example),
    )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _rows(table: type[Table], leave_out: tuple[str, ...] = ()) -> str:
    lines = ["| key | variable | meaning | default |", "|---|---|---|---|"]
    for name, setting in table.model_fields.items():
        if name not in leave_out:
            spelt = table.variable_of(name)
            shown = f"`{spelt}`" if spelt else ""
            lines.append(f"| `{name}` | {shown} | {setting.description} | {_default(setting)} |")
    return "\n".join(lines)


def _default(setting: FieldInfo) -> str:
    if setting.is_required():
        return "required"
    value = setting.get_default()
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    match value:
        case None | frozenset() | "" if not value:
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
    """docs/operations.md with new rows between its markers."""
    before, _, rest = text.partition(_METRICS)
    _, _, after = rest.partition(_METRICS_END)
    return f"{before}{_METRICS}\n{metrics_table()}\n{_METRICS_END}{after}"


def pages(root: Path) -> Mapping[Path, Callable[[], str]]:
    """Every generated file and what makes its text."""
    example = root / "deploybot.toml.example"
    operations = root / "docs" / "operations.md"
    return {
        operations: lambda: operations_page(operations.read_text()),
        root / "docs" / "builders.md": builders_page,
        root / "docs" / "commands.md": commands_page,
        root / "docs" / "configuration.md": lambda: configuration_page(example.read_text()),
        root / "docs" / "verdicts.md": verdicts_page,
        root / "docs" / "webhook.schema.json": webhook_schema,
        root / "manifest.yml": manifest_text,
    }


def write_pages(root: Path) -> None:
    """Write them."""
    for path, text in pages(root).items():
        path.write_text(text())


if __name__ == "__main__":
    write_pages(Path.cwd())
