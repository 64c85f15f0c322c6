"""Logging in to PostgreSQL, also through a pooler in transaction mode."""

import getpass
import os
import ssl
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL

from bot.errors import ConfigError, DatabaseDown

UNNAMED_STATEMENTS: Mapping[str, Any] = {
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,  # the empty name: an unnamed statement
}
"""For the engine. pgbouncer in transaction mode gives each transaction another connection, where a
named statement of an earlier one does not exist, or another client's has the same name."""
FALLBACK_USER = "postgres"
"""The user of an address without one, where the bot's own user has no name either."""

_UNKNOWN_SETTING = ("42704", "22023", "55P02")
"""SQLSTATEs: a setting that the server does not know, or whose value it refuses."""
_POOLER_REFUSES = "unsupported startup parameter"


async def connect(url: URL, *, setting: str, source: str, wait_s: float) -> Any:
    """Log in; asyncpg itself reads most parameters out of the URL.

    Raises: ConfigError for what stays wrong until someone fixes it; DatabaseDown otherwise.
    """
    import asyncpg  # noqa: PLC0415 - an extra, may be absent

    options, url = _options(url, wait_s)
    try:
        return await asyncpg.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False),
            command_timeout=wait_s,
            statement_cache_size=0,
            **options,
        )
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    ) as err:
        fix = "Correct the URL, or create the user and the database."
        raise ConfigError(setting, source, f"PostgreSQL refuses: {_text(err)}", fix) from err
    except asyncpg.PostgresError as err:
        if err.sqlstate in _UNKNOWN_SETTING or _POOLER_REFUSES in str(err):
            fix = "Take that parameter out of the URL."
            raise ConfigError(setting, source, f"PostgreSQL refuses: {_text(err)}", fix) from err
        raise DatabaseDown(f"PostgreSQL cannot be reached: {_text(err)}") from err
    except ssl.SSLCertVerificationError as err:
        problem = f"the server's certificate is not trusted: {err.verify_message}"
        fix = "Name the file of its CA: sslrootcert=/path, or sslrootcert=system."
        raise ConfigError(setting, source, problem, fix) from err
    except (asyncpg.ClientConfigurationError, ValueError) as err:
        fix = "Correct its parameters."
        raise ConfigError(setting, source, f"cannot be used: {_text(err)}", fix) from err
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as err:
        raise _no_connection(err, setting, source) from err


def _options(url: URL, wait_s: float) -> tuple[dict[str, Any], URL]:
    """What asyncpg takes as arguments only, and the URL without it."""
    seconds = int(str(url.query.get("connect_timeout", 0)))
    options: dict[str, Any] = {"timeout": float(seconds) if seconds > 0 else wait_s}
    if url.query.get("sslrootcert") == "system":
        options["ssl"] = ssl.create_default_context()
        url = url.difference_update_query(["sslrootcert", "sslmode"])
    if url.username is None and not {"user", "service"} & set(url.query) and not _own_name():
        options["user"] = FALLBACK_USER
    return options, url.difference_update_query(["connect_timeout"])


def _own_name() -> str | None:
    try:
        return os.environ.get("PGUSER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return None


def _no_connection(err: Exception, setting: str, source: str) -> Exception:
    file = getattr(err, "filename", None)
    if file is not None and isinstance(err, OSError):
        # Not a socket: asyncpg also looks for certificates and passwords in the user's home.
        fix = "Make it readable, or set HOME to a folder that is."
        return ConfigError(setting, source, f"{file} cannot be read ({err.strerror})", fix)
    if "rejected SSL upgrade" in str(err):
        fix = "Use sslmode=prefer, or turn TLS on there."
        return ConfigError(setting, source, "sslmode wants TLS, and the server has none", fix)
    reason = _text(err) or "no answer in time"
    return DatabaseDown(f"PostgreSQL cannot be reached: {reason}")


def _text(err: Exception) -> str:
    return " ".join(str(err).split())
