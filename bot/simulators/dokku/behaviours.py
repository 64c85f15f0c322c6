"""How a deploy can go: the failure switches, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the deploys of an app, or of one commit, go."""

    meaning: str
    recording: str
    """The scenario that shows it."""
    build: str = "ok"
    """`ok`, `cached`, `fails`, `silent`, `docker_dies`, or one of the floods."""
    healthy: bool = True
    life_s: float | None = None
    exits_at_start: str | None = None
    """The process type, other than web, whose containers exit at once."""
    failing_task: str | None = None
    """`predeploy` or `postdeploy`: the task that fails."""
    skip_deploy: bool = False
    refuses: str | None = None
    """`ref_missing` or a reason of RepoUnreachable."""
    dies_at: str | None = None
    """Dokku's processes are killed (-9) when this text was printed."""


BEHAVIOURS: Mapping[str, Behaviour] = {
    "ok": Behaviour(meaning="builds, passes its checks, serves", recording="a, b"),
    "build_fails": Behaviour(
        meaning="a step of the docker build fails; record abandoned, stale lock file",
        recording="c, e",
        build="fails",
    ),
    "checks_fail": Behaviour(
        meaning="the health check answers 500; the bad build keeps the image tag",
        recording="d",
        healthy=False,
    ),
    "crash_1s": Behaviour(
        meaning="each process dies 1 s after its start; exit 0 all the same",
        recording="u, inspect_d",
        life_s=1.05,
    ),
    "crash_20s": Behaviour(
        meaning="each process dies 20 s after its start; nearly always looks running",
        recording="u, inspect_d",
        life_s=20.1,
    ),
    "cached": Behaviour(
        meaning="every build step comes from the cache", recording="f", build="cached"
    ),
    "skip_deploy": Behaviour(
        meaning="the skip-deploy property: built, recorded as succeeded, nothing started",
        recording="t",
        skip_deploy=True,
    ),
    "predeploy_fails": Behaviour(
        meaning="the predeploy task exits 3: nothing of it is started",
        recording="quoted (y1)",
        failing_task="predeploy",
    ),
    "postdeploy_fails": Behaviour(
        meaning="the postdeploy task exits 3: exit 1, and the new release serves",
        recording="quoted (y1)",
        failing_task="postdeploy",
    ),
    "worker_fails": Behaviour(
        meaning="web is switched, then the worker exits at its start: web new, worker old",
        recording="d, t (y2)",
        exits_at_start="worker",
    ),
    "ref_missing": Behaviour(
        meaning="the repository has no such ref", recording="g", refuses="ref_missing"
    ),
    "repo_unreachable": Behaviour(
        meaning="the host name of the repository does not resolve",
        recording="h",
        refuses="no_such_host",
    ),
    "repo_refused": Behaviour(
        meaning="the repository's port is closed", recording="h", refuses="refused"
    ),
    "repo_denied": Behaviour(
        meaning="the repository is not there or not for us", recording="h", refuses="not_exported"
    ),
    "silent_build": Behaviour(
        meaning="the build prints nothing for 25 s", recording="m11", build="silent"
    ),
    "dokku_killed": Behaviour(
        meaning="Dokku's processes are killed (-9) in the build: exit signal KILL",
        recording="n1",
        dies_at="build step 4/",
    ),
    "docker_killed": Behaviour(
        meaning="the docker daemon dies in the build; containers serve on, reports say missing",
        recording="n2",
        build="docker_dies",
    ),
    "flood": Behaviour(
        meaning="the build prints 50 MB in lines (a fault, not a recording)",
        recording="-",
        build="flood",
    ),
    "no_newline": Behaviour(
        meaning="the build prints 5 MB without a newline (a fault, not a recording)",
        recording="-",
        build="no_newline",
    ),
    "garbage": Behaviour(
        meaning="the build prints bytes that are no UTF-8 (a fault, not a recording)",
        recording="-",
        build="garbage",
    ),
}
