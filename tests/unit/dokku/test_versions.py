"""What a version can do, and how far the bot can be trusted with it."""

import pytest

from bot.dokku.versions import MEANS, OLDEST, PROVEN, SINCE, capabilities


@pytest.mark.parametrize("name", SINCE)
def test_a_capability_begins_with_its_version(name: str) -> None:
    major, minor, patch = SINCE[name]
    assert getattr(capabilities(f"dokku version {major}.{minor}.{patch}"), name)
    assert not getattr(capabilities(f"dokku version {major}.{minor - 1}.99"), name)


def test_what_a_login_prints_is_not_taken_for_dokkus_version() -> None:
    """Another version would be asked for build records that it does not keep."""
    noise = "Welcome to Ubuntu 22.04.3 LTS\r\n"
    assert capabilities(f"{noise}dokku version 0.35.20\r\n").version == "0.35.20"
    assert not capabilities(f"{noise}dokku version 0.35.20\n 1.2.3 updates\n").records


def test_each_capability_is_explained() -> None:
    assert MEANS.keys() == SINCE.keys()


def test_a_server_that_names_no_version_is_taken_for_the_newest() -> None:
    can = capabilities("dokku version master")
    assert can.version is None
    assert can.records
    assert can.json_reports
    assert not can.proven
    assert "names no version" in can.standing()


@pytest.mark.parametrize("version", sorted(PROVEN))
def test_recorded_versions_are_proven(version: tuple[int, int]) -> None:
    major, minor = version
    assert capabilities(f"dokku version {major}.{minor}.20").proven
    standing = capabilities(f"dokku version {major}.{minor}.1").standing()
    assert standing.startswith("Proven by recordings.")


@pytest.mark.parametrize("minor", [30, 31, 32, 33, 34, 36, 37, 39])
def test_the_others_are_read_by_key_and_unproven(minor: int) -> None:
    standing = capabilities(f"dokku version 0.{minor}.4").standing()
    assert standing.startswith(
        "Unproven: its reports are read by key; only 0.35 and 0.38 were recorded."
    )


def test_before_the_oldest_one_nothing_is_promised() -> None:
    assert OLDEST == (0, 30, 0)
    assert capabilities("dokku version 0.29.9").standing().startswith("Older than 0.30:")


@pytest.mark.parametrize(("version", "said"), [("0.37.9", True), ("0.38.0", False)])
def test_what_an_older_version_cannot_give_is_said(version: str, said: bool) -> None:
    assert ("keeps no build records" in capabilities(version).standing()) is said
