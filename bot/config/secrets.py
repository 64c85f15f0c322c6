"""The secret texts in settings: keys and tokens, and what is secret in an address."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
"""Variables that name a proxy, in small or capital letters; libraries and git read them."""
_SECRET_KEY = re.compile(r"pass|secret|token|pwd", re.IGNORECASE)
_USUAL = re.compile(r"[a-z]+(?:[_-][a-z]+)*|v\d+|[TBCDUW][A-Z0-9]{1,11}|\d{1,6}")
"""Parts of a web address that many have, and ids of Slack."""
_PORT = re.compile(r":\d{1,5}\Z")
_WORD = re.compile(r"[a-z]{1,12}|v\d")
_SHORTEST_PART = 6
_LONGEST_WORDS = 16


def secrets_of(values: Mapping[str, object]) -> Iterator[str]:
    """Every secret in settings, whatever table it is in, by their keys."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from secrets_of(value)
        elif isinstance(value, list | tuple):
            for one in value:
                yield from secrets_of({name: one}) if isinstance(one, Mapping) else ()
        elif isinstance(value, SecretStr):
            yield from _OF_ADDRESS.get(name, _whole)(value.get_secret_value())
        elif isinstance(value, str) and name in _OF_ADDRESS:
            yield from _OF_ADDRESS[name](value)


def _whole(text: str) -> Iterator[str]:
    yield text


def _of_credentials(text: str) -> Iterator[str]:
    for line in text.replace("\\n", "\n").split():
        yield from passwords(line)


def _of_key(text: str) -> Iterator[str]:
    yield from key_lines(text) if _is_key(text) else ()


def key_lines(text: str) -> Iterator[str]:
    """The lines of a private key: a log shows it line by line."""
    lines = text.replace("\\n", "\n").splitlines()
    yield from (line.strip() for line in lines if line.strip() and not line.startswith("-----"))


def _is_key(text: str) -> bool:
    """Whether it is the key itself; else it is the path of its file."""
    return "-----BEGIN" in text or (len(text) > 200 and "/" not in text[:2])  # noqa: PLR2004


def passwords(address: str) -> Iterator[str]:
    """What is secret in the userinfo of an address, as written and decoded."""
    rest = address.partition("://")[2]
    authority = rest.partition("/")[0]
    if "@" not in authority and ":" in authority and not _PORT.search(authority):
        authority = rest  # the password holds a `/`
    userinfo = authority.rpartition("@")[0]
    user, colon, password = userinfo.partition(":")
    bare_token = address.startswith("http") and not colon
    for text in (password, user if bare_token else ""):
        if text:
            yield from {text, unquote(text)}


def database_passwords(address: str) -> Iterator[str]:
    """The passwords of a database's address: before its host, and in its query."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - slow
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    yield from passwords(address)
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return
    if url.password:
        yield str(url.password)
    for name, value in url.query.items():
        if _SECRET_KEY.search(name):
            yield from (value,) if isinstance(value, str) else value
    for part in address.partition("?")[2].split("&"):
        name, _, written = part.partition("=")
        if _SECRET_KEY.search(name):
            yield written


def is_plain(address: str) -> bool:
    """Whether a web address shows no secret: a host, and at most plain words in its path."""
    parts = urlsplit(address)
    words = [part for part in parts.path.split("/") if part]
    return (
        "@" not in parts.netloc
        and not parts.query
        and all(_WORD.fullmatch(word) and not _SECRET_KEY.search(word) for word in words)
    )


def webhook_parts(address: str) -> Iterator[str]:
    """The secrets in a webhook's address: all of it, and each part that isn't a usual word."""
    if is_plain(address):
        return
    yield address
    yield from passwords(address)
    parts = urlsplit(address)
    values = [value for _, value in parse_qsl(parts.query)]
    written = [part.partition("=")[2] for part in parts.query.split("&")]
    for part in (*parts.path.split("/"), *values, *written):
        for text in {part, unquote(part)}:
            long = len(text) > _LONGEST_WORDS
            odd = not _USUAL.fullmatch(text) or _SECRET_KEY.search(text)
            if len(text) >= _SHORTEST_PART and (long or odd):
                yield text


_OF_ADDRESS: Mapping[str, Callable[[str], Iterator[str]]] = {
    "database_url": database_passwords,
    "git_credentials": _of_credentials,
    "repo": passwords,
    "repo_template": passwords,
    "slack_api_url": passwords,
    "ssh_key": _of_key,
    "url": webhook_parts,
}
"""Settings of which a part is secret, or none."""


def proxy_passwords(proxies: Iterable[str]) -> Iterator[str]:
    """The passwords of proxies, which need no `http://`."""
    for proxy in proxies:
        yield from passwords(proxy if "://" in proxy else f"//://{proxy}")


def proxies_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The addresses of proxies that the environment names."""
    return tuple(value for name, value in environ.items() if name.lower() in PROXIES and value)


def secrets_at_hand(environ: Mapping[str, str], folder: Path) -> Iterator[str]:
    """What may be secret where the settings cannot be read: in the environment and in the files."""
    yield from proxy_passwords(proxies_in(environ))
    pairs = list(environ.items())
    for file in (folder / ".env", folder / environ.get("DEPLOYBOT_CONFIG", "deploybot.toml")):
        with suppress(OSError):
            pairs += _ASSIGNMENT.findall(file.read_text("utf-8", errors="replace"))
    for name, quoted in pairs:
        text = quoted.strip().strip("\"'")
        if name.lower() == "database_url":
            yield from database_passwords(text)
        elif name.lower().endswith("url"):
            yield from webhook_parts(text) if "://" in text else ()
        elif "://" in text:
            yield from passwords(text)
        elif _SECRET_NAME.search(name):
            yield from key_lines(text)


_ASSIGNMENT = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*(\S.*)$", re.MULTILINE)
_SECRET_NAME = re.compile("token|secret|key|pass|credential", re.IGNORECASE)
