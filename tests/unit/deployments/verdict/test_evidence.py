"""Whose a container is, and what serves."""

from bot.deployments.model import Live
from bot.deployments.verdict.evidence import ours_images, serving, whose
from tests.support.builders import (
    NEW,
    OLD,
    RESTARTED_NEW,
    RESTARTED_OLD,
    STRANGER,
    a_container,
    containers,
)


def test_ours_are_the_named_ones_before_the_old_ones() -> None:
    ours = frozenset({NEW.id})
    images = frozenset({NEW.image})
    before = containers(OLD)
    assert whose(NEW, ours, images, before) is Live.NEW
    assert whose(OLD, ours, images | {OLD.image}, before) is Live.PREVIOUS
    assert whose(RESTARTED_NEW, ours, images, before) is Live.NEW
    assert whose(RESTARTED_OLD, ours, images, before) is Live.PREVIOUS
    assert whose(RESTARTED_OLD, ours, images | {OLD.image}, before) is Live.NEW
    assert whose(STRANGER, ours, images, before) is Live.UNKNOWN
    assert whose(OLD, ours, images, None) is Live.UNKNOWN


def test_images_of_ours_come_from_every_read() -> None:
    assert ours_images(frozenset({NEW.id}), None, containers(OLD, NEW)) == {NEW.image}
    assert ours_images(frozenset(), containers(NEW)) == frozenset()


def test_what_is_down_serves_nothing() -> None:
    down = containers(a_container(OLD.id, state="exited"), a_container("8" * 12, state="created"))
    assert serving(down, frozenset(), containers(OLD)) is Live.NONE


def test_one_unknown_among_known_ones_makes_it_unknown() -> None:
    after = containers(NEW, STRANGER)
    assert serving(after, frozenset({NEW.id}), containers(OLD)) is Live.UNKNOWN
