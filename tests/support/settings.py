"""Environments for settings: complete ones, with a key of this run."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import asyncssh

from bot.config.loading import Settings, load_settings
from bot.errors import ConfigError

HOST = "dokku.example.com"


@cache
def a_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@cache
def pem(passphrase: str | None = None) -> str:
    # OpenSSH's own format makes a passphrase slow to try, a second for each key of a test.
    form = "openssh" if passphrase is None else "pkcs8-pem"
    return a_key().export_private_key(form, passphrase=passphrase).decode()


def host_line(host: str = HOST) -> str:
    return f"{host} {a_key().export_public_key().decode().strip()}"


def environment(**changes: str | None) -> dict[str, str]:
    """A complete environment; None takes a variable out."""
    full: dict[str, str | None] = {
        "SLACK_BOT_TOKEN": "xoxb-1-made-up",
        "SLACK_APP_TOKEN": "xapp-1-made-up",
        "DOKKU_HOST": HOST,
        "DOKKU_SSH_KEY": pem(),
        "DOKKU_KNOWN_HOSTS": host_line(),
    }
    full.update(changes)
    return {name: text for name, text in full.items() if text is not None}


def load(folder: Path, *, toml: str | None = None, **changes: str | None) -> Settings:
    """Load a complete environment with changes, and a deploybot.toml."""
    if toml is not None:
        (folder / "deploybot.toml").write_text(toml)
    return load_settings(environ=environment(**changes), folder=folder)


def refused(folder: Path, *, toml: str | None = None, **changes: str | None) -> str:
    """The line that the same settings are refused with."""
    try:
        load(folder, toml=toml, **changes)
    except ConfigError as error:
        line = str(error)
        assert "\n" not in line
        return line
    raise AssertionError("these settings were accepted")


def minimal(folder: Path, environ: Mapping[str, str]) -> Settings:
    """What is given and nothing else."""
    return load_settings(environ=environ, folder=folder, complete=False)
