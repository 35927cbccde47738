"""A program that never rests on one of the two cores, and what idle threads burn."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from harness.measure import Settings, quartiles, running, turn
from harness.plan import Cell
from harness.sides import Cases, Kind, Start

IDLE_AFTER = 0.1  # seconds from the end of the last call
BUSY_STEPS = 3


class Neighbour:
    """A busy loop pinned to the last core that this process may use, at rest until wanted."""

    def __init__(self) -> None:
        core = max(os.sched_getaffinity(0))
        code = (
            f"import os\nos.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
        )
        self._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self._process.send_signal(signal.SIGSTOP)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Run beside what is inside the block."""
        self._process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def _measure_side(
    kind: Kind, cell: Cell, cases: Cases, settings: Settings, neighbour: Neighbour
) -> dict[str, Any]:
    quiet, busy, idle = [], [], []
    start = Start(kind, cases[cell.workload], cell.mode, cell.threads)
    with running([start], settings) as (side,):
        with settings.lock.shared():
            side.run(3)
        for _ in range(settings.pairs):
            settings.lock.take()
            quiet.append(statistics.median(turn(side, BUSY_STEPS, settings)[0]))
            time.sleep(IDLE_AFTER)
            before = side.cpu_seconds()
            time.sleep(1)
            idle.append(side.cpu_seconds() - before)
            with neighbour.busy():
                time.sleep(settings.pause)
                busy.append(statistics.median(side.run(BUSY_STEPS)))
            settings.lock.release(after=settings.hold)
    return {
        "quiet_milliseconds": 1e3 * statistics.median(quiet),
        "busy_milliseconds": 1e3 * statistics.median(busy),
        "largest_busy_milliseconds": 1e3 * max(busy),
        "slowdown": quartiles([b / q for b, q in zip(busy, quiet, strict=True)]),
        "idle_percent": 100 * statistics.median(idle),
    }


def measure(cell: Cell, kinds: list[Kind], cases: Cases, settings: Settings) -> dict[str, Any]:
    """Return by side how much a neighbour slows a step, and the percent of a core when idle."""
    neighbour = Neighbour()
    try:
        sides = {kind.name: _measure_side(kind, cell, cases, settings, neighbour) for kind in kinds}
    finally:
        neighbour.close()
    return {
        "workload": cell.workload.name,
        "mode": cell.mode,
        "threads": cell.threads,
        "pairs": settings.pairs,
        "sides": sides,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    text = [f"neighbour, {result['workload']} {result['mode']}, {result['threads']} threads"]
    for name, row in result["sides"].items():
        text.append(
            f"  {name:20s} {row['quiet_milliseconds']:8.2f} ms alone, "
            f"{row['busy_milliseconds']:8.2f} ms beside a busy loop, x{row['slowdown'][1]:.2f}, "
            f"idle {row['idle_percent']:.1f} % of a core"
        )
    return text
