"""Builds the C programs of the benchmark."""

from __future__ import annotations

import subprocess

from harness.sides import BENCHMARKS, BUILT, LIBRARY, ROOT

FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-pedantic", "-Werror")
LIBRARIES = {
    "machine": ("-pthread",),
    "side": (f"-I{ROOT / 'Include'}", f"-L{LIBRARY}", "-ldynamoe", "-lm"),
}


def build() -> None:
    """Build what is older than its source.

    Raises
    ------
    RuntimeError
        With the compiler's words.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    for name, rest in LIBRARIES.items():
        program, source = BUILT / name, BENCHMARKS / "c" / f"{name}.c"
        if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
            continue
        command = ["cc", *FLAGS, str(source), "-o", str(program), *rest]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{source.name} was not built: {done.stderr.strip()}")
