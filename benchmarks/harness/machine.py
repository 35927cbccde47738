"""What the numbers were measured on."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.sides import BUILT, environment

# AMD's families and models, and Intel's models of family 6, by core.
_CORES = {
    ("AuthenticAMD", 23): [(0x00, 0x2F, "zen1"), (0x30, 0xFF, "zen2")],
    ("AuthenticAMD", 25): [
        (0x00, 0x0F, "zen3"), (0x10, 0x1F, "zen4"), (0x20, 0x5F, "zen3"), (0x60, 0xAF, "zen4"),
    ],
    ("AuthenticAMD", 26): [(0x00, 0xFF, "zen5")],
    ("GenuineIntel", 6): [
        (0x55, 0x55, "skylake-x"), (0x6A, 0x6C, "icelake-x"), (0x8F, 0x8F, "sapphire-rapids"),
        (0xCF, 0xCF, "emerald-rapids"), (0xAD, 0xAE, "granite-rapids"),
    ],
}  # fmt: skip


def core_name() -> str:
    """Return a short name of the processor's core, such as zen4."""
    text = Path("/proc/cpuinfo").read_text()
    found = dict(re.findall(r"^(vendor_id|cpu family|model)\s*: (.*)$", text, re.M))
    vendor, family, model = found["vendor_id"], int(found["cpu family"]), int(found["model"])
    for first, last, name in _CORES.get((vendor, family), []):
        if first <= model <= last:
            return name
    return f"{vendor.lower()}-{family}-{model}"


def limits(known: dict[str, Any], quick: bool = True) -> dict[str, Any]:
    """Return the larger of the known peak and bandwidths and those measured now.

    Others may disturb a measurement, so that the largest of many is the limit.
    """
    command = [BUILT / "machine", *(["quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {
        key: value if isinstance(value, str) else max(value, known.get(key, 0.0))
        for key, value in json.loads(done.stdout).items()
    }


def build_info() -> dict[str, Any]:
    """Return what the library says of itself."""
    code = "import json, dynamoe; print(json.dumps(dynamoe.build_info()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(2), capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def _versions(python: str) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json, platform\n"
        "found = {d.metadata['Name']: d.version for d in m.distributions()}\n"
        "names = [name for name in ('numpy', 'torch') if name in found]\n"
        "print(json.dumps({'Python': platform.python_version(), **{n: found[n] for n in names}}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _cache_megabytes(level: int) -> float | None:
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (folder / "level").read_text().strip() == str(level):
            return float((folder / "size").read_text().strip().removesuffix("K")) / 1024
    return None


def describe(python: str | None) -> dict[str, Any]:
    """Return machine, library and peers, without the limits."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "core": core_name(),
        "processor": name.group(1) if name else "unknown",
        "cores": text.count("processor\t:"),
        "l2_megabytes": _cache_megabytes(2),
        "l3_megabytes": _cache_megabytes(3),
        "memory_gigabytes": round(int(memory.group(1)) / 2**20) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "library": build_info(),
        "peers": _versions(python or sys.executable),
    }
