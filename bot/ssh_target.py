"""A Dokku server and what it takes to log in there. Built by the settings, used by `bot.dokku`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # its import takes 0.6 s, which operators' commands without a server save
    import asyncssh


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """Address, user and keys, parsed once: opening an encrypted key takes about 0.1 s of a core.

    The settings copy each field that has the name of one of `ServerTable`.
    """

    host: str
    port: int = 22
    user: str = "dokku"
    key: asyncssh.SSHKey = field(repr=False)
    """The private key."""
    key_text: str = field(default="", repr=False)
    """The key as PEM text. Each line is a secret that must be masked."""
    known_hosts: asyncssh.SSHKnownHosts = field(repr=False)
    runner: str = ""
    """The app in whose one-off containers deploys run; empty: on the bot's own connections."""

    @property
    def address(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"
