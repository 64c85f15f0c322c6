"""Outside changes: their names, since when they run, and what an operator can do about them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.dokku_facts import BuildRecord, BuildStatus, Container, Containers
from bot.deployments.model import Live
from bot.deployments.progress import Blocker
from bot.deployments.verdict.outside_changes import (
    SOURCES,
    UNRECORDED,
    blocker,
    change_commands,
    command_of,
    describe_build,
    how_to_end,
    list_records,
    may_have_changed,
    note_about,
    outside_records,
    release_commands,
    running_build,
    with_outside_changes,
)
from tests.support.builders import (
    CONFIG_SET,
    NEW,
    NOW,
    OLD,
    PUSH,
    RESTARTED_NEW,
    a_record,
    a_snapshot,
    containers,
    facts,
)

LONGEST = timedelta(minutes=30)
PHRASE = "a git push outside the bot (Dokku build b9)"


def record(
    source: str = "git-hook", *, kind: str = "build", duration: timedelta | None = None
) -> BuildRecord:
    return BuildRecord(
        id="b9", app="web", status=BuildStatus.RUNNING, source=source, kind=kind, duration=duration
    )


def running_for(minutes: float, known: Blocker | None = None, what: str = PHRASE) -> Blocker:
    one = record(duration=timedelta(minutes=minutes))
    return blocker(one, what, app="web", now=NOW, longest=LONGEST, known=known, own=False)


def test_outside_build_is_named_by_its_source() -> None:
    assert {source: describe_build(record(source)) for source in SOURCES} == {
        "git-hook": "a git push outside the bot (Dokku build b9)",
        "git:sync": "a git:sync outside the bot (Dokku build b9)",
        "git:from-image": "a git:from-image outside the bot (Dokku build b9)",
        "git:from-archive": "a git:from-archive outside the bot (Dokku build b9)",
        "ps:rebuild": "a ps:rebuild outside the bot (Dokku build b9)",
        "ps:restart": "a ps:restart outside the bot (Dokku build b9)",
        "config-redeploy": "a config:set outside the bot (Dokku build b9)",
        "deploy": "a ps:start outside the bot (Dokku build b9)",
    }
    assert describe_build(record("new:thing")) == "new:thing outside the bot (Dokku build b9)"
    assert describe_build(record("")) == "another command outside the bot (Dokku build b9)"


def test_only_what_builds_cancel_can_end_and_nobody_awaits_is_offered() -> None:
    def offered(one: BuildRecord, *, own: bool = False) -> str | None:
        found = blocker(one, PHRASE, app="web", now=NOW, longest=LONGEST, known=None, own=own)
        return found.build

    short, long = timedelta(minutes=1), timedelta(minutes=31)
    assert offered(record(duration=short)) is None
    assert offered(record(duration=long)) == "b9"
    assert offered(record(duration=short), own=True) == "b9"
    assert offered(record("ps:restart", kind="deploy", duration=long)) is None


def test_command_always_has_a_name() -> None:
    assert command_of(record("git-hook")) == "git push"
    assert command_of(record("new:thing")) == "new:thing"
    assert command_of(record("")) == "another command"


def test_start_is_dokkus_duration_before_our_clock() -> None:
    assert (running_for(3).what, running_for(3).since) == (PHRASE, NOW - timedelta(minutes=3))
    assert (
        blocker(record(), PHRASE, app="web", now=NOW, longest=LONGEST, known=None, own=False).since
        is None
    )


def test_start_stays_stable_for_the_same_build() -> None:
    first = running_for(3)
    later = Blocker(what=PHRASE, since=NOW - timedelta(minutes=2))
    assert running_for(3, known=first) == first
    assert running_for(3, known=later).since == later.since
    assert running_for(3, known=Blocker(what=PHRASE)).since == first.since
    assert running_for(3, known=later, what="another").since == first.since


def test_build_is_stuck_after_the_time_limit() -> None:
    assert not running_for(30).stuck
    assert running_for(30.1).stuck
    unknown = blocker(record(), PHRASE, app="web", now=NOW, longest=LONGEST, known=None, own=False)
    assert not unknown.stuck


def test_advice_for_a_build_is_to_check_its_pid_then_cancel() -> None:
    assert how_to_end(record(), "web") == (
        "An operator can find its PID with `builds:info web b9` and, if that process is "
        "still this build, end it with `builds:cancel web`."
    )
    assert running_for(3).advice == how_to_end(record(), "web")


@pytest.mark.parametrize("source", ["ps:restart", "config-redeploy", "deploy"])
def test_advice_for_a_restart_is_to_end_its_process(source: str) -> None:
    assert how_to_end(record(source, kind="deploy"), "web") == (
        "An operator can find its PID with `builds:info web b9` and end that process on the server."
    )


def test_advice_never_recommends_unlocking() -> None:
    assert "`apps:unlock` would not stop it" in UNRECORDED.advice
    assert "unlock" not in how_to_end(record(), "web")


# --- during a deployment of this bot

S = BuildStatus
REFUSED = replace(PUSH, id="r1", status=S.ABANDONED)
RESTART = replace(CONFIG_SET, id="d1", status=S.ABANDONED, source="ps:restart")
BEFORE = a_snapshot(builds=frozenset({"old"}))


def test_outside_records_are_new_and_not_own_oldest_first() -> None:
    records = [PUSH, a_record(id_="b1"), CONFIG_SET, a_record(id_="old")]
    assert outside_records(records, BEFORE, "b1") == (CONFIG_SET, PUSH)


def test_another_git_sync_is_outside_once_own_record_is_known() -> None:
    records = [a_record(id_="b2"), a_record(id_="b1"), PUSH]
    assert [one.id for one in outside_records(records, BEFORE, "b1")] == ["b2", "p1"]
    assert [one.id for one in outside_records(records, BEFORE, None)] == ["p1"]


def test_old_dokku_shows_no_outside_records() -> None:
    assert outside_records([PUSH], a_snapshot(builds=None), "b1") == ()


RECORDS = st.lists(
    st.builds(
        lambda number, source, status: replace(
            PUSH, id=f"{number:02}", source=source, status=status
        ),
        st.integers(0, 20),
        st.sampled_from([*SOURCES, "", "new:thing"]),
        st.sampled_from(list(S)),
    ),
    unique_by=lambda one: one.id,
)


@given(RECORDS, st.frozensets(st.integers(0, 20).map("{:02}".format)))
def test_snapshot_and_own_records_are_never_outside(
    records: list[BuildRecord], known: frozenset[str]
) -> None:
    others = outside_records(records, a_snapshot(builds=known), "07")
    assert {one.id for one in others} == {one.id for one in records} - known - {"07"}
    assert list(others) == sorted(others, key=lambda one: one.id)


@pytest.mark.parametrize(
    ("record", "changed"),
    [
        (PUSH, True),
        (replace(PUSH, status=S.RUNNING), True),
        (replace(PUSH, status=S.CANCELED, exit_code=-1), True),
        (replace(PUSH, status=S.FAILED, exit_code=1), True),
        (replace(PUSH, status=S.FAILED, exit_code=141), True),
        (REFUSED, False),
        (replace(PUSH, status=S.FAILED, exit_code=-1), False),
        (CONFIG_SET, True),
        (RESTART, True),
        (replace(RESTART, status=S.FAILED, exit_code=-1), True),
    ],
    ids=lambda given: (
        f"{given.kind} {given.status} {given.exit_code}"
        if isinstance(given, BuildRecord)
        else str(given)
    ),
)
def test_abandoned_build_changed_nothing(record: BuildRecord, changed: bool) -> None:
    assert may_have_changed(record) is changed
    assert (note_about([record]) is not None) is changed
    assert bool(change_commands([record])) is changed


def test_changing_commands_are_each_named_once() -> None:
    assert change_commands([]) == ""
    assert change_commands([CONFIG_SET]) == "config:set"
    again = replace(CONFIG_SET, id="c2")
    commands = change_commands([CONFIG_SET, REFUSED, again, RESTART])
    assert commands == "config:set and ps:restart"


def test_release_is_attributed_to_a_build_first() -> None:
    assert release_commands([]) == ""
    assert release_commands([REFUSED]) == ""
    assert release_commands([CONFIG_SET, PUSH]) == "git push"
    assert release_commands([RESTART, REFUSED]) == "ps:restart"
    assert release_commands([CONFIG_SET]) == "config:set"


def test_note_names_outside_changes() -> None:
    running = replace(RESTART, status=S.RUNNING)
    assert note_about([]) is None
    assert note_about([CONFIG_SET, REFUSED]) == (
        "Meanwhile, outside the bot: config:set (Dokku build c1)."
    )
    assert note_about([CONFIG_SET, running, PUSH]) == (
        "Meanwhile, outside the bot: config:set (Dokku build c1), "
        "ps:restart (Dokku build d1, still running), git push (Dokku build p1)."
    )
    assert note_about([CONFIG_SET] * 5) == (
        "Meanwhile, outside the bot: config:set (Dokku build c1), "
        "config:set (Dokku build c1), config:set (Dokku build c1) and 2 more."
    )


def a_reason(
    *others: BuildRecord,
    live: Live | None = Live.NEW,
    after: Containers | None = None,
    reason: str = "It ended.",
    before: Containers | None = None,
) -> str:
    return with_outside_changes(
        reason,
        live,
        others,
        after=after or containers(NEW),
        output=facts(own=(NEW,)),
        before=a_snapshot(before or containers(OLD)),
    )


UNRECORDED_CHANGE = (
    "It ended. Containers were replaced in the meantime by a command that Dokku "
    "keeps no record of, such as ps:scale."
)


def test_reason_adds_outside_changes_it_does_not_name() -> None:
    assert a_reason() == "It ended."
    assert a_reason(REFUSED) == "It ended."
    noted = "Meanwhile, outside the bot: config:set (Dokku build c1)."
    assert a_reason(CONFIG_SET) == f"It ended. {noted}"
    restarted = "It was restarted in the meantime by config:set."
    assert a_reason(CONFIG_SET, reason=restarted) == restarted
    assert a_reason(CONFIG_SET, PUSH, reason=restarted).endswith(
        "outside the bot: git push (Dokku build p1)."
    )


@pytest.mark.parametrize("live", [Live.NEW, Live.MIXED])
def test_replaced_containers_show_an_unrecorded_change(live: Live) -> None:
    again = containers(RESTARTED_NEW)
    assert a_reason(live=live, after=again) == UNRECORDED_CHANGE
    assert a_reason(REFUSED, live=live, after=again) == UNRECORDED_CHANGE
    assert "no record" not in a_reason(CONFIG_SET, live=live, after=again)
    assert a_reason(live=live, after=containers(NEW, OLD)) == "It ended."


@pytest.mark.parametrize("live", [Live.PREVIOUS, Live.NONE, Live.UNKNOWN, None])
def test_replaced_containers_matter_only_while_the_release_is_live(live: Live | None) -> None:
    assert a_reason(live=live, after=containers(RESTARTED_NEW)) == "It ended."


def test_unreadable_containers_show_no_change() -> None:
    for after, before in ((None, containers(OLD)), (containers(RESTARTED_NEW), None)):
        sentence = with_outside_changes(
            "It ended.",
            Live.NEW,
            (),
            after=after,
            output=facts(own=(NEW,)),
            before=a_snapshot(before),
        )
        assert sentence == "It ended."


def test_renamed_container_belongs_to_this_deployment() -> None:
    output = replace(facts(own=(NEW,)), renamed=frozenset({RESTARTED_NEW.id}))
    sentence = with_outside_changes(
        "It ended.",
        Live.NEW,
        (),
        after=containers(NEW, RESTARTED_NEW),
        output=output,
        before=a_snapshot(),
    )
    assert sentence == "It ended."


SERVING = containers(RESTARTED_NEW)


def test_container_that_another_command_overtook_is_named() -> None:
    def reason(
        *, own: tuple[Container, ...] = (NEW,), after: Containers | None = SERVING, **more: Any
    ) -> str:
        return with_outside_changes(
            "It ended.",
            more.get("live", Live.NEW),
            [CONFIG_SET],
            after=after,
            output=replace(facts(own=own), renamed=more.get("renamed", frozenset())),
            before=a_snapshot(containers(OLD)),
        )

    others = reason(own=())
    left = (
        "never took over and may still run beside the others, where Dokku does not list it: "
        "`docker ps` on the server shows it as `.upcoming-…`, and `docker rm -f` removes it."
    )
    assert reason() == f"{others} This deployment's own container {NEW.id} {left}"
    both = " and ".join(sorted((NEW.id, OLD.id)))
    assert reason(own=(NEW, OLD)) == f"{others} This deployment's own container {both} {left}"
    # What was not read shows nothing.
    assert reason(after=None) == others
    # It served, and Dokku retired it in its turn.
    assert "never took over" not in reason(renamed=frozenset({NEW.id}))
    # One whose checks failed was removed.
    assert "never took over" not in reason(live=Live.PREVIOUS)


def test_lost_output_attributes_no_container_to_others() -> None:
    """Before 0.38 a good end may be known only by its effect: the containers are its own then."""
    sentence = with_outside_changes(
        "It ended.",
        Live.NEW,
        (),
        after=containers(NEW),
        output=facts(),
        before=a_snapshot(containers(OLD)),
    )
    assert sentence == "It ended."


def test_evidence_lists_every_outside_record() -> None:
    assert (
        list_records([CONFIG_SET, REFUSED]) == "config-redeploy c1 succeeded, git-hook r1 abandoned"
    )


def test_running_build_is_found() -> None:
    running = a_record(BuildStatus.RUNNING, id_="theirs")
    ended = a_record(BuildStatus.ABANDONED, id_="old")
    assert running_build([ended, running]) is running
    assert running_build([ended]) is None
    assert running_build([running], {"theirs"}) is None
    assert running_build([running], {"another"}) is running
    assert running_build([]) is None
