"""Figures of trainings and routing. Needs matplotlib (``pip install 'dynamoe[plot]'``).

Every function draws into `axes` if given, otherwise into a new figure, and returns the figure.
Colours are told apart by people who see no red or no green, and in grey.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _drawing
from ._arrays import as_array
from ._library import number

if TYPE_CHECKING:
    from .history import History
    from .model import Model
    from .statistics import RoutingStatistics

_MOST_PANELS = 6
_DPI = 120
_GREY = "#8a8a8a"
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": _drawing.INK,
    "axes.edgecolor": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _drawing.INK,
    "ytick.color": _drawing.INK,
    "text.color": _drawing.INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def _matplotlib() -> Any:
    """Return pyplot-free matplotlib parts, or say which extra is missing."""
    try:
        import matplotlib
        import matplotlib.figure
        import matplotlib.ticker
    except ImportError as error:
        raise ImportError(
            "dynamoe.plot needs matplotlib: install it with `pip install 'dynamoe[plot]'`"
        ) from error
    return matplotlib


def _figure(axes: Any, size: tuple[float, float]) -> tuple[Any, Any]:
    """Return (figure, axes): the given axes, or one in a new figure."""
    if axes is not None:
        return axes.figure, axes
    matplotlib = _matplotlib()
    figure = _new_figure(matplotlib, size)
    return figure, figure.subplots()


def _new_figure(matplotlib: Any, size: tuple[float, float]) -> Any:
    """Return a figure that a notebook shows once, `pyplot.show` knows, and scripts can save."""
    if "matplotlib.pyplot" in sys.modules and "ipykernel" not in sys.modules:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, dpi=_DPI, layout="constrained")

    class Figure(matplotlib.figure.Figure):  # type: ignore[misc]
        """A figure that shows itself in notebooks, whatever the backend."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return Figure(figsize=size, dpi=_DPI, layout="constrained")


def history(training: History, axes: Any = None) -> Any:
    """Draw the loss of training and validation over epochs; accuracy too in a new figure.

    Parameters
    ----------
    training : History
        What `Model.fit` returned, with at least one epoch.
    axes : matplotlib axes, optional
        Where to draw the loss, alone.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        For a history without a finished epoch.
    """
    matplotlib = _matplotlib()
    _require_epochs(training)
    with matplotlib.rc_context(_STYLE):
        if axes is not None:
            _drawing.draw_loss(matplotlib, axes, training)
            return axes.figure
        if not training.accuracy:
            figure, axes = _figure(None, (6, 3.6))
            _drawing.draw_loss(matplotlib, axes, training)
            return figure
        figure = _new_figure(matplotlib, (10, 3.6))
        left, right = figure.subplots(1, 2)
        _drawing.draw_loss(matplotlib, left, training)
        _drawing.draw_accuracy(matplotlib, right, training)
    return figure


def k_histogram(source: Model | Sequence[RoutingStatistics], axes: Any = None) -> Any:
    """Draw how many experts the rows of each layer used.

    Parameters
    ----------
    source : Model or list of RoutingStatistics
        A model, whose statistics since the last reset are taken, or what `routing_stats` returned.
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
    """
    matplotlib = _matplotlib()
    layers = _layers(source)
    with matplotlib.rc_context(_STYLE):
        if axes is not None or len(layers) > _MOST_PANELS:
            figure, axes = _figure(axes, (6, 0.4 * len(layers) + 1.8))
            _drawing.draw_k_map(matplotlib, axes, layers)
            return figure
        figure = _new_figure(matplotlib, (2.4 * len(layers) + 1, 2.8))
        _drawing.draw_k_panels(matplotlib, figure, layers)
    return figure


def expert_load(source: Model | Sequence[RoutingStatistics], axes: Any = None) -> Any:
    """Draw the share of rows that used each expert, as a map layers x experts.

    Parameters
    ----------
    source : Model or list of RoutingStatistics
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
    """
    matplotlib = _matplotlib()
    layers = _layers(source)
    with matplotlib.rc_context(_STYLE):
        size = (0.5 * max(layer.experts for layer in layers) + 2.4, 0.5 * len(layers) + 1.8)
        figure, axes = _figure(axes, size)
        _drawing.draw_load(matplotlib, axes, layers)
    return figure


