"""Percentiles, and the CPU and memory of a process."""

import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that a `share` (0 to 1) of all values do not exceed, or NaN."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def in_ms(values: Sequence[float]) -> dict[str, float]:
    """Return count, p50, p95, p99 and maximum of seconds, in milliseconds."""
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "most_ms": 1.0}
    found = {name: round(1000 * percentile(values, share), 2) for name, share in shares.items()}
    return {"count": len(values), **found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The CPU time and memory of a process (Linux) at one moment."""

    at: float
    cpu_s: float
    rss_mb: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Read them from /proc."""
        proc = Path("/proc") / str(pid)
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        rss = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
        return cls(
            at=time.monotonic(),
            cpu_s=(int(fields[11]) + int(fields[12])) / TICKS,
            rss_mb=round(int(rss[1]) / 1024, 1) if rss else math.nan,
        )

    def core_percent_since(self, earlier: "Usage") -> float:
        """Return the share of one core used since `earlier`, in percent."""
        return round(100 * (self.cpu_s - earlier.cpu_s) / (self.at - earlier.at), 2)


def histogram_percentile(page: str, name: str, share: float, before: str = "") -> float:
    """Return the upper bound of the bucket with the percentile, from a /metrics page.

    `before` is an earlier page: only what was observed after it counts.
    """
    counts = _buckets(page, name)
    earlier = _buckets(before, name)
    fresh = {bound: count - earlier.get(bound, 0.0) for bound, count in counts.items()}
    total = max(fresh.values(), default=0.0)
    if not total:
        return math.nan
    return min(bound for bound, count in fresh.items() if count >= share * total)


def counted(page: str, name: str) -> float:
    """Return the value of a metric without labels from a /metrics page."""
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else math.nan


def _buckets(page: str, name: str) -> dict[float, float]:
    found = re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$', page, re.MULTILINE)
    return {float(bound): float(count) for bound, count in found}
