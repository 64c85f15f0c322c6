"""Faults of the server and its network: refusal, silence, noise, keys, channels."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncssh
import pytest

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.sshd import DokkuServer, open_dokku

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

Connect = Callable[..., Awaitable[asyncssh.SSHClientConnection]]


@pytest.fixture
def connect(server: DokkuServer) -> Connect:
    async def connect(**options: object) -> asyncssh.SSHClientConnection:
        given: dict[str, object] = {
            "username": "dokku",
            "client_keys": [asyncssh.import_private_key(server.client_key_pem)],
            "known_hosts": asyncssh.import_known_hosts(server.known_hosts),
            "config": None,
            "agent_path": None,
            "connect_timeout": 10,
        }
        return await asyncssh.connect("127.0.0.1", server.port, **(given | options))

    return connect


async def test_refused_connections(connect: Connect, server: DokkuServer) -> None:
    await server.refuse_connections_for_test()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await server.accept_connections_for_test()
    async with await connect() as connection:
        assert (await connection.run("version")).exit_status == 0


async def test_connections_that_are_never_answered(connect: Connect, server: DokkuServer) -> None:
    server.swallow_connections_for_test()
    with pytest.raises(TimeoutError):
        await connect(connect_timeout=0.2)
    await server.accept_connections_for_test()
    async with await connect() as connection:
        assert (await connection.run("version")).exit_status == 0


async def test_refused_key(connect: Connect, server: DokkuServer) -> None:
    server.refuse_key_for_test()
    with pytest.raises(asyncssh.PermissionDenied):
        await connect()
    server.refuse_key_for_test(refuse=False)
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(username="root")
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(client_keys=[asyncssh.generate_private_key("ssh-ed25519")])


async def test_wrong_host_key(connect: Connect) -> None:
    async with open_dokku(DokkuHost(speed=200)) as other:
        line = other.known_hosts.split(" ", 1)[1]
    wrong = asyncssh.import_known_hosts(f"* {line}")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await connect(known_hosts=wrong)


async def test_noise_before_and_banner_in_the_login(connect: Connect, server: DokkuServer) -> None:
    server.noise_for_test(b"Welcome to this server\r\nAll is watched\r\n")
    server.greet_for_test(banner="Only for people who may\n")
    async with await connect() as connection:
        assert (await connection.run("version")).stdout == "dokku version 0.38.27\n"


async def test_garbage_instead_of_ssh(connect: Connect, server: DokkuServer) -> None:
    server.noise_for_test(b"SSH-9.9-nonsense\r\n")
    with pytest.raises(asyncssh.Error):
        await connect()


async def test_at_most_ten_channels(
    client: "Client", host: DokkuHost, server: DokkuServer, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    await client.start(f"git:sync --build {app} https://git.example/acme/{app}.git {'b' * 40}")
    await host.until(lambda: host.holding(app))
    build_id = (await client.builds(app))[0]["id"]
    followers = [await client.start(f"builds:output {app} {build_id}") for _ in range(9)]
    with pytest.raises(asyncssh.ChannelOpenError) as refused:
        await client.start("version")
    assert refused.value.code == asyncssh.OPEN_CONNECT_FAILED
    assert not client.connection.is_closed()
    followers[0].close()
    await followers[0].wait_closed()
    assert (await client.run("version")).exit == 0
    assert server.max_sessions == 10
    host.release_for_test(app)


async def test_slow_answers(client: "Client", host: DokkuHost) -> None:
    host.delay_answers_for_test(0.2)
    begun = asyncio.get_running_loop().time()
    assert (await client.run("version")).exit == 0
    assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_commands_on_stdin_are_not_read(client: "Client") -> None:
    done = await client.connection.run("version", input="apps:list\n")
    assert done.stdout == "dokku version 0.38.27\n"


async def test_login_without_a_command_is_a_complaint(client: "Client", host: DokkuHost) -> None:
    done = await client.connection.run(None)
    assert done.exit_status == 1
    assert len(host.complaints) == 1
    host.complaints.clear()


async def test_pty_gets_carriage_returns_and_one_stream(client: "Client") -> None:
    done = await client.connection.run("apps:exists ghost", term_type="xterm", encoding=None)
    assert (done.stdout, done.stderr) == (b" !     App ghost does not exist\r\n", b"")


async def test_simulator_error_aborts_the_channel_and_is_a_complaint(
    client: "Client", host: DokkuHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "apps", None)
    done = await client.run("apps:exists web")
    assert (done.exit, done.signal) == (None, None)
    await host.until(lambda: host.complaints)
    assert "AttributeError" in host.complaints[0]
    host.complaints.clear()


async def test_open_connections_are_counted(
    server: DokkuServer, host: DokkuHost, connect: Connect
) -> None:
    assert server.connections == 0
    first, second = await connect(), await connect()
    assert server.connections == 2
    first.close()
    await host.until(lambda: server.connections == 1)
    second.close()
    await host.until(lambda: server.connections == 0)


async def test_until_times_out(host: DokkuHost) -> None:
    with pytest.raises(TimeoutError):
        await host.until(lambda: False, timeout_s=0.05)


async def test_clients_do_not_notice_a_server_that_is_switched_off(
    client: "Client", host: DokkuHost, server: DokkuServer, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    deploy = await client.start(f"git:sync --build {app} https://git.example/{app}.git {'b' * 40}")
    await host.until(lambda: host.holding(app))
    await server.forget_server_for_test()
    host.release_for_test(app)
    await host.until(lambda: [one for one in host.journal if one.event == "cut_off"])
    assert not client.connection.is_closed()
    assert deploy.exit_status is None
    assert server.connections == 1


async def test_server_does_not_notice_clients_that_were_reset(
    client: "Client", host: DokkuHost, server: DokkuServer, app: str
) -> None:
    host.hold_for_test(app, at="build step 2/")
    await client.start(f"git:sync --build {app} https://git.example/{app}.git {'b' * 40}")
    await host.until(lambda: host.holding(app))
    server.forget_clients_for_test()
    await client.connection.wait_closed()
    host.release_for_test(app)
    await host.until(lambda: {one.sha for one in host.live(app).values()} == {"b" * 40})


@pytest.mark.parametrize("farewell", [b"", b"Exceeded MaxStartups\r\n"])
async def test_turned_away_connections_get_a_farewell(
    connect: Connect, server: DokkuServer, farewell: bytes
) -> None:
    server.turn_away_for_test(farewell)
    with pytest.raises(asyncssh.ConnectionLost):
        await connect()
    server.turn_away_for_test(None)
    async with await connect() as connection:
        assert (await connection.run("version")).exit_status == 0


async def test_slow_logins(connect: Connect, server: DokkuServer) -> None:
    server.slow_logins_for_test(0.2)
    begun = asyncio.get_running_loop().time()
    async with await connect() as connection:
        assert asyncio.get_running_loop().time() - begun >= 0.2
        assert (await connection.run("version")).exit_status == 0


async def test_refused_command(client: "Client", server: DokkuServer) -> None:
    server.refuse_command_for_test("version")
    assert (await client.run("apps:exists ghost")).exit == 20
    with pytest.raises(asyncssh.ChannelOpenError) as refused:
        await client.start("version")
    assert refused.value.code == asyncssh.OPEN_REQUEST_SESSION_FAILED
    assert not client.connection.is_closed()


async def test_lost_command(client: "Client", server: DokkuServer) -> None:
    server.lose_command_for_test("version")
    await client.start("version")
    assert server.lost_lines == ["version"]
    assert (await client.run("apps:exists ghost")).exit == 20


async def test_changed_host_key(connect: Connect, server: DokkuServer) -> None:
    server.change_host_key_for_test(asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await connect()
    server.change_host_key_for_test(server.host_key)
    (await connect()).close()


async def test_unexpected_greeting_and_terminal(client: "Client", server: DokkuServer) -> None:
    server.greet_for_test(motd=b"Welcome\n", forces_pty=True)
    done = await client.run("apps:exists ghost")
    assert (done.out, done.err) == ("Welcome\r\n !     App ghost does not exist\r\n", "")


async def test_only_one_of_two_connections_is_cut(connect: Connect, server: DokkuServer) -> None:
    first, second, third = await connect(), await connect(), await connect()
    server.drop_oldest_for_test()
    await first.wait_closed()
    server.drop_newest_for_test()
    await third.wait_closed()
    assert (await second.run("version")).exit_status == 0
    second.close()
