"""How many times faster than others we want to be, and what that asks of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# By cell: times the best exact peer, times PyTorch's default loop.
GOALS: dict[str, tuple[float, float]] = {
    "W1 infer 2": (1.6, 2.7),
    "W2 infer 2": (1.05, 2.1),
    "W3 infer 2": (1.1, 2.6),
    "W4 infer 2": (0.95, 2.2),
    "W4g infer 2": (0.95, 2.2),
    "W1 train 2": (2.2, 2.5),
    "W2 train 2": (1.5, 2.2),
    "W3 train 2": (1.7, 2.3),
    "W3h train 2": (1.8, 2.0),
    "W4 train 2": (1.4, 1.7),
    "W4g train 2": (1.4, 1.7),
    "W1b1 infer 1": (3.0, 5.0),
    "W1b16 infer 2": (4.0, 7.0),
    "W2b16 infer 2": (1.35, 2.5),
}
DEFAULT = "torch_loop"


def best_peer(result: dict[str, Any]) -> str | None:
    """Return the name of the fastest peer, if there was one."""
    peers = [name for name in result["sides"] if name != result["ours"]]
    return min(peers, key=lambda name: result["sides"][name]["ratio"][1], default=None)


@dataclass(frozen=True)
class Limit:
    """The least time of a step that the machine allows, in milliseconds, by what limits it."""

    operations: float
    memory: float
    level: str

    def needs(self, milliseconds: float) -> str:
        """Return the shares of the limits that a step of this length takes, as text."""
        operations, memory = self.operations / milliseconds, self.memory / milliseconds
        return f"{100 * operations:.0f} % of FMA, {100 * memory:.0f} % of {self.level}"


def limit(result: dict[str, Any], machine: dict[str, Any]) -> Limit:
    """Return what bounds a step: multiply-adds at their peak, and bytes that have to be read.

    Inference reads the weights of the experts in use once, from the third cache level when they fit
    into three quarters of it. A training step moves 24 bytes a parameter from and to memory: AdamW
    reads and writes a weight and two moments.
    """
    limits, threads = machine["limits"], result["threads"]
    operations = 1e3 * result["gflop"] / limits[f"fma_{threads}"]
    if result["mode"] == "infer":
        megabytes = result["weight_megabytes"]
        fits = megabytes < 0.75 * (machine["l3_megabytes"] or 0)
        level = "l3" if fits else "dram"
    else:
        megabytes, level = 6 * result["parameter_megabytes"], "dram"
    memory = megabytes / limits[f"{level}_read_{threads}"]
    return Limit(operations, memory, {"l3": "L3", "dram": "DRAM"}[level])
