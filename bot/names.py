"""The names people and settings give: apps, refs, repositories. No I/O.

The same rule holds for a chat command, a setting and an argument of a Dokku command. Dokku splits
its command line on white space and `git:*` commands honour no quotes, so only plain characters
pass.
"""

import re
import unicodedata
from collections.abc import Iterable
from contextvars import ContextVar
from urllib.parse import unquote, urlsplit

from bot.errors import Declined

LONGEST_NAME = 255
_SHOWN_CHARS = 60
_APP = re.compile(r"[a-z0-9][a-z0-9.-]*")
# git's check-ref-format, without anything that a shell or xargs would interpret.
_REF = re.compile(r"(?!-)[A-Za-z0-9._/+@=#%,!-]+")
# What check-ref-format forbids anywhere in a ref.
_NOT_IN_GIT = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")
_PORT_AT_END = re.compile(r":\d{1,5}\Z|^[^:]*\Z")
_REF_FORBIDDEN = re.compile(r"\.\.|//|/\.|\.lock(?:/|$)|^[./]|[./]$|@\{|^@$")


COMMAND = "/deploy"
"""The name of the slash command, unless the settings or Slack name another one."""
_COMMAND = ContextVar("command", default=COMMAND)


def is_command(name: str) -> bool:
    """Whether Slack gives a slash command this name: with its slash, at most 32 characters."""
    return re.fullmatch(r"/[a-z0-9_-]{1,31}", name) is not None


def set_command(name: str) -> None:
    """Name the slash command in every text that this task, and those it starts, will write."""
    _COMMAND.set(name)


def typed(words: str = "") -> str:
    """What people type in Slack: `/deploy WORDS`, with the name that the command has there."""
    return f"{_COMMAND.get()} {words}".rstrip()


def slash(words: str = "") -> str:
    """As `typed`, in backticks, for use in a sentence."""
    return f"`{typed(words)}`"


def is_app_name(text: str) -> bool:
    """Whether Dokku can have an app of this name and take it as an argument."""
    return len(text) <= LONGEST_NAME and _APP.fullmatch(text) is not None


def is_ref(text: str) -> bool:
    """Whether git accepts this as a branch, tag or commit and Dokku takes it as an argument."""
    plain = len(text) <= LONGEST_NAME and _REF.fullmatch(text) is not None
    return plain and _REF_FORBIDDEN.search(text) is None


def check_app(name: str) -> str:
    """Return the app's name. Declined: it is not a valid one, with the rule."""
    if not name:
        raise Declined(f"Name an app: {slash('APP [REF]')}. {slash('apps')} lists them.")
    if not is_app_name(name):
        raise Declined(
            f"`{quoted(name)}` is not a valid app name. App names start with a lower-case letter "
            "or digit and contain only lower-case letters, digits, dots and hyphens."
        )
    return name


def check_ref(ref: str) -> str:
    """Return the branch, tag or commit. Declined: git has no such name, or Dokku cannot get it."""
    if is_ref(ref):
        return ref
    if _may_git_have(ref):
        others = dict.fromkeys(char for char in ref if not _REF.fullmatch(f"x{char}"))
        raise Declined(
            f"`{quoted(ref)}` may be a branch or tag, but Dokku cannot be given such a name safely "
            f"({_named(others)}), so nothing was started. Deploy its commit instead "
            f"({slash('APP SHA')}), or give it a plainer name."
        )
    raise Declined(f"`{quoted(ref)}` is not a valid branch, tag or commit name.")


def bare_repo(address: str) -> str:
    """A repository's address as it is stored and compared: without password, or user of a forge.

    The user of an SSH address stays: it is part of the address, and no secret.
    """
    scheme, sep, rest = address.partition("://")
    if not sep:
        return address
    authority, slash, path = rest.partition("/")
    if "@" not in authority and "@" in path and not _PORT_AT_END.search(authority):
        # A `/` in a password. git would not accept it, and nothing must keep it.
        authority, slash, path = rest, "", ""
    user, at, place = authority.rpartition("@")
    if not at:
        return address
    kept = f"{user.partition(':')[0]}@" if "ssh" in scheme.lower() else ""
    return f"{scheme}://{kept}{place}{slash}{path}"


def split_login(address: str) -> tuple[str, str]:
    """A web server's address without its userinfo, and the login as a line of git's own store.

    The line is empty for an address without userinfo, and for SSH, whose user is not a secret.
    """
    bare = bare_repo(address)
    scheme, _, place = bare.partition("://")
    if bare == address or "ssh" in scheme.lower():
        return address, ""
    userinfo = address.partition("://")[2].removesuffix(f"@{place}")
    return bare, f"{scheme}://{userinfo}@{place.partition('/')[0]}"


def login_config(store: str, login: str = "") -> str:
    """A configuration of git that takes logins from the file `store` only.

    `login`: an address with a user and no password, who is looked for in the file.
    """
    helper = f"store --file='{store}'"
    lines = ["[core]", 'askPass = ""', "[credential]", 'helper = ""', f"helper = {_value(helper)}"]
    if login:
        scheme, _, rest = login.partition("://")
        user, _, host = rest.rpartition("@")
        lines += [
            f"[credential {_value(f'{scheme}://{host}')}]",
            f"username = {_value(unquote(user))}",
        ]
    return "".join(f"{line}\n" for line in lines)


def _value(text: str) -> str:
    """A value in git's own notation; a line break in it begins no line of the file."""
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\0", "")):
        text = text.replace(plain, written)
    return f'"{text}"'


def login_secrets(lines: str) -> list[str]:
    """Passwords (or tokens instead of a user) in credential lines, as written and decoded."""
    found: list[str] = []
    for line in lines.splitlines():
        user, _, password = urlsplit(line.strip()).netloc.rpartition("@")[0].partition(":")
        written = [password] if password else [user]
        found += [*written, *map(unquote, written)]
    return found


