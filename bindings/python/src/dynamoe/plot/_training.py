"""Figures of a training: curves over epochs, accuracy over K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._arrays import as_array
from .._library import number
from ..history import History
from ._style import COLOURS, GRID, INK, figure_and_axes, new_figure, style


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
        When `training` is no history, or one without a finished epoch.
    """
    with style() as matplotlib:
        require_epochs(training)
        if axes is not None or not training.accuracy:
            figure, axes = figure_and_axes(axes, (6, 3.6))
            draw_loss(matplotlib, axes, training)
            return figure
        figure = new_figure((10, 3.6))
        left, right = figure.subplots(1, 2)
        draw_loss(matplotlib, left, training)
        draw_accuracy(matplotlib, right, training)
    return figure


def accuracy_against_k(
    points: Any, trained_at: float | None = None, title: str | None = None, axes: Any = None
) -> Any:
    """Draw the accuracy that a network reaches at several mean K, from one [n, 2] array of both.

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
    with style():
        values = _points(points)
        marked = None if trained_at is None else number(trained_at, "trained_at")
        if marked is not None and not 0 <= marked < float("inf"):
            raise ValueError(f"trained_at: got {marked}, allowed is a finite number of at least 0")
        figure, axes = figure_and_axes(axes, (6, 3.6))
        _draw_knob(axes, values, marked, title or "Accuracy against K")
    return figure


def require_epochs(training: History) -> None:
    """Refuse what is no history, and one in which there is nothing to draw."""
    if not isinstance(training, History):
        raise ValueError(
            f"training: got {training!r}, allowed is what Model.fit returned, a History"
        )
    if not training.epochs:
        raise ValueError("training: got no finished epoch, allowed is at least one")


def draw_curves(matplotlib: Any, axes: Any, curves: Mapping[str, Sequence[float]]) -> None:
    """Draw named curves over epochs."""
    for index, (name, values) in enumerate(curves.items()):
        epochs = np.arange(1, len(values) + 1)
        line = ("-", "--", "-.", ":")[index % 4]
        marker = "o" if len(values) <= 12 else None
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(epochs, values, line, color=colour, marker=marker, markersize=4, label=name)
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, max(map(len, curves.values())) + 0.5)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if len(curves) > 1:
        axes.legend(frameon=False, ncols=2 if len(curves) > 4 else 1)


def draw_loss(matplotlib: Any, axes: Any, training: History) -> None:
    """Draw the task loss of training and validation."""
    curves = {"training": training.loss}
    if training.validation:
        curves["validation"] = [result["loss"] for result in training.validation]
    draw_curves(matplotlib, axes, curves)
    lowest = min(min(values) for values in curves.values())
    if lowest > 0:
        axes.set_yscale("log")
        ratio = max(max(values) for values in curves.values()) / lowest
        marks = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 10 else (1, 2, 5) if ratio < 1000 else (1,)
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=marks, numticks=10))
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
    lowest = np.nanmin(np.concatenate(list(curves.values())))
    axes.set_ylim(bottom=max(0.0, lowest - 3), top=100.5)
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy")
    if training.validation and np.isfinite(curves["validation"][-1]):
        axes.set_title(f"Accuracy: {curves['validation'][-1]:.1f} % in validation")


def draw_mean_k(matplotlib: Any, axes: Any, training: History) -> None:
    """Draw the mean K of each layer over epochs."""
    by_layer = np.array(training.mean_k).T
    curves = {f"layer {index}": list(values) for index, values in enumerate(by_layer)}
    if len(curves) > len(COLOURS):
        curves = {"all layers": list(by_layer.mean(axis=0))}
    draw_curves(matplotlib, axes, curves)
    axes.set_ylim(bottom=0, top=max(1.3 * float(by_layer.max()), 1))
    axes.set_ylabel("experts per row")
    axes.set_title("Mean K in training")


def _draw_knob(axes: Any, points: Any, trained_at: float | None, title: str) -> None:
    """Draw accuracy over the mean K; `points` are [n, 2], sorted by K."""
    mean_k, accuracy = points[:, 0], 100 * points[:, 1]
    axes.plot(mean_k, accuracy, "-o", color=COLOURS[0], markersize=4, label="calibrated")
    if trained_at is not None:
        axes.axvline(trained_at, color=INK, linewidth=1, linestyle=":", label="trained at this K")
        axes.legend(frameon=False)
    axes.set_xlim(left=0)
    axes.set_xlabel("mean K, experts used by a row")
    axes.set_ylabel("accuracy (%)")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title)


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
