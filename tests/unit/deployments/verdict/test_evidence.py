"""Whose a container is, and what serves."""

from bot.deployments.model import Live
from bot.deployments.verdict.evidence import images_of, live_from, release_of
from tests.support.builders import (
    NEW,
    OLD,
    RESTARTED_NEW,
    RESTARTED_OLD,
    STRANGER,
    a_container,
    containers,
)


def test_containers_named_in_the_output_belong_to_the_new_release() -> None:
    ours = frozenset({NEW.id})
    images = frozenset({NEW.image})
    before = containers(OLD)
    assert release_of(NEW, ours, images, before) is Live.NEW
    assert release_of(OLD, ours, images | {OLD.image}, before) is Live.PREVIOUS
    assert release_of(RESTARTED_NEW, ours, images, before) is Live.NEW
    assert release_of(RESTARTED_OLD, ours, images, before) is Live.PREVIOUS
    assert release_of(RESTARTED_OLD, ours, images | {OLD.image}, before) is Live.NEW
    assert release_of(STRANGER, ours, images, before) is Live.UNKNOWN
    assert release_of(OLD, ours, images, None) is Live.UNKNOWN


def test_own_images_come_from_every_read() -> None:
    assert images_of(frozenset({NEW.id}), None, containers(OLD, NEW)) == {NEW.image}
    assert images_of(frozenset(), containers(NEW)) == frozenset()


def test_stopped_containers_serve_nothing() -> None:
    down = containers(a_container(OLD.id, state="exited"), a_container("8" * 12, state="created"))
    assert live_from(down, frozenset(), containers(OLD)) is Live.NONE


def test_one_unknown_container_makes_the_live_state_unknown() -> None:
    after = containers(NEW, STRANGER)
    assert live_from(after, frozenset({NEW.id}), containers(OLD)) is Live.UNKNOWN
