"""Serves a simulated Dokku as a separate process; prints how to reach it, as JSON."""

import asyncio
import json

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.dokku.sshd import USER, open_dokku


async def main() -> None:
    host = DokkuHost(speed=1000.0)
    host.create_app("bench", deployed_sha="5" * 40)
    async with open_dokku(host) as server:
        access = {
            "port": server.port,
            "user": USER,
            "key": server.client_key_pem,
            "known_hosts": server.known_hosts,
        }
        print(json.dumps(access), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
