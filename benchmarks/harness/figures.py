"""Figures of what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from harness.goals import DEFAULT, best_peer
from harness.growth import BUSY, share_of_limit
from harness.tables import MODES, title

# Okabe and Ito (2008): told apart without red or green; lines also differ in marker, bars in hatch.
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
LINES = {"infer": (BLUE, "o"), "passes": (ORANGE, "s")}
STYLE = {"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.axisbelow": True}
TOLERANCE = 0.15


def _ticks(axes: Axes, values: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if len(values) > 6:
        axes.tick_params(axis="x", labelsize=8)


def _time_of_a_pair(axes: Axes, results: list[dict[str, Any]]) -> None:
    for result in results:
        colour, marker = LINES[result["mode"]]
        points = result["points"]
        x, y = [p["value"] for p in points], [p["nanoseconds_a_pair"] for p in points]
        axes.plot(x, y, color=colour, marker=marker, label=MODES[result["mode"]])
        busy = [p["nanoseconds_a_pair"] for p in points if p["rows_an_expert"] >= BUSY]
        if busy:
            low = min(busy)
            axes.axhspan(low, low * (1 + TOLERANCE), color=colour, alpha=0.15, linewidth=0)
    _ticks(axes, [p["value"] for p in results[0]["points"]])
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.set_xlabel(results[0]["axis"])
    axes.set_ylabel("ns per active pair")
    axes.set_title(f"{results[0]['title']}")


def _share(axes: Axes, result: dict[str, Any], machine: dict[str, Any]) -> None:
    level = 0.75 * (machine["l3_megabytes"] or 0)
    points = result["points"]
    y = [100 * share_of_limit(p, machine["limits"], level) for p in points]
    axes.plot([p["value"] for p in points], y, color=BLUE, marker="o")
    _ticks(axes, [p["value"] for p in points])
    axes.set_ylim(0, max(100, *y) * 1.05)
    axes.set_xlabel("rows per expert")
    axes.set_ylabel("share of the roofline, %")
    axes.set_title(f"few rows, inference: {result['title']}")


def growth(content: dict[str, Any], path: Path) -> None:
    """Draw the time of an active pair against rows, experts and K, and few rows an expert."""
    results = content["growth"]
    figure, grid = plt.subplots(2, 2, figsize=(9.5, 6.8), layout="constrained")
    for axes, sweep in zip(grid.flat, ("rows", "experts", "active"), strict=False):
        chosen = [r for r in results.values() if r["sweep"] == sweep]
        if chosen:
            _time_of_a_pair(axes, chosen)
    if "load infer" in results:
        _share(grid[1, 1], results["load infer"], content["machine"])
    for axes in grid.flat:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    core = content["machine"]["core"]
    figure.suptitle(
        f"Time of an active (row, expert) pair, two threads, {core}; "
        f"bands: {100 * TOLERANCE:.0f} % above the fastest"
    )
    figure.savefig(path, dpi=140)
    plt.close(figure)


def comparison(content: dict[str, Any], path: Path) -> None:
    """Draw the share of the FMA peak of us, the best peer and PyTorch's loop."""
    chosen = [r for r in content["comparison"].values() if r["threads"] == 2 and best_peer(r)]
    figure, axes = plt.subplots(figsize=(8.5, 1.2 + 0.55 * len(chosen)), layout="constrained")
    peak = content["machine"]["limits"]["fma_2"]
    kinds = (("DynaMoE", BLUE, ""), ("best peer", ORANGE, "//"), ("PyTorch's loop", GREY, ".."))
    for row, result in enumerate(chosen):
        names = (result["ours"], best_peer(result), DEFAULT)
        for place, (name, (label, colour, hatch)) in enumerate(zip(names, kinds, strict=True)):
            if name not in result["sides"]:
                continue
            share = 100 * result["sides"][name]["gflops"] / peak
            axes.barh(
                row + 0.27 * (place - 1),
                share,
                height=0.25,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label=label if row == 0 else None,
            )
            note = f" {share:.0f}" if place != 1 else f" {share:.0f}  {name}"
            axes.text(share, row + 0.27 * (place - 1), note, va="center", fontsize=7.5)
    axes.set_yticks(range(len(chosen)), [title(result) for result in chosen])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("useful operations, % of the measured FMA peak of two cores")
    axes.set_title(f"Share of the machine that is put to use ({content['machine']['core']})")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def draw(content: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what was measured; return the files."""
    drawn = []
    with plt.rc_context(STYLE):
        for name, function in (("growth", growth), ("comparison", comparison)):
            if content.get(name):
                path = folder / f"{name}.png"
                function(content, path)
                drawn.append(path)
    return drawn
