"""`config:set` and `config:unset`."""

from bot.simulators.dokku import procedures
from bot.simulators.dokku.app import App
from bot.simulators.dokku.commands.answers import Unmodelled, find_app, put
from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.model import Output
from bot.simulators.dokku.runs import Run


async def set_values(host: DokkuHost, words: list[str], output: Output) -> int:
    """Set variables, say them in clear, and redeploy unless told not to."""
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
    """Unset variables, and redeploy unless told not to."""
    rest = [word for word in words if word != "--no-restart"]
    app = find_app(host, rest)
    for key in rest[1:]:
        app.config.pop(key, None)
        await put(output, out=f"-----> Unsetting {key}\n")
    return await _redeploy(host, app, output, wanted="--no-restart" not in words)


async def _redeploy(host: DokkuHost, app: App, output: Output, *, wanted: bool) -> int:
    if not wanted or not app.deployed:
        return 0
    run = Run(host=host, app=app, output=output)
    return await run.execute(procedures.redeploy_config(run))


COMMANDS = {"config:set": set_values, "config:unset": unset_values}
