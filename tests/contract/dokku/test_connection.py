import asyncio
import pwd
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import asyncssh
import pytest

from bot.deployments.dokku_facts import Pace
from bot.dokku.connection import Connection
from bot.dokku.limits import SshLimits
from bot.errors import OutcomeUnknown, Slow, Unreachable
from bot.ssh_target import SshTarget
from tests.contract.dokku.ssh_server import KINDS, OPENSSH, SshServer, run_ssh_server, until
from tests.support.ssh_targets import target_without_server

CHANNELS = SshLimits().channels
QUICK = SshLimits(connect_s=5.0, question_alive_s=0.5, question_alive_count=2)


@asynccontextmanager
async def connected(
    target: SshTarget, limits: SshLimits | None = None, counts: list[int] | None = None
) -> AsyncIterator[Connection]:
    connection = Connection(
        "production",
        target,
        limits=limits,
        on_connections=lambda _, count: counts.append(count) if counts is not None else None,
    )
    async with aclosing(connection):
        yield connection


@pytest.mark.parametrize("status", [0, 1, 20, 128, 141])
async def test_every_exit_status_is_an_answer(server: SshServer, status: int) -> None:
    server.answer("ask it", f"echo out; echo err >&2; exit {status}")
    async with connected(server.target) as connection:
        answer = await connection.run(("ask", "it"), timeout_s=10)
    assert (answer.exit_status, answer.out, answer.err) == (status, "out\n", "err\n")
    assert connection.health is None


