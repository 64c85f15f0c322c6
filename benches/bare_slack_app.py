"""A Bolt app that only acks, for comparison with the bot. Run as a process.

Tokens and address come from the environment, like the bot's.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient


async def main() -> None:
    client = AsyncWebClient(
        token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]
    )
    who = await client.auth_test()

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(
            enterprise_id=None,
            team_id=who["team_id"],
            bot_user_id=who["user_id"],
            bot_id=who["bot_id"],
            bot_token=client.token,
        )

    app = AsyncApp(client=client, authorize=authorize)

    @app.command("/deploy")
    async def only_ack(ack: AsyncAck) -> None:
        await ack()

    handler = AsyncSocketModeHandler(app, os.environ["SLACK_APP_TOKEN"])
    connect: Callable[[], Awaitable[None]] = handler.connect_async
    await connect()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
