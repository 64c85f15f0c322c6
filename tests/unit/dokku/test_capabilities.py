"""What a version of Dokku can do, and how well it is supported."""

import pytest

from bot.dokku.commands import MEANS, OLDEST, RECORDED, SINCE, capabilities


@pytest.mark.parametrize("name", SINCE)
def test_a_capability_begins_with_its_version(name: str) -> None:
    major, minor, patch = SINCE[name]
    assert getattr(capabilities(f"dokku version {major}.{minor}.{patch}"), name)
    assert not getattr(capabilities(f"dokku version {major}.{minor - 1}.99"), name)


def test_login_noise_is_not_read_as_the_version() -> None:
    """Another version would be asked for build records that it does not keep."""
    noise = "Welcome to Ubuntu 22.04.3 LTS\r\n"
    assert capabilities(f"{noise}dokku version 0.35.20\r\n").version == "0.35.20"
    assert not capabilities(f"{noise}dokku version 0.35.20\n 1.2.3 updates\n").records


@pytest.mark.parametrize(
    "text", ["v0.38.27-33-g33896f5d7", "v0.38.27", "0.38.27-33-g33896f5d7", "v0.38.27-dirty"]
)
def test_version_built_from_source_is_read(text: str) -> None:
    can = capabilities(f"dokku version {text}\n")
    assert (can.version, can.recorded) == ("0.38.27", True)


def test_each_capability_is_explained() -> None:
    assert MEANS.keys() == SINCE.keys()


def test_server_without_a_version_is_treated_as_the_newest() -> None:
    can = capabilities("dokku version master")
    assert can.version is None
    assert can.records
    assert can.json_reports
    assert not can.recorded
    assert "names no version" in can.support()


@pytest.mark.parametrize("version", sorted(RECORDED))
def test_recorded_versions_are_tested(version: tuple[int, int]) -> None:
    major, minor = version
    assert capabilities(f"dokku version {major}.{minor}.20").recorded
    support = capabilities(f"dokku version {major}.{minor}.1").support()
    assert support.startswith("Tested with recordings of this version.")


@pytest.mark.parametrize("minor", [30, 31, 32, 33, 34, 36, 37, 39])
def test_other_versions_are_read_by_key_and_untested(minor: int) -> None:
    support = capabilities(f"dokku version 0.{minor}.4").support()
    assert support.startswith(
        "Untested: its reports are read by key; only 0.35 and 0.38 were recorded."
    )


def test_older_versions_may_be_misread() -> None:
    assert OLDEST == (0, 30, 0)
    assert capabilities("dokku version 0.29.9").support().startswith("Older than 0.30:")


@pytest.mark.parametrize(("version", "said"), [("0.37.9", True), ("0.38.0", False)])
def test_missing_build_records_are_mentioned(version: str, said: bool) -> None:
    assert ("keeps no build records" in capabilities(version).support()) is said
