import pytest

from bot.deployments.dokku_facts import AppReport
from bot.dokku import reports
from bot.dokku.commands import capabilities
from bot.errors import OddReport
from bot.redaction import Redactor
from tests.unit.dokku.recordings import VERSIONS, Recording, questions

mask = Redactor(["hunter2-is-secret"]).text


def recorded(command: str) -> list[Recording]:
    return [
        one
        for version in VERSIONS
        for one in questions(version, command)
        if one.exit == 0 and ("--format" in one.argv or len(one.argv) == 2)
    ]


@pytest.mark.parametrize("recording", recorded("apps:report"), ids=str)
def test_app_reports_are_read_from_json_and_text(recording: Recording) -> None:
    report = reports.read_app_report(recording.stdout, mask)
    if recording.scenario == "a_first_deploy_ok":
        assert report == AppReport(metadata="", source="", locked=False)
        return
    assert report.source == "git-sync"
    assert report.repo is not None
    assert report.repo.startswith("git://git.example/")
    assert report.sha is not None
    # Dokku 0.38 leaves its lock file behind when a build fails.
    squeezed = "".join(recording.stdout.split())
    assert report.locked is ('"locked":"true"' in squeezed or "Applocked:true" in squeezed)


@pytest.mark.parametrize("recording", recorded("ps:report"), ids=str)
def test_process_reports_are_read_from_json_and_text(recording: Recording) -> None:
    report = reports.read_process_report(recording.stdout, mask)
    assert report.deployed is not None
    assert report.processes == len(report.states)
    assert report.deployed or not report.states
    assert set(report.states) <= {"web.1", "worker.1"}
    missing = recording.scenario == "n2_dockerd_killed_mid_build"
    assert set(report.states.values()) <= ({"missing"} if missing else {"running", "restarting"})


def test_unknown_keys_are_ignored_and_missing_ones_are_none() -> None:
    report = reports.read_process_report('{"deployed": true, "brand-new": [1]}', mask)
    assert (report.deployed, report.processes, dict(report.states)) == (True, None, {})


def test_noise_that_looks_like_json_is_skipped() -> None:
    noise = "[ OK ] Started\n{ all is watched }\r\n"
    assert reports.read_json(noise + '[{"id": "x"}]\r\n', "builds:list", mask) == [{"id": "x"}]


def test_noise_before_the_answer_is_skipped() -> None:
    text = 'Welcome to production!\n{"locked":"true","deploy-source":"git-sync"}\n'
    assert reports.read_app_report(text, mask).locked


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "PASSWORD=hunter2-is-secret", "{}", "a: b"])
def test_odd_answers_are_refused_and_never_leak(text: str) -> None:
    with pytest.raises(OddReport) as caught:
        reports.read_app_report(text, mask)
    assert "hunter2" not in str(caught.value)


def test_apps_are_listed_below_a_header() -> None:
    for version in VERSIONS:
        for recording in questions(version, "apps:list"):
            assert "web" in reports.read_apps(recording.stdout)
    assert reports.read_apps("=====> My Apps\nneverup\nweb\n") == ["neverup", "web"]
    assert reports.read_apps("welcome\n=====> My Apps\nweb\n !     x\n") == ["web"]
    assert reports.read_apps("") == []


@pytest.mark.parametrize(
    ("text", "sha"),
    [("a" * 40 + "\n", "a" * 40), ("HEAD\n", None), ("\n", None), ("", None), ("abc\n", None)],
)
def test_a_fetched_commit_is_full_or_none(text: str, sha: str | None) -> None:
    assert reports.read_sha(text) == sha


@pytest.mark.parametrize(("text", "branch"), [("main\n", "main"), ("\n", None), ("", None)])
def test_a_deploy_branch_may_not_be_set(text: str, branch: str | None) -> None:
    assert reports.read_branch(text) == branch


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_are_recognised(version: str) -> None:
    for recording in questions(version, "version"):
        can = capabilities(recording.stdout)
        assert can.version == version
        assert can.records == (version >= "0.38")
        assert can.json_reports


@pytest.mark.parametrize(
    ("answer", "version", "records"),
    [
        ("dokku version 0.38.0", "0.38.0", True),
        ("dokku version 0.37.10", "0.37.10", False),
        ("dokku version 1.0.0", "1.0.0", True),
        ("dokku version master", None, True),
    ],
)
def test_records_exist_since_0_38(answer: str, version: str | None, records: bool) -> None:
    can = capabilities(answer)
    assert (can.version, can.records) == (version, records)
