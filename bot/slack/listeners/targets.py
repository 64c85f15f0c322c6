"""Finds the app and ref that a message names. Pure, and never raises.

It prefills a form that a person checks and submits, so what is not certain is left out. It knows
links of the common forges (GitHub, GitLab, Bitbucket, Gitea and Forgejo, on any host, since a
path tells them apart), `app@ref`, `app ref`, and a bare commit.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bot.deployments.model import AppPolicy
from bot.names import typed
from bot.slack.listeners.payloads import is_app, is_ref, undo_escapes

LONGEST_TEXT = 20_000
"""Characters of a message that are read; Slack's limit is 40,000."""
MOST_TARGETS = 10
"""Readings of one message that are offered."""
DEEPEST = 16
"""Lists and objects inside each other that are read. A link in rich text in a shared message, which
Slack puts into an attachment, is inside eleven."""

_LINK = re.compile(r"\b(?:https?|ssh|git)://[^\s<>|\"'`]+|\bgit@[\w.-]+:[^\s<>|\"'`]+")
_SHA = re.compile(r"(?<![\w/.-])(?=[0-9a-f]*[0-9])[0-9a-f]{7,40}(?![\w/-])")
_AROUND = ".,;:!?()[]{}`'\"*&\u201c\u201d\u2018\u2019"
_REF_LIKE = re.compile(r"main|master|develop|trunk|staging|production|.*[0-9/_-].*")
_TEXT_KEYS = (
    *("url", "title_link", "from_url", "original_url", "author_link"),
    *("pretext", "title", "text", "value", "fallback"),
)
_NESTING_KEYS = (
    *("text", "title", "fields", "elements", "blocks", "accessory", "actions", "attachments"),
    "message_blocks",
    "message",
)
"""Of blocks, and of the attachments that other bots and shared messages have."""
_SPEECH = frozenset(
    {
        *("a", "again", "all", "an", "and", "app", "as", "at", "be", "branch", "by", "can"),
        *("commit", "deploy", "deployed", "deploying", "deployment", "fails", "for", "from"),
        *("has", "in", "is", "it", "now", "of", "on", "please", "ref", "release", "that", "the"),
        *("this", "to", "version", "was", "with"),
    }
)
"""Words of plain speech that are not a ref after an app's name."""
_NOUNS = frozenset({"app", "branch", "commit", "ref", "release", "tag", "version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What was found. Each part is valid in form, and may be missing."""

    app: str | None = None
    ref: str | None = None
    server: str | None = None
    """Where a known app names one."""


@dataclass(frozen=True, slots=True)
class _Guess:
    """One reading. `weight`: how specific the ref is; lowest for a pull request."""

    app: str | None
    ref: str | None
    weight: int


def find_target(text: str, apps: Sequence[AppPolicy] = ()) -> Target:
    """Read app and ref out of a message's text (`message_text`).

    With the known `apps`, a repository of one of them means that app, and in plain speech only a
    known app is accepted (`myapp main`), unless the text contains nothing else.
    """
    return next(iter(find_targets(text, apps)), Target())


def find_targets(text: str, apps: Sequence[AppPolicy] = ()) -> Sequence[Target]:
    """Everything that a message may mean, the likeliest first; see `find_target`."""
    text = text[:LONGEST_TEXT]
    guesses = [*_from_links(text, apps), *_from_words(text, apps)]
    app = next((guess.app for guess in guesses if guess.app), None)
    best = _best_ref(guess for guess in guesses if guess.app in {app, None})
    pairs = dict.fromkeys([(app, best)] + [(guess.app or app, guess.ref) for guess in guesses])
    with_ref = {app for app, ref in pairs if ref is not None}
    return [
        Target(app=app, ref=ref, server=_only_server(app, apps))
        for app, ref in pairs
        if (ref is not None or app not in with_ref) and (app or ref)
    ][:MOST_TARGETS]


def _only_server(app: str | None, apps: Sequence[AppPolicy]) -> str | None:
    servers = {policy.server for policy in apps if policy.app == app}
    return servers.pop() if len(servers) == 1 else None


def names_code(link: str) -> bool:
    """Whether a link is a repository, or a branch, tag, commit or request of one.

    An issue, a CI run, a wiki or a list of releases is not: it must not read as the default ref.
    """
    found = _read_link(link)
    return found is not None and (found.bare or (found.ref is not None and is_ref(found.ref)))


def message_text(message: Mapping[str, object]) -> str:
    """Everything a person reads in a message, with links: text, blocks and attachments."""
    text = message.get("text")
    parts = [text] if isinstance(text, str) else []
    for key in ("blocks", "attachments"):
        parts += _strings(message.get(key), DEEPEST)
    return "\n".join(dict.fromkeys(parts))[:LONGEST_TEXT]


def _strings(node: object, depth: int) -> Iterator[str]:
    """Texts and addresses of nested blocks. Runs of rich text are joined, links kept whole."""
    if depth < 0:
        return
    if isinstance(node, list):
        for item in node:
            yield from _strings(item, depth - 1)
    elif isinstance(node, Mapping):
        for key in _TEXT_KEYS:
            value = node.get(key)
            hidden = (
                key == "value" and "type" in node
            )  # of a button; an attachment's field is shown
            if isinstance(value, str) and value and not hidden:
                yield value
        for key in _NESTING_KEYS:
            yield from _strings(node.get(key), depth - 1)


def _best_ref(guesses: Iterable[_Guess]) -> str | None:
    best: _Guess | None = None
    for guess in guesses:
        if guess.ref is not None and (best is None or guess.weight > best.weight):
            best = guess
    return best.ref if best else None


def _from_links(text: str, apps: Sequence[AppPolicy]) -> Iterator[_Guess]:
    for match in _LINK.finditer(undo_escapes(text)):
        found = _read_link(match[0].rstrip(".,;:!?)]}"))
        if found is None:
            continue
        app = _app_of(found.host, found.path, apps)
        if app is not None:
            ref = found.ref if found.ref and is_ref(found.ref) else None
            yield _Guess(app, ref, found.weight)


def _app_of(host: str, path: str, apps: Sequence[AppPolicy]) -> str | None:
    """The app of that repository, else the repository's name if it is valid as an app's."""
    for policy in apps:
        if policy.repo and _same_place(policy.repo, host, path):
            return policy.app
    name = path.rpartition("/")[2].lower()
    return name if is_app(name) else None


def _same_place(repo: str, host: str, path: str) -> bool:
    found = _read_link(repo)
    return found is not None and (found.host, found.path.lower()) == (host, path.lower())


@dataclass(frozen=True, slots=True)
class _Link:
    host: str
    path: str
    """The repository's."""
    bare: bool
    """Nothing follows the repository."""
    ref: str | None
    weight: int


def _read_link(link: str) -> _Link | None:
    """None: not a repository."""
    if link.startswith("git@"):
        host, _, path = link.removeprefix("git@").partition(":")
        parts = [part for part in path.split("/") if part]
    else:
        try:
            split = urlsplit(link)
            host = (split.hostname or "").lower()
        except ValueError:
            return None
        parts = [unquote(part) for part in split.path.split("/") if part]
    if not host or len(parts) < 2:  # noqa: PLR2004 - owner and repository
        return None
    if "-" in parts:
        place = parts.index("-")
        repo, rest = parts[:place], parts[place + 1 :]
    elif parts[0] == "projects" and len(parts) >= 4 and parts[2] == "repos":  # noqa: PLR2004
        repo, rest = [parts[1], parts[3]], parts[4:]
    else:
        repo, rest = parts[:2], parts[2:]
        # GitLab nests groups, without a mark where the repository ends; these hosts nest none.
        nests = host not in _FLAT_HOSTS and not (_AREAS & set(rest))
        if rest and (rest[-1].endswith(".git") or nests):
            repo, rest = parts, []
    if len(repo) < 2:  # noqa: PLR2004 - owner and repository
        return None
    path = "/".join(repo).removesuffix(".git")
    ref, weight = _ref_of("/".join(rest))
    return _Link(host, path, not rest, ref, weight)


_FLAT_HOSTS = frozenset({"github.com", "www.github.com", "bitbucket.org", "codeberg.org"})
_AREAS = frozenset(
    {
        *("actions", "activity", "advisories", "archive", "blame", "blob", "boards", "branch"),
        *("branches", "browse", "builds", "checks", "commit", "commits", "compare"),
        *("contributors", "deployments", "discussions", "downloads", "environments", "find"),
        *("forks", "graphs", "insights", "issues", "jira", "jobs", "labels", "media"),
        *("merge_requests", "milestone", "milestones", "network", "packages", "pipelines"),
        *("projects", "pulse", "pull", "pull-requests", "pulls", "raw", "releases", "runs"),
        *("security", "settings", "snippets", "src", "stargazers", "tag", "tags", "tree"),
        *("watchers", "wiki", "wikis", "work_items"),
    }
)
"""The words after a repository in the addresses of GitHub, GitLab, Bitbucket, Gitea and Forgejo."""
_COMMIT, _NAMED, _REQUEST, _NOTHING = 3, 2, 1, 0
_FORMS: Sequence[tuple[re.Pattern[str], str, int]] = tuple(
    (re.compile(pattern), ref, weight)
    for pattern, ref, weight in (
        (r"(?:pulls?|pull-requests)/\d+/commits/([0-9a-f]{7,40})", r"\1", _COMMIT),
        (r"(?:src/)?commit/([^/]+).*", r"\1", _COMMIT),
        (r"commits/([0-9a-f]{7,40})", r"\1", _COMMIT),
        (r"pulls?/(\d+)(?:/.*)?", r"refs/pull/\1/head", _REQUEST),
        (r"merge_requests/(\d+)(?:/.*)?", r"refs/merge-requests/\1/head", _REQUEST),
        (r"pull-requests/(\d+)(?:/.*)?", r"refs/pull-requests/\1/from", _REQUEST),
        (r"compare/(?:.*\.{2,3})?(?:[^:]*:)?(.+)", r"\1", _NAMED),
        (r"releases/download/([^/]+)/.+", r"\1", _NAMED),
        (r"releases/(?!tag/|latest$|new$|permalink/)([^/]+)", r"\1", _NAMED),
        (r"archive/(?:refs/(?:heads|tags)/)?(.+?)(?:\.zip|\.tar\.gz|\.tar\.bz2)", r"\1", _NAMED),
        (r"(?:raw|media|src)/(?:branch|tag|refs/heads|refs/tags)/([^/]+).*", r"\1", _NAMED),
        (r"(?:raw|media)/commit/([^/]+).*", r"\1", _COMMIT),
        (r"(?:blob|blame|raw|src)/([^/]+).*", r"\1", _NAMED),
        # A branch may contain slashes, so a folder after it looks like part of it: take all; the
        # form shows what was read.
        (r"(?:tree|branch|commits|tags?|releases/tag)/(.+)", r"\1", _NAMED),
    )
)
"""What follows a repository in a forge's URLs, the ref it names, and its weight."""


def _ref_of(rest: str) -> tuple[str | None, int]:
    for pattern, ref, weight in _FORMS:
        match = pattern.fullmatch(rest)
        if match:
            return match.expand(ref), weight
    return None, _NOTHING


def _from_words(text: str, apps: Sequence[AppPolicy]) -> Iterator[_Guess]:
    plain = _LINK.sub(" ", undo_escapes(text))
    words = [word.strip(_AROUND) for word in plain.split()]
    words = [word for word in words if word]
    known = {policy.app for policy in apps}
    yield from _pairs(words, known)
    yield from _spoken(words, known)
    for match in _SHA.finditer(plain):
        yield _Guess(None, match[0], _COMMIT)


def _pairs(words: Sequence[str], known: frozenset[str] | set[str]) -> Iterator[_Guess]:
    """`app@ref`, unless it is an e-mail address; or if the app is known."""
    for word in words:
        app, at, ref = word.partition("@")
        if at and is_app(app) and is_ref(ref) and (app in known or "." not in ref):
            yield _Guess(app, ref, _COMMIT)


def _spoken(words: Sequence[str], known: frozenset[str] | set[str]) -> Iterator[_Guess]:
    """`app ref`: a known app and what follows it, or a text with nothing else."""
    only = [word for word in words if word.lower() not in {typed(), "deploy"}]
    for place, word in enumerate(only):
        if word in known:
            after = [w for w in only[place + 1 : place + 4] if w.lower() not in _NOUNS]
            ref = after[0] if after else None
            good = ref is not None and is_ref(ref) and ref.lower() not in _SPEECH
            alone = len(only) == 2 and place == 0  # noqa: PLR2004 - the app and its ref
            fits = good and ref is not None and (alone or _REF_LIKE.fullmatch(ref) is not None)
            yield _Guess(word, ref if fits else None, _NAMED)
    if not known and len(only) in {1, 2} and is_app(only[0]) and only[0] not in _SPEECH:
        bare = _SHA.fullmatch(only[0]) is not None
        ref = only[1] if len(only) > 1 else None
        if not bare and (ref is None or is_ref(ref)):
            yield _Guess(only[0], ref, _NAMED)
