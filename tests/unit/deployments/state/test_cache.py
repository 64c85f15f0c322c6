"""The cache of active and recently ended deployments."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.model import Phase
from bot.deployments.progress import Progress
from bot.deployments.state.repository import DeploymentCache
from bot.deployments.states import ENDINGS, RUNNING
from tests.support.builders import NOW, a_deployment

TTL_S = 300.0


class HandClock:
    """Moves only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, duration: timedelta) -> None:
        self.seconds += duration.total_seconds()


def a_cache(max_size: int = 100) -> tuple[DeploymentCache, HandClock]:
    clock = HandClock()
    return DeploymentCache(clock=clock, ttl=timedelta(seconds=TTL_S), max_size=max_size), clock


def ids(cache: DeploymentCache) -> list[str]:
    return [one.deployment.id for one in cache.known()]


def test_ended_deployment_stays_cached_for_the_ttl() -> None:
    cache, clock = a_cache()
    one = a_deployment()
    cache.put(one)
    clock.seconds = 1000
    assert cache.get(one.id) is not None
    cache.put(a_deployment(phase=Phase.FAILED))
    clock.seconds = 1300
    assert cache.get(one.id) is not None
    assert cache.active() == []
    clock.seconds = 1301
    assert cache.get(one.id) is None
    assert cache.known() == []


def test_correction_keeps_the_ended_at_time() -> None:
    cache, clock = a_cache()
    cache.put(a_deployment(phase=Phase.FAILED))
    clock.seconds = 200
    cache.put(a_deployment(phase=Phase.SUCCEEDED))
    (known,) = cache.known()
    assert (known.deployment.phase, known.ended_at) == (Phase.SUCCEEDED, 0.0)
    clock.seconds = TTL_S + 1
    assert cache.known() == []


def test_progress_survives_a_newer_row() -> None:
    cache, _ = a_cache()
    one = a_deployment()
    cache.note(one.id, Progress(step="unknown yet"))
    assert cache.progress(one.id) == Progress()
    cache.put(one)
    cache.note(one.id, Progress(step="step 1 of 2"))
    cache.put(a_deployment(phase=Phase.BUILDING))
    assert cache.progress(one.id).step == "step 1 of 2"
    assert [known.deployment.phase for known in cache.active()] == [Phase.BUILDING]


def test_full_cache_drops_the_oldest_ended_deployments() -> None:
    cache, clock = a_cache(max_size=2)
    for number in range(4):
        clock.seconds = number
        cache.put(a_deployment(id=f"ended {number}", phase=Phase.FAILED))
    assert ids(cache) == ["ended 2", "ended 3"]
    cache.forget("ended 3")
    assert ids(cache) == ["ended 2"]


def test_active_deployments_are_never_dropped() -> None:
    cache, _ = a_cache(max_size=2)
    for number in range(4):
        cache.put(a_deployment(id=f"active {number}"))
    cache.put(a_deployment(id="ended", phase=Phase.FAILED))
    assert ids(cache) == [f"active {number}" for number in range(4)]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from([*Phase, None]), st.integers(0, 200)),
        max_size=40,
    )
)
def test_cache_agrees_with_a_naive_model(
    acts: Sequence[tuple[str, Phase | None, int]],
) -> None:
    cache, clock = a_cache(max_size=3)
    # Id -> phase and when it was first known to have ended, oldest end first.
    model: dict[str, tuple[Phase, float | None]] = {}
    for id_, phase, pause in acts:
        clock.seconds += pause
        if phase is None:
            cache.forget(id_)
            model.pop(id_, None)
        else:
            cache.put(a_deployment(id=id_, phase=phase))
            ended = model.get(id_, (phase, None))[1] if phase in ENDINGS else None
            now = clock.seconds if phase in ENDINGS else None
            model[id_] = (phase, now if ended is None else ended)
        limit = clock.seconds - TTL_S
        model = {key: one for key, one in model.items() if one[1] is None or one[1] >= limit}
        over = len(model) - 3
        kept = {one.deployment.id: one for one in cache.known()}
        ends = sorted(one[1] for one in model.values() if one[1] is not None)
        dropped = [one[1] for key, one in model.items() if key not in kept]
        # As many as must be, and none that ended later than one that is kept.
        assert len(dropped) == max(0, min(over, len(ends)))
        assert sorted(one for one in dropped if one is not None) == ends[: len(dropped)]
        model = {key: one for key, one in model.items() if key in kept}
        assert {key: (one.deployment.phase, one.ended_at) for key, one in kept.items()} == model
        assert cache.count_running() == sum(one[0] in RUNNING for one in model.values())
        active = {one.deployment.id for one in cache.active()}
        assert active == {key for key, one in model.items() if one[1] is None}
