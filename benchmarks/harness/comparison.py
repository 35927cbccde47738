"""Ours beside the peers, workload by workload."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness import agreement
from harness.goals import DEFAULT
from harness.measure import Alternation, Settings, Timing, running
from harness.plan import Cell
from harness.sides import PYTHON, C, Cases, Kind, Side, Start

SCREENING = 3  # rounds after which a peer that is far from the best of them is dropped
FAR = 1.3


def ours(cell: Cell) -> Kind:
    """Return the surface that is compared with the peers: Python where it computes no more.

    In Python a layer's backward always computes the gradient by the rows, in C when it is asked
    for.
    """
    return C if cell.workload.layer and cell.mode in ("train", "passes") else PYTHON


def check(sides: Sequence[Side], mode: str) -> tuple[list[dict[str, float]], list[int]]:
    """Compare all sides with the first, before anything is timed.

    Returns
    -------
    list of dict
        How far each side is from the first.
    list of int
        The experts of each layer that the rows use.
    """
    first = [agreement.output(side) for side in sides]
    facts = [
        agreement.compare(side.kind.name, output, first[0])
        for side, output in zip(sides, first, strict=True)
    ]
    for side in sides:
        side.run(3)  # torch.compile compiles now and not in the first turn
    for index, side in enumerate(sides if mode != "infer" else ()):
        pair = first[index], agreement.output(side)
        if index == 0:
            expected = pair
        facts[index]["change_error"] = agreement.compare_training(side.kind.name, pair, expected)
    return facts, [int(np.any(mask, axis=0).sum()) for mask in first[0].masks]


def race(sides: Sequence[Side], settings: Settings, best: float) -> Timing:
    """Time the sides in turns, in all rounds those that may be the best peer.

    `best`: the smallest ratio of a peer that was timed before.
    """
    alternation = Alternation(sides, settings)
    chosen = list(range(len(sides)))
    for number in range(settings.pairs):
        if number == SCREENING:
            ratios = [alternation.timing.ratios(index)[1] for index in chosen]
            limit = FAR * min([best, *ratios[1:]])
            chosen = [
                index
                for index in chosen
                if index == 0 or sides[index].kind.name == DEFAULT or ratios[index] <= limit
            ]
            if chosen == [0] and len(sides) > 1:
                break
        alternation.round(chosen)
    settings.lock.release()
    return alternation.timing


def _rows(sides: Sequence[Side], timing: Timing, gflop: float) -> dict[str, dict[str, Any]]:
    return {
        side.kind.name: {
            "milliseconds": 1e3 * timing.median(index),
            "gflops": gflop / timing.median(index),
            "memory_megabytes": side.peak_megabytes(),
            "ratio": timing.ratios(index),
            "rounds": len(timing.seconds[index]),
        }
        for index, side in enumerate(sides)
    }


def measure(cell: Cell, kinds: Sequence[Kind], cases: Cases, settings: Settings) -> dict[str, Any]:
    """Return the numbers of one cell by side; the first kind is ours.

    Sides that do not fit into memory together are compared with ours one by one; its time is then
    the median over these groups.
    """
    case, rows, disturbed, best = cases[cell.workload], {}, 0, float("inf")
    active = case.numbers("active" if cell.mode == "infer" else "active_training")
    gflop = 1e-9 * cell.workload.operations(active, cell.mode)
    together = cell.workload.together or len(kinds) == 1
    kinds = [k for k in kinds if k.most_rows is None or cell.workload.rows <= k.most_rows]
    groups = [kinds] if together else [(kinds[0], peer) for peer in kinds[1:]]
    own_times = []
    for group in groups:
        starts = [Start(kind, case, cell.mode, cell.threads) for kind in group]
        with running(starts, settings) as sides:
            with settings.lock.shared():
                facts, used = check(sides, cell.mode)
            timing = race(sides, settings, best)
            disturbed += timing.disturbed
            for (name, row), fact in zip(_rows(sides, timing, gflop).items(), facts, strict=True):
                rows.setdefault(name, row | fact)
                if name != kinds[0].name:
                    best = min(best, row["ratio"][1])
            own_times.append(timing.median(0))
    own = statistics.median(own_times)
    rows[kinds[0].name] |= {"milliseconds": 1e3 * own, "gflops": gflop / own}
    return {
        "workload": cell.workload.name,
        "mode": cell.mode,
        "threads": cell.threads,
        "ours": kinds[0].name,
        "gflop": gflop,
        "weight_megabytes": 1e-6 * cell.workload.weight_bytes(used),
        "parameter_megabytes": 1e-6 * cell.workload.parameter_bytes(),
        "active": active,
        "pairs": settings.pairs,
        "disturbed_turns": disturbed,
        "sides": rows,
    }


def lines(result: dict[str, Any], peak: float) -> list[str]:
    """Return the numbers of one cell as text; `peak` in GFLOP/s."""
    name = f"{result['workload']} {result['mode']}, {result['threads']} thread(s)"
    disturbed = result["disturbed_turns"]
    text = [f"{name}, {result['gflop']:.3g} GFLOP a step, {disturbed} disturbed turns"]
    for side, row in result["sides"].items():
        low, middle, high = row["ratio"]
        numbers = (
            f"{row['milliseconds']:10.3f} ms {row['gflops']:8.1f} GFLOP/s "
            f"{100 * row['gflops'] / peak:5.1f} % {row['memory_megabytes']:7.0f} MB"
        )
        ratio = f"x{middle:.2f} ({low:.2f} to {high:.2f})"
        error = f"error {row['relative_error']:.0e}, {row['rows_routed_otherwise']} rows otherwise"
        text.append(f"  {side:20s} {numbers}   {ratio}, {row['rounds']} rounds, {error}")
    return text
