"""The command line: reads the words, calls, prints. No logic, and nothing slow is imported here.

Exit statuses: 0 done; 1 it failed, with a sentence on stderr; 2 a wrong word or setting.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from bot.errors import BotError, ConfigError

DONE = 0
FAILED = 1
WRONG = 2


def _group(about: str) -> typer.Typer:
    return typer.Typer(
        help=about, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


app = _group("Deploys apps to Dokku from Slack, and says what is live.")
webhooks = _group("Webhook deliveries.")
database = _group("The database.")
config = _group("The settings.")
app.add_typer(webhooks, name="webhooks")
app.add_typer(database, name="db")
app.add_typer(config, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]
Which = Annotated[str, typer.Argument(metavar="ID|APP", help="An id, its beginning, or an app.")]


def main() -> None:
    """The console script `deploybot`."""
    sys.exit(run_cli(sys.argv[1:]))


def run_cli(words: Sequence[str]) -> int:
    """Carry out one command line; its exit status."""
    try:
        status = app(list(words) or ["--help"], prog_name="deploybot", standalone_mode=False)
    except TyperException as wrong:
        return _complain(_usage_sentence(wrong), WRONG)
    except ConfigError as error:
        return _complain(str(error), WRONG)
    except BotError as error:
        return _complain(str(error), FAILED)
    if not words:
        return WRONG
    return status if isinstance(status, int) else DONE


def _complain(sentence: str, status: int) -> int:
    line = " ".join(sentence.split())
    typer.echo(f"deploybot: {line}", err=True)
    return status


def _usage_sentence(wrong: TyperException) -> str:
    context = getattr(wrong, "ctx", None)
    path = context.command_path if context else "deploybot"
    sentence = wrong.format_message().replace("Value error, ", "").rstrip(".")
    return f"{sentence}. Try: {path} --help"


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.")] = 8000,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> int:
    """Try it: everything simulated on this machine, in a browser."""
    from bot.simulators.demo import run_demo  # noqa: PLC0415 - slow

    return run_demo(port, browser)


@app.command()
def run() -> int:
    """Run the bot until SIGTERM or Ctrl-C."""
    from bot.config.settings import load_settings  # noqa: PLC0415 - slow

    settings = load_settings()

    from bot.process import run_bot  # noqa: PLC0415 - slower, and not needed to say what is wrong

    return run_bot(settings)


@app.command()
def check(json: Json = False) -> int:
    """Try all that the bot needs, and say how to mend what is wrong."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.check(json=json)


@app.command()
def manifest(
    mode: Annotated[
        Literal["socket", "http"], typer.Option(help="Whether the bot calls Slack, or Slack it.")
    ] = "socket",
    url: Annotated[
        str | None, typer.Option(metavar="U", help="The bot's public address, for http.")
    ] = None,
) -> None:
    """Print the Slack app manifest, ready to paste."""
    from bot.slack.manifest import manifest_text  # noqa: PLC0415 - slow

    typer.echo(manifest_text(mode, url), nl=False)


@app.command()
def status(
    which: Annotated[
        str | None,
        typer.Argument(metavar="[ID|APP]", help="Default: all that run or wait."),
    ] = None,
    json: Json = False,
) -> int:
    """Show what runs and waits, one deployment, or what is live."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.status(which, json=json)


@app.command()
def history(
    name: Annotated[str, typer.Argument(metavar="APP")],
    server: Annotated[str | None, typer.Option(help="Only of this server.")] = None,
    limit: Limit = 10,
    json: Json = False,
) -> int:
    """Show the newest deployments of an app and who did what."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.history(name, server=server, limit=limit, json=json)


@app.command()
def logs(which: Which) -> int:
    """Print the whole log of a deployment."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.logs(which)


@app.command()
def cancel(which: Which) -> int:
    """Ask the running bot to cancel a deployment."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.cancel(which)


@webhooks.command("list")
def webhooks_list(limit: Limit = 50, json: Json = False) -> int:
    """Show the newest deliveries, and the addresses that are turned off."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.webhooks_list(limit=limit, json=json)


@webhooks.command("replay")
def webhooks_replay(delivery: Annotated[str, typer.Argument(metavar="ID")]) -> int:
    """Deliver one again, with the same webhook-id."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.webhooks_replay(delivery)


@webhooks.command("enable")
def webhooks_enable(url: Annotated[str, typer.Argument(metavar="URL")]) -> int:
    """Deliver again to an address that was turned off by its answer 410."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.webhooks_enable(url)


@database.command("upgrade")
def db_upgrade() -> int:
    """Create the tables, or bring them to the revision of this release."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.db_upgrade()


@database.command("check")
def db_check() -> int:
    """See whether the database answers and has the right tables."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.db_check()


@config.command("show")
def config_show(json: Json = False) -> int:
    """Show every setting, its value and where it came from; secrets are masked."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.config_show(json=json)
