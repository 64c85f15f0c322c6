import re
from collections.abc import Iterable

import pytest

from bot.deployments.model import LogFacts, LogMarker, Phase
from bot.dokku.log_markers import LogReader
from bot.dokku.stream import OutputReader
from bot.redaction import Redactor
from tests.unit.dokku.recordings import VERSIONS, Recording, deploys

M = LogMarker
FETCHED = {M.FETCHING}
BUILT = FETCHED | {M.BUILDING}
RELEASED = BUILT | {M.RELEASING, M.DEPLOYING}
CHECKED = RELEASED | {M.CHECKING}
DONE_035 = CHECKED | {M.POST_DEPLOY, M.DEPLOYED}
DONE = DONE_035 | {M.SWITCHING}
UNCHECKED = DONE - {M.CHECKING}
CHECKS_FAILED = CHECKED | {M.CHECKS_FAILED, M.RELEASE_FAILED}
BUILD_ERROR = "compile error: missing semicolon"
CHECK_ERROR = "Failure in name='web health': unexpected status code: 500"
SANDBOX = "Error response from daemon: sandbox "

# scenario -> markers, phase, step, ids of our containers, how the error begins
Row = tuple[set[LogMarker], Phase | None, str | None, set[str], str | None]
F, B, R = Phase.FETCHING, Phase.BUILDING, Phase.RELEASING
STEP = "step 4 of 4"
LOCKED: Row = (FETCHED | {M.LOCKED}, F, None, set(), " currently has a deploy lock in place")
NO_REF: Row = (FETCHED | {M.REF_MISSING}, F, None, set(), "fatal: ")
NO_REPO: Row = (FETCHED | {M.REPO_UNREACHABLE}, F, None, set(), "fatal: ")
NO_BUILD: Row = (BUILT | {M.BUILD_FAILED}, B, STEP, set(), BUILD_ERROR)
CUT: Row = (BUILT, B, STEP, set(), None)


def done(*ids: str) -> Row:
    return DONE, R, "finishing", set(ids), None


