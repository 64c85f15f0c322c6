import pytest

from tests.support.outbox import HandClock, MemoryOutbox


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def outbox(clock: HandClock) -> MemoryOutbox:
    return MemoryOutbox(clock)
