"""The values of an app's config: secrets in everything that is shown of that app.

They are read with `config:export --format json`, kept only in memory, and never put into a log
line, an error or a `repr`. Source: Dokku's documentation, "Environment Variables", and its test
suite, which shows the answer: `{"KEY":"value"}` on one line. There is no recording of it, so only
a flat JSON object of texts is accepted.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Iterator, Mapping
from typing import Protocol

import structlog

from bot.clock import Tasks
from bot.dokku.channel import Answer
from bot.dokku.commands import Argv, config_export
from bot.dokku.log_markers import fixed_texts
from bot.errors import DokkuError
from bot.redaction import Redactor

log = structlog.get_logger(__name__)

_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|key|credential|auth|dsn|private|salt|signature|webhook", re.IGNORECASE
)
# Variables of Dokku and the shell. Masked anyway if the name is that of a secret.
_SYSTEM_NAME = re.compile(
    r"DOKKU_\w*|GIT_REV|PORT|DYNO|NO_VHOST|CACHE_PATH|PATH|USER|HOME|SHELL|PWD|HOSTNAME|LANG|LC_\w+|TZ"
)
_ORDINARY_WORDS = frozenset(
    {
        *("production", "development", "staging", "testing", "default", "enabled", "disabled"),
        *("public", "docker", "native", "stdout", "stderr", "warning", "verbose"),
        *("postgres", "postgresql", "mysql2", "sqlite3", "memcached", "sidekiq"),
    }
)
"""Words of many logs: masking them would make a log unreadable, and they reveal nothing."""
_SITE_ADDRESS = re.compile(
    r"(?:https?://)?(?:\*\.)?(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?::\d{1,5})?/?", re.IGNORECASE
)
"""The address of a site; Dokku prints the app's."""


class Ask(Protocol):
    """Asks the server a question; raises DokkuError."""

    def __call__(self, argv: Argv, *, timeout_s: float) -> Awaitable[Answer]:
        """The answer, whatever its exit status."""
        ...


class AppSecrets:
    """The known secrets of each app of one server. A value once known stays known."""

    def __init__(
        self,
        server: str,
        *,
        redactor: Redactor,
        ask: Ask,
        timeout_s: float,
        patience_s: float = 60.0,
    ) -> None:
        """`redactor` knows the secrets of all apps; `timeout_s` delays a deploy at most.

        A slow server gets `patience_s` more, in the background.
        """
        self._server = server
        self._base = redactor
        self._ask = ask
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._tasks = Tasks()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._redactors: dict[str, Redactor] = {}
        self._values: dict[str, frozenset[str]] = {}
        self._unreadable: set[str] = set()

    def redactor(self, app: str) -> Redactor:
        """Return the redactor for everything that is shown of the app."""
        return self._redactors.get(app, self._base)

    def redactor_of(self, argv: Argv) -> Redactor:
        """Return the redactor for a command's answer: that of the app it names, if any."""
        named = [self._redactors[word] for word in argv if word in self._redactors]
        return named[0] if named else self._base

    async def learn(self, app: str) -> None:
        """Ask for the app's values now. Raises nothing that Dokku can cause.

        Where they cannot be read in time, the answer is waited for in the background and used
        from then on. Until then, only what looks like a secret is masked; one log line says so.
        """
        asking = self._asking.get(app)
        if asking is None:
            asking = self._tasks.spawn(self._ask_for(app), name=f"config of {app}")
            self._asking[app] = asking
            asking.add_done_callback(lambda _done: self._asking.pop(app, None))
        done, _ = await asyncio.wait({asking}, timeout=self._timeout_s)
        if not done:
            self._note(app, f"no answer in {self._timeout_s:g} s; the bot goes on waiting for it")

    async def aclose(self) -> None:
        """Stop waiting for answers."""
        await self._tasks.close()

    async def _ask_for(self, app: str) -> None:
        self._note(app, await self._read(app))

    def _note(self, app: str, why: str | None) -> None:
        if why is None:
            self._unreadable.discard(app)
        elif app not in self._unreadable:
            self._unreadable.add(app)
            log.warning("config_not_read", server=self._server, app=app, why=why)

    async def _read(self, app: str) -> str | None:
        """Return None, or why they could not be read, without the answer: it may hold values."""
        try:
            patience_s = self._timeout_s + self._patience_s
            answer = await self._ask(config_export(app), timeout_s=patience_s)
        except DokkuError as error:
            return type(error).__name__
        if answer.exit_status != 0:
            return f"exit status {answer.exit_status}"
        config = read_config(answer.out)
        if config is None:
            return "not a flat JSON object of texts"
        known = self._values.get(app, frozenset())
        values = known | frozenset(secret_values(config))
        if app not in self._redactors or values != known:
            self._values[app] = values
            self._redactors[app] = self._base.with_known(values, spared=fixed_texts(app))
        return None


def read_config(text: str) -> Mapping[str, str] | None:
    """Read `config:export --format json`; None for anything but a flat object of texts.

    It raises nothing: a parser's error would hold the text.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    flat = all(isinstance(value, str) for value in config.values())
    return config if flat else None


def secret_values(config: Mapping[str, str]) -> Iterator[str]:
    """The values that must be masked."""
    for name, value in config.items():
        secret = _SECRET_NAME.search(name) is not None
        if secret or not (_SYSTEM_NAME.fullmatch(name) or _is_public(value.strip())):
            yield value


def _is_public(value: str) -> bool:
    return value.lower() in _ORDINARY_WORDS or _SITE_ADDRESS.fullmatch(value) is not None
