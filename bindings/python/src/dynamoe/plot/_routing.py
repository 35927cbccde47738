"""Figures of routing statistics: K histograms, expert load, co-activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..statistics import RoutingStatistics
from ._style import (
    COLOURS,
    INK,
    WIDTH,
    Panels,
    Values,
    add_scale,
    draw_map,
    experts_text,
    figure_and_axes,
    layer_panels,
    new_figure,
    panel_title,
    say_empty,
    scale,
    style,
)

if TYPE_CHECKING:
    from ..layer import MoELayer
    from ..model import Model

    Source: TypeAlias = Model | MoELayer | Sequence[RoutingStatistics]

MOST_HISTOGRAMS = 6


def k_histogram(source: Source, axes: Any = None) -> Any:
    """Draw how many experts the rows of each layer used.

    Parameters
    ----------
    source : Model, MoELayer or list of RoutingStatistics
        A network, whose statistics since the last reset are taken, or what `routing_stats`
        returned.
    axes : matplotlib axes, optional
        Where to draw, as a map layers x K; without it one panel per layer (at most six).

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        When `source` is none of these.
    """
    with style() as matplotlib:
        layers = statistics_of(source)
        if axes is not None or len(layers) > MOST_HISTOGRAMS:
            figure, axes = figure_and_axes(axes, (6, 0.35 * len(layers) + 1.8))
            draw_k_map(axes, layers)
            return figure
        figure = new_figure((min(WIDTH + 2, 2.4 * len(layers) + 1), 2.8))
        draw_k_panels(matplotlib, figure, layers)
    return figure


def expert_load(source: Source, axes: Any = None) -> Any:
    """Draw the share of rows that used each expert, as a map layers x experts.

    Parameters
    ----------
    source : Model, MoELayer or list of RoutingStatistics
        As in `k_histogram`.
    axes : matplotlib axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        When `source` is none of these.
    """
    with style():
        layers = statistics_of(source)
        widest = max(layer.experts for layer in layers)
        size = (min(WIDTH, 0.5 * widest + 2.4), min(6.0, 0.4 * len(layers) + 1.6))
        figure, axes = figure_and_axes(axes, size)
        draw_load(axes, layers)
    return figure


def coactivation(source: Source, axes: Any = None) -> Any:
    """Draw which experts the same rows use, a map experts x experts per layer.

    Line i, column j: of the rows that used expert i, the share that used expert j as well,
    ``coactivation[i, j] / coactivation[i, i]``. The diagonal, always 100 %, stays white, and so
    does the line of an expert that no row used.

    Parameters
    ----------
    source : Model, MoELayer or list of RoutingStatistics
        As in `k_histogram`; ``model.routing_stats()[1:2]`` draws the second layer alone.
    axes : matplotlib axes or list of them, optional
        Where to draw, one for each layer.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        When `source` is none of these, or there are not as many axes as layers.
    """
    with style():
        layers = statistics_of(source)
        title = "Co-activation: of an expert's rows, those that also use another"
        height = 2.9 if len(layers) <= 3 else 2.4
        panels = layer_panels(len(layers), axes, height, title=title, widest=3.8)
        shares = [_together(layer) for layer in layers]
        norm = scale(shares)
        for index, layer in enumerate(layers):
            image = _draw_together(panels, index, layer, shares[index], norm)
        add_scale(panels.figure, image, panels.axes, "rows of the expert (%)")
    return panels.figure


def statistics_of(source: Any) -> list[RoutingStatistics]:
    """Return the statistics of every layer of what a caller gave."""
    if hasattr(source, "routing_stats"):
        source = source.routing_stats()
    layers = list(source) if isinstance(source, (list, tuple)) else []
    if not layers or not all(isinstance(layer, RoutingStatistics) for layer in layers):
        raise ValueError(
            f"source: got {source!r}, allowed is a Model, a MoELayer or a list of "
            "RoutingStatistics, at least one"
        )
    return layers


def largest_k(layers: Sequence[RoutingStatistics]) -> int:
    """Return the largest K of any row, at least 1."""
    return max(int(np.flatnonzero(layer.k_histogram).max(initial=1)) for layer in layers)


def draw_k_panels(matplotlib: Any, figure: Any, layers: Sequence[RoutingStatistics]) -> None:
    """Draw one panel per layer, with common axes."""
    panels = np.atleast_1d(figure.subplots(1, len(layers), sharey=True))
    most = max(layer.experts for layer in layers)
    if most > 12:
        most = min(most, largest_k(layers) + 1)
    for index, (axes, layer) in enumerate(zip(panels, layers, strict=True)):
        shares = 100 * layer.k_histogram / max(layer.rows, 1)
        axes.bar(np.arange(layer.experts + 1), shares, color=COLOURS[index % 6], width=0.85)
        axes.set_xlim(-0.7, most + 0.7)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
        panel_title(axes, f"Layer {index}: {experts_text(layer.experts)}")
        axes.set_xlabel(f"K (mean {layer.mean_k:.2f})" if layer.rows else "K")
        if layer.rows:
            axes.axvline(layer.mean_k, color=INK, linewidth=1, linestyle=":")
        else:
            say_empty(axes, "no rows")
    panels[0].set_ylabel("rows (%)")
    figure.suptitle("Experts used by a row (K)", x=0.02, ha="left", weight="bold", size=11)


def draw_k_map(axes: Any, layers: Sequence[RoutingStatistics]) -> None:
    """Draw how many rows used K experts, layers x K."""
    used = largest_k(layers)
    shares = np.full((len(layers), used + 1), np.nan)
    for index, layer in enumerate(layers):
        counts = layer.k_histogram[: used + 1]
        if layer.rows:
            shares[index, : len(counts)] = 100 * counts / layer.rows
    _draw_layers(axes, shares)
    axes.set_xlabel("K, experts used by a row")
    axes.set_title("Experts used by a row")


def draw_load(axes: Any, layers: Sequence[RoutingStatistics]) -> None:
    """Draw which share of rows used each expert, layers x experts."""
    widest = max(layer.experts for layer in layers)
    shares = np.full((len(layers), widest), np.nan)
    for index, layer in enumerate(layers):
        if layer.rows:
            shares[index, : layer.experts] = 100 * layer.expert_rows / layer.rows
    _draw_layers(axes, shares)
    axes.set_xlabel("expert")
    axes.set_title("Expert load")


def _draw_layers(axes: Any, shares: Values) -> None:
    image = draw_map(axes, shares, scale([shares]))
    axes.set_ylabel("layer")
    add_scale(axes.figure, image, axes, "rows (%)")
    if np.isnan(shares).all():
        say_empty(axes, "no rows")


def _together(layer: RoutingStatistics) -> Values:
    """Return shares in percent [experts, experts], NaN where there is none."""
    counts = layer.coactivation.astype(float)
    own = np.where(layer.expert_rows > 0, layer.expert_rows, np.nan)
    shares = np.asarray(100 * counts / own[:, np.newaxis])
    np.fill_diagonal(shares, np.nan)
    return shares


def _draw_together(
    panels: Panels, index: int, layer: RoutingStatistics, shares: Values, norm: Any
) -> Any:
    axes = panels.axes[index]
    image = draw_map(axes, shares, norm)
    panel_title(axes, f"Layer {index}: {experts_text(layer.experts)}")
    if panels.lowest(index):
        axes.set_xlabel("also use expert")
    if panels.leftmost(index):
        axes.set_ylabel("rows of expert")
    if not layer.rows:
        say_empty(axes, "no rows")
    elif layer.experts == 1:
        say_empty(axes, "no other expert")
    return image
