"""How a deploy can go: one table of good and failing behaviours."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the deploys of an app, or of one commit, go."""

    meaning: str
    recording: str
    """The recorded scenarios that show it; `-`: none, it is an artificial fault."""
    build: str = "ok"
    """`ok`, `cached`, `fails`, `silent`, `docker_dies`, `flood`, `no_newline` or `garbage`."""
    flood_bytes: int = 0
    """How much a `flood` or `no_newline` build prints."""
    silence_s: float = 0.0
    """How long a `silent` build prints nothing."""
    healthy: bool = True
    life_s: float | None = None
    """Seconds until a container crashes."""
    exits_at_start: str | None = None
    """The process type, other than web, whose containers exit at once."""
    failing_task: str | None = None
    """`predeploy` or `postdeploy`: the task that fails."""
    skip_deploy: bool = False
    refuses: str | None = None
    """`ref_missing` or a reason of RepoUnreachable."""
    dies_at: str | None = None
    """Kill Dokku's processes (-9) once this text is printed."""


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
        meaning="each process dies 1 s after its start; the deploy still exits with 0",
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
        meaning="the predeploy task exits 3: no container is started",
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
        meaning="the repository does not exist or access is denied",
        recording="h",
        refuses="not_exported",
    ),
    "silent_build": Behaviour(
        meaning="the build prints nothing for 25 s", recording="m11", build="silent", silence_s=25.0
    ),
    "dokku_killed": Behaviour(
        meaning="Dokku's processes are killed (-9) in the build: exit signal KILL",
        recording="n1",
        dies_at="build step 4/",
    ),
    "docker_killed": Behaviour(
        meaning="the docker daemon dies in the build; containers keep serving, reports say missing",
        recording="n2",
        build="docker_dies",
    ),
    "flood": Behaviour(
        meaning="the build prints 50 MB in lines (a fault, not a recording)",
        recording="-",
        build="flood",
        flood_bytes=50_000_000,
    ),
    "flood_20_mb": Behaviour(
        meaning="the build prints 20 MB in lines (a fault, not a recording)",
        recording="-",
        build="flood",
        flood_bytes=20_000_000,
    ),
    "no_newline": Behaviour(
        meaning="the build prints 5 MB without a newline (a fault, not a recording)",
        recording="-",
        build="no_newline",
        flood_bytes=5_000_000,
    ),
    "garbage": Behaviour(
        meaning="the build prints bytes that are not UTF-8 (a fault, not a recording)",
        recording="-",
        build="garbage",
    ),
}
