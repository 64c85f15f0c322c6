"""The command line: parse arguments and call `bot.operations`. Imports nothing slow at the top.

Exit status: 0 done; 1 failed, with a sentence on stderr; 2 a wrong argument or setting.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from bot.errors import BotError, ConfigError
from bot.names import COMMAND
from bot.redaction_escapes import visible

DONE = 0
FAILED = 1
WRONG = 2


def _group(about: str, *, completion: bool = False) -> typer.Typer:
    return typer.Typer(
        help=about,
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


app = _group("Deploy apps to Dokku from Slack, and see what is live.", completion=True)
webhooks = _group("List, repeat and turn on webhook deliveries.")
database = _group("Check and upgrade the database.")
config = _group("Show the settings.")
app.add_typer(webhooks, name="webhooks")
app.add_typer(database, name="db")
app.add_typer(config, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable fields.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of rows.")]
Which = Annotated[str, typer.Argument(metavar="ID|APP", help="An id, its start or end, or an app.")]


def main() -> None:
    """The console script `deploybot`."""
    give_a_home()
    sys.exit(run_cli(sys.argv[1:]))


def give_a_home() -> None:
    """Set HOME to `/`, as Docker does, where neither it nor the user's entry names a folder.

    Slack's library asks for the home when it is imported, and that would end the program.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"


def run_cli(words: Sequence[str]) -> int:
    """Run one command line. Returns its exit status."""
    try:
        status = app(list(words) or ["--help"], prog_name="deploybot", standalone_mode=False)
    except TyperException as wrong:
        return _complain(_usage_sentence(wrong), WRONG)
    except BotError as error:
        from bot.operations.printing import error_sentence  # noqa: PLC0415 - slow

        return _complain(error_sentence(error), WRONG if isinstance(error, ConfigError) else FAILED)
    except Exception as error:  # noqa: BLE001 - a bug: its traceback may show secrets
        from bot.operations.printing import traceback_text  # noqa: PLC0415 - slow

        typer.echo(traceback_text(error), err=True, nl=False)
        return FAILED
    if not words:
        return WRONG
    return status if isinstance(status, int) else DONE


def _complain(sentence: str, status: int) -> int:
    line = " ".join(visible(sentence).split())
    typer.echo(f"deploybot: {line}", err=True)
    return status


def _usage_sentence(wrong: TyperException) -> str:
    context = getattr(wrong, "ctx", None)
    path = context.command_path if context else "deploybot"
    sentence = wrong.format_message().replace("Value error, ", "").rstrip(".")
    return f"{sentence}. Try: {path} --help"


def _show_version(wanted: bool) -> None:
    if wanted:
        from bot.release import release  # noqa: PLC0415 - slow

        typer.echo(f"deploybot {release()}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the release and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.")] = 8000,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> int:
    """Try the bot in a browser, with everything simulated."""
    from bot.simulators.demo import run_demo  # noqa: PLC0415 - slow

    return run_demo(port, browser)


@app.command()
def run() -> int:
    """Run the bot until SIGTERM, SIGHUP or Ctrl-C."""
    from bot.config.loading import load_settings  # noqa: PLC0415 - slow

    settings = load_settings()

    from bot.process import run_bot  # noqa: PLC0415 - slower, and not needed to report a wrong setting

    return run_bot(settings)


@app.command()
def check(json: Json = False) -> int:
    """Check all that the bot needs. Changes nothing."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.check(json=json)


@app.command()
def manifest(
    mode: Annotated[
        Literal["socket", "http"],
        typer.Option(help="Socket Mode, or HTTP: Slack calls the bot."),
    ] = "socket",
    url: Annotated[
        str | None, typer.Option(metavar="U", help="Public address of the bot, for http.")
    ] = None,
    command: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the slash command, e.g. /ship.")
    ] = COMMAND,
    form: Annotated[
        Literal["yaml", "json", "link"],
        typer.Option("--format", help="`link` opens Slack's form with the manifest filled in."),
    ] = "yaml",
) -> None:
    """Print the Slack app manifest, ready to paste."""
    from bot.slack.manifest import manifest_text  # noqa: PLC0415 - slow

    typer.echo(manifest_text(mode, url, command, form), nl=False)


@app.command()
def status(
    which: Annotated[
        str | None,
        typer.Argument(metavar="[ID|APP]", help="Default: all running and queued deployments."),
    ] = None,
    json: Json = False,
) -> int:
    """Show what runs and is queued, a deployment, or an app."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.status(which, json=json)


