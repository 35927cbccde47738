"""Alternating timing on a machine that others may use too."""

from __future__ import annotations

import contextlib
import fcntl
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.sides import Side, Start

QUIET = 0.05  # load of others, in cores, above which a turn is repeated


class Lock:
    """The lock of a file, by which several who measure on one machine take turns; or nothing."""

    def __init__(self, path: str | None) -> None:
        self._file = open(path, "w") if path else None  # noqa: SIM115 (lives as long as the object)
        self._since: float | None = None

    def take(self) -> None:
        """Have the machine alone from now on."""
        if self._file and self._since is None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._since = time.monotonic()

    def release(self, after: float = 0) -> None:
        """Let others in when the lock was held for that many seconds."""
        if self._file and self._since is not None and time.monotonic() - self._since >= after:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._since = None

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Compute while nobody measures."""
        if self._file:
            self.release()
            fcntl.flock(self._file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if self._file:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Have the machine alone."""
        self.take()
        try:
            yield
        finally:
            self.release()


@dataclass(frozen=True)
class Settings:
    """How long is measured.

    `pairs`: rounds. `pause`: seconds before a turn, as OpenMP and BLAS threads spin for a while
    after their work. `turn`: seconds that a turn of short steps takes. `repeats`: how often a turn
    that others disturbed is repeated. `hold`: seconds after which others get the lock. `first` is
    called before sides take turns, when the machine is ours.
    """

    lock: Lock
    pairs: int = 21
    repeats: int = 4
    pause: float = 0.15
    turn: float = 0.4
    hold: float = 30
    first: Callable[[], None] | None = None


def busy_seconds() -> float:
    """Return the CPU time that everyone used so far, what the host stole included.

    It advances in steps of 10 ms.
    """
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    ticks = [int(word) for word in line.split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def turn(side: Side, steps: int, settings: Settings) -> tuple[list[float], bool]:
    """Return the seconds of the steps of a turn, and whether others left the machine alone.

    A turn in which others used more than `QUIET` of a core is repeated.
    """
    for attempt in range(settings.repeats + 1):
        time.sleep(settings.pause + 0.2 * attempt)
        busy, own = busy_seconds(), side.cpu_seconds() + time.process_time()
        started = time.perf_counter()
        seconds = side.run(steps)
        lasted = time.perf_counter() - started
        own = side.cpu_seconds() + time.process_time() - own
        others = busy_seconds() - busy - own
        if others <= max(QUIET * lasted, 0.03):  # 0.03: three ticks are the error of the clock
            return seconds, True
    return seconds, False


def steps_for(side: Side, settings: Settings) -> int:
    """Return how many steps make a turn, after warming up."""
    seconds = [*side.run(2), *side.run(1)]
    if min(seconds) < settings.turn / 4:
        count = int(settings.turn / 2 / min(seconds))
        seconds = side.run(max(3, min(1000, count)))
    typical = statistics.median(seconds)
    return max(1, min(4000, round(settings.turn / typical))) if typical < settings.turn else 1


def quartiles(values: Sequence[float]) -> list[float]:
    """Return the first quartile, the median and the third quartile."""
    return statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3


@dataclass
class Timing:
    """The seconds of a step: of each side one number a round, the median of its turn."""

    seconds: list[list[float]]
    disturbed: int = field(default=0)

    def median(self, side: int) -> float:
        """Return the median seconds of a side's step."""
        return statistics.median(self.seconds[side])

    def ratios(self, side: int) -> list[float]:
        """Return quartiles of this side's time over the first side's, round by round.

        A side that was dropped took part in the first rounds only, and these are compared.
        """
        pairs = zip(self.seconds[side], self.seconds[0], strict=False)
        return quartiles([other / first for other, first in pairs])

    def differences(self, side: int) -> list[float]:
        """Return quartiles of this side's seconds less the first side's, round by round."""
        pairs = zip(self.seconds[side], self.seconds[0], strict=False)
        return quartiles([other - first for other, first in pairs])

    def extend(self, other: Timing) -> None:
        """Add the rounds of another run of the same sides."""
        for mine, theirs in zip(self.seconds, other.seconds, strict=True):
            mine += theirs
        self.disturbed += other.disturbed


@contextlib.contextmanager
def running(starts: Sequence[Start], settings: Settings) -> Iterator[list[Side]]:
    """Start sides, and end them when the block does."""
    with contextlib.ExitStack() as stack:
        stack.callback(settings.lock.release)
        with settings.lock.shared():
            sides = [stack.enter_context(Side(start)) for start in starts]
        yield sides


class Alternation:
    """Sides that are timed in turns: a round has a turn of each."""

    def __init__(self, sides: Sequence[Side], settings: Settings) -> None:
        self.sides, self.settings = sides, settings
        self.timing = Timing([[] for _ in sides])
        settings.lock.take()
        if settings.first:
            settings.first()
        self.steps = [steps_for(side, settings) for side in sides]

    def round(self, indices: Sequence[int]) -> None:
        """Give a turn to each of these sides."""
        self.settings.lock.take()
        for index in indices:
            seconds, quiet = turn(self.sides[index], self.steps[index], self.settings)
            self.timing.seconds[index].append(statistics.median(seconds))
            self.timing.disturbed += not quiet
        self.settings.lock.release(after=self.settings.hold)


def alternate(sides: Sequence[Side], settings: Settings) -> Timing:
    """Time all sides in every round."""
    alternation = Alternation(sides, settings)
    for _ in range(settings.pairs):
        alternation.round(range(len(sides)))
    settings.lock.release()
    return alternation.timing
