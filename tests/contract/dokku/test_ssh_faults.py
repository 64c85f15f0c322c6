"""Faults of real SSH servers: few channels, few logins, noise, a command that refuses."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import asyncssh
import pytest

from bot.dokku.channel import cut
from bot.dokku.connection import Connection
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from bot.errors import CommandFailed, Unreachable
from bot.redaction import Redactor
from tests.contract.dokku.ssh_server import KINDS, OPENSSH, SshServer, run_ssh_server
from tests.support.ssh_targets import target_without_server
from tests.unit.dokku.recordings import questions

CHANNELS = SshLimits().channels
NEW = "0.38.27"
REPO = "https://git.example/acme/web.git"
SHA = "b5d9cb9694436598f983cd87ef0260d68cc9fc2f"
SYNC = f"git:sync --build web {REPO} {SHA}"
GREETING = b"Welcome to Ubuntu 22.04.3 LTS\n[ OK ] watched\n{ who may }\n\xff\xfe\n"


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
async def test_one_or_two_channels_suffice(kind: str, most: int, tmp_path: Path) -> None:
    async with run_ssh_server(kind, tmp_path / "ssh", most_sessions=most) as server:
        server.answer("ask", "echo here")
        server.answer(SYNC, "echo begun; exit 0")
        async with aclosing(Connection("production", server.target)) as connection:
            answers = await asyncio.gather(
                *(connection.run(("ask",), timeout_s=30) for _ in range(CHANNELS))
            )
            assert [answer.out for answer in answers] == ["here\n"] * CHANNELS
            lines, status = await _deployed(Driver(connection, redactor=Redactor()))
            assert (lines, status) == (["begun"], 0)


@pytest.mark.parametrize("kind", OPENSSH)
async def test_dropped_login_is_not_reported_as_a_refused_key(kind: str, tmp_path: Path) -> None:
    async with run_ssh_server(kind, tmp_path / "ssh", most_logins=1) as server:
        server.answer("ask", "echo here")
        async with aclosing(Connection("production", server.target)) as connection:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert (await reader.readline()).startswith(b"SSH-2.0-")
            with pytest.raises(Unreachable, match="too many logins at once") as dropped:
                await connection.log_in()
            assert not dropped.value.final
            question = asyncio.create_task(connection.run(("ask",), timeout_s=20))
            writer.close()
            await writer.wait_closed()
            try:
                answer = await question
            except Unreachable:
                # Its tries were over, or cooled down, before sshd had noticed our hang-up.
                await asyncio.wait_for(_until_in(connection), 20)
                answer = await connection.run(("ask",), timeout_s=20)
            assert answer.out == "here\n"
            assert server.asked() == ["ask"]


async def _until_in(connection: Connection, logins: int = 1) -> None:
    while connection.generation < logins:
        try:
            await connection.warm_up()
        except Unreachable:
            await asyncio.sleep(0.2)


async def test_cancelled_question_reports_the_silence(server: SshServer) -> None:
    """A poll is cancelled by its own time-out, before the question's."""
    limits = SshLimits(silence_s=0.3)
    server.answer("ask", "echo here")
    async with aclosing(Connection("production", server.target, limits=limits)) as connection:
        await connection.run(("ask",), timeout_s=10)
        server.signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connection.run(("ask",), timeout_s=10)
        assert connection.health is None  # cancelled too early to prove silence
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await connection.run(("ask",), timeout_s=0.5)
        assert "did not answer within 0.5 s" in (connection.health or "")
        server.signal(signal.SIGCONT)
        await asyncio.wait_for(_until_in(connection, logins=2), 20)
        assert (await connection.run(("ask",), timeout_s=10)).out == "here\n"
        assert connection.health is None


async def test_deploy_has_longer_keepalives_than_a_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten minutes for a deploy, which dies with its connection; 45 s for a question."""
    asked: list[tuple[float, int]] = []

    async def connect(*_: object, **options: float) -> asyncssh.SSHClientConnection:
        asked.append((options["keepalive_interval"], int(options["keepalive_count_max"])))
        raise asyncssh.HostKeyNotVerifiable("none")

    monkeypatch.setattr(asyncssh, "connect", connect)
    connection = Connection("production", target_without_server("dokku.example.com"))
    for log_in in (connection.warm_up, connection.log_in):
        with pytest.raises(Unreachable):
            await log_in()
    assert asked == [(15.0, 3), (30.0, 20)]


async def test_login_noise_changes_no_answer(server: SshServer) -> None:
    (server.folder / "greeting").write_bytes(GREETING)
    server.replay("version", out=f"dokku version {NEW}\n")
    (listed, *_) = [one for one in questions(NEW, "builds:list") if one.stdout.startswith('[{"id"')]
    server.replay("builds:list web --format json", out=listed.stdout)
    server.replay("apps:list", out="=====> My Apps\nweb\n")
    server.answer(SYNC, r"printf '\377 last words without an end'; exit 3")
    async with aclosing(Connection("production", server.target)) as connection:
        driver = Driver(connection, redactor=Redactor())
        assert (await driver.capabilities()).version == NEW
        assert len(await driver.builds("web")) == listed.stdout.count('"display_status"')
        assert await driver.apps() == ["web"]
        lines, status = await _deployed(driver)
    assert status == 3
    assert lines[-1] == "\ufffd last words without an end"


async def test_refusing_forced_command_is_an_answer(server: SshServer) -> None:
    server.answer("version", "echo 'not for you' >&2; exit 1")
    server.answer(SYNC, "echo 'not for you' >&2; exit 1")
    async with aclosing(Connection("production", server.target)) as connection:
        driver = Driver(connection, redactor=Redactor())
        with pytest.raises(CommandFailed, match="not for you"):
            await driver.capabilities()
        assert await _deployed(driver) == (["not for you"], 1)


async def test_cut_resets_the_connection(server: SshServer) -> None:
    """A plain hang-up is an end of file: what was sent before it is still delivered."""
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner = await asyncio.open_connection("127.0.0.1", server.port)
        back = asyncio.create_task(_pump(inner_reader, writer))
        try:
            await _pump(reader, inner)
            ended.set_result(None)
        except ConnectionError as err:
            ended.set_result(err)
        back.cancel()
        inner.transport.abort()
        writer.transport.abort()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        ssh = await asyncssh.connect(
            "127.0.0.1",
            port,
            username=server.target.user,
            client_keys=[server.target.key],
            known_hosts=None,
            config=None,
            agent_path=None,
        )
        cut(ssh)
        async with asyncio.timeout(10):
            assert isinstance(await ended, ConnectionResetError)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def _deployed(driver: Driver) -> tuple[Sequence[str], int | None]:
    stream = await driver.deploy("web", REPO, SHA)
    lines: list[str] = []
    async with asyncio.timeout(30):
        async for batch in stream.lines():
            lines += batch
    await stream.close()
    return lines, stream.exit_status
