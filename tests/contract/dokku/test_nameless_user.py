"""A login by a process whose UID has no name, and which has no home folder."""

import os
import subprocess
import sys

NAMELESS = 54321
READS_ALL = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
"""The checkout may stand in a folder that only root can open."""
PROGRAM = """
import asyncio, asyncssh
from bot.dokku.connection import Connection
from bot.errors import Unreachable
from bot.ssh_target import SshTarget

async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    line = "127.0.0.1 " + key.export_public_key().decode()
    target = SshTarget(
        host="127.0.0.1", port=1, user="dokku", key=key,
        known_hosts=asyncssh.import_known_hosts(line),
    )
    try:
        await Connection("production", target).warm_up()
    except Unreachable as error:
        print(error)

asyncio.run(main())
"""


def test_login_needs_no_name_and_no_home() -> None:
    become = (
        ["setpriv", f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups", *READS_ALL]
        if os.geteuid() == 0
        else ["unshare", "--user", f"--map-user={NAMELESS}"]
    )
    done = subprocess.run(
        [*become, sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nothing listens there" in done.stdout, done.stderr
