"""No output costs the event loop much more than ordinary lines do, also inside a private key."""

import functools
import time

import pytest

from bot.dokku.channel import CHUNK
from bot.dokku.log_markers import LogReader
from bot.dokku.stream import OutputReader
from bot.redaction import Redactor

KEY = "-----BEGIN RSA PRIVATE KEY-----"
ORDINARY = "#12 3.456 added 120 packages, and audited 121 packages in 3s\n"
SIZE = 3 * CHUNK
ALLOWED = 30
"""Times an ordinary chunk. Patterns that backtrack took 300 times as long."""
UNITS = [
    *("\t" * 3999 + "!\n", " " * 3999 + "!\n", "|" * 3999 + "!\n", "> " * 2000 + "!\n"),
    *("://:", "://a:b", "https://user:", "@", "://:@", "password", "token= ", "token.a"),
    *("curl ", "curl -u ", "curl -u a:", "login ", "mysql -p ", "redis-cli -a", "--token-", "ENV "),
    *(KEY, KEY + "\n", "-----END RSA PRIVATE KEY", "-----BEGIN " + "A" * 40, "-", "A_KEY"),
    *("Proc-Type:" + "'\\ " * 1000 + "x\n", "'" * 3000 + "x\n", "A" * 63 + " ", "A" * 64 + "\n"),
    *("token.ts:41:", "credentials:edit", "rails token:a ", "%2f", "\\u002b", "\\", "\\\\/"),
    *("\x1b[31m", "\x1b]0;token", "\u200dtoken", "\r", "eyJ", "bearer a", "-----> x", " !     "),
]


def cost(text: str) -> float:
    """Processor time of the most expensive chunk."""
    data = text.encode()
    output, log = OutputReader(Redactor(["s3cr3tvalue1", "other/val+ue9"])), LogReader("web")
    worst = 0.0
    for at in range(0, len(data), CHUNK):
        begin = time.thread_time()
        log.feed(output.feed(data[at : at + CHUNK]))
        worst = max(worst, time.thread_time() - begin)
    return worst


@functools.cache
def allowed() -> float:
    """What a chunk may cost: the best of three tries with ordinary lines, times the factor."""
    ordinary = (ORDINARY * (SIZE // len(ORDINARY) + 1))[:SIZE]
    return ALLOWED * min(cost(ordinary) for _ in range(3))


@pytest.mark.slow
@pytest.mark.parametrize("inside_a_key", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_no_output_stalls_the_event_loop(unit: str, inside_a_key: bool) -> None:
    text = (unit * (SIZE // len(unit) + 1))[:SIZE]
    if inside_a_key:
        lines = text.split("\n")
        text = "\n".join(
            f"{KEY}\n{line}" if at % 45 == 0 else line for at, line in enumerate(lines)
        )
    # Something else may have cost the time of one try.
    assert any(cost(text) < allowed() for _ in range(3))
