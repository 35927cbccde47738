"""What is measured: everything, or the same at sizes that take seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from harness.workloads import LAYER, W1, W2, W3, W3H, W4, W4G, Workload


@dataclass(frozen=True)
class Cell:
    """A workload in a mode on some threads."""

    workload: Workload
    mode: str
    threads: int = 2

    @property
    def name(self) -> str:
        """Return the key under which results are kept."""
        return f"{self.workload.name} {self.mode} {self.threads}"


def cells_of(workload: Workload) -> list[Cell]:
    """Return in which modes and on how many threads a workload is compared with the peers."""
    if workload.rows == 1:
        return [Cell(workload, "infer", 1)]
    if workload.rows <= 16:
        return [Cell(workload, "infer", threads) for threads in (1, 2)]
    if workload.task == "language_model":
        return [Cell(workload, "train")]
    modes = ["infer", "train", *(["train_dx"] if workload.layer else [])]
    return [Cell(workload, mode) for mode in modes]


@dataclass(frozen=True)
class Sweep:
    """A layer of which one size grows.

    `values` are those sizes, `workload` makes the workload of one.
    """

    name: str
    title: str
    axis: str
    values: tuple[int, ...]
    workload: Callable[[int], Workload]
    modes: tuple[str, ...] = ("infer", "passes")


def _layer(rows: int, experts: int, active: int, base: Workload) -> Workload:
    name = f"{rows} rows, {experts} experts, K {active}"
    return replace(base, name=name, title=name, rows=rows, experts=(experts,), target=active)


def sweeps(base: Workload = LAYER, shift: int = 0) -> list[Sweep]:
    """Return what grows; `shift` halves the numbers of rows that many times."""

    def powers(first: int, last: int) -> tuple[int, ...]:
        return tuple(2**exponent for exponent in range(first, last + 1))

    few, many, some = 4096 >> shift, 16384 >> shift, 32 >> shift
    return [
        Sweep(
            "rows", "8 experts, K = 2", "rows", powers(10 - shift, 16 - shift),
            lambda rows: _layer(rows, 8, 2, base),
        ),
        Sweep(
            "experts", f"{many:,} rows, K = 2", "experts", powers(2, 8),
            lambda count: _layer(many, count, 2, base),
        ),
        Sweep(
            "active", f"{few:,} rows, 16 experts", "mean number of active experts K",
            (1, 2, 3, 4, 6, 8), lambda active: _layer(few, 16, active, base),
        ),
        Sweep(
            "load", "64 experts, K = 2", "rows an expert", powers(0, 8),
            lambda load: _layer(max(1, some * load), 64, 2, base), ("infer",),
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The workloads beside the peers, and what the sections are measured on."""

    workloads: tuple[Workload, ...]
    surfaces: tuple[Cell, ...]
    threads: tuple[Cell, ...]
    routers: tuple[Workload, ...]
    growth: tuple[Sweep, ...]
    neighbour: Cell

    def cells(self, names: Iterable[str]) -> list[Cell]:
        """Return what of the comparison with the peers is chosen."""
        return [cell for work in self.workloads if work.name in names for cell in cells_of(work)]


FULL = Plan(
    workloads=(
        W1,
        W2,
        W3,
        W3H,
        W4,
        W4G,
        *(w.with_rows(rows) for w in (W1, W2) for rows in (1, 16)),
    ),
    surfaces=(Cell(W1, "train"), Cell(W1.with_rows(1), "infer", 1)),
    threads=tuple(Cell(w, mode) for w in (W1, W2, W3, W4) for mode in ("infer", "train")),
    routers=(W1, W3),
    growth=tuple(sweeps()),
    neighbour=Cell(W1, "train"),
)

_SMALL = replace(W1, name="small", rows=32, inputs=20, width=16, experts=(4, 3), hidden=24)
_TOKENS = replace(
    W3H,
    name="small_tokens",
    rows=48,
    vocabulary=500,
    outputs=500,
    width=16,
    experts=(4, 2),
    hidden=24,
)
_LAYER = replace(LAYER, name="small_layer", rows=64, inputs=16, outputs=16, width=16, experts=(6,),
                 hidden=24)  # fmt: skip
_GATED = replace(_LAYER, name="small_gated", activation="swiglu", bias=False)

SMALL = Plan(
    workloads=(_SMALL, _TOKENS, _LAYER, _GATED, _SMALL.with_rows(1)),
    surfaces=(Cell(_SMALL, "train"), Cell(_SMALL.with_rows(1), "infer", 1)),
    threads=(Cell(_SMALL, "infer"), Cell(_LAYER, "train")),
    routers=(_SMALL,),
    growth=tuple(replace(sweep, values=sweep.values[:2]) for sweep in sweeps(_LAYER, 4)[::3]),
    neighbour=Cell(_SMALL, "train"),
)