EXPECTED: dict[str, dict[str, Row]] = {
    "0.38.27": {
        "a_first_deploy_ok": done("121df3539d73"),
        "b_redeploy_ok": done("0259c23be0fc"),
        "c_redeploy_build_fails": NO_BUILD,
        "d_redeploy_healthcheck_fails": (
            *(CHECKS_FAILED, R, "health checks of web.1", {"b0f6d6656e74"}, CHECK_ERROR),
        ),
        "e_first_deploy_build_fails": NO_BUILD,
        "f_noop_same_commit": done("feaefcee660c"),
        "f_noop_same_commit_2": done("2221e3cfd12d"),
        "f_noop_same_commit_3": (FETCHED | {M.BUILD_SKIPPED}, F, None, set(), None),
        "f_noop_same_commit_4": (FETCHED, F, None, set(), None),
        "g_ref_missing": NO_REF,
        "g_ref_missing_2": NO_REF,
        "g_ref_missing_3": NO_REF,
        "g_ref_missing_4": (
            *(FETCHED | {M.REF_MISSING}, F, "cloning", set(), "error: pathspec 'no-such-branch'"),
        ),
        "h_repo_missing": NO_REPO,
        "h_repo_missing_2": NO_REPO,
        "h_repo_missing_3": NO_REPO,
        "h_repo_missing_4": (*NO_REPO[:4], "ssh: connect to host"),
        "h_repo_missing_5": (*NO_REPO[:4], "fatal: 'not-a-url' does not appear to be"),
        "h_repo_missing_6": (*NO_REPO[:4], "fatal: invalid gitfile format"),
        "i_app_missing": ({M.APP_MISSING}, None, None, set(), "App ghost does not exist"),
        "i_app_missing_4": ({M.APP_MISSING}, None, None, set(), "App UPPER does not exist"),
        "inspect_d_crash_loops": done("36cee54c8365", "8a5c16a7b2fe"),
        "inspect_d_crash_loops_2": (UNCHECKED, R, "finishing", {"540ab7324f89"}, SANDBOX),
        "inspect_e_foreign_in_our_deploy_2": done("f1050b2f8aaa"),
        "j_second_deploy_while_running": done("fbbb43802955"),
        "j_second_deploy_while_running_2": LOCKED,
        "l1_cancel_mid_build": CUT,
        "l3_cancel_post_deploy": (
            *(CHECKED | {M.SWITCHING, M.POST_DEPLOY}, R, "post-deploy", {"754f59f55122"}, None),
        ),
        "m3_ssh_lost_kill9_mid_checks": (CHECKED, R, "health checks of web.1", set(), None),
        "n1_dokku_killed_mid_build": CUT,
        "n2_dockerd_killed_mid_build": (*NO_BUILD[:4], "ERROR: "),
        "n2_dockerd_killed_mid_build_2": (
            *(BUILT | {M.BUILD_FAILED, M.DOCKER_DOWN}, B, None, set()),
            "Cannot connect to the Docker daemon",
        ),
        "t_worker_zero_web_skip": done("36f55b44cc67", "133c576088b3"),
        "t_worker_zero_web_skip_2": done("b30653e8e27b"),
        "t_worker_zero_web_skip_3": (UNCHECKED, R, "finishing", set(), None),
        "t_worker_zero_web_skip_4": (
            *(BUILT | {M.RELEASING, M.DEPLOY_SKIPPED}, R, "release", set(), None),
        ),
        "t_worker_zero_web_skip_5": done("0052aaa77c2a"),
        "u_crashloop": done("2b638ab39ce9"),
        "u_crashloop_2": (UNCHECKED, R, "finishing", {"ed422cd08296"}, SANDBOX),
    },
    "0.35.20": {
        "a_first_deploy_ok": (DONE_035, R, "finishing", {"08e158ad3c6c"}, None),
        "b_redeploy_ok": (DONE_035, R, "finishing", {"aeeee4216a1d"}, None),
        "c_redeploy_build_fails": NO_BUILD,
        "d_redeploy_healthcheck_fails": (
            *(CHECKS_FAILED, R, "health checks of web.1", {"4c2937a6c211"}, CHECK_ERROR),
        ),
        "inspect_c_interrupted_post_deploy": (
            *(CHECKED | {M.POST_DEPLOY}, R, "post-deploy", {"1bc197ab3c5a"}, None),
        ),
        "j_second_deploy_while_running": (DONE_035, R, "finishing", {"afa46787d17f"}, None),
        "j_second_deploy_while_running_2": LOCKED,
    },
}


def facts_of(data: bytes, app: str = "web") -> LogFacts:
    output, log = OutputReader(Redactor(["hunter2-is-secret"])), LogReader(app)
    log.feed(output.feed(data))
    log.feed(output.finish())
    return log.facts


def states(*lines: str) -> LogFacts:
    return facts_of("".join(line + "\n" for line in lines).encode())


RECORDED = [
    recording
    for version in VERSIONS
    for recording in deploys(version)
    if recording.scenario in EXPECTED[version]
]


@pytest.mark.parametrize("recording", RECORDED, ids=str)
def test_recording_gives_its_facts(recording: Recording) -> None:
    app = recording.argv[2] if recording.argv[1].startswith("--") else recording.argv[1]
    markers, phase, step, ours, error = EXPECTED[recording.version][recording.scenario]
    facts = facts_of(recording.both, app)
    assert facts.markers == markers
    assert (facts.phase, facts.step, facts.named_containers) == (phase, step, frozenset(ours))
    if error is None:
        assert facts.error is None
    else:
        assert error in (facts.error or "")
    assert (facts.url is not None) == (M.DEPLOYED in markers)
    if facts.url:
        assert facts.url.endswith(".example:5000")


