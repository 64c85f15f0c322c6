"""CPU time to clean and mask 16 MB of build log, for apps with few and many known values."""

import json
import random
import string
import time
from importlib.resources import files

from bot.dokku.stream import OutputReader
from bot.redaction import Redactor

SIZE = 16_000_000
CHUNK = 65_536
VALUES = (0, 100, 300)


async def measure() -> dict[str, object]:
    """Return the CPU seconds for the whole log, by number of known values."""
    log = _log()
    return {f"{count}_known_values_cpu_s": _cost(log, count) for count in VALUES}


def _cost(log: bytes, count: int) -> float:
    rng = random.Random(count)
    letters = string.ascii_letters + string.digits
    values = ["".join(rng.choices(letters, k=rng.randint(8, 64))) for _ in range(count)]
    output = OutputReader(Redactor(values))
    began = time.process_time()
    for at in range(0, len(log), CHUNK):
        output.feed(log[at : at + CHUNK])
    output.finish()
    return round(time.process_time() - began, 2)


def _log() -> bytes:
    """Return recorded deploys, repeated up to SIZE."""
    text = ""
    for file in sorted(
        (files("bot.simulators.dokku") / "transcripts" / "0.38.27").iterdir(),
        key=lambda one: one.name,
    ):
        for step in json.loads(file.read_text())["steps"]:
            text += "".join(part for _, _, part in step.get("chunks", []))
    once = text.encode()
    return (once * (SIZE // len(once) + 1))[:SIZE]
