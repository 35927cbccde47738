#!/usr/bin/env python3
"""Plants errors in a copy of the engine, one at a time, and says which the tests do not notice.

    python3 Tests/Support/plant_errors.py [--only REGEX] [--jobs N] [--list]

The errors are listed in the modules of Tests/Support/planted. All are written into one copy of the
checkout, in .build-planted/checkout, each behind a switch that an environment variable sets, so
that the copy is built only once; without the variable the copy must pass. The checkout itself is
only read. Golden cases outside the repository are not used.

Each error is tried with its own tests, then, if they do not notice it, with all tests of the
engine. Fails when a text is not found exactly once, when the copy fails without an error, or when
an error is not noticed.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

from planted import errors

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COPY = ROOT / ".build-planted" / "checkout"
ENGINE = "Sources/DynaMoE"
VARIABLE = "DYNAMOE_PLANTED_ERROR"
SECONDS = 300
EVERYTHING = "DynaMoETests"
SWITCH = f"""\
import Glibc

private let number = getenv("{VARIABLE}").flatMap {{ Int(String(cString: $0)) }} ?? 0

/// Whether error `index` was asked for.
func planted(_ index: Int) -> Bool {{ number == index }}

/// One per cent too much.
func enlarge(_ values: UnsafeMutablePointer<Float>, _ count: Int) {{
  for index in 0..<count {{ values[index] *= 1.01 }}
}}
"""


def render(text, base, spots):
    """Put a switch at every spot of `text`, which begins at `base` of its file; spots may nest."""
    result, position = [], 0
    rest = sorted(spots, key=lambda spot: (spot.start, -spot.end))
    while rest:
        outer = rest[0]
        start, end = outer.start - base, outer.end - base
        same = [s for s in rest if (s.start, s.end) == (outer.start, outer.end)]
        inner = [s for s in rest if s.end <= outer.end and s not in same]
        rest = [s for s in rest if s.start >= outer.end and s not in same]
        kept = render(text[start:end], outer.start, inner)
        for spot in same:
            if spot.is_expression:
                kept = f"(planted({spot.number}) ? ({spot.new}) : ({kept}))"
            else:
                kept = (
                    f"if planted({spot.number}) {{ {spot.new} }} else {{ {kept} }}"
                    + ("" if kept else "\n")
                )
        result += [text[position:start], kept]
        position = end
    return "".join(result) + text[position:]


def plant():
    """Return the engine's files, by path, with all errors; and what is wrong with the list."""
    files, spots, wrong = {}, {}, []
    for number, error in enumerate(errors.ALL, start=1):
        path = f"{ENGINE}/{error.file}"
        if path not in files:
            files[path] = (ROOT / path).read_text(encoding="utf-8")
        found = files[path].count(error.text)
        if found != 1:
            wrong.append(f"{error.name}: its text occurs {found} times in {path}")
            continue
        spots.setdefault(path, []).append(
            error.spot(number, files[path].index(error.text))
        )
    for path, list_ in spots.items():
        for one in list_:
            for other in list_:
                if one.start < other.start < one.end < other.end:
                    wrong.append(
                        f"{path}: errors {one.number} and {other.number} overlap"
                    )
    if not wrong:
        files = {path: render(text, 0, spots[path]) for path, text in files.items()}
    files[f"{ENGINE}/PlantedError.swift"] = SWITCH
    return files, wrong


def write_copy(files):
    """Bring the copy up to date; what has not changed keeps its date and is not built again."""
    wanted = {}
    for folder in ("Sources", "Include", "Tests/DynaMoETests"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file():
                wanted[str(path.relative_to(ROOT))] = path.read_bytes()
    manifest = (ROOT / "Package.swift").read_text(encoding="utf-8")
    # The kernels' tests are not run here.
    manifest = re.sub(
        r'    \.testTarget\(\s*name: "DynaMoEKernelsTests".*?\),\n',
        "",
        manifest,
        flags=re.S,
    )
    wanted["Package.swift"] = manifest.encode()
    wanted.update({path: text.encode() for path, text in files.items()})
    for path, content in wanted.items():
        target = COPY / path
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for folder in ("Sources", "Include", "Tests"):
        for target in (COPY / folder).rglob("*"):
            if target.is_file() and str(target.relative_to(COPY)) not in wanted:
                target.unlink()


def build():
    """Build the copy and return the program that holds the tests."""
    command = [
        "swift",
        "build",
        "-c",
        "release",
        "--build-tests",
        "-Xswiftc",
        "-enable-testing",
    ]
    done = subprocess.run(
        command,
        cwd=COPY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout[-6000:]}\nerror: the copy does not compile")
    return COPY / ".build/release/DynaMoEPackageTests.xctest"


def noticing(program, number, tests):
    """Name the test that first notices error `number`, or its crash; None if none does."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DYNAMOE_", "OPENBLAS_"))
    }
    environment |= {VARIABLE: str(number), "SWIFT_BACKTRACE": "enable=no"}
    command = [program, "--testing-library", "swift-testing", "--filter", tests]
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    has_run = False
    with subprocess.Popen(
        command, cwd=COPY, env=environment, text=True, errors="replace", **options
    ) as process:
        hangs = threading.Event()
        alarm = threading.Timer(SECONDS, lambda: (hangs.set(), process.kill()))
        alarm.start()
        try:
            for line in process.stdout:
                if found := re.search(r"Test (\w+)\(.* recorded an issue", line):
                    return found[1]
                has_run = (
                    has_run
                    or re.search(r"Test run with [1-9]\d* test", line) is not None
                )
        finally:
            alarm.cancel()
            if process.poll() is None and not hangs.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
                process.kill()
    if hangs.is_set():
        return f"none within {SECONDS} s"
    if process.returncode != 0:
        return f"a crash, status {process.returncode}"
    if not has_run:
        sys.exit(f"error: no test is called {tests}")
    return None


def main():
    """Try the errors that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", default="", help="regular expression: the errors to plant, by name"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="how many are tried at once"
    )
    parser.add_argument(
        "--list", action="store_true", help="say only which errors there are"
    )
    options = parser.parse_args()
    chosen = [
        (n, e)
        for n, e in enumerate(errors.ALL, start=1)
        if re.search(options.only, e.name)
    ]
    if options.list:
        for number, error in chosen:
            print(f"{number:4} {error.name}: {error.file}")
        return 0
    if not shutil.which("swift"):
        sys.exit("error: swift is not in the path")
    files, wrong = plant()
    if wrong:
        sys.exit("\n".join(f"error: {line}" for line in wrong))
    write_copy(files)
    start = time.monotonic()
    program = build()
    print(
        f"built with {len(errors.ALL)} errors in {time.monotonic() - start:.0f} s",
        flush=True,
    )
    if noticed := noticing(program, 0, EVERYTHING):
        sys.exit(f"error: without an error the copy fails: {noticed}")

    def attempt(item):
        number, error = item
        return item, noticing(program, number, error.tests) or noticing(
            program, number, EVERYTHING
        )

    missed = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for (number, error), noticed in pool.map(attempt, chosen):
            if not noticed:
                missed.append(error.name)
            print(f"{number:4} {error.name:58} {noticed or 'NOT NOTICED'}", flush=True)
    print(
        f"errors: {len(chosen) - len(missed)} noticed, {len(missed)} not, "
        f"{time.monotonic() - start:.0f} s"
    )
    for name in missed:
        print(f"not noticed: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
