"""Ours beside the peers, workload by workload."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import agreement, machine
from harness.measure import Settings, Timing, alternate, locked
from harness.sides import Cases, Kind, Side
from harness.workloads import WORKLOADS, Workload
from sides.case import Case


@dataclass(frozen=True)
class Cell:
    """A workload in a mode on some threads."""

    workload: Workload
    mode: str
    threads: int = 2

    @property
    def name(self) -> str:
        """Return the key under which results are kept."""
        return f"{self.workload.name} {self.mode} {self.threads}"


def cells(names: Iterable[str] | None = None) -> list[Cell]:
    """Return what is compared; `names` chooses workloads."""
    chosen = [work for name, work in WORKLOADS.items() if names is None or name in names]
    result = []
    for workload in chosen:
        if workload.rows < 256:
            threads = (1,) if workload.rows == 1 else (1, 2)
            result += [Cell(workload, "infer", count) for count in threads]
        elif workload.task == "language_model":
            result.append(Cell(workload, "train"))
        else:
            result += [Cell(workload, mode) for mode in ("infer", "train")]
            if workload.layer:
                result.append(Cell(workload, "train_dx"))
    return result


def useful_gflop(cell: Cell, case: Case) -> float:
    """Return the useful 10⁹ operations of a step."""
    pairs = [cell.workload.rows * active for active in case.numbers("active")]
    return 1e-9 * cell.workload.operations(pairs, cell.mode)


def check(sides: Sequence[Side], mode: str) -> list[dict[str, float]]:
    """Compare all sides with the first, before anything is timed."""
    for side in sides:
        side.run(1)  # torch.compile compiles now and not in the first turn
    first = [agreement.output(side) for side in sides]
    facts = [
        agreement.compare(side.kind.name, output, first[0])
        for side, output in zip(sides, first, strict=True)
    ]
    if mode != "infer":
        for side in sides:
            side.run(2)
        second = [agreement.output(side) for side in sides]
        for index, side in enumerate(sides):
            pair = first[index], second[index]
            facts[index]["change_error"] = agreement.compare_training(
                side.kind.name, pair, (first[0], second[0])
            )
    return facts


def _row(side: Side, timing: Timing, index: int, gflop: float, peak: float) -> dict[str, Any]:
    seconds = timing.median(index)
    return {
        "milliseconds": 1e3 * seconds,
        "gflops": gflop / seconds,
        "peak_share": gflop / seconds / peak,
        "memory_megabytes": side.peak_megabytes(),
        "ratio": timing.ratios(index),
    }


def measure(cell: Cell, kinds: Sequence[Kind], cases: Cases, settings: Settings) -> dict[str, Any]:
    """Return the numbers of one cell by side; the first kind is ours."""
    case, rows, disturbed = cases[cell.workload], {}, 0
    gflop = useful_gflop(cell, case)
    together = cell.workload.together or len(kinds) == 1
    groups = [kinds] if together else [(kinds[0], peer) for peer in kinds[1:]]
    with locked(settings.lock):
        peak = max(machine.limits("fma")[f"fma_{cell.threads}"] for _ in range(3))
    for group in groups:
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(Side(kind, case, cell.mode, cell.threads)) for kind in group]
            with locked(settings.lock, fcntl.LOCK_SH):
                facts = check(sides, cell.mode)
            timing = alternate(sides, settings)
            disturbed += timing.disturbed
            for index, side in enumerate(sides):
                row = _row(side, timing, index, gflop, peak) | facts[index]
                # Ours runs once in every group; the first is kept.
                rows.setdefault(side.kind.name, row)
    return {
        "workload": cell.workload.name,
        "mode": cell.mode,
        "threads": cell.threads,
        "gflop": gflop,
        "fma_peak": peak,
        "active": case.numbers("active"),
        "active_training": case.numbers("active_training"),
        "pairs": settings.pairs,
        "disturbed_turns": disturbed,
        "sides": rows,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the numbers of one cell as text."""
    head = f"{result['workload']} {result['mode']}, {result['threads']} thread(s), {result['gflop']:.3g} GFLOP a step"
    text = [f"{head}, FMA peak {result['fma_peak']:.0f} GFLOP/s, {result['disturbed_turns']} disturbed turns"]
    for name, row in result["sides"].items():
        low, middle, high = row["ratio"]
        text.append(
            f"  {name:20s} {row['milliseconds']:10.3f} ms {row['gflops']:8.1f} GFLOP/s {100 * row['peak_share']:5.1f} % "
            f"{row['memory_megabytes']:7.0f} MB   x{middle:.2f} ({low:.2f} to {high:.2f})  error {row['relative_error']:.0e}, "
            f"{row['rows_routed_otherwise']} rows routed otherwise"
        )
    return text
