"""To which release a container belongs, and what serves."""

from bot.deployments.model import Live
from bot.deployments.verdict.evidence import images_of, live_from, release_of
from tests.support.builders import (
    NEW,
    OLD,
    OTHER_RELEASE,
    RESTARTED_NEW,
    RESTARTED_OLD,
    a_container,
    containers,
)


def test_containers_named_in_the_output_belong_to_the_new_release() -> None:
    own = frozenset({NEW.id})
    images = frozenset({NEW.image})
    before = containers(OLD)
    assert release_of(NEW, own, images, before) is Live.NEW
    assert release_of(OLD, own, images | {OLD.image}, before) is Live.PREVIOUS
    assert release_of(RESTARTED_NEW, own, images, before) is Live.NEW
    assert release_of(RESTARTED_OLD, own, images, before) is Live.PREVIOUS
    assert release_of(RESTARTED_OLD, own, images | {OLD.image}, before) is Live.NEW
    assert release_of(OTHER_RELEASE, own, images, before) is Live.UNKNOWN
    assert release_of(OLD, own, images, None) is Live.UNKNOWN


def test_own_images_come_from_every_read() -> None:
    assert images_of(frozenset({NEW.id}), None, containers(OLD, NEW)) == {NEW.image}
    assert images_of(frozenset(), containers(NEW)) == frozenset()


def test_stopped_containers_serve_nothing() -> None:
    down = containers(a_container(OLD.id, state="exited"), a_container("8" * 12, state="created"))
    assert live_from(down, frozenset(), containers(OLD)) is Live.NONE


def test_one_unknown_container_makes_the_live_state_unknown() -> None:
    after = containers(NEW, OTHER_RELEASE)
    assert live_from(after, frozenset({NEW.id}), containers(OLD)) is Live.UNKNOWN
