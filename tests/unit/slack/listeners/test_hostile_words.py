"""Options, shell words and floods of text in a command start nothing, and get one short answer."""

import pytest

from tests.support.stage import open_stage

MOST = 3000
"""Longest text of one block of Slack's: an answer is one block."""


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--build main",
        "-x main",
        "myapp --upload-pack=id",
        "myapp -oProxyCommand=id",
        "myapp ext::sh%20-c%20id",
        "myapp main;id",
        "myapp $(id)",
        "myapp main|id",
        "../myapp main",
        "myapp ../../etc/passwd",
        "rollback myapp --force",
        "lock ../all",
        "logs ../../var/log/auth.log",
    ],
)
async def test_option_path_or_shell_word_starts_nothing(words: str) -> None:
    async with open_stage() as stage:
        await stage.deploy(words)

        answer = await stage.whisper()
        assert len(answer) < (2_000 if words == "--help" else 500)
        assert stage.service.requests == []
        assert not stage.slack.messages(stage.deploys)


@pytest.mark.parametrize(
    "words",
    [
        "x" * 40_000,
        "myapp " + "y" * 40_000,
        "myapp main " + "z " * 20_000,
        "status " + "a" * 40_000,
        "lock myapp for " + "9" * 10_000,
    ],
)
async def test_flood_of_text_gets_a_short_answer(words: str) -> None:
    async with open_stage() as stage:
        await stage.deploy(words)

        assert len(await stage.whisper()) < MOST
        assert stage.service.requests == []
