"""Parameters of a PostgreSQL address as managed services, poolers and other programs write them.

libpq knows about sixty. The bot's driver (asyncpg) acts on some and sends every other one to the
server, which refuses the login. So each name here either works, is dropped with a warning, or
can never work; a name that is not here is a setting of the server, such as `search_path`.
"""

from collections.abc import Callable, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from os import environ
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from bot.config.values import Wrong

_ALIVE = "the bot itself notices a dead connection"
_POOL = "the bot has its own small pool"
_PLAIN = "the bot uses no named prepared statements, so any pool mode works"
_OTHERS = "it is a parameter of other programs"
_DROPPED: Mapping[str, str] = {
    "channel_binding": "the driver does not bind channels",
    "gssencmode": "the driver does not encrypt with GSSAPI",
    "gssdelegation": "the driver does not delegate credentials",
    "keepalives": _ALIVE,
    "keepalives_idle": _ALIVE,
    "keepalives_interval": _ALIVE,
    "keepalives_count": _ALIVE,
    "tcp_user_timeout": _ALIVE,
    "socket_timeout": _ALIVE,
    "client_encoding": "the bot always uses UTF-8",
    "charset": "the bot always uses UTF-8",
    "encoding": "the bot always uses UTF-8",
    "min_protocol_version": "the driver knows one version of the protocol",
    "max_protocol_version": "the driver knows one version of the protocol",
    "load_balance_hosts": "hosts are tried in their order",
    "sslcompression": "nobody compresses TLS any more",
    "sslsni": "the driver always sends the host's name",
    "sslcertmode": "a client certificate is sent if `sslcert` names one",
    "sslkeylogfile": "the driver writes no such file",
    "scram_client_key": "the password is used",
    "scram_server_key": "the password is used",
    "pgbouncer": _PLAIN,
    "prepared_statements": _PLAIN,
    "prepared_statement_cache_size": _PLAIN,
    "statement_cache_size": _PLAIN,
    "preparethreshold": _PLAIN,
    "connection_limit": _POOL,
    "max_connections": _POOL,
    "pool": _POOL,
    "pool_size": _POOL,
    "pool_timeout": _POOL,
    "pool_mode": _POOL,
    "conn_max_age": _POOL,
    "sslaccept": _OTHERS,
    "supa": _OTHERS,
    "uselibpqcompat": _OTHERS,
    "workaround": _OTHERS,
}
"""Parameters without which the bot works, and why, by their names in lower case."""


def _only(*accepted: str) -> Callable[[str], bool]:
    return lambda value: value in accepted


_NEVER: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "gssencmode": (_only("require"), "The driver cannot encrypt with GSSAPI: use sslmode."),
    "hostaddr": (bool, "The driver does not know it: write the address as the host."),
    "replication": (
        lambda value: value.lower() not in {"false", "off", "no", "0"},
        "Such a connection runs no statements: leave it out.",
    ),
    "require_auth": (bool, "The driver cannot hold it: leave it out."),
    "requirepeer": (bool, "The driver cannot hold it: leave it out."),
    "sslcrldir": (bool, "The driver does not know it: name one file in sslcrl."),
    "schema": (
        lambda value: value != "public",
        "PostgreSQL has no such parameter: write search_path instead.",
    ),
    "target_session_attrs": (
        lambda value: value not in {"any", "primary", "read-write"},
        "The bot must be able to write: use primary or read-write.",
    ),
    "sslmode": (
        lambda value: (
            value not in {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
        ),
        "Use disable, allow, prefer, require, verify-ca or verify-full.",
    ),
    "connect_timeout": (
        lambda value: not value.lstrip("-").isdecimal(),
        "Write whole seconds.",
    ),
}
"""When a parameter can never work, and what to do instead."""
_FILES = ("sslcert", "sslkey", "sslcrl", "sslrootcert")


def check_postgres(url: str) -> None:
    """Wrong: a parameter can never work. It is named, without its value."""
    for name, value in _parameters(url):
        refuses, fix = _NEVER.get(name.lower(), (_never, ""))
        if refuses(value):
            raise Wrong(f"its parameter {name} can never work with this value", fix)
        if name in _FILES and value != "system" and not Path(value).is_file():
            raise Wrong(f"its parameter {name} names no file that exists here", "Mount the file.")
        if name == "service":
            _check_service(value)


def usable_postgres(url: str) -> str:
    """The address without the parameters that are dropped, for the driver."""
    parameters = dict(_parameters(url))
    kept = {name: value for name, value in parameters.items() if _reason(name) is None}
    fallback = kept.pop("fallback_application_name", None)
    if fallback is not None:
        kept.setdefault("application_name", fallback)
    encrypted = kept.pop("ssl", None)  # Node's and Java's word
    if encrypted is not None and encrypted.lower() not in {"false", "0", "no", "off", "disable"}:
        kept.setdefault("sslmode", "require")
    query = urlencode(kept, quote_via=quote)
    return url.partition("?")[0] + (f"?{query}" if query else "")


def dropped_from_postgres(url: str) -> Sequence[str]:
    """A sentence for each parameter that is dropped."""
    return [
        f"The parameter {name} of the database's address is dropped: {reason}."
        for name, _value in _parameters(url)
        if (reason := _reason(name)) is not None
    ]


def _never(_value: str) -> bool:
    return False


def _reason(name: str) -> str | None:
    if name.lower() == "schema":
        return "the tables are in the schema public without it too"
    return _DROPPED.get(name.lower())


def _parameters(url: str) -> Sequence[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, strict_parsing=True)
    except ValueError:
        if not urlsplit(url).query:
            return ()
        raise Wrong(
            "its parameters cannot be read", "Write ?name=value&name=value, percent-encoded."
        ) from None


def _check_service(name: str) -> None:
    """The driver passes over a service that it does not find, and would go to this machine."""
    try:
        file = Path(environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf")
        found = ConfigParser(interpolation=None)
        found.read(file)
    except (RuntimeError, OSError, ConfigParserError, UnicodeDecodeError):
        found = ConfigParser()
    if name not in found:
        raise Wrong(
            "its parameter service names no service that is known here",
            "Name the file with it in PGSERVICEFILE, or write host, user and database.",
        )
