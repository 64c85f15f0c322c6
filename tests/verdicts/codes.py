"""The short codes of rows.toml, turned into what the rules are asked."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import timedelta

from bot.deployments.dokku_facts import (
    AppReport,
    BuildRecord,
    BuildStatus,
    Container,
    Containers,
    Snapshot,
    Trouble,
)
from bot.deployments.model import Failure, LogFacts, LogMarker
from bot.deployments.verdict.evidence import Evidence
from bot.deployments.verdict.stability import Look, Watched

REPO = "https://git.example/acme/web.git"
COMMITS = {
    "new": AppReport(metadata=f"{REPO}#{'a1b2c3d4' * 5}"),
    "old": AppReport(metadata=f"{REPO}#{'0ffd' * 10}"),
    "other": AppReport(metadata=f"{REPO}#{'9' * 40}"),
}
STAGES = {
    "silent": frozenset[LogMarker](),
    "fetching": frozenset({LogMarker.FETCHING}),
}
STAGES["built"] = STAGES["fetching"] | {LogMarker.BUILDING}
STAGES["released"] = STAGES["built"] | {
    LogMarker.RELEASING,
    LogMarker.DEPLOYING,
    LogMarker.CHECKING,
}
STAGES["deployed"] = STAGES["released"] | {LogMarker.POST_DEPLOY, LogMarker.DEPLOYED}
OTHERS = {
    "config_set": BuildRecord(
        id="b8", app="web", status=BuildStatus.SUCCEEDED, source="config-redeploy", kind="deploy"
    ),
    "push": BuildRecord(id="b9", app="web", status=BuildStatus.SUCCEEDED, source="git-hook"),
}
FLAGS = frozenset(
    {
        "app_gone",
        "cancel_asked",
        "cap_reached",
        "last_word",
        "locked",
        "lock_free",
        "lost_long",
        "never_began",
        "run_unseen",
        "runner",
    }
)


def _container(id_: int, process: str, image: str) -> Container:
    return Container(
        id=f"{id_}" * 12,
        process=process,
        image=image,
        state="running",
        started_at="2026-11-24T11:00:00Z",
    )


CONTAINERS = {
    "old": _container(0, "web.1", "old"),
    "old_worker": _container(1, "worker.1", "old"),
    "old_again": _container(2, "web.1", "old"),
    "new": _container(3, "web.1", "new"),
    "new_worker": _container(4, "worker.1", "new"),
    "new_again": _container(5, "web.1", "new"),
    "new_second": _container(8, "web.2", "new"),
    "new_same": _container(6, "web.1", "old"),
    "other": _container(7, "web.1", "other"),
}
NAMED = frozenset(CONTAINERS[name].id for name in ("new", "new_worker", "new_same"))
"""Ids that the output names, where the containers are listed and the row says nothing else."""
SETTLE = timedelta(seconds=10)
NEVER = "0001-01-01T00:00:00Z"
DOCKERS_LINE = "driver failed programming external connectivity: port is already allocated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstarted:
    """A deployment that ended before Dokku's command was started."""

    failure: Failure
    cause: str
    after: Containers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Two looks at a new release, for the stability rules."""

    first: Look | None
    """None: `now` is the first look."""
    now: Look
    known: Watched
    last_word: bool


Question = Unstarted | Evidence | Watch


def question(see: str, text: str | None) -> Question:
    """What a row asks the rules; `text` is the line that names the cause. ValueError: no code."""
    match see.split():
        case ["unstarted", failure, after]:
            return Unstarted(failure=Failure(failure), cause=text or "", after=_containers(after))
        case ["watch", looks, *more]:
            return _watch(looks, more)
        case [status, record, log, containers, *more]:
            return _evidence((status, record, log, containers), more, text)
        case _:
            raise ValueError(f"not a row's evidence: {see}")


def _evidence(first: tuple[str, str, str, str], more: list[str], text: str | None) -> Evidence:
    status, record, log, containers = first
    before, after = (_containers(one) for one in containers.split(">"))
    flags, given = _options(
        more, FLAGS, {"names", "renames", "source", "commit", "others", "trouble"}
    )
    named = after.ids & NAMED if after else frozenset()
    keeps_records = record != "pre-0.38"
    good = status == "0" or (status == "lost" and record.startswith("succeeded"))
    report = _commit(given.get("source", "new" if good else "old"))
    expected = _commit(given.get("commit", "new"))
    return Evidence(
        exit_status=None if status == "lost" else int(status),
        keeps_records=keeps_records,
        record=_record(record),
        output=LogFacts(
            markers=_markers(log),
            started=_ids(given["names"]) if "names" in given else named,
            renamed=_ids(given.get("renames", "none")),
            error=text,
            trouble=Trouble(given["trouble"]) if "trouble" in given else None,
        ),
        before=Snapshot(
            builds=frozenset() if keeps_records else None,
            report=COMMITS["old"],
            containers=before,
            runner="runner" if "runner" in flags else "",
        ),
        after=after,
        report=report and replace(report, locked="locked" in flags),
        expected=expected.metadata if expected else None,
        others=_others(given.get("others")),
        app_gone="app_gone" in flags,
        cancel_asked="cancel_asked" in flags,
        cap_reached="cap_reached" in flags,
        last_word="last_word" in flags,
        never_began="never_began" in flags,
        run_unseen="run_unseen" in flags,
        lock_was_free="lock_free" in flags,
        lost_long="lost_long" in flags,
    )


def _watch(looks: str, more: list[str]) -> Watch:
    first, now = looks.split(">")
    flags, given = _options(more, {"last_word", "soon", "stopped"}, {"others"})
    later = _look(3 if "soon" in flags else SETTLE.total_seconds() + 1, now)
    if later.containers is not None:
        stopped = "stopped" in flags
        later = replace(later, containers=replace(later.containers, stopped=stopped))
    return Watch(
        first=_look(0, first) if first else None,
        now=later,
        known=replace(WATCHED, others=_others(given.get("others"))),
        last_word="last_word" in flags,
    )


def _options(
    words: list[str], flags: AbstractSet[str], keys: AbstractSet[str]
) -> tuple[frozenset[str], dict[str, str]]:
    """The words as flags, and as values by key."""
    given = dict(word.split("=") for word in words if "=" in word)
    found = frozenset(word for word in words if "=" not in word)
    if unknown := (found - flags) | (given.keys() - keys):
        raise ValueError(f"not a code: {', '.join(sorted(unknown))}")
    return found, given


def _look(at: float, listed: str) -> Look:
    gone = listed == "gone"
    containers = None if gone else _containers(listed)
    return Look(began=at, done=at, containers=containers, app_gone=gone)


def _containers(listed: str) -> Containers | None:
    if listed == "?":
        return None
    names = () if listed == "none" else listed.split(",")
    return Containers(listed=tuple(_one(name) for name in names))


def _one(code: str) -> Container:
    """`NAME[:STATE][/EXIT][*RESTARTS][!]`; EXIT is a status or `oom`, `!` Docker's own line."""
    problem = DOCKERS_LINE if code.endswith("!") else ""
    known, _, restarts = code.rstrip("!").partition("*")
    named, _, ended = known.partition("/")
    name, _, state = named.partition(":")
    status = "137" if ended == "oom" else ended
    return replace(
        CONTAINERS[name],
        state=state or "running",
        restarts=int(restarts or 0),
        exit_code=int(status) if status else None,
        oom_killed=ended == "oom",
        problem=problem,
        started_at=NEVER if state == "created" else CONTAINERS[name].started_at,
    )


def _ids(names: str) -> frozenset[str]:
    listed = _containers(names)
    return listed.ids if listed else frozenset()


def _markers(log: str) -> frozenset[LogMarker]:
    stage, *more = log.split("+")
    return STAGES[stage] | {LogMarker(one) for one in more}


def _record(code: str) -> BuildRecord | None:
    if code in {"pre-0.38", "no_record"}:
        return None
    status, _, exit_code = code.partition("/")
    return BuildRecord(
        id="b1",
        app="web",
        status=BuildStatus(status),
        source="git:sync",
        exit_code=int(exit_code) if exit_code else None,
    )


def _others(names: str | None) -> tuple[BuildRecord, ...]:
    return tuple(OTHERS[name] for name in names.split(",")) if names else ()


def _commit(name: str) -> AppReport | None:
    return None if name == "?" else COMMITS[name]


WATCHED = Watched(
    own=NAMED - {CONTAINERS["new_same"].id},
    images=frozenset({"new"}),
    before=Snapshot(
        builds=frozenset(), report=COMMITS["old"], containers=_containers("old,old_worker")
    ),
    settle=SETTLE,
)