def experts(schedules: Mapping[str, Any] | Any, axes: Any = None) -> Any:
    """Draw the experts of each layer of one or several schedules side by side.

    Parameters
    ----------
    schedules : dict of str to array, or one array
        Counts per layer, as `dynamoe.schedule` returns them, by name.
    axes : matplotlib axes, optional
        Where to draw; in place of one panel per schedule.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        When the counts of a schedule are not a list of positive integers.

    Examples
    --------
    >>> names = ["descending", "pyramid", "wave"]
    >>> experts({name: dm.schedule(name, layers=6, minimum=2, maximum=8) for name in names})
    """
    matplotlib = _matplotlib()
    named = schedules if isinstance(schedules, Mapping) else {"": schedules}
    if not named:
        raise ValueError("schedules: got none, allowed is at least one")
    counts = {str(name): _counts(str(name), value) for name, value in named.items()}
    with matplotlib.rc_context(_STYLE):
        if axes is not None:
            figure = axes.figure
            panels = [axes]
        else:
            columns = _drawing.column_count(len(counts))
            rows = -(-len(counts) // columns)
            figure = _new_figure(matplotlib, (2.9 * columns + 0.4, 2.5 * rows + 0.3))
            panels = list(
                figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
            )
        _drawing.draw_schedules(matplotlib, panels, counts)
    return figure


def accuracy_against_k(
    points: Any, trained_at: float | None = None, title: str | None = None, axes: Any = None
) -> Any:
    """Draw the accuracy that a network reaches at several mean K.

    Parameters
    ----------
    points : array
        [n, 2], n at least 1: mean K and accuracy (0 to 1, as `Model.evaluate` returns it) of each
        evaluation, such as those after `Model.calibrate` with several `target_active`; in any
        order.
    trained_at : float, optional
        The mean K of the training, marked by a line.
    title : str, optional
        In place of "Accuracy against K".
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
        When the points are not [n, 2], not finite, a K is below 0 or an accuracy outside 0 to 1;
        when `trained_at` is below 0 or not finite.

    Examples
    --------
    >>> points = []
    >>> for target in (1, 2, 4):
    ...     model.calibrate(x_held_back, target_active=target)
    ...     result = model.evaluate(x_test, y_test)
    ...     points.append((result["mean_k"].mean(), result["accuracy"]))
    >>> accuracy_against_k(points, trained_at=2)
    """
    matplotlib = _matplotlib()
    values = _points(points)
    marked = None if trained_at is None else number(trained_at, "trained_at")
    if marked is not None and not 0 <= marked < float("inf"):
        raise ValueError(f"trained_at: got {marked}, allowed is a finite number of at least 0")
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(axes, (6, 3.6))
        _drawing.draw_knob(axes, values, marked, title or "Accuracy against K")
    return figure


def overview(
    source: Model | Sequence[RoutingStatistics], training: History, title: str | None = None
) -> Any:
    """Draw one figure of a training: curves, K histograms and expert load.

    Parameters
    ----------
    source : Model or list of RoutingStatistics
        As in `k_histogram`; reset the statistics and evaluate the rows of interest before.
    training : History
        What `Model.fit` returned, with at least one epoch.
    title : str, optional
        Written above everything.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        For a history without a finished epoch.
    """
    matplotlib = _matplotlib()
    _require_epochs(training)
    layers = _layers(source)
    with matplotlib.rc_context(_STYLE):
        figure = _new_figure(matplotlib, (12, 7.4))
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
        if title:
            figure.suptitle(title, x=0.012, ha="left", weight="bold", size=14)
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1), hspace=0.04)
        curves = top.subplots(1, 3 if training.accuracy else 2)
        _drawing.draw_loss(matplotlib, curves[0], training)
        if training.accuracy:
            _drawing.draw_accuracy(matplotlib, curves[1], training)
        _drawing.draw_mean_k(matplotlib, curves[-1], training)
        left, right = bottom.subfigures(1, 2, width_ratios=(1.25, 1), wspace=0.03)
        if len(layers) <= _MOST_PANELS:
            _drawing.draw_k_panels(matplotlib, left, layers)
        else:
            _drawing.draw_k_map(matplotlib, left.subplots(), layers)
        _drawing.draw_load(matplotlib, right.subplots(), layers)
    return figure


def _require_epochs(training: History) -> None:
    if not training.epochs:
        raise ValueError("history: got no finished epoch, allowed is at least one")


def _layers(source: Any) -> Sequence[RoutingStatistics]:
    return list(source.routing_stats() if hasattr(source, "routing_stats") else source)


def _counts(name: str, value: Any) -> Any:
    counts = as_array(value, f"schedules[{name!r}]")
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or counts.min() < 1:
        raise ValueError(f"schedules[{name!r}]: got {value!r}, allowed are positive integers")
    return counts


def _points(value: Any) -> Any:
    points = as_array(value, "points")
    shape = points.shape
    if len(shape) != 2 or shape[1] != 2 or shape[0] < 1 or points.dtype.kind not in "fiu":
        raise ValueError(
            f"points: got {points.dtype} of shape {shape}, allowed are numbers [n, 2], n at least 1"
        )
    points = points.astype(float)
    if not np.isfinite(points).all():
        raise ValueError("points: got NaN or infinity, allowed are finite numbers")
    if points.min() < 0 or points[:, 1].max() > 1:
        raise ValueError(
            f"points: got {points.min()} to {points[:, 1].max()}, allowed are a mean K of at least "
            "0 and an accuracy of 0 to 1"
        )
    return points[points[:, 0].argsort(kind="stable")]
