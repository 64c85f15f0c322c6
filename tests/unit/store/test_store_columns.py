"""Column types: times and texts are the same in both databases."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import make_url

from bot.store.database import NowMs
from bot.store.tables import UtcTime, Words

SQLITE = make_url("sqlite+aiosqlite://").get_dialect()()
POSTGRESQL = make_url("postgresql+asyncpg://").get_dialect()()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_times_are_stored_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    bound = UtcTime().process_bind_param(there, SQLITE)
    assert bound is not None
    assert (bound.tzinfo, bound.hour) == (UTC, 12)


def test_times_are_read_with_a_zone() -> None:
    for stored in (NOON.replace(tzinfo=None), NOON, NOON.astimezone(timezone(timedelta(hours=1)))):
        read = UtcTime().process_result_value(stored, SQLITE)
        assert read == NOON
        assert read is not None
        assert read.tzinfo is UTC


def test_time_without_a_zone_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        UtcTime().process_bind_param(NOON.replace(tzinfo=None), SQLITE)


def test_none_stays_none() -> None:
    assert UtcTime().process_bind_param(None, SQLITE) is None
    assert UtcTime().process_result_value(None, SQLITE) is None
    assert Words().process_bind_param(None, SQLITE) is None


@pytest.mark.parametrize(
    ("text", "stored"),
    [("naïve 🚀", "naïve 🚀"), ("a\x00b", "a\ufffdb"), ("a\ud800b", "a?b"), ("", "")],
)
def test_text_that_cannot_be_stored_is_replaced(text: str, stored: str) -> None:
    assert Words().process_bind_param(text, POSTGRESQL) == stored


def test_clock_expression_of_each_database() -> None:
    assert "julianday" in str(NowMs().compile(dialect=SQLITE))
    assert "clock_timestamp" in str(NowMs().compile(dialect=POSTGRESQL))