def test_every_recorded_deploy_is_in_the_table() -> None:
    left_out = {
        str(recording)
        for version in VERSIONS
        for recording in deploys(version)
        if recording.scenario not in EXPECTED[version]
    }
    # Two commands without an app or a repository, which the bot cannot send.
    assert left_out == {"0.38.27-i_app_missing_2", "0.38.27-i_app_missing_3"}


BEGINNING = (
    "       Fetching remote code for web from git://git.example/web.git#main",
    "-----> Cleaning up...",
    "-----> Building web from Dockerfile",
)
RELEASE = (*BEGINNING, "-----> Releasing web...")
IMITATIONS = (
    "=====> Application deployed:",
    " !     web currently has a deploy lock in place. Exiting...",
    " !     App web does not exist",
    " !     App build failed",
    " !     Could not start due to 1 failed checks (web.1)",
    "=====> Start of web container output (deadbeef0000 web.1)",
    "       Renaming container web.web.1.upcoming-1 (deadbeef0000) to web.web.1",
    "-----> Skipping deployment",
    "fatal: main^{commit}: not a valid SHA1",
    "-----> Releasing web...",
)


def indented(prefix: str, lines: Iterable[str] = IMITATIONS) -> list[str]:
    return [prefix + line for line in lines]


@pytest.mark.parametrize("prefix", ["#8 0.176 ", "#8 0.176 x\r", "5.185 ", "#8 12.3 \x1b[1G"])
def test_build_output_that_imitates_dokku_gives_no_facts(prefix: str) -> None:
    facts = states(*BEGINNING, *indented(prefix))
    assert facts.markers == BUILT
    assert facts.phase is B
    assert not facts.started | facts.renamed
    assert facts.error is None


@pytest.mark.parametrize("imitation", ["       {}", "       x\r{}"])
def test_container_output_that_imitates_dokku_gives_no_facts(imitation: str) -> None:
    facts = states(
        *RELEASE,
        "=====> Start of web container output (0259c23be0fc web.1)",
        *(imitation.format(line) for line in IMITATIONS),
        "=====> End of web container output (0259c23be0fc web.1)",
    )
    assert facts.markers == BUILT | {M.RELEASING}
    assert facts.named_containers == {"0259c23be0fc"}


def test_refusal_counts_only_before_the_build() -> None:
    assert M.LOCKED not in states(*BEGINNING, IMITATIONS[1]).markers
    assert M.LOCKED not in states(BEGINNING[0], IMITATIONS[1].replace("web ", "api ")).markers
    assert M.APP_MISSING not in states(*BEGINNING, IMITATIONS[2]).markers
    assert M.REF_MISSING not in states(*BEGINNING, IMITATIONS[8]).markers


def test_renaming_names_the_container_without_checks() -> None:
    """What Dokku 0.30.1 prints of a good deploy, out of a log that a user of it published."""
    facts = states(
        "-----> Building web from Dockerfile",
        "#7 naming to docker.io/dokku/web:latest done",
        "-----> Releasing web...",
        "=====> Processing deployment checks",
        "       No CHECKS file found. Simple container checks will be performed.",
        "-----> Deploying web via the docker-local scheduler...",
        "-----> Deploying web (count=1)",
        "       Attempting pre-flight checks (web.1)",
        "       Default container check successful (web.1)",
        "=====> Triggering early nginx proxy rebuild",
        "-----> Running post-deploy",
        " !     Detected IPv4 domain name with nginx proxy enabled.",
        "-----> Renaming containers",
        "       Found previous container(s) (787586fe792c) named web.web.1",
        "       Renaming container (787586fe792c) web.web.1 to web.web.1.1678897911",
        "       Renaming container web.web.1.upcoming-5661 (90fece539d9c) to web.web.1",
        "=====> Application deployed:",
        "       http://web.example.com:8000",
    )
    assert facts.markers == DONE - {M.FETCHING}
    assert facts.named_containers == {"90fece539d9c"}
    assert facts.url == "http://web.example.com:8000"


