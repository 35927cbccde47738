"""One thread against two."""

from __future__ import annotations

from typing import Any

from harness.comparison import ours
from harness.measure import Settings, alternate, running
from harness.plan import Cell
from harness.sides import Cases, Start


def measure(cell: Cell, cases: Cases, settings: Settings) -> dict[str, Any]:
    """Return the time of a step on one thread and on two."""
    case, kind = cases[cell.workload], ours(cell)
    starts = [Start(kind, case, cell.mode, threads) for threads in (2, 1)]
    with running(starts, settings) as sides:
        timing = alternate(sides, settings)
    return {
        "workload": cell.workload.name,
        "mode": cell.mode,
        "pairs": settings.pairs,
        "disturbed_turns": timing.disturbed,
        "milliseconds": {"1": 1e3 * timing.median(1), "2": 1e3 * timing.median(0)},
        "speedup": timing.ratios(1),
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    one, two = result["milliseconds"]["1"], result["milliseconds"]["2"]
    name = f"{result['workload']} {result['mode']}"
    return [f"threads, {name}: {one:.2f} ms on 1, {two:.2f} ms on 2, x{result['speedup'][1]:.2f}"]
