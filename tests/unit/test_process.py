"""What the process does before it listens."""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bot import process, sentry
from tests.support.settings import load


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """The captured stderr that the process logs to is closed after the test."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def _serve(*_args: object) -> None:
    return


@pytest.mark.parametrize("on_layer", [True, False])
def test_run_warns_of_a_database_that_is_lost_with_the_container(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    on_layer: bool,
) -> None:
    monkeypatch.setattr("bot.config.loading.is_on_container_layer", lambda _file: on_layer)
    monkeypatch.setattr(process, "_serve", _serve)

    assert process.run_bot(load(tmp_path)) == 0

    said = capsys.readouterr().err
    assert ("container's own layer" in said) is on_layer


def test_run_removes_the_folders_of_a_killed_bot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "deploybot-git-left"
    left.mkdir()
    os.utime(left, (0, 0))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(process, "_serve", _serve)

    assert process.run_bot(load(tmp_path)) == 0

    assert not left.exists()


def test_sentry_without_its_extra_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "_serve", _serve)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    dsn = "https://planted@sentry.example.com/1"
    assert process.run_bot(load(tmp_path, SENTRY_DSN=dsn)) == 2
    said = capsys.readouterr().err
    assert "Install the extra: dokku-deploybot[sentry]" in said
    assert "planted" not in said


def test_sentry_is_started_with_its_setting_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_serve", _serve)
    started: list[str] = []
    monkeypatch.setattr(sentry, "start", lambda dsn, **_more: started.append(dsn))
    assert process.run_bot(load(tmp_path)) == 0
    assert started == []
    dsn = "https://public@sentry.example.com/1"
    assert process.run_bot(load(tmp_path, SENTRY_DSN=dsn)) == 0
    assert started == [dsn]


def test_traces_without_their_extra_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "_serve", _serve)

    def gone(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.util.find_spec", gone)
    address = "http://collector.example.com:4318"
    assert process.run_bot(load(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=address)) == 2
    assert "Install the extra: dokku-deploybot[otel]" in capsys.readouterr().err
