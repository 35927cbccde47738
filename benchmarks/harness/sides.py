"""Sides of the benchmark: child processes that speak the protocol of sides/protocol.py."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.workloads import Workload
from sides.case import Case

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
LIBRARY = ROOT / ".build-library" / "lib"
BUILT = ROOT / "build" / "bench"


@dataclass(frozen=True)
class Kind:
    """How a side is started: `command`, the folder of the case, the mode, `rest`.

    `most_rows`: of larger batches it is left out.
    """

    name: str
    command: tuple[str, ...]
    rest: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict, hash=False)
    most_rows: int | None = None


def _script(python: str, name: str) -> tuple[str, ...]:
    return python, str(BENCHMARKS / "sides" / name)


PYTHON = Kind("python", _script(sys.executable, "ours.py"))
C = Kind("c", (str(BUILT / "side"),))
SWIFT = Kind("swift", (str(BUILT / "swift" / "release" / "Side"),))
SURFACES = {kind.name: kind for kind in (PYTHON, C, SWIFT)}


def peers(python: str | None) -> dict[str, Kind]:
    """Return what we compare with: NumPy, and PyTorch when `python` has it."""
    has_torch = (
        python is not None
        and not subprocess.run([python, "-c", "import torch"], capture_output=True).returncode
    )
    python = python or sys.executable
    loop = _script(python, "numpy_loop.py")
    kinds = [Kind("numpy_loop", loop)]
    if "avx512f" in Path("/proc/cpuinfo").read_text():
        kinds.append(Kind("numpy_loop_skx", loop, environment={"OPENBLAS_CORETYPE": "SKYLAKEX"}))
    if has_torch:
        loop = _script(python, "torch_loop.py")
        torch = {"torch_loop": "eager", "torch_onednn": "onednn", "torch_loop_compile": "compile"}
        kinds += [Kind(name, loop, (rest,)) for name, rest in torch.items()]
        for rest in ("dense", "dense_compile"):  # only where few rows leave little to be wasted
            kinds.append(Kind(f"torch_{rest}", loop, (rest,), most_rows=256))
    return {kind.name: kind for kind in kinds}


def environment(threads: int, kind: Kind | None = None) -> dict[str, str]:
    """Return the environment of a child with that many threads, whatever it computes with."""
    count = str(threads)
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("OPENBLAS_", "OMP_", "MKL_", "DYNAMOE_"))
    }
    return {
        **kept,
        "DYNAMOE_THREADS": count,
        "DYNAMOE_LIBRARY": str(LIBRARY / "libdynamoe.so"),
        "LD_LIBRARY_PATH": str(LIBRARY),
        "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "CUDA_VISIBLE_DEVICES": "",
        **(kind.environment if kind else {}),
    }


class Cases:
    """Makes each case once, in a folder that lives as long as the object.

    `busy` makes a context in which is computed.
    """

    def __init__(
        self, busy: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    ) -> None:
        self._busy = busy
        self._folder = tempfile.TemporaryDirectory(prefix="dynamoe-bench-")
        self._made: dict[Workload, Case] = {}
        self._count = 0

    def __getitem__(self, workload: Workload) -> Case:
        if workload not in self._made:
            folder = Path(self._folder.name) / str(self._count)
            self._count += 1
            folder.mkdir()
            description = {
                **asdict(workload),
                "targets": workload.targets(),
                "configuration": workload.configuration(),
            }
            (folder / "workload.json").write_text(json.dumps(description))
            command = [*_script(sys.executable, "prepare.py"), str(folder)]
            with self._busy():
                done = subprocess.run(command, env=environment(2), capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{workload.name} could not be made: {done.stderr.strip()}")
            self._made[workload] = Case(folder)
        return self._made[workload]

    def drop(self, workload: Workload) -> None:
        """Forget a case and remove its files."""
        case = self._made.pop(workload, None)
        if case:
            shutil.rmtree(case.folder)

    def close(self) -> None:
        """Remove all files."""
        self._folder.cleanup()


@dataclass(frozen=True)
class Start:
    """What a side is started with."""

    kind: Kind
    case: Case
    mode: str
    threads: int = 2


class Side:
    """A running child. Its steps are timed inside it."""

    def __init__(self, start: Start) -> None:
        self.kind, self.case = kind, case = start.kind, start.case
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the child)
        self._process = subprocess.Popen(
            [*kind.command, str(case.folder), start.mode, *kind.rest],
            env=environment(start.threads, kind),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._clock = (~self._process.pid << 3) | 2  # CPU time of that process, in nanoseconds
        if self._answer() != "ready":
            raise RuntimeError(f"{kind.name} does not speak the protocol")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            words = self._errors.read().strip()[-2000:] or "it said nothing"
            raise RuntimeError(f"{self.kind.name} ended: {words}")
        return line.strip()

    def _ask(self, text: str) -> str:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self._answer()

    def run(self, steps: int) -> list[float]:
        """Return the seconds of each of `steps` steps."""
        return [float(word) for word in self._ask(f"run {steps}").split()]

    def output(self):
        """Return outputs and masks of the case's first rows, in evaluation."""
        path = self._ask("output")
        result = self.case.read_output(path)
        os.unlink(path)
        return result

    def cpu_seconds(self) -> float:
        """Return the CPU time of all threads of the child so far."""
        return time.clock_gettime(self._clock)

    def peak_megabytes(self) -> float:
        """Return the largest resident size so far; getrusage would count the driver's, too."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return (
            next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
            / 1024
        )

    def close(self) -> None:
        """End the child."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is not None:
            self._process.kill()
        self.close()
