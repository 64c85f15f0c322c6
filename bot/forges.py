"""The web pages of commits and comparisons on known forges. Pure."""

import re
from urllib.parse import urlsplit

_SHA = re.compile(r"[0-9a-f]{7,40}")
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^/].*)")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_PATH = re.compile(r"[A-Za-z0-9~_.-]+(?:/[A-Za-z0-9_.-]+)+")
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
    return (scheme, host, path) if _PATH.fullmatch(path) else None
