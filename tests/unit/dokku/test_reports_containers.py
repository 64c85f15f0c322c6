import json

import pytest

from bot.dokku.reports import read_app_log, read_containers
from bot.dokku.stream import OutputReader
from bot.errors import OddReport
from bot.redaction import Redactor
from bot.simulators.dokku.recordings import NEWEST, load
from tests.unit.dokku.recordings import VERSIONS, Recording, questions

GOOD = [one for version in VERSIONS for one in questions(version, "ps:inspect") if one.exit == 0]


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_containers_are_read_on_every_version(recording: Recording) -> None:
    raw = json.loads(recording.stdout)
    containers = read_containers(recording.stdout, str)
    assert {one.id for one in containers.listed} == {item["Id"][:12] for item in raw}
    for one in containers.listed:
        assert one.process in {"web.1", "worker.1"}
        assert one.image.startswith("sha256:")
        assert one.state in {"running", "restarting", "exited"}
        assert one.started_at


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_no_value_of_the_environment_is_kept(recording: Recording) -> None:
    kept = repr(read_containers(recording.stdout, str))
    for item in json.loads(recording.stdout):
        for pair in item["Config"]["Env"]:
            assert pair not in kept
    assert "unmasked-value" not in kept


def test_crashes_are_counted() -> None:
    text = json.dumps(
        [
            {
                "Id": "ab" * 32,
                "Image": "sha256:1",
                "RestartCount": 3,
                "State": {"Status": "restarting", "StartedAt": "t"},
                "Config": {"Labels": {"com.dokku.dyno": "web.1"}},
            }
        ]
    )
    (one,) = read_containers(text, str).listed
    assert (one.id, one.restarts, one.running) == ("ab" * 6, 3, False)


def test_start_that_failed_is_read_with_its_masked_reason() -> None:
    state = {
        "Status": "created",
        "StartedAt": "0001-01-01T00:00:00Z",
        "ExitCode": 127,
        "OOMKilled": False,
        "Error": 'exec: "run\n --key s3cr3t": not found',
    }
    item = {
        "Id": "ab" * 32,
        "Image": "sha256:1",
        "State": state,
        "Config": {"Labels": {"com.dokku.dyno": "web.1"}},
    }
    (one,) = read_containers(json.dumps([item]), lambda text: text.replace("s3cr3t", "•••")).listed
    assert one.never_started
    assert (one.exit_code, one.problem) == (127, 'exec: "run --key •••": not found')
    assert not one.oom_killed


def test_own_log_is_read_by_process() -> None:
    steps = load(NEWEST, "t_worker_zero_web_skip").values()
    (logs,) = [one for one in steps if one.argv[0] == "logs"]
    output = OutputReader(Redactor(()))
    lines = [line.shown for line in (*output.feed(logs.stdout.encode()), *output.finish())]
    assert read_app_log(lines, "worker.1")[1:] == [f"worker tick {n} version=2" for n in range(3)]
    assert read_app_log(lines, "web.1")[-1] == "listening on 5000"
    assert read_app_log(lines, "web.2") == []


def test_no_containers() -> None:
    assert read_containers("[]\n", str).listed == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '[{"Id": "xyz"}]',
        '[{"Id": "aaaaaaaaaaaa", "Config": null}]',
        "TOKEN=s3cr3t",
    ],
)
def test_an_odd_answer_is_never_quoted(text: str) -> None:
    with pytest.raises(OddReport) as caught:
        read_containers(text, str)
    assert caught.value.__cause__ is None
    assert "s3cr3t" not in str(caught.value)
    assert "ps:inspect" in str(caught.value)
