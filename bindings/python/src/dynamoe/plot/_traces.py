"""Figures of the routing of single rows: K against entropy, experts by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import as_array, shape_text
from .._library import integer
from ..statistics import Routing
from ._style import (
    COLOURS,
    GRID,
    INK,
    Panels,
    Values,
    add_scale,
    draw_map,
    experts_text,
    layer_panels,
    panel_title,
    say_empty,
    scale,
    short,
    style,
)

_MOST_POINTS = 1500
_ROUTING_ENTROPY = "routing entropy (nats)"


def k_against_entropy(
    trace: Sequence[Routing],
    entropy: Any,
    bins: int = 8,
    label: str = _ROUTING_ENTROPY,
    axes: Any = None,
) -> Any:
    """Draw the K of rows against their entropy, one panel per layer.

    A point is a row, moved a little up or down so that rows of the same K can be told apart; of
    more than 1,500 rows every so many-th is drawn. The line goes through the mean K of bins of
    equally many rows, all rows counted, with the standard deviation as bars. The title has
    Spearman's rank correlation of K and entropy over all rows.

    Parameters
    ----------
    trace : list of Routing
        What `routing_trace` returned: T rows.
    entropy : array
        [layers, T], as `routing_entropy` returns it; or [T], the same for every layer, such as an
        entropy of the input.
    bins : int, default 8
        At least 1; fewer where rows are equal or there are fewer rows.
    label : str, default "routing entropy (nats)"
        What `entropy` is, with its unit.
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
        When the arrays do not fit each other or hold NaN or infinity, `bins` is below 1, or there
        are not as many axes as layers.

    Examples
    --------
    >>> k_against_entropy(model.routing_trace(x_test), model.routing_entropy(x_test))
    """
    with style() as matplotlib:
        layers = _layers(trace)
        count = len(layers[0].active)
        values = _entropies(entropy, len(layers), count)
        most = integer(bins, "bins", 1)
        name = label.split("(")[0].strip()
        title = f"K against {name} (r: rank correlation)"
        panels = layer_panels(len(layers), axes, 2.5, title=title, sharey=True)
        lowest = min(int(layer.k.min(initial=1)) for layer in layers)
        largest = max(int(layer.k.max(initial=1)) for layer in layers)
        for index, layer in enumerate(layers):
            panel = panels.axes[index]
            panel.set_ylim(-0.4 if lowest == 0 else 0, largest + 0.6)
            _draw_scatter(panel, layer.k, values[index], most)
            correlation = rank_correlation(layer.k, values[index])
            text = "r undefined" if np.isnan(correlation) else f"r = {correlation:+.2f}"
            panel_title(panel, f"Layer {index}: {text}")
            panel.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
            panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
            if panels.lowest(index):
                panel.set_xlabel(label)
            if panels.leftmost(index):
                panel.set_ylabel("K (mean ± s. d.)")
    return panels.figure


def experts_by_class(
    trace: Sequence[Routing], classes: Any, names: Sequence[str] | None = None, axes: Any = None
) -> Any:
    """Draw which experts the rows of each class use, a map classes x experts per layer.

    Line c, column e: of the rows of class c, the share that used expert e. The line of a class
    without rows stays white.

    Parameters
    ----------
    trace : list of Routing
        What `routing_trace` returned: T rows.
    classes : array
        Integers of T elements: the class of each row; rows of class -1 do not count.
    names : sequence of str, optional
        Of the classes 0, 1, …; longer ones than 24 characters lose their middle. Without it numbers
        up to the largest class.
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
        When the arrays do not fit each other, a class is below -1 or has no name, or there are
        not as many axes as layers.

    Examples
    --------
    >>> experts_by_class(model.routing_trace(x_test), y_test)
    """
    with style():
        layers = _layers(trace)
        kinds, labels = _classes(classes, len(layers[0].active), names)
        shares = [_shares(layer, kinds, len(labels)) for layer in layers]
        norm = scale(shares)
        height = 0.95 + max(0.8, (0.2 if len(labels) <= 12 else 0.155) * len(labels))
        title = "Of the rows of a class, those that use an expert"
        panels = layer_panels(len(layers), axes, height, title=title, sharey=True)
        for index, layer in enumerate(layers):
            image = _draw_classes(panels, index, shares[index], norm, labels)
            if not len(layer.active):
                say_empty(panels.axes[index], "no rows")
        add_scale(panels.figure, image, panels.axes, "rows of the class (%)")
    return panels.figure


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Spearman's rank correlation, equal values sharing the mean of their ranks.

    NaN when one of the two is constant or empty.
    """
    if not len(one) or (one == one[0]).all() or (other == other[0]).all():
        return float("nan")
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: NDArray[Any]) -> Values:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _layers(trace: Any) -> list[Routing]:
    layers = list(trace) if isinstance(trace, (list, tuple)) else []
    if not layers or not all(isinstance(layer, Routing) for layer in layers):
        raise ValueError(f"trace: got {trace!r}, allowed is what routing_trace returns")
    counts = sorted({len(layer.active) for layer in layers})
    if len(counts) > 1:
        raise ValueError(f"trace: got layers of {counts} rows, allowed is the same number in all")
    return layers