async def test_login_needs_no_name_and_no_home(
    server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs with a UID that no user has."""

    def nobody(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    server.answer("ask it", "echo out")
    async with connected(server.target) as connection:
        assert (await connection.run(("ask", "it"), timeout_s=10)).out == "out\n"


async def test_unexpected_error_of_the_library_is_a_failed_login(server: SshServer) -> None:
    broken = replace(server.target, host="\0")
    async with connected(broken) as connection:
        with pytest.raises(Unreachable, match="SSH client could not begin a login"):
            await connection.warm_up()
        assert connection.health is not None


async def test_killed_command_has_status_minus_one(server: SshServer) -> None:
    server.answer("die", "kill -9 $$")
    async with connected(server.target) as connection:
        assert (await connection.run(("die",), timeout_s=10)).exit_status == -1


async def test_one_connection_serves_all_questions(server: SshServer) -> None:
    server.answer("ask", "echo here")
    counts: list[int] = []
    async with connected(server.target, counts=counts) as connection:
        await connection.warm_up()
        answers = await asyncio.gather(*(connection.run(("ask",), timeout_s=20) for _ in range(30)))
        assert connection.generation == 1
    assert {answer.out for answer in answers} == {"here\n"}
    assert counts == [1, 0]


async def test_invalid_utf_8_keeps_the_connection(server: SshServer) -> None:
    server.answer("odd", r"printf '\377\376 caf\303\n'")
    server.answer("fine", "echo fine")
    async with connected(server.target) as connection:
        assert (await connection.run(("odd",), timeout_s=10)).out == "�� caf�\n"
        assert (await connection.run(("fine",), timeout_s=10)).out == "fine\n"
        assert connection.generation == 1


async def test_large_outputs_do_not_block_each_other(server: SshServer) -> None:
    server.answer("big", "head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero")
    async with connected(server.target) as connection:
        answer = await connection.run(("big",), timeout_s=60)
    assert (len(answer.stdout), len(answer.stderr)) == (5_000_000, 5_000_000)


async def test_command_reads_an_empty_input(server: SshServer) -> None:
    server.answer("read", "cat; echo done")
    async with connected(server.target) as connection:
        assert (await connection.run(("read",), timeout_s=10)).out == "done\n"


@pytest.mark.parametrize("kind", KINDS)
async def test_question_waits_for_a_free_channel(kind: str, tmp_path: Path) -> None:
    async with run_ssh_server(kind, tmp_path / "ssh", most_sessions=CHANNELS - 1) as server:
        server.answer("ask", "echo here; sleep 0.1")
        async with connected(server.target) as connection:
            answers = await asyncio.gather(
                *(connection.run(("ask",), timeout_s=20) for _ in range(CHANNELS))
            )
            assert connection.generation == 1
    assert [answer.exit_status for answer in answers] == [0] * CHANNELS


async def test_sent_command_without_an_answer_is_not_repeated(
    server: SshServer,
) -> None:
    server.answer("slow", "sleep 30")
    server.answer("ask", "echo here")
    async with connected(server.target) as connection:
        await connection.warm_up()
        with pytest.raises(OutcomeUnknown, match=r"`slow` within 1 s; it may still run there"):
            await connection.run(("slow",), timeout_s=1)
        assert "may still run" in (connection.health or "")
        assert "is slow" in (connection.health or "")
        # A slow answer is no dead connection: it is kept, without another login.
        assert (await connection.run(("ask",), timeout_s=10)).out == "here\n"
        assert connection.generation == 1
        assert connection.health is None
    assert server.asked() == ["slow", "ask"]


async def test_heavy_questions_take_turns_and_let_others_pass(server: SshServer) -> None:
    server.answer(
        "heavy", "mkdir busy || exit 9; until test -e go; do sleep 0.05; done; rmdir busy"
    )
    server.answer("ask", "echo here")
    async with connected(server.target) as connection:
        heavy = [
            asyncio.create_task(connection.run(("heavy",), timeout_s=20, heavy=True))
            for _ in range(3)
        ]
        await until((server.folder / "busy").exists)
        assert (await connection.run(("ask",), timeout_s=10)).out == "here\n"
        (server.folder / "go").touch()
        answers = await asyncio.gather(*heavy)
    assert [answer.exit_status for answer in answers] == [0, 0, 0]


@pytest.mark.parametrize("server", OPENSSH, indirect=True)
async def test_turn_passes_on_when_the_server_has_ended_an_abandoned_question(
    server: SshServer,
) -> None:
    """Unlike the double, OpenSSH closes a channel only when its command has ended."""
    server.answer("heavy", "until test -e go; do sleep 0.05; done")
    async with connected(server.target) as connection:
        with pytest.raises(Slow, match="did not answer `heavy` within"):
            await connection.run(("heavy",), timeout_s=0.5, heavy=True)
        with pytest.raises(Slow, match="waited 1 s for an earlier question"):
            await connection.run(("heavy",), timeout_s=0.5, heavy=True)
        assert connection.pace.slow is True
        (server.folder / "go").touch()
        await connection.run(("heavy",), timeout_s=20, heavy=True)
        assert connection.pace == Pace(heavy_patience=1, answers=1)
    # The one in between was never sent.
    assert server.asked() == ["heavy", "heavy"]


async def test_patience_grows_with_what_the_server_needs(server: SshServer) -> None:
    server.answer("slow", "sleep 0.7")
    server.answer("ask", "echo here")
    async with connected(server.target) as connection:
        await connection.warm_up()
        for _ in range(2):
            with suppress(Slow):
                await connection.run(("slow",), timeout_s=0.3)
        assert connection.pace.patience > 1
        assert connection.pace.heavy_patience == 1
        await connection.run(("slow",), timeout_s=0.3)
        for _ in range(3):
            await connection.run(("ask",), timeout_s=30)
        assert connection.pace.patience == 1
        assert connection.generation == 1


async def test_a_server_that_dies_leaves_the_outcome_unknown(server: SshServer) -> None:
    server.answer("slow", "echo begun; touch begun; sleep 30")
    async with connected(server.target) as connection:
        question = asyncio.create_task(connection.run(("slow",), timeout_s=20))
        await until((server.folder / "begun").exists)
        server.signal(signal.SIGKILL)
        with pytest.raises(OutcomeUnknown, match="connection was lost while `slow` ran"):
            await question
        with pytest.raises(Unreachable, match="refused the connection"):
            await connection.run(("ask",), timeout_s=5)
        assert "refused the connection" in (connection.health or "")


async def test_dead_connection_is_replaced(server: SshServer) -> None:
    server.answer("ask", "echo here")
    async with connected(server.target) as connection:
        await connection.warm_up()
        assert connection._shared is not None
        connection._shared.ssh.abort()
        assert (await connection.run(("ask",), timeout_s=10)).out == "here\n"
        assert connection.generation == 2


async def test_silent_connection_is_noticed(server: SshServer) -> None:
    server.answer("slow", "touch begun; sleep 30")
    async with connected(server.target, QUICK) as connection:
        question = asyncio.create_task(connection.run(("slow",), timeout_s=20))
        await until((server.folder / "begun").exists)
        server.signal(signal.SIGSTOP)
        with pytest.raises(OutcomeUnknown, match="connection was lost"):
            await question
        with pytest.raises(Unreachable, match="did not answer within"):
            await connection.run(("ask",), timeout_s=0.5)
        # Nobody waits for the same silence again.
        before = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer within"):
            await connection.run(("ask",), timeout_s=5)
        assert time.monotonic() - before < 2


async def test_changed_host_key_is_final_and_nothing_is_sent(server: SshServer) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known = asyncssh.import_known_hosts(f"[127.0.0.1]:{server.port} {other}")
    target = replace(server.target, known_hosts=known)
    async with connected(target) as connection:
        with pytest.raises(Unreachable, match="host key that is not among") as caught:
            await connection.run(("ask",), timeout_s=10)
    assert caught.value.final
    assert server.asked() == []


async def test_refused_key_is_final(server: SshServer) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    async with connected(replace(server.target, key=other)) as connection:
        with pytest.raises(Unreachable, match="refused the bot's SSH key for the user") as caught:
            await connection.run(("ask",), timeout_s=10)
        assert caught.value.final
        with pytest.raises(Unreachable, match="refused the bot's SSH key"):
            await connection.log_in()


async def test_failed_login_starts_a_cool_down() -> None:
    now = [0.0]
    target = target_without_server(port=1)
    connection = Connection("gone", target, monotonic=lambda: now[0])
    tries = 0
    connect = connection._connect

    async def counted(alive_s: float, alive_count: int) -> asyncssh.SSHClientConnection:
        nonlocal tries
        tries += 1
        return await connect(alive_s, alive_count)

    connection._connect = counted  # type: ignore[method-assign]
    for now[0] in (0.0, 0.5, 1.1, 2.0, 3.2):
        with pytest.raises(Unreachable, match="refused the connection"):
            await connection.warm_up()
    # At 0, after 1 s, and after 2 s more.
    assert tries == 3


@pytest.mark.parametrize(
    ("greeting", "sentence"),
    [
        (b"x" * 100_000, "does not speak SSH"),
        (b"Welcome!\r\n" * 3_000, "does not speak SSH"),
        (b"SSH-1.5-old\r\n", "does not speak SSH"),
        (b"", "hung up during the login"),
    ],
)
async def test_other_service_on_the_port_is_recognised(greeting: bytes, sentence: str) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        if greeting:
            with suppress(OSError):
                await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with listener:
        target = target_without_server(port=listener.sockets[0].getsockname()[1])
        async with connected(target) as connection:
            with pytest.raises(Unreachable, match=sentence):
                await connection.warm_up()
        async with asyncio.timeout(5):
            await done.wait()


async def test_unknown_host_name_is_explained() -> None:
    target = target_without_server("no-such-host.invalid")
    async with connected(target) as connection:
        with pytest.raises(Unreachable, match=r"no-such-host.invalid was not found in the DNS"):
            await connection.warm_up()


async def test_deploy_waits_a_limited_time_for_another_login() -> None:
    target = target_without_server()
    async with connected(target, SshLimits(connect_s=0.05)) as connection, connection._login:
        with pytest.raises(Unreachable, match="did not answer within"):
            await connection.log_in()
