"""The cache of what is active or ended lately."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.model import Phase, Progress
from bot.deployments.states import ENDINGS, RUNNING
from bot.deployments.tracker import Tracker
from tests.support.builders import NOW, a_deployment

TTL_S = 300.0


class HandClock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, duration: timedelta) -> None:
        self.seconds += duration.total_seconds()


def a_tracker(most: int = 100) -> tuple[Tracker, HandClock]:
    clock = HandClock()
    return Tracker(clock=clock, ttl=timedelta(seconds=TTL_S), most=most), clock


def ids(tracker: Tracker) -> list[str]:
    return [one.deployment.id for one in tracker.known()]


def test_an_ended_deployment_stays_for_five_minutes() -> None:
    tracker, clock = a_tracker()
    one = a_deployment()
    tracker.put(one)
    clock.seconds = 1000
    assert tracker.get(one.id) is not None
    tracker.put(a_deployment(phase=Phase.FAILED))
    clock.seconds = 1300
    assert tracker.get(one.id) is not None
    assert tracker.active() == []
    clock.seconds = 1301
    assert tracker.get(one.id) is None
    assert tracker.known() == []


def test_a_correction_keeps_the_time_of_the_end() -> None:
    tracker, clock = a_tracker()
    tracker.put(a_deployment(phase=Phase.FAILED))
    clock.seconds = 200
    tracker.put(a_deployment(phase=Phase.SUCCEEDED))
    (known,) = tracker.known()
    assert (known.deployment.phase, known.ended_at) == (Phase.SUCCEEDED, 0.0)
    clock.seconds = TTL_S + 1
    assert tracker.known() == []


def test_progress_survives_a_newer_row() -> None:
    tracker, _ = a_tracker()
    one = a_deployment()
    tracker.note(one.id, Progress(step="unknown yet"))
    assert tracker.progress(one.id) == Progress()
    tracker.put(one)
    tracker.note(one.id, Progress(step="step 1 of 2"))
    tracker.put(a_deployment(phase=Phase.BUILDING))
    assert tracker.progress(one.id).step == "step 1 of 2"
    assert [known.deployment.phase for known in tracker.active()] == [Phase.BUILDING]


def test_it_is_bounded_by_dropping_the_oldest_ended_ones() -> None:
    tracker, clock = a_tracker(most=2)
    for number in range(4):
        clock.seconds = number
        tracker.put(a_deployment(id=f"ended {number}", phase=Phase.FAILED))
    assert ids(tracker) == ["ended 2", "ended 3"]
    tracker.forget("ended 3")
    assert ids(tracker) == ["ended 2"]


def test_active_ones_are_never_dropped() -> None:
    tracker, _ = a_tracker(most=2)
    for number in range(4):
        tracker.put(a_deployment(id=f"active {number}"))
    tracker.put(a_deployment(id="ended", phase=Phase.FAILED))
    assert ids(tracker) == [f"active {number}" for number in range(4)]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from([*Phase, None]), st.integers(0, 200)),
        max_size=40,
    )
)
def test_it_always_knows_what_a_walk_over_all_would_tell(
    acts: Sequence[tuple[str, Phase | None, int]],
) -> None:
    tracker, clock = a_tracker(most=3)
    # Id -> phase and when it was first known to have ended, oldest end first.
    model: dict[str, tuple[Phase, float | None]] = {}
    for id_, phase, pause in acts:
        clock.seconds += pause
        if phase is None:
            tracker.forget(id_)
            model.pop(id_, None)
        else:
            tracker.put(a_deployment(id=id_, phase=phase))
            ended = model.get(id_, (phase, None))[1] if phase in ENDINGS else None
            now = clock.seconds if phase in ENDINGS else None
            model[id_] = (phase, now if ended is None else ended)
        limit = clock.seconds - TTL_S
        model = {key: one for key, one in model.items() if one[1] is None or one[1] >= limit}
        over = len(model) - 3
        kept = {one.deployment.id: one for one in tracker.known()}
        ends = sorted(one[1] for one in model.values() if one[1] is not None)
        dropped = [one[1] for key, one in model.items() if key not in kept]
        # As many as must be, and none that ended later than one that is kept.
        assert len(dropped) == max(0, min(over, len(ends)))
        assert sorted(one for one in dropped if one is not None) == ends[: len(dropped)]
        model = {key: one for key, one in model.items() if key in kept}
        assert {key: (one.deployment.phase, one.ended_at) for key, one in kept.items()} == model
        assert tracker.running == sum(one[0] in RUNNING for one in model.values())
        active = {one.deployment.id for one in tracker.active()}
        assert active == {key for key, one in model.items() if one[1] is None}