def _entropies(entropy: Any, layers: int, rows: int) -> Values:
    values = as_array(entropy, "entropy")
    if values.dtype.kind not in "fiu" or values.shape not in ((rows,), (layers, rows)):
        raise ValueError(
            f"entropy: got {values.dtype} of shape {shape_text(values.shape)}, allowed are numbers "
            f"{shape_text((layers, rows))} or {shape_text((rows,))}"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("entropy: got NaN or infinity, allowed are finite numbers")
    return np.broadcast_to(values, (layers, rows))


def _classes(classes: Any, rows: int, names: Any) -> tuple[NDArray[Any], list[str]]:
    kinds = as_array(classes, "classes")
    if kinds.dtype.kind not in "iu" or kinds.size != rows:
        raise ValueError(
            f"classes: got {kinds.dtype} of shape {shape_text(kinds.shape)}, allowed are "
            f"{rows} integers, one for each row of the trace"
        )
    kinds = kinds.reshape(-1)
    most = int(kinds.max(initial=-1))
    if kinds.size and int(kinds.min()) < -1:
        raise ValueError(f"classes: got {kinds.min()}, allowed is at least -1")
    if names is None:
        return kinds, [str(number) for number in range(max(most + 1, 1))]
    if isinstance(names, str) or not len(names):
        raise ValueError(f"names: got {names!r}, allowed is a list of at least one name")
    if most >= len(names):
        raise ValueError(f"classes: got {most}, allowed is below {len(names)}, the number of names")
    labels = [short(name) for name in names]
    if len(set(labels)) < len(labels):
        labels = [f"{number}: {label}" for number, label in enumerate(labels)]
    return kinds, labels


def _shares(layer: Routing, kinds: NDArray[Any], count: int) -> Values:
    """Return shares in percent [classes, experts], NaN for a class without rows."""
    counted = kinds >= 0
    used = np.zeros((count, layer.active.shape[1]))
    np.add.at(used, kinds[counted], layer.active[counted])
    rows = np.bincount(kinds[counted], minlength=count).astype(float)
    rows[rows == 0] = np.nan
    return np.asarray(100 * used / rows[:, np.newaxis])


def _draw_classes(
    panels: Panels, index: int, shares: Values, norm: Any, names: Sequence[str]
) -> Any:
    axes = panels.axes[index]
    image = draw_map(axes, shares, norm, names=names)
    axes.tick_params(axis="y", labelsize=9 if len(names) <= 12 else 7.5)
    panel_title(axes, f"Layer {index}: {experts_text(shares.shape[1])}")
    if panels.lowest(index):
        axes.set_xlabel("expert")
    if panels.leftmost(index):
        axes.set_ylabel("class")
    else:
        axes.tick_params(labelleft=False)
    return image


def _draw_scatter(axes: Any, k: NDArray[np.int64], entropy: Values, bins: int) -> None:
    """Draw rows as points, and mean and standard deviation of K in bins of entropy."""
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if not len(k):
        say_empty(axes, "no rows")
        return
    some = slice(None, None, -(-len(k) // _MOST_POINTS))
    moved = k[some] + np.random.default_rng(0).uniform(-0.2, 0.2, len(k[some]))
    axes.scatter(entropy[some], moved, s=5, color=COLOURS[4], alpha=0.35, linewidths=0)
    middle, mean, spread = binned(entropy, k, bins)
    axes.errorbar(
        middle, mean, spread, fmt="-o", color=INK, markersize=3.5, linewidth=1.4, elinewidth=1,
        capsize=2,
    )  # fmt: skip


def binned(entropy: Values, k: NDArray[np.int64], bins: int) -> tuple[Values, Values, Values]:
    """Return mean entropy, mean K and standard deviation of K of bins of equally many rows."""
    edges = np.unique(np.quantile(entropy, np.linspace(0, 1, min(bins, len(k)) + 1)))
    place = np.searchsorted(edges[1:-1], entropy, side="right")
    chosen = [np.flatnonzero(place == index) for index in np.unique(place)]
    middle = [entropy[rows].mean() for rows in chosen]
    mean = [k[rows].mean() for rows in chosen]
    spread = [k[rows].std() for rows in chosen]
    return np.array(middle), np.array(mean), np.array(spread)
