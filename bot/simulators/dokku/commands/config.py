"""`config:set`, `config:unset` and `config:export`."""

import json

from bot.simulators.dokku import procedures
from bot.simulators.dokku.app import App
from bot.simulators.dokku.commands.shared import Unmodelled, find_app, put, take_format
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Output
from bot.simulators.dokku.runs import Run


async def set_values(host: DokkuHost, words: list[str], output: Output) -> int:
    """Set variables, print them in clear, and redeploy unless `--no-restart` is given."""
    rest = [word for word in words if word != "--no-restart"]
    app = find_app(host, rest)
    pairs = dict(word.partition("=")[::2] for word in rest[1:] if "=" in word)
    if len(pairs) != len(rest) - 1 or not pairs:
        raise Unmodelled(f"config:set {words}")
    app.config |= pairs
    width = max(len(key) for key in pairs) + 3
    rows = "".join(f"{' ' * 7}{(key + ':').ljust(width)}{pairs[key]}\n" for key in sorted(pairs))
    await put(output, out="-----> Setting config vars\n" + rows)
    return await _redeploy(host, app, output, wanted="--no-restart" not in words)


async def unset_values(host: DokkuHost, words: list[str], output: Output) -> int:
    """Unset variables, and redeploy unless `--no-restart` is given."""
    rest = [word for word in words if word != "--no-restart"]
    app = find_app(host, rest)
    for key in rest[1:]:
        app.config.pop(key, None)
        await put(output, out=f"-----> Unsetting {key}\n")
    return await _redeploy(host, app, output, wanted="--no-restart" not in words)


async def export_values(host: DokkuHost, words: list[str], output: Output) -> int:
    """Print names and values in clear, as JSON.

    Not recorded: Dokku's documentation and its test suite show the answer, `{"A":"1","B":"2"}`, on
    one line and sorted, as Go's encoder writes it.
    """
    chosen, rest = take_format([word for word in words if word != "--merged"])
    app = find_app(host, rest)
    if chosen != "json" or len(rest) != 1:
        raise Unmodelled(f"config:export {words}")
    text = json.dumps(app.config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    await put(output, out=text + "\n")
    return 0


async def _redeploy(host: DokkuHost, app: App, output: Output, *, wanted: bool) -> int:
    if not wanted or not app.deployed:
        return 0
    run = Run(host=host, app=app, output=output)
    return await run.execute(procedures.redeploy_config(run))


COMMANDS = {
    "config:export": export_values,
    "config:set": set_values,
    "config:unset": unset_values,
}
