"""Parameters of PostgreSQL addresses: which work, which are dropped, which can never work."""

from pathlib import Path

import pytest

from tests.support.settings import load, refused

BASE = "postgres://bot:hunter2@db.example.com/bot"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("?sslmode=require&channel_binding=require", "?sslmode=require"),
        ("?pgbouncer=true&connection_limit=1", ""),
        ("?keepalives=1&keepalives_idle=30&tcp_user_timeout=1", ""),
        ("?fallback_application_name=a", "?application_name=a"),
        ("?fallback_application_name=a&application_name=b", "?application_name=b"),
        ("?options=-c%20search_path%3Dbot", "?options=-c%20search_path%3Dbot"),
        ("?connect_timeout=5&krbsrvname=x", "?connect_timeout=5&krbsrvname=x"),
        ("?ssl=true", "?sslmode=require"),
        ("?ssl=false", ""),
        ("?schema=public", ""),
        ("?search_path=bot", "?search_path=bot"),
        ("?gssencmode=prefer", ""),
        ("?target_session_attrs=read-write", "?target_session_attrs=read-write"),
    ],
)
def test_what_the_driver_gets(tmp_path: Path, given: str, kept: str) -> None:
    settings = load(tmp_path, DATABASE_URL=BASE + given)

    assert settings.database_url == BASE.replace("postgres:", "postgresql:") + kept


def test_each_dropped_parameter_is_a_warning_without_its_value(tmp_path: Path) -> None:
    settings = load(tmp_path, DATABASE_URL=f"{BASE}?pgbouncer=secretly&channel_binding=require")

    first, second = settings.warnings()
    assert first == (
        "The parameter pgbouncer of the database's address is dropped: "
        "the bot uses no named prepared statements, so any pool mode works."
    )
    assert "channel_binding" in second
    assert "secretly" not in first


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("gssencmode=require", "parameter gssencmode can never work with this value. The driver"),
        ("hostaddr=10.0.0.1", "parameter hostaddr can never work"),
        ("replication=database", "parameter replication can never work"),
        ("target_session_attrs=standby", "parameter target_session_attrs can never work"),
        ("target_session_attrs=odd", "parameter target_session_attrs can never work"),
        ("sslmode=on", "parameter sslmode can never work"),
        ("connect_timeout=5s", "parameter connect_timeout can never work"),
        ("schema=bot", "search_path"),
        ("sslrootcert=/none/ca.pem", "parameter sslrootcert names no file that exists here"),
        ("service=prod", "parameter service names no service"),
        ("sslmode", "its parameters cannot be read"),
        ("require_auth=none", "parameter require_auth can never work"),
    ],
)
def test_what_can_never_work_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, words: str
) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "none"))
    line = refused(tmp_path, DATABASE_URL=f"{BASE}?{given}")

    assert line.startswith("environment: DATABASE_URL: ")
    assert words in line
    assert "hunter2" not in line


def test_service_of_the_service_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "services"
    file.write_text("[prod]\nhost=db.example.com\nuser=bot\npassword=100%\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))

    settings = load(tmp_path, DATABASE_URL="postgresql:///bot?service=prod")

    assert settings.database_url == "postgresql:///bot?service=prod"
