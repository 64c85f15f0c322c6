"""Which database URLs are accepted, and the errors about others."""

import importlib.util
from pathlib import Path

import pytest

from bot.errors import ConfigError
from bot.store.engine import build_engine, read_url


@pytest.mark.parametrize(
    ("url", "driver", "database"),
    [
        ("sqlite:///deploybot.db", "sqlite+aiosqlite", "deploybot.db"),
        ("sqlite:////data/deploybot.db", "sqlite+aiosqlite", "/data/deploybot.db"),
        ("sqlite+aiosqlite:///x.db", "sqlite+aiosqlite", "x.db"),
        ("postgresql://u:p@db.example.com:5433/bot", "postgresql+asyncpg", "bot"),
        ("postgres://u:p@db.example.com/bot", "postgresql+asyncpg", "bot"),
        ("postgresql+psycopg2://u@db.example.com/bot", "postgresql+asyncpg", "bot"),
    ],
)
def test_sqlite_and_postgresql_urls_are_read(url: str, driver: str, database: str) -> None:
    read = read_url(url)
    assert (read.drivername, read.database) == (driver, database)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "not a database URL"),
        ("deploybot.db", "not a database URL"),
        ("postgresql://u:hunter2@db.example.com:port/bot", "not a database URL"),
        ("mysql://u:hunter2@db.example.com/bot", "mysql is not a database the bot knows"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_wrong_url_names_the_setting_without_the_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_url(url, source=".env")
    err = caught.value
    assert (err.setting, err.source, err.problem) == ("DATABASE_URL", ".env", problem)
    assert err.fix == "Write sqlite:///deploybot.db or postgresql://user:password@host/name."
    assert "hunter2" not in str(err)


def test_missing_driver_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="driver is not installed") as caught:
        read_url("postgresql://u@db.example.com/bot")
    assert "dokku-deploybot[postgres]" in caught.value.fix
    assert read_url("sqlite:///x.db").database == "x.db"


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError, match=f"there is no folder {missing}"):
        build_engine(f"sqlite:///{missing}/x.db")
