#!/usr/bin/env python3
"""Times DynaMoE beside PyTorch and NumPy in alternating turns; see docs/performance.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import comparison, machine
from harness.measure import Settings
from harness.sides import PYTHON, C, Cases, peers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("selection", nargs="*", help="workloads and sections; all when none is named")
    parser.add_argument("--peers", help="a Python with torch, to compare with PyTorch")
    parser.add_argument("--only", help="peers, separated by commas")
    parser.add_argument("--modes", default="infer,train,train_dx")
    parser.add_argument("--pairs", type=int, default=21, help="rounds of turns")
    parser.add_argument("--lock", help="a file whose lock is held during each round")
    parser.add_argument("--results", help="where the numbers are kept as JSON")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    settings = Settings(options.pairs, options.lock)
    others = peers(options.peers)
    if options.only:
        others = {name: others[name] for name in options.only.split(",") if name in others}
    cases = Cases()
    results = {}
    for cell in comparison.cells(options.selection or None):
        if cell.mode not in options.modes.split(","):
            continue
        try:
            # In Python a layer's backward always computes the gradient by the rows, in C only when it is asked for.
            ours = C if cell.workload.layer and cell.mode == "train" else PYTHON
            result = comparison.measure(cell, [ours, *others.values()], cases, settings)
        except RuntimeError as error:
            print(f"{cell.name}: {error}", flush=True)
            continue
        results[cell.name] = result
        print(*comparison.lines(result), sep="\n", flush=True)
        if options.results:
            Path(options.results).write_text(json.dumps(results, indent=1))
    cases.close()


main()