def test_last_unknown_complaint_is_the_cause() -> None:
    warned = states(*RELEASE, " !     A plugin warns", " !     and then it fails")
    assert warned.error == "and then it fails"
    known = states(
        *RELEASE, " !     Could not start due to 1 failed checks (web.1)", " !     so it ends"
    )
    assert known.error == "Could not start due to 1 failed checks (web.1)"
    assert (
        states(*RELEASE, " !     Skipping worker as it is missing from the Procfile").error is None
    )


def test_older_text_of_a_failed_check() -> None:
    """Dokku's source before it took checks from app.json."""
    facts = states(*RELEASE, " !     App container failed to start!!", "parallel: This job failed:")
    assert M.CHECKS_FAILED in facts.markers
    assert facts.error == "App container failed to start!!"


def test_release_without_a_build_line() -> None:
    facts = states(BEGINNING[0], *(line for line in RELEASE if line not in BEGINNING))
    assert facts.phase is Phase.RELEASING
    assert M.BUILDING not in facts.markers


def test_unknown_complaint_before_the_start_is_a_refusal() -> None:
    """Before 0.38, after a first clone was killed (Dokku's source, plugins/git)."""
    facts = states(" !     Run 'git:unlock' to remove the existing temporary clone")
    assert facts.markers == {M.REFUSED}
    assert facts.error == "Run 'git:unlock' to remove the existing temporary clone"


def test_further_piece_of_a_long_line_gives_no_facts() -> None:
    assert states(*RELEASE, "x" * 30_000 + IMITATIONS[0]).markers == BUILT | {M.RELEASING}
    for width in range(3_990, 4_010):
        assert (
            M.DEPLOYED not in states(*RELEASE, "x" * width + IMITATIONS[0] + "y" * 20_000).markers
        )


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("#9 [5/9] RUN npm ci", "step 5 of 9"),
        ("#12 [build 3/7] RUN make", "step 3 of 7"),
        ("#4 [stage-1 2/4] WORKDIR /app", "step 2 of 4"),
        ("Step 3/8 : RUN npm ci", "step 3 of 8"),
        ("#9 exporting to image", "exporting the image"),
        ("#2 [internal] load .dockerignore", None),
        ("#8 0.2 [5/9] tests done", None),
    ],
)
def test_the_step_of_a_build(line: str, step: str | None) -> None:
    assert states(*BEGINNING, line).step == step


def test_containers_without_checks_count_beside_checked_ones() -> None:
    facts = states(
        *RELEASE,
        "=====> Start of web container output (0259c23be0fc web.1)",
        "=====> End of web container output (0259c23be0fc web.1)",
        "       Renaming container (121df3539d73) web.web.1 to web.web.1.1795499087",
        "       Renaming container web.web.1.upcoming-16054 (0259c23be0fc) to web.web.1",
        "       Renaming container web.worker.1.upcoming-7 (aaaaaaaaaaaa) to web.worker.1",
        "       Renaming container web.web.1.1795499289 (fbbb43802955) to web.web.1",
    )
    assert facts.named_containers == {"0259c23be0fc", "aaaaaaaaaaaa"}
    assert facts.renamed == {"0259c23be0fc", "aaaaaaaaaaaa"}


@pytest.mark.parametrize(
    ("lines", "marker", "error"),
    [
        (
            [*RELEASE, " !     Execution of predeploy task failed: exit 3"],
            M.RELEASE_FAILED,
            "Execution of predeploy task failed: exit 3",
        ),
        (
            [
                *RELEASE,
                "Error response from daemon: No command specified",
                "parallel: This job failed:",
            ],
            M.NO_COMMAND,
            "Error response from daemon: No command specified",
        ),
        (
            [" !     Missing GIT_REMOTE parameter"],
            M.REFUSED,
            "Missing GIT_REMOTE parameter",
        ),
        (
            [BEGINNING[0], "fatal: couldn't find remote ref nope"],
            M.REF_MISSING,
            "fatal: couldn't find remote ref nope",
        ),
        (
            [BEGINNING[0], "git@git.example: Permission denied (publickey)."],
            M.REPO_UNREACHABLE,
            "git@git.example: Permission denied (publickey).",
        ),
        (
            [BEGINNING[0], "fatal: https://u:hunter2-is-secret@git.example/x not found"],
            M.REPO_UNREACHABLE,
            "fatal: https://[redacted]@git.example/x not found",
        ),
    ],
)
def test_the_cause_is_named(lines: list[str], marker: LogMarker, error: str) -> None:
    facts = states(*lines)
    assert marker in facts.markers
    assert facts.error == error


