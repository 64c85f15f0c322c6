"""Secrets of every kind, as a build might print them, and the texts to search for afterwards."""

import base64
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SETTING = "plain words of a Setting/1"
"""The value of a setting of the bot."""
CONFIG = "plain-words-of-a-config"
"""A value of the app's config."""
CONFIG_LINES = "first-config-line\nsecond config line\nlast-ln"
_KEY_BODY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"


@dataclass(frozen=True, slots=True)
class Planted:
    """Lines of a build, and the texts in them that must never be readable."""

    kind: str
    lines: tuple[str, ...]
    secrets: tuple[str, ...]


def _one(kind: str, line: str, secret: str) -> Planted:
    assert secret in line
    return Planted(kind, (line,), (secret,))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


KINDS: Sequence[Planted] = (
    _one("setting", f"the bot has {SETTING}, it says", SETTING),
    _one("setting, URL-encoded", f"/x?y={quote(SETTING, safe='')}", quote(SETTING, safe="")),
    _one("config", f"starting with {CONFIG}!", CONFIG),
    _one("config in base64", f"data: {_base64(CONFIG)}", _base64(CONFIG)[:-2]),
    Planted("config of lines", tuple(CONFIG_LINES.split("\n")), tuple(CONFIG_LINES.split("\n"))),
    _one("assignment", "DATABASE_PASSWORD=hunter2hunter2", "hunter2hunter2"),
    _one("key in capitals", "export STRIPE_KEY=abcd1234efgh", "abcd1234efgh"),
    _one("JSON", '{"api_key": "jay son 1234", "a": 1}', "jay son 1234"),
    _one("YAML", "  secret: yam-ell-1234", "yam-ell-1234"),
    _one("flag", "login --password flagged1234 -v", "flagged1234"),
    _one("docker", "docker login -u me -p dockered1234", "dockered1234"),
    _one("URL", "cloning https://bob:s3cretOfBob@git.example.com/a/b.git", "s3cretOfBob"),
    _one("query", "GET /a?sig=queried1234&b=1", "queried1234"),
    _one("basic", "> Authorization: Basic Ym9iOmJvYnMtcHc=", "Ym9iOmJvYnMtcHc"),
    _one("bearer", "sent Bearer beared.tok3n-1234", "beared.tok3n-1234"),
    _one("cookie", "Set-Cookie: session=cook1e1234; Path=/", "cook1e1234"),
    _one("slack", "xoxb-123456789012-AbCdEf", "xoxb-123456789012-AbCdEf"),
    _one("slack app", "xapp-1-A012-345-abcdef", "xapp-1-A012-345-abcdef"),
    _one("slack hook", "https://hooks.slack.com/services/T0/B0/hOOk1234", "T0/B0/hOOk1234"),
    _one("github", "ghp_0123456789abcdefghij0123456789abcdef", "0123456789abcdefghij0123456789"),
    _one("github pat", "github_pat_11ABCDEFG0abcdefghij_k", "11ABCDEFG0abcdefghij_k"),
    _one("gitlab", "glpat-abcdefghij0123456789", "abcdefghij0123456789"),
    _one("aws", "AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
    _one("jwt", "is eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmVk", "eyJzdWIiOiIxIn0"),
    _one("npm", "npm_abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"),
    _one("stripe", "sk_live_abcdefghijklmnop", "sk_live_abcdefghijklmnop"),
    _one("webhook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZI"),
    Planted(
        "private key",
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            _KEY_BODY,
            f"{_KEY_BODY[::-1]}",
            "QyNTUxOQAAzz==",
            "-----END OPENSSH PRIVATE KEY-----",
        ),
        (_KEY_BODY, _KEY_BODY[::-1], "QyNTUxOQAAzz"),
    ),
)
SECRETS: Sequence[str] = tuple(secret for one in KINDS for secret in one.secrets)
APP_CONFIG = {"FEATURE": CONFIG, "SERVICE_ACCOUNT": CONFIG_LINES, "APP_ENV": "production"}


def plainly(line: str) -> str:
    """A step of a build prints it."""
    return f"#8 1.23 {line}"


def coloured(line: str) -> str:
    """With a colour that changes between any two characters."""
    return "#8 1.23 " + "\x1b[31m".join(line) + "\x1b[0m"


def overwritten(line: str) -> str:
    """Over a progress bar, and with another one over it that is shorter."""
    return f"#8 1.23 10%\r50% done\r{line}\r"


PRINTED = (plainly, coloured, overwritten)


def leaks(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where which secret can be read."""
    return [(place, one) for place, text in texts.items() for one in SECRETS if one in text]


def everything_in(database: Path) -> str:
    """All of an SQLite file: tables as text, what is compressed unpacked, and its raw bytes."""
    texts = [database.read_bytes().decode("latin-1")]
    for suffix in ("-wal", "-shm"):
        other = database.with_name(database.name + suffix)
        if other.exists():
            texts.append(other.read_bytes().decode("latin-1"))
    connection = sqlite3.connect(database)
    texts += connection.iterdump()
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for row in connection.execute(f'SELECT * FROM "{table}"'):
            texts += [
                zlib.decompress(one).decode() for one in row if isinstance(one, bytes) and one
            ]
    connection.close()
    return "\n".join(texts)
