"""Where a commit can be looked at in a browser. Pure."""

import re
from urllib.parse import urlsplit

_SHA = re.compile(r"[0-9a-f]{7,40}")
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^/].*)")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_PATH = re.compile(r"[A-Za-z0-9~_.-]+(?:/[A-Za-z0-9_.-]+)+")
_FORGES = (
    ("gitlab", "{base}/-/commit/{sha}"),
    ("bitbucket", "{base}/commits/{sha}"),
    ("github", "{base}/commit/{sha}"),
    ("codeberg", "{base}/commit/{sha}"),
    ("gitea", "{base}/commit/{sha}"),
    ("forgejo", "{base}/commit/{sha}"),
    ("git.sr.ht", "{base}/commit/{sha}"),
)
"""Part of the host's name -> its page of a commit."""


def commit_url(repo: str, sha: str) -> str | None:
    """The page of a commit on a hosting whose name we know; None where we would have to guess.

    Takes every form that git takes (https, ssh, `user@host:path`); credentials are left out.
    """
    place = _place(repo)
    if place is None or not _SHA.fullmatch(sha):
        return None
    scheme, host, path = place
    page = next((page for name, page in _FORGES if name in host), None)
    return page.format(base=f"{scheme}://{host}/{path}", sha=sha) if page else None


def _place(repo: str) -> tuple[str, str, str] | None:
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