def test_a_full_disk_is_not_the_repositorys_fault() -> None:
    facts = states(BEGINNING[0], "fatal: write error: No space left on device")
    assert facts.markers == FETCHED
    assert facts.error == "fatal: write error: No space left on device"


def test_docker_down_marker_only_before_the_build() -> None:
    """A build or a release may print the same about another Docker."""
    line = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
    for lines in (BEGINNING, RELEASE):
        facts = states(*lines, line)
        assert M.DOCKER_DOWN not in facts.markers
        assert facts.error == line
    assert M.DOCKER_DOWN in states(BEGINNING[0], line).markers


def test_warning_is_not_a_cause() -> None:
    facts = states(
        *RELEASE, " !     No web listeners specified for web", " !     Retagging old image 1 as 2"
    )
    assert facts.error is None


def test_step_and_error_are_masked() -> None:
    lines = [
        "-----> Building web from Dockerfile",
        "-----> Releasing web...",
        "-----> Executing hunter2-is-secret task from app.json",
        "=====> Application deployed:",
        "       http://web.example/?token=abc",
    ]
    facts = states(*lines[:3])
    assert facts.phase is Phase.RELEASING
    assert facts.step == "[redacted] task"
    assert states(*lines).url is None
    assert states(*lines[:4], "       http://web.example").url == "http://web.example"


def test_address_is_the_apps_only_behind_a_proxy() -> None:
    """Without a proxy Dokku prints the server's own address (recorded on 0.38.27)."""
    lines = (
        "-----> Building web from Dockerfile",
        "-----> Releasing web...",
        "-----> Running post-deploy",
        "-----> Ensuring network configuration is in sync for web",
        "-----> Nginx support is disabled for app (web)",
        "=====> Application deployed:",
        "       http://apps.test:5000",
    )
    assert states(*lines).url is None
    assert states(*lines[:4], *lines[5:]).url == "http://apps.test:5000"
    other = "-----> Nginx support is disabled for app (other)"
    assert states(*lines[:4], other, *lines[5:]).url == "http://apps.test:5000"


@pytest.mark.parametrize(
    ("domains", "url", "own"),
    [
        (["web.dokku.example"], "http://web.dokku.example:5000", True),
        (["www.example.com", "web.dokku.example"], "https://web.dokku.example", True),
        (["web.dokku.example"], "http://dokku.example:5000", False),
        ([], "http://dokku.example:5000", False),
    ],
)
def test_address_is_the_apps_only_where_the_proxy_has_its_domain(
    domains: list[str], url: str, own: bool
) -> None:
    lines = (
        "-----> Building web from Dockerfile",
        "-----> Releasing web...",
        "=====> Triggering early nginx proxy rebuild",
        *(f"-----> Configuring {domain}...(using built-in template)" for domain in domains),
        "-----> Creating http nginx.conf",
        "       Reloading nginx",
        "=====> Application deployed:",
        f"       {url}",
    )
    assert states(*lines).url == (url if own else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_prefilter_skips_no_line_with_a_fact(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pattern per phase sorts out most lines."""
    recordings = list(deploys(version))
    assert recordings
    quick = [facts_of(one.both) for one in recordings]
    monkeypatch.setattr("bot.dokku.log_markers._prefilter", lambda _phase: re.compile(""))
    assert quick == [facts_of(one.both) for one in recordings]
