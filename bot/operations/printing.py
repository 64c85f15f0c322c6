"""Everything that an operator's command prints: without secrets, and harmless to a terminal."""

import json
import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from bot.config.loading import load_settings
from bot.config.secrets import secrets_at_hand
from bot.errors import ConfigError
from bot.redaction import Redactor
from bot.redaction_escapes import OBEYED, visible

_LINES_AT_ONCE = 2_000


def redactor_at_hand() -> Redactor:
    """The redactor for this command, also where the settings cannot be used."""
    try:
        return Redactor(load_settings(complete=False).secrets())
    except ConfigError:
        return Redactor(secrets_at_hand(os.environ, Path.cwd()))


def print_lines(lines: Sequence[str], *, masked: bool = False) -> None:
    """Print lines. `masked`: their values were masked one by one, beside the names of settings."""
    shown = lines if masked else map(redactor_at_hand().text, lines)
    for line in shown:
        typer.echo(visible(line))


def print_log(text: str) -> None:
    """Print a stored log."""
    stream = redactor_at_hand().stream()
    lines = text.split("\n")
    for at in range(0, len(lines), _LINES_AT_ONCE):
        part = stream.lines(lines[at : at + _LINES_AT_ONCE])
        last = at + _LINES_AT_ONCE >= len(lines)
        typer.echo(visible("\n".join(part)), nl=not last or bool(part[-1]))


def print_json(value: object, *, masked: bool = False) -> None:
    """Print JSON with the texts in it masked, unless they are already."""
    redactor = redactor_at_hand()

    def clean(part: object) -> object:
        match part:
            case str():
                return redactor.text(part)
            case Mapping():
                return {key: clean(below) for key, below in part.items()}
            case list() | tuple():
                return [clean(below) for below in part]
            case _:
                return part

    text = json.dumps(value if masked else clean(value), indent=2, ensure_ascii=False)
    # `json` leaves some characters that a terminal obeys.
    typer.echo(OBEYED.sub(lambda one: f"\\u{ord(one[0]):04x}", text))


def error_sentence(error: BaseException) -> str:
    """The sentence of an error that is for people, on one line."""
    mask = redactor_at_hand().text
    sentence = mask(str(error))
    if isinstance(error, ConfigError):
        # In parts: next to the setting's name, its explanation would look like a secret.
        problem, fix = mask(error.problem), mask(error.fix)
        sentence = str(ConfigError(error.setting, error.source, problem, fix))
    return visible(" ".join(sentence.split()))


def traceback_text(error: BaseException) -> str:
    """The traceback of an error that nothing expected."""
    return visible(redactor_at_hand().text("".join(traceback.format_exception(error))))
