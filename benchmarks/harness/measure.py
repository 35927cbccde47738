"""Alternating timing on a machine that others may use too."""

from __future__ import annotations

import contextlib
import fcntl
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.sides import Side

QUIET = 0.05  # load of others, in cores, above which a turn is repeated
PAUSE = 0.15  # seconds between turns: OpenMP and BLAS threads spin for a while after their work
TURN = 0.4  # seconds a turn of short steps takes


@dataclass
class Settings:
    """How long is measured, and the file whose lock is held during a round, if any."""

    pairs: int = 21
    lock: str | None = None
    repeats: int = 4


@contextlib.contextmanager
def locked(path: str | None, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock of a file, so that several who measure on one machine take turns; others work under `fcntl.LOCK_SH`."""
    if path is None:
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, kind)
        yield


def _busy_seconds() -> float:
    """Return the CPU time that everyone used so far, time stolen by the host included, in steps of 10 ms."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def turn(side: Side, steps: int, repeats: int) -> tuple[list[float], bool]:
    """Return the seconds of the steps of a turn, and whether others left the machine alone.

    A turn in which others used more than `QUIET` of a core is repeated.
    """
    for attempt in range(repeats + 1):
        time.sleep(PAUSE)
        busy, own, started = _busy_seconds(), side.cpu_seconds() + time.process_time(), time.perf_counter()
        seconds = side.run(steps)
        lasted = time.perf_counter() - started
        others = _busy_seconds() - busy - (side.cpu_seconds() + time.process_time() - own)
        if others <= max(QUIET * lasted, 0.03):  # 0.03: three ticks are the error of the clock
            return seconds, True
        time.sleep(0.2 * attempt)
    return seconds, False


def steps_for(side: Side) -> int:
    """Return how many steps make a turn, after warming up."""
    seconds = [*side.run(2), *side.run(1)]
    if min(seconds) < TURN / 4:
        seconds = side.run(max(3, min(1000, int(TURN / 2 / min(seconds)))))
    typical = statistics.median(seconds)
    return max(1, min(4000, round(TURN / typical))) if typical < TURN else 1


@dataclass
class Timing:
    """One number a round for each side, in the order of the sides."""

    seconds: list[list[float]]
    disturbed: int

    def median(self, side: int) -> float:
        """Return the median seconds of a side's step."""
        return statistics.median(self.seconds[side])

    def ratios(self, side: int) -> tuple[float, float, float]:
        """Return quartiles of (this side's time / the first side's time), round by round."""
        pairs = [other / ours for other, ours in zip(self.seconds[side], self.seconds[0], strict=True)]
        low, middle, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
        return low, middle, high


def alternate(sides: Sequence[Side], settings: Settings) -> Timing:
    """Time the sides in turns: one round has a turn of each."""
    steps = []
    for side in sides:
        with locked(settings.lock):
            steps.append(steps_for(side))
    timing = Timing([[] for _ in sides], 0)
    for _ in range(settings.pairs):
        with locked(settings.lock):
            for index, side in enumerate(sides):
                seconds, quiet = turn(side, steps[index], settings.repeats)
                timing.seconds[index].append(statistics.median(seconds))
                timing.disturbed += not quiet
    return timing
