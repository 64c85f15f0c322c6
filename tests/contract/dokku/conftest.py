from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.dokku.ssh_server import KINDS, SshServer, run_ssh_server


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SshServer]:
    """An SSH server with a forced command: OpenSSH and the double, one after the other."""
    async with run_ssh_server(request.param, tmp_path / "ssh") as server:
        yield server
