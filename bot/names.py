"""The names people and settings give: which app names and refs are accepted. Pure.

The same rule holds for a chat command, a setting and an argument of a Dokku command. Dokku splits
its command line on white space and `git:*` commands honour no quotes, so only plain characters
pass.
"""

import re

from bot.errors import Declined

LONGEST_NAME = 255
_SHOWN_CHARS = 60
_APP = re.compile(r"[a-z0-9][a-z0-9.-]*")
# git's check-ref-format, without anything that a shell or xargs would interpret.
_REF = re.compile(r"(?!-)[A-Za-z0-9._/+@=#%,!-]+")
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
    """Return the branch, tag or commit. Declined: it is not a valid one."""
    if not is_ref(ref):
        raise Declined(f"`{quoted(ref)}` is not a valid branch, tag or commit name.")
    return ref


def quoted(text: str) -> str:
    """Text of a user, shortened and made harmless for use inside a sentence."""
    plain = "".join(char if char.isprintable() and char not in "`<>&" else "?" for char in text)
    plain = plain.replace("@", "@\u200b")
    return plain if len(plain) <= _SHOWN_CHARS else plain[: _SHOWN_CHARS - 1] + "…"
