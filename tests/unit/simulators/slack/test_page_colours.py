"""The page's colours: every text is readable on its ground, in light and in dark mode."""

import re
from collections.abc import Mapping
from importlib.resources import files

import pytest

LEAST = 4.5
"""WCAG 2.2, level AA, for text of normal size."""
LEAST_EDGE = 3.0
"""WCAG 2.2, for the edges of controls and the focus ring."""
GROUNDS = ("paper", "wash", "raised", "warm", "warm-over")
"""Where messages, panels and dialogs show text."""
PAIRS = (
    *((text, ground) for ground in GROUNDS for text in ("ink", "soft", "link", "accent", "danger")),
    *((text, ground) for ground in ("paper", "wash") for text in ("succeeded", "running")),
    *((text, "accent-wash") for text in ("ink", "soft", "accent")),
    *((text, "flash") for text in ("ink", "soft", "link")),
    *((text, ground) for ground in ("bar", "bar-over") for text in ("bar-ink", "bar-soft")),
    *(("on-fill", ground) for ground in ("fill", "fill-over")),
    ("on-fill-soft", "fill"),
    ("on-danger", "danger-fill"),
    ("on-bar-here", "bar-here"),
    ("on-count", "count"),
    ("code", "code-wash"),
    ("on-mention", "mention"),
    ("on-mine", "mine"),
    ("on-badge", "badge"),
    ("on-good", "good"),
    ("on-bad", "bad"),
    ("on-outside", "outside"),
    ("on-toast", "toast"),
    ("on-toast-soft", "toast"),
)
EDGES = (
    *(("edge", ground) for ground in GROUNDS),
    *(("accent", ground) for ground in (*GROUNDS, "accent-wash")),
    ("bar-here", "bar"),
)


def page_file(name: str) -> str:
    return files("bot.simulators.slack").joinpath("page", name).read_text()


def palettes() -> Mapping[str, Mapping[str, str]]:
    light, dark = page_file("colours.css").split("@media (prefers-color-scheme: dark)")
    found = {
        mode: dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", text))
        for mode, text in (("light", light), ("dark", dark))
    }
    assert found["light"].keys() == found["dark"].keys()
    return found


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_text_can_be_read_on_its_ground(mode: str) -> None:
    colours = palettes()[mode]
    weak = {
        f"{text} on {ground}": round(found, 2)
        for pairs, least in ((PAIRS, LEAST), (EDGES, LEAST_EDGE))
        for text, ground in pairs
        if (found := contrast(colours[text], colours[ground])) < least
    }
    assert weak == {}


def test_every_text_colour_is_in_a_measured_pair() -> None:
    style = page_file("style.css") + page_file("narrow.css")
    measured = {name for pair in PAIRS for name in pair}
    used = set(re.findall(r"(?<![-\w])color: var\(--([a-z-]+)\)", style))
    grounds = set(re.findall(r"(?<![-\w])background: var\(--([a-z-]+)\)", style))
    assert used - measured == set()
    assert grounds - measured - {"flash"} == set()
    assert set(re.findall(r"var\(--([a-z-]+)\)", style)) - palettes()["light"].keys() <= {"mono"}


def test_colours_are_written_in_one_place_only() -> None:
    """Apart from the three lights of the connection, white on an avatar, and what lies over all."""
    loose = {"#f59e0b", "#4ade80", "#f87171", "#fff", "#000", "#0b1f1d8c"}
    for name in ("style.css", "narrow.css"):
        values = re.findall(r"[:(,] ?[^;{}]*?(#[0-9a-f]{3,8})\b(?=[^{]*})", page_file(name))
        assert set(values) <= loose, name
