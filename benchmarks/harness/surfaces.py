"""The same steps through Swift, C and Python: what the way in costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.comparison import check
from harness.measure import Settings, Timing, alternate, running
from harness.plan import Cell
from harness.sides import PYTHON, SWIFT, C, Cases, Start

RESTARTS = 3  # where a process's memory happens to lie moves its times by a percent
KINDS = (SWIFT, C, PYTHON)


def measure(cell: Cell, cases: Cases, settings: Settings) -> dict[str, Any]:
    """Return the time of a step by surface, and how much more it is than through Swift."""
    case, total = cases[cell.workload], Timing([[] for _ in KINDS])
    part = replace(settings, pairs=-(-settings.pairs // RESTARTS))
    for _ in range(RESTARTS):
        starts = [Start(kind, case, cell.mode, cell.threads) for kind in KINDS]
        with running(starts, settings) as sides:
            with settings.lock.shared():
                check(sides, cell.mode)
            total.extend(alternate(sides, part))
    return {
        "workload": cell.workload.name,
        "mode": cell.mode,
        "threads": cell.threads,
        "pairs": part.pairs * RESTARTS,
        "disturbed_turns": total.disturbed,
        "sides": {
            kind.name: {
                "milliseconds": 1e3 * total.median(index),
                "percent": [100 * (ratio - 1) for ratio in total.ratios(index)],
                "microseconds": [1e6 * seconds for seconds in total.differences(index)],
            }
            for index, kind in enumerate(KINDS)
        },
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    text = [f"surfaces, {result['workload']} {result['mode']}, {result['threads']} thread(s)"]
    for name, row in result["sides"].items():
        percent, more = row["percent"][1], row["microseconds"][1]
        text.append(f"  {name:8s} {row['milliseconds']:9.4f} ms  {percent:+.1f} %  {more:+.1f} µs")
    return text
