"""The parts of the figures of `dynamoe.plot`: each draws into given axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .history import History
    from .statistics import RoutingStatistics

INK = "#222222"
# Okabe and Ito (2008), in an order whose neighbours differ in lightness as well.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")


def draw_curves(matplotlib: Any, axes: Any, curves: Mapping[str, Sequence[float]]) -> None:
    """Draw named curves over epochs with their names beside their ends."""
    for index, (name, values) in enumerate(curves.items()):
        epochs = np.arange(1, len(values) + 1)
        style = ("-", "--", "-.", ":")[index % 4]
        marker = "o" if len(values) <= 12 else None
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(epochs, values, style, color=colour, marker=marker, markersize=4, label=name)
    axes.set_xlabel("epoch")
    axes.set_xlim(left=0.5)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    if len(curves) > 1:
        axes.legend(frameon=False, ncols=2 if len(curves) > 4 else 1)


def draw_loss(matplotlib: Any, axes: Any, training: History) -> None:
    """Draw the task loss of training and validation."""
    curves = {"training": training.loss}
    if training.validation:
        curves["validation"] = [result["loss"] for result in training.validation]
    draw_curves(matplotlib, axes, curves)
    if min(min(values) for values in curves.values()) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    squared = training.task == "regression"
    axes.set_ylabel("mean squared error" if squared else "cross-entropy (nats)")
    axes.set_title("Loss")


def draw_accuracy(matplotlib: Any, axes: Any, training: History) -> None:
    """Draw the accuracy of training and validation."""
    curves = {"training": [100 * value for value in training.accuracy]}
    if training.validation:
        curves["validation"] = [100 * result["accuracy"] for result in training.validation]
    draw_curves(matplotlib, axes, curves)
    lowest = min(min(values) for values in curves.values())
    axes.set_ylim(bottom=max(0.0, lowest - 3), top=100.5)
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy")
    if training.validation:
        last = curves["validation"][-1]
        axes.set_title(f"Accuracy: {last:.1f} % in validation")


def draw_mean_k(matplotlib: Any, axes: Any, training: History) -> None:
    """Draw the mean K of each layer over epochs."""
    by_layer = np.array(training.mean_k).T
    curves = {f"layer {index + 1}": list(values) for index, values in enumerate(by_layer)}
    if len(curves) > len(COLOURS):
        curves = {"all layers": list(by_layer.mean(axis=0))}
    draw_curves(matplotlib, axes, curves)
    axes.set_ylim(bottom=0, top=max(1.3 * float(by_layer.max()), 1))
    axes.set_ylabel("experts per row")
    axes.set_title("Mean K in training")


def draw_k_panels(matplotlib: Any, figure: Any, layers: Sequence[RoutingStatistics]) -> None:
    """Draw one panel per layer, with common axes."""
    panels = np.atleast_1d(figure.subplots(1, len(layers), sharey=True))
    most = max(layer.experts for layer in layers)
    for index, (axes, layer) in enumerate(zip(panels, layers, strict=True)):
        shares = 100 * layer.k_histogram / max(layer.rows, 1)
        axes.bar(np.arange(layer.experts + 1), shares, color=COLOURS[index % 6], width=0.85)
        axes.axvline(layer.mean_k, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(-0.7, most + 0.7)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
        axes.set_title(
            f"Layer {index + 1}: {layer.experts} experts", fontsize=9, fontweight="normal"
        )
        axes.set_xlabel(f"K (mean {layer.mean_k:.2f})")
    panels[0].set_ylabel("rows (%)")
    figure.suptitle("Experts used by a row (K)", x=0.02, ha="left", weight="bold", size=11)


def draw_k_map(matplotlib: Any, axes: Any, layers: Sequence[RoutingStatistics]) -> None:
    """Draw how many rows used K experts, layers x K."""
    widest = max(layer.experts for layer in layers) + 1
    shares = np.full((len(layers), widest), np.nan)
    for index, layer in enumerate(layers):
        shares[index, : layer.experts + 1] = 100 * layer.k_histogram / max(layer.rows, 1)
    draw_map(matplotlib, axes, shares, 0)
    axes.set_xlabel("K, experts used by a row")
    axes.set_title("Experts used by a row")


def draw_load(matplotlib: Any, axes: Any, layers: Sequence[RoutingStatistics]) -> None:
    """Draw which share of rows used each expert, layers x experts."""
    widest = max(layer.experts for layer in layers)
    shares = np.full((len(layers), widest), np.nan)
    for index, layer in enumerate(layers):
        shares[index, : layer.experts] = 100 * layer.expert_rows / max(layer.rows, 1)
    draw_map(matplotlib, axes, shares, 1)
    axes.set_xlabel("expert")
    axes.set_title("Expert load")


def draw_map(matplotlib: Any, axes: Any, shares: Any, first: int) -> None:
    """Draw shares of rows in percent as a map; empty places are no experts at all."""
    layers, columns = shares.shape
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    step = max(1, columns // 12)
    axes.set_xticks(range(0, columns, step), range(first, columns + first, step))
    step = max(1, layers // 12)
    axes.set_yticks(range(0, layers, step), [f"{index + 1}" for index in range(0, layers, step)])
    axes.set_ylabel("layer")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(layers + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    if columns <= 16 and layers <= 12:
        for (row, column), share in np.ndenumerate(shares):
            if not np.isnan(share):
                colour = "white" if share < 55 else "black"
                axes.text(
                    column, row, f"{share:.0f}", ha="center", va="center", color=colour, size=9
                )
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("rows (%)")
    bar.outline.set_visible(False)


def column_count(panels: int) -> int:
    """Return how many panels stand side by side."""
    return 3 if panels in (5, 6, 9) else min(panels, 4)


def draw_schedules(matplotlib: Any, panels: Sequence[Any], counts: Mapping[str, Any]) -> None:
    """Draw counts per layer, each in a panel of its own or all in one."""
    shared = len(panels) == 1 and len(counts) > 1
    width = 0.85 / len(counts) if shared else 0.85
    for index, (name, values) in enumerate(counts.items()):
        axes = panels[0] if shared else panels[index]
        offset = (index - (len(counts) - 1) / 2) * width if shared else 0.0
        places = np.arange(1, len(values) + 1) + offset
        colour = COLOURS[index % len(COLOURS)]
        bars = axes.bar(places, values, width=width, color=colour, label=name)
        if not shared:
            axes.bar_label(bars, fontsize=8)
            axes.set_title(f"{name} ({values.sum()} experts)".strip())
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    for axes in panels[len(counts) :]:
        axes.set_visible(False)
    columns = column_count(len(counts))
    for index, axes in enumerate(panels[: len(counts)]):
        if index + columns >= len(counts):
            axes.set_xlabel("layer")
            axes.tick_params(labelbottom=True)
        if index % columns == 0:
            axes.set_ylabel("experts")
    if shared:
        panels[0].legend(frameon=False)
        panels[0].set_title("Experts of each layer")


def draw_knob(axes: Any, points: Any, trained_at: float | None, title: str) -> None:
    """Draw accuracy over the mean K; `points` are [n, 2], sorted by K."""
    mean_k, accuracy = points[:, 0], 100 * points[:, 1]
    axes.plot(mean_k, accuracy, "-o", color=COLOURS[0], markersize=4, label="calibrated")
    if trained_at is not None:
        axes.axvline(trained_at, color=INK, linewidth=1, linestyle=":", label="trained at this K")
        axes.legend(frameon=False)
    axes.set_xlim(left=0)
    axes.set_xlabel("mean K, experts used by a row")
    axes.set_ylabel("accuracy (%)")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title)
