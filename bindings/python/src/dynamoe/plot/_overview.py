"""The figure of a whole training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._routing import MOST_HISTOGRAMS, draw_k_map, draw_k_panels, draw_load, statistics_of
from ._style import new_figure, style
from ._training import draw_accuracy, draw_loss, draw_mean_k, require_epochs

if TYPE_CHECKING:
    from ..history import History
    from ._routing import Source


def overview(source: Source, training: History, title: str | None = None) -> Any:
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
        When `source` is not as in `k_histogram`, or `training` no history with a finished epoch.
    """
    with style() as matplotlib:
        require_epochs(training)
        layers = statistics_of(source)
        figure = new_figure((12, 7.4))
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
        if title:
            figure.suptitle(title, x=0.012, ha="left", weight="bold", size=14)
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1), hspace=0.04)
        curves = top.subplots(1, 3 if training.accuracy else 2)
        draw_loss(matplotlib, curves[0], training)
        if training.accuracy:
            draw_accuracy(matplotlib, curves[1], training)
        draw_mean_k(matplotlib, curves[-1], training)
        left, right = bottom.subfigures(1, 2, width_ratios=(1.25, 1), wspace=0.03)
        if len(layers) <= MOST_HISTOGRAMS:
            draw_k_panels(matplotlib, left, layers)
        else:
            draw_k_map(left.subplots(), layers)
        draw_load(right.subplots(), layers)
    return figure