class Repositories:
    """The addresses of repositories with their userinfo. Only in memory.

    Everything else works with bare addresses; whoever fetches asks here for the full one.
    """

    def __init__(self, configured: Iterable[str] = (), template: str | None = None) -> None:
        """`configured`: addresses of the settings; `template`: one with `{app}`."""
        self._configured = {bare_repo(address): address for address in configured}
        self._template = template or ""
        before, *after = map(re.escape, bare_repo(self._template).split("{app}"))
        again = "".join(f"(?P=app){part}" for part in after[1:])
        self._by_template = re.compile(
            f"{before}(?P<app>[^/@:]+){after[0]}{again}" if after else r"(?!)"
        )
        self._recorded: dict[tuple[str, str], str] = {}

    def learn(self, address: str, *, server: str, app: str) -> str:
        """Note the address that a server recorded for an app. Returns the bare one."""
        self._recorded[server, app] = address
        return bare_repo(address)

    def knows(self, server: str, app: str) -> bool:
        """Whether it was noted what the server recorded for the app."""
        return (server, app) in self._recorded

    def full(self, bare: str, *, server: str = "", app: str = "") -> str:
        """The address to fetch from: with the settings' userinfo, else with what was recorded.

        With `app` and `server`, only what that server recorded for the app counts.
        """
        if bare in self._configured:
            return self._configured[bare]
        if found := self._by_template.fullmatch(bare):
            return self._template.replace("{app}", found["app"])
        named = [self._recorded.get((server, app), "")] if app else self._recorded.values()
        return next((one for one in named if bare_repo(one) == bare), bare)


def _may_git_have(ref: str) -> bool:
    """Whether git's own rule accepts the ref, whatever its characters mean to a shell."""
    wrong = _NOT_IN_GIT.search(ref) or _REF_FORBIDDEN.search(ref) or ref.startswith("-")
    return 0 < len(ref) <= LONGEST_NAME and ref.isprintable() and not wrong


def _named(chars: Iterable[str]) -> str:
    """`left parenthesis, apostrophe`: in words, because none of them may mark up a message."""
    return ", ".join(unicodedata.name(char, "a special character").lower() for char in chars)


NO_MENTION = "\u2060"
"""Behind an `@` it makes a name no mention, in a client that would parse it. A word joiner: unlike
a zero-width space (U+200B), no line ends between the `@` and the name (Unicode UAX #14, LB11)."""


def break_mentions(text: str) -> str:
    """Put a word joiner after each `@`: no client then makes a mention of it.

    The second guard: Slack is asked to parse nothing (`parse: none`, `verbatim`).
    """
    return text.replace("@", "@" + NO_MENTION)


def quoted(text: str) -> str:
    """Text of a user, shortened and made harmless for use inside a sentence."""
    plain = "".join(char if char.isprintable() and char not in "`<>&" else "?" for char in text)
    plain = break_mentions(plain)
    return plain if len(plain) <= _SHOWN_CHARS else plain[: _SHOWN_CHARS - 1] + "…"


# --- the pages of a repository on a known forge

_SHA = re.compile(r"[0-9a-f]{7,40}")
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^/].*)")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_REPO_PATH = re.compile(r"[A-Za-z0-9~_.-]+(?:/[A-Za-z0-9_.-]+)+")
_PLAIN_PAGES = ("{base}/commit/{sha}", "{base}/compare/{old}...{new}")
_FORGES = (
    ("gitlab", "{base}/-/commit/{sha}", "{base}/-/compare/{old}...{new}"),
    ("bitbucket", "{base}/commits/{sha}", "{base}/branches/compare/{new}..{old}"),
    ("github", *_PLAIN_PAGES),
    ("codeberg", *_PLAIN_PAGES),
    ("gitea", *_PLAIN_PAGES),
    ("forgejo", *_PLAIN_PAGES),
    ("git.sr.ht", "{base}/commit/{sha}", None),
)
"""Part of the host's name, the URLs of its pages of a commit and of a comparison."""


def commit_url(repo: str, sha: str) -> str | None:
    """The page of a commit on a known forge; None for an unknown host.

    Accepts every form that git accepts (https, ssh, `user@host:path`) and drops credentials.
    """
    location, page, _ = _pages(repo)
    return page.format(base=location, sha=sha) if page and _SHA.fullmatch(sha) else None


def compare_url(repo: str, old: str, new: str) -> str | None:
    """The page that shows what `new` adds to `old`; None as for `commit_url`."""
    location, _, page = _pages(repo)
    known = page and _SHA.fullmatch(old) and _SHA.fullmatch(new)
    return page.format(base=location, old=old, new=new) if page and known else None


def _pages(repo: str) -> tuple[str, str | None, str | None]:
    location = _location(repo)
    if location is not None:
        scheme, host, path = location
        for name, commit, compare in _FORGES:
            if name in host:
                return f"{scheme}://{host}/{path}", commit, compare
    return "", None, None


def _location(repo: str) -> tuple[str, str, str] | None:
    """Scheme, host (with the port of a web server) and path."""
    scheme = "https"
    if "://" in repo:
        try:
            parts = urlsplit(repo)
            host, port, path = parts.hostname or "", parts.port, parts.path
        except ValueError:
            return None
        if not _HOST.fullmatch(host):
            return None
        if parts.scheme in {"http", "https"}:
            scheme = parts.scheme
            host = f"{host}:{port}" if port else host
    else:
        match = _SCP.fullmatch(repo)
        if match is None:
            return None
        host, path = match["host"].lower(), match["path"]
    path = path.strip("/").removesuffix(".git")
    return (scheme, host, path) if _REPO_PATH.fullmatch(path) else None
