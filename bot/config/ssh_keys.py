"""SSH keys and host keys as settings: a path, the text itself, or base64 of it; checked at load."""

import base64
import binascii
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from bot.config.settings import ServerTable
from bot.config.sources import Origin
from bot.ssh_target import SshTarget

if TYPE_CHECKING:
    import asyncssh

_BEGIN = "-----BEGIN "
_PEM = re.compile(r"(-----BEGIN [A-Z0-9 ]+-----)(.*?)(-----END [A-Z0-9 ]+-----)", re.DOTALL)
_ADDRESS_LINE = re.compile(
    r"^\[?([0-9]+\.[0-9.]+|[0-9a-fA-F]*:[0-9a-fA-F:]+)[\],:\s]", re.MULTILINE
)
_HOST_LINE = re.compile(r"\S+\s+(ssh-|ecdsa-|sk-)")


def read_server(
    table: ServerTable, *, key: Origin, passphrase: Origin, known_hosts: Origin, folder: Path
) -> SshTarget:
    """Read and parse the keys of a server. ConfigError: unreadable, not a key, wrong passphrase."""
    text = read_key(table.ssh_key.get_secret_value(), key, folder)
    secret = table.ssh_key_passphrase.get_secret_value() if table.ssh_key_passphrase else None
    private_key = parse_key(text, secret, key=key, passphrase=passphrase)
    lines = read_known_hosts(table.known_hosts, known_hosts, folder)
    known = parse_known_hosts(lines, table.host, table.port, known_hosts)
    same = {one.name for one in fields(SshTarget)} & set(ServerTable.model_fields)
    copied = {name: getattr(table, name) for name in same}
    keys = {"key": private_key, "key_text": text, "known_hosts": known}
    return SshTarget(**(copied | keys))


def read_key(value: str, origin: Origin, folder: Path) -> str:
    """The PEM text: from a path, from a text with lost newlines, or from base64."""
    text = value.strip()
    if _BEGIN not in text:
        text = _decoded(text) or _file(text, origin, folder, "a private key")
    return _with_newlines(text)


def read_known_hosts(value: str, origin: Origin, folder: Path) -> str:
    """The lines: from a path, or the lines themselves."""
    text = value.strip().replace("\\n", "\n")
    if not any(_HOST_LINE.search(line) for line in text.splitlines()):
        text = _file(text, origin, folder, "a host key line").strip()
    return text + "\n"


def _decoded(text: str) -> str | None:
    try:
        plain = base64.b64decode("".join(text.split()), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return plain if _BEGIN in plain else None


def _file(text: str, origin: Origin, folder: Path, what: str) -> str:
    fix = f"Give the path of a readable file that contains {what}, or the text itself."
    if "\n" in text or len(text) > 1024:  # noqa: PLR2004 - no path is that long
        raise origin.wrong(f"neither {what} nor a path", fix)
    try:
        return (folder / Path(text).expanduser()).read_text("ascii")
    except UnicodeDecodeError as err:
        raise origin.wrong(f"the file does not contain {what}", fix) from err
    except (OSError, ValueError, RuntimeError) as err:
        reason = getattr(err, "strerror", None) or "not a path"
        raise origin.wrong(f"the file cannot be read ({reason})", fix) from err


def _with_newlines(text: str) -> str:
    """Restore the newlines that an environment file removed from a PEM text."""
    text = text.replace("\\r", "").replace("\\n", "\n").replace("\r", "").strip()
    found = _PEM.fullmatch(text)
    if found is not None and "\n" not in text:
        text = "\n".join([found[1], *found[2].split(), found[3]])
    return text + "\n"


def parse_key(
    text: str, secret: str | None, *, key: Origin, passphrase: Origin
) -> "asyncssh.SSHKey":
    """Parse the key before anything starts. ConfigError, which does not quote it."""
    import asyncssh  # noqa: PLC0415 - 0.6 s, and only `run` and `check` need it

    try:
        return asyncssh.import_private_key(text, secret)
    except ValueError as err:  # KeyImportError and KeyEncryptionError are ones too
        about_passphrase = re.search("passphrase|decrypt", str(err), re.IGNORECASE)
        if about_passphrase and secret is None:
            raise passphrase.wrong(
                "missing, and the private key has one", "Set it, or use a key without a passphrase."
            ) from err
        if about_passphrase:
            raise passphrase.wrong(
                "does not open the private key", "Set the passphrase of this key."
            ) from err
        raise key.wrong(
            "not a private key that SSH can use",
            "Give an unchanged OpenSSH or PEM private key, e.g. of `ssh-keygen -t ed25519`.",
        ) from err


def parse_known_hosts(lines: str, host: str, port: int, origin: Origin) -> "asyncssh.SSHKnownHosts":
    """Parse the lines. ConfigError: they cannot be parsed, or no line is about the host."""
    import asyncssh  # noqa: PLC0415 - 0.6 s, and only `run` and `check` need it

    scan = f"ssh-keyscan -p {port} {host}"
    try:
        known = asyncssh.import_known_hosts(lines)
    except ValueError as err:
        raise origin.wrong("not lines of a known_hosts file", f"Put what `{scan}` prints.") from err
    keys, authorities, *_ = asyncssh.match_known_hosts(known, host, "", port)
    # A line about an address may match once the name is resolved, which only the login does.
    if not keys and not authorities and not _ADDRESS_LINE.search(lines):
        raise origin.wrong(f"no line is about {host}", f"Add what `{scan}` prints.")
    return known
