"""Explain why a login failed: what happened, what it means, what to do next."""

import socket
from dataclasses import dataclass

import asyncssh

from bot.errors import Refused, Unreachable


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a library error of a login means."""

    errors: tuple[type[Exception], ...]
    sentence: str
    final: bool = False
    """Trying again cannot help."""
    setting: str | None = None
    """The setting that keeps the bot out, by its name in the server's table."""
    fix: str = ""


# The first match counts: the later classes are bases of the earlier ones, and asyncssh's own
# time-out is an OSError.
_FAILURES = (
    _Failure(
        (asyncssh.HostKeyNotVerifiable,),
        "{where} showed a host key that is not among the known ones: the server was reinstalled, "
        "or something between it and the bot intercepts the connection. Nothing was sent.",
        setting="known_hosts",
        fix="If its key did change, put the output of `ssh-keyscan -p {port} {host}`, checked on "
        "the server, into known_hosts.",
    ),
    _Failure(
        (asyncssh.PermissionDenied,),
        "{where} refused the bot's SSH key for the user {user}.",
        setting="ssh_key",
        fix="Add the key's public half there with `dokku ssh-keys:add deploybot`, or give the "
        "bot the right key.",
    ),
    _Failure(
        (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported),
        "What answers at {where} does not speak SSH.",
        fix="Check host and port.",
        final=True,
    ),
    _Failure(
        (asyncssh.KeyExchangeFailed,),
        "{where} and the bot have no cipher or key type in common.",
        fix="Update its OpenSSH.",
        final=True,
    ),
    _Failure(
        (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError),
        "{where} hung up during the login: it has too many logins at once, is going down, or is "
        "not an SSH server. The bot tries again.",
    ),
    _Failure(
        (TimeoutError,),
        "{where} did not answer within {waited:g} s: the server is down or very busy, or a "
        "firewall drops the packets. The bot tries again.",
    ),
    _Failure(
        (socket.gaierror,),
        "The name {host} was not found in the DNS.",
        fix="Check its spelling and the resolver.",
    ),
    _Failure(
        (ConnectionRefusedError,),
        "{where} refused the connection: nothing listens there.",
        fix="Check the port, and whether sshd runs.",
    ),
    _Failure((asyncssh.Error, OSError), "{where} cannot be reached: {error}."),
    _Failure(
        (Exception,),
        "The bot's SSH client could not begin a login at {where}: {error}. Nothing was sent. The "
        "cause is on the bot's side.",
        fix="Check the user and the files of its container.",
    ),
)


def explain(error: Exception, *, host: str, port: int, user: str, waited_s: float) -> Unreachable:
    """Make the error of a failed login. Nothing was sent, so trying again is harmless."""
    failure = next(failure for failure in _FAILURES if isinstance(error, failure.errors))
    text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
    sentence, fix = (
        template.format(
            where=f"{host}:{port}", host=host, port=port, user=user, waited=waited_s, error=text
        )
        for template in (failure.sentence, failure.fix)
    )
    if failure.setting is not None:
        return Refused(failure.setting, sentence, fix)
    return Unreachable(sentence, fix, final=failure.final)
