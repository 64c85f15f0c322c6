"""What went wrong on the way to a server, in a sentence: what happened, its meaning, the mend."""

import socket
from dataclasses import dataclass

import asyncssh

from bot.errors import Refused, Unreachable


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a library error of a login means. `final`: trying again cannot help by itself."""

    errors: tuple[type[Exception], ...]
    sentence: str
    final: bool = False
    setting: str | None = None
    """What keeps the bot out, by its name in the server's table."""
    mend: str = ""


# The first match counts: the later classes are bases of the earlier ones, and asyncssh's own
# time-out is an OSError.
_FAILURES = (
    _Failure(
        (asyncssh.HostKeyNotVerifiable,),
        "{where} showed a host key that is not among the known ones: the server was set up anew, "
        "or something stands between it and the bot, which sends it nothing.",
        setting="known_hosts",
        mend="If its key did change, put the output of `ssh-keyscan -p {port} {host}`, checked on "
        "the server, into known_hosts.",
    ),
    _Failure(
        (asyncssh.PermissionDenied,),
        "{where} refused the bot's SSH key for the user {user}.",
        setting="ssh_key",
        mend="Add the key's public half there with `dokku ssh-keys:add deploybot`, or give the "
        "bot the right key.",
    ),
    _Failure(
        (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported),
        "What answers at {where} does not speak SSH. Check host and port.",
        final=True,
    ),
    _Failure(
        (asyncssh.KeyExchangeFailed,),
        "{where} and the bot have no cipher or key type in common. Update its OpenSSH.",
        final=True,
    ),
    _Failure(
        (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError),
        "{where} hung up during the login: it has too many logins at once, is going down, or is "
        "no SSH server. It is tried again.",
    ),
    _Failure(
        (TimeoutError,),
        "{where} did not answer within {waited:g} s: the server is down or very busy, or a "
        "firewall drops the packets. It is tried again.",
    ),
    _Failure(
        (socket.gaierror,),
        "The name {host} was not found in the DNS. Check its spelling and the resolver.",
    ),
    _Failure(
        (ConnectionRefusedError,),
        "{where} refused the connection: nothing listens there. Check the port, and whether sshd "
        "runs.",
    ),
    _Failure((asyncssh.Error, OSError), "{where} cannot be reached: {error}."),
)


def explain(
    error: asyncssh.Error | OSError, *, host: str, port: int, user: str, waited_s: float
) -> Unreachable:
    """The error of a failed login. Nothing was sent, so trying again is harmless."""
    failure = next(failure for failure in _FAILURES if isinstance(error, failure.errors))
    said = str(error.strerror or error) if isinstance(error, OSError) else str(error)
    sentence, mend = (
        text.format(
            where=f"{host}:{port}", host=host, port=port, user=user, waited=waited_s, error=said
        )
        for text in (failure.sentence, failure.mend)
    )
    if failure.setting is not None:
        return Refused(failure.setting, sentence, mend)
    return Unreachable(sentence, final=failure.final)