@app.command()
def history(
    name: Annotated[str, typer.Argument(metavar="APP")],
    server: Annotated[str | None, typer.Option(help="Only deployments on this server.")] = None,
    limit: Limit = 10,
    json: Json = False,
) -> int:
    """Show an app's newest deployments, and who did what."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.history(name, server=server, limit=limit, json=json)


@app.command()
def logs(which: Which) -> int:
    """Print the log of a deployment."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.logs(which)


AnApp = Annotated[str, typer.Argument(metavar="APP")]
OnServer = Annotated[str | None, typer.Option(help="The app's server, where there are several.")]
ToChannel = Annotated[
    str | None,
    typer.Option(metavar="C", help="Id of the message's channel, where the app has none set."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for the result; exit 0 only if it succeeded.")
]


@app.command()
def deploy(
    name: AnApp,
    ref: Annotated[str | None, typer.Argument(metavar="REF", help="Branch, tag or commit.")] = None,
    server: OnServer = None,
    channel: ToChannel = None,
    wait: Wait = False,
) -> int:
    """Ask the running bot to deploy an app."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.request("deploy", name, ref=ref, server=server, channel=channel, wait=wait)


@app.command()
def retry(which: Which, channel: ToChannel = None, wait: Wait = False) -> int:
    """Ask the running bot to repeat what failed or was cancelled."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.request("retry", which, channel=channel, wait=wait)


@app.command()
def rollback(
    name: AnApp,
    sha: Annotated[
        str | None, typer.Argument(metavar="SHA", help="Default: what was live before.")
    ] = None,
    server: OnServer = None,
    channel: ToChannel = None,
    wait: Wait = False,
) -> int:
    """Ask the running bot to deploy a commit that was proven live."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.request("rollback", name, ref=sha, server=server, channel=channel, wait=wait)


@app.command()
def cancel(which: Which) -> int:
    """Ask the running bot to cancel a deployment."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.cancel(which)


AppOrAll = Annotated[str, typer.Argument(metavar="APP|all", help="An app, or every app.")]


@app.command()
def lock(
    name: AppOrAll,
    lasts: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="30m, 2h, 1d. Default: until unlocked."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="R", help="Shown to everyone.")] = "",
    server: OnServer = None,
) -> int:
    """Let nobody deploy an app, or any app, for a while."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.lock(name, lasts=lasts, reason=reason, server=server)


@app.command()
def unlock(name: AppOrAll, server: OnServer = None) -> int:
    """End a lock; its holder gets a message in Slack."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.unlock(name, server=server)


@app.command()
def locks(json: Json = False) -> int:
    """Show all locks."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.locks(json=json)


@app.command()
def approve(which: Which) -> int:
    """Approve a deployment that waits for it."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.approve(which)


@app.command()
def reject(
    which: Which,
    reason: Annotated[str | None, typer.Option(help="Shown in the deployment's message.")] = None,
) -> int:
    """Reject a deployment that waits for an approval."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.reject(which, reason=reason)


@webhooks.command("list")
def webhooks_list(limit: Limit = 50, json: Json = False) -> int:
    """Show the newest deliveries, and what is turned off."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.webhooks_list(limit=limit, json=json)


@webhooks.command("replay")
def webhooks_replay(delivery: Annotated[str, typer.Argument(metavar="ID")]) -> int:
    """Deliver again, with the same webhook-id."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.webhooks_replay(delivery)


@webhooks.command("test")
def webhooks_test(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="Default: every endpoint.")
    ] = None,
) -> int:
    """Send a test event now, signed like any other."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.webhooks_test(url)


@webhooks.command("enable")
def webhooks_enable(url: Annotated[str, typer.Argument(metavar="URL")]) -> int:
    """Turn an endpoint on again that answered 410."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.webhooks_enable(url)


@database.command("upgrade")
def db_upgrade() -> int:
    """Create the tables, or upgrade them to this release."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.db_upgrade()


@database.command("check")
def db_check() -> int:
    """Check that it answers and has the right tables."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.db_check()


@config.command("show")
def config_show(json: Json = False) -> int:
    """Show each setting and its source. Secrets are masked."""
    from bot.operations import commands  # noqa: PLC0415 - slow

    return commands.config_show(json=json)
