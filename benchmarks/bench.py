#!/usr/bin/env python3
"""Times DynaMoE beside PyTorch and NumPy in alternating turns; see docs/performance.md."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import comparison, growth, machine, neighbour, programs, routers, surfaces, threads
from harness.measure import Lock, Settings
from harness.plan import FULL, SMALL, Plan
from harness.results import Results
from harness.sides import BENCHMARKS, BUILT, SURFACES, Cases, Kind, peers

SECTIONS = ("surfaces", "threads", "routers", "growth", "neighbour")


def arguments(plan_names: list[str]) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = ", ".join([*plan_names, *SECTIONS])
    parser.add_argument("selection", nargs="*", help=f"all when none is named: {known}")
    parser.add_argument("--peers", help="a Python with torch, to compare with PyTorch")
    parser.add_argument("--only", help="names of peers, separated by commas")
    parser.add_argument("--through", choices=SURFACES, help="the interface beside the peers")
    parser.add_argument("--modes", help="of infer, train, train_dx, passes; separated by commas")
    parser.add_argument("--pairs", type=int, default=21, help="rounds of turns, at least 1")
    parser.add_argument("--lock", help="a file whose lock is held while something is timed")
    parser.add_argument("--results", type=Path, help="where the numbers are kept as JSON")
    parser.add_argument("--write", action="store_true", help="put tables and figures into the docs")
    parser.add_argument("--small", action="store_true", help="networks that take seconds")
    return parser.parse_args()


class Bench:
    """A run: measures what is chosen, prints and keeps it."""

    def __init__(self, options: argparse.Namespace, plan: Plan, results: Results) -> None:
        self.plan, self.results = plan, results
        short = {"repeats": 1, "pause": 0.01, "turn": 0.02} if options.small else {}
        first = None if options.small else self.measure_limits
        pairs = max(1, options.pairs)
        self.settings = Settings(Lock(options.lock), pairs=pairs, first=first, **short)
        self.cases = Cases(self.settings.lock.shared)
        self.modes = options.modes.split(",") if options.modes else None
        self.ours = SURFACES[options.through] if options.through else None
        others = peers(options.peers)
        chosen = options.only.split(",") if options.only else list(others)
        self.peers: dict[str, Kind] = {name: others[name] for name in chosen if name in others}
        before = results.content.get("machine", {})
        facts = machine.describe(options.peers)
        same = before.get("processor") == facts["processor"]
        self.limits: dict[str, Any] = before["limits"] if same else {}
        results.content["machine"] = facts | {"limits": self.limits}
        with self.settings.lock.alone():
            self.measure_limits(quick=options.small)
        self.failed = False

    def keep(self, section: str, name: str, measure, lines) -> None:
        """Measure, print and keep; a failure is said and the rest goes on."""
        try:
            result = measure()
        except RuntimeError as error:
            self.failed = True
            print(f"{section} {name}: {error}", flush=True)
            return
        finally:
            self.settings.lock.release()
        self.results.put(section, name, result)
        print(*lines(result), sep="\n", flush=True)

    def measure_limits(self, quick: bool = True) -> None:
        """Measure the limits of the machine again and keep the largest."""
        self.limits.update(machine.limits(self.limits, quick))

    def compare(self, names: list[str]) -> None:
        """Ours beside the peers."""
        for cell in self.plan.cells(names):
            if self.modes and cell.mode not in self.modes:
                continue
            kinds = [self.ours or comparison.ours(cell), *self.peers.values()]
            self.keep(
                "comparison",
                cell.name,
                lambda cell=cell, kinds=kinds: comparison.measure(
                    cell, kinds, self.cases, self.settings
                ),
                lambda result: comparison.lines(result, self.limits[f"fma_{result['threads']}"]),
            )

    def sections(self, names: list[str]) -> None:
        """Everything but the peers."""
        for name, module, cells in (
            ("surfaces", surfaces, self.plan.surfaces),
            ("threads", threads, self.plan.threads),
        ):
            for cell in cells if name in names else ():
                measure = module.measure
                self.keep(
                    name,
                    cell.name,
                    lambda cell=cell, m=measure: m(cell, self.cases, self.settings),
                    module.lines,
                )
        for workload in self.plan.routers if "routers" in names else ():
            self.keep(
                "routers",
                workload.name,
                lambda work=workload: routers.measure(work, self.settings),
                routers.lines,
            )
        for sweep in self.plan.growth if "growth" in names else ():
            for mode in sweep.modes:
                self.keep(
                    "growth",
                    f"{sweep.name} {mode}",
                    lambda s=sweep, m=mode: growth.measure(s, m, self.cases, self.settings),
                    growth.lines,
                )
            for value in sweep.values:
                self.cases.drop(sweep.workload(value))
        if "neighbour" in names:
            cell = self.plan.neighbour
            kinds = [self.ours or comparison.ours(cell), *self.peers.values()]
            self.keep(
                "neighbour",
                cell.name,
                lambda: neighbour.measure(cell, kinds, self.cases, self.settings),
                neighbour.lines,
            )


def main() -> int:
    """Run what the command line asks for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # cases are removed, sides ended
    small = "--small" in sys.argv
    plan = SMALL if small else FULL
    workloads = [workload.name for workload in plan.workloads]
    options = arguments(workloads)
    known = {*workloads, *SECTIONS}
    unknown = [name for name in options.selection if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return 2
    names = options.selection or [*workloads, *SECTIONS]
    folder = BUILT if small else BENCHMARKS / "results"
    path = options.results or folder / f"{machine.core_name()}.json"
    programs.build()
    bench = Bench(options, plan, Results(path))
    try:
        bench.compare(names)
        bench.sections(names)
    finally:
        bench.cases.close()
    print(f"Kept in {path}")
    if options.write:
        from harness.report import write  # the figures need matplotlib, measuring does not

        print("Written:", *write(bench.results.content))
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
