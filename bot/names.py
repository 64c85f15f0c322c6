"""The names people and settings give: which app names and refs are accepted. Pure.

The same rule holds for a chat command, a setting and an argument of a Dokku command. Dokku splits
its command line on white space and `git:*` commands honour no quotes, so only plain characters
pass.
"""

import re
import unicodedata
from collections.abc import Iterable

from bot.errors import Declined

LONGEST_NAME = 255
_SHOWN_CHARS = 60
_APP = re.compile(r"[a-z0-9][a-z0-9.-]*")
# git's check-ref-format, without anything that a shell or xargs would interpret.
_REF = re.compile(r"(?!-)[A-Za-z0-9._/+@=#%,!-]+")
# What check-ref-format forbids anywhere in a ref.
_NOT_IN_GIT = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")
_REF_FORBIDDEN = re.compile(r"\.\.|//|/\.|\.lock(?:/|$)|^[./]|[./]$|@\{|^@$")


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
        raise Declined("Name an app: `/deploy APP [REF]`. `/deploy apps` lists them.")
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
            "(`/deploy APP SHA`), or give it a plainer name."
        )
    raise Declined(f"`{quoted(ref)}` is not a valid branch, tag or commit name.")


def _may_git_have(ref: str) -> bool:
    """Whether git's own rule accepts the ref, whatever its characters mean to a shell."""
    wrong = _NOT_IN_GIT.search(ref) or _REF_FORBIDDEN.search(ref) or ref.startswith("-")
    return 0 < len(ref) <= LONGEST_NAME and ref.isprintable() and not wrong


def _named(chars: Iterable[str]) -> str:
    """`left parenthesis, apostrophe`: in words, because none of them may mark up a message."""
    return ", ".join(unicodedata.name(char, "a special character").lower() for char in chars)


def quoted(text: str) -> str:
    """Text of a user, shortened and made harmless for use inside a sentence."""
    plain = "".join(char if char.isprintable() and char not in "`<>&" else "?" for char in text)
    plain = plain.replace("@", "@\u200b")
    return plain if len(plain) <= _SHOWN_CHARS else plain[: _SHOWN_CHARS - 1] + "…"
