"""A strict simulated Slack workspace with a web page: `deploybot demo` and the tests run it.

`simulator.open_slack` starts one. It knows Slack and nothing of the bot: only the demo, the
benches and tests import it, and it imports nothing of `bot` outside this package.

Where to change what:

- the answer to a Web API method: `methods/`, in the module of its prefix
- tokens, scopes, rate limits and errors common to all methods: `web_api`
- which messages and modals Slack refuses: `validation`, and the Block Kit tables in `blockkit`
- what users can do (click, type, submit): `user_actions`, `user_input`
- what the app receives: `events`, `payloads`; how: `delivery`, `socket_mode`, `http_mode`
- trigger ids and response URLs: `interaction_tokens`, `responses`
- controls for tests: `controls`, methods that end in `_for_test`
- the web page: `page_server`, `page_state` and the files in `page/`
"""
