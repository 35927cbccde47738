"""How the time of an active (row, expert) pair changes with rows, experts and K."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.agreement import output
from harness.measure import Settings, alternate, running
from harness.plan import Cell, Sweep
from harness.sides import C, Cases, Side, Start

BUSY = 128  # rows an expert, from which on products and not memory should decide


def _experts_in_use(side: Side) -> list[int]:
    return [int(np.any(mask, axis=0).sum()) for mask in output(side).masks]


def measure(sweep: Sweep, mode: str, cases: Cases, settings: Settings) -> dict[str, Any]:
    """Return the time of a step and of a pair at each size; all sizes take turns."""
    cells = [Cell(sweep.workload(value), mode) for value in sweep.values]
    made = [cases[cell.workload] for cell in cells]
    with running([Start(C, case, mode) for case in made], settings) as sides:
        with settings.lock.shared():
            used = [_experts_in_use(side) for side in sides]
        timing = alternate(sides, settings)
    points = []
    for index, (cell, case) in enumerate(zip(cells, made, strict=True)):
        active = case.numbers("active" if mode == "infer" else "active_training")
        pairs, seconds = cell.workload.rows * sum(active), timing.median(index)
        points.append(
            {
                "value": sweep.values[index],
                "rows": cell.workload.rows,
                "experts": sum(cell.workload.experts),
                "active": sum(active),
                "rows_an_expert": pairs / sum(cell.workload.experts),
                "milliseconds": 1e3 * seconds,
                "nanoseconds_a_pair": 1e9 * seconds / pairs,
                "gflops": 1e-9 * cell.workload.operations(active, mode) / seconds,
                "weight_megabytes": 1e-6 * cell.workload.weight_bytes(used[index]),
            }
        )
    return {
        "sweep": sweep.name,
        "title": sweep.title,
        "axis": sweep.axis,
        "mode": mode,
        "pairs": settings.pairs,
        "disturbed_turns": timing.disturbed,
        "points": points,
    }


def spread(result: dict[str, Any]) -> float | None:
    """Return by how much the slowest pair exceeds the fastest, where experts are busy."""
    times = [p["nanoseconds_a_pair"] for p in result["points"] if p["rows_an_expert"] >= BUSY]
    return max(times) / min(times) - 1 if times else None


def share_of_limit(point: dict[str, Any], limits: dict[str, Any], l3_megabytes: float) -> float:
    """Return the share of the roofline that an evaluation on two threads reaches.

    The roofline is the longer of: the operations at the peak of multiply-adds; reading the weights
    of the experts in use once, from memory when they do not fit into the third cache level.
    """
    gflop = point["gflops"] * 1e-3 * point["milliseconds"]
    level = "l3" if point["weight_megabytes"] < l3_megabytes else "dram"
    reading = 1e-3 * point["weight_megabytes"] / limits[f"{level}_read_2"]
    return 1e3 * max(gflop / limits["fma_2"], reading) / point["milliseconds"]


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    text = [f"growth, {result['axis']}, {result['mode']} ({result['title']})"]
    text += [
        f"  {p['value']:6d} {p['milliseconds']:10.3f} ms {p['nanoseconds_a_pair']:10.1f} ns a pair "
        f"{p['gflops']:7.1f} GFLOP/s, {p['rows_an_expert']:.0f} rows an expert"
        for p in result["points"]
    ]
    busy = spread(result)
    return text if busy is None else [*text, f"  spread {100 * busy:.0f} %"]
