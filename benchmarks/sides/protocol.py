"""The line protocol between the driver and a side.

The side prints ``ready``, then answers: ``run N`` with the seconds of N steps, ``output`` with the
path of a file (see `Case.write_output`), ``quit`` by ending.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np

from case import Case

Output = Callable[[np.ndarray], tuple[np.ndarray, list[np.ndarray]]]


def serve(case: Case, step: Callable[[], object], output: Output) -> None:
    """Answer until the driver says quit. `output`: rows to outputs and masks, in evaluation."""
    print("ready", flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "run":
            seconds = []
            for _ in range(int(arguments[0])):
                started = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - started)
            print(*seconds, flush=True)
        elif command == "output":
            path = str(case.folder / f"output-{os.getpid()}.bin")
            case.write_output(path, *output(case.x()[: case.output_rows]))
            print(path, flush=True)
        else:
            break
