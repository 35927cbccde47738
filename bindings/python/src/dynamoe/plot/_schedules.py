"""The figure of schedules: experts per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._arrays import as_array
from ._style import COLOURS, column_count, experts_text, new_figure, short, style


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
    with style() as matplotlib:
        if not isinstance(schedules, Mapping):
            counts = {"": _counts("schedules", schedules)}
        elif schedules:
            counts = {
                str(name): _counts(f"schedules[{name!r}]", value)
                for name, value in schedules.items()
            }
        else:
            raise ValueError("schedules: got none, allowed is at least one")
        if axes is not None:
            figure = axes.figure
            panels = [axes]
        else:
            columns = column_count(len(counts))
            lines = -(-len(counts) // columns)
            figure = new_figure((2.9 * columns + 0.4, 2.5 * lines + 0.3))
            panels = list(
                figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
            )
        _draw(matplotlib, panels, counts)
    return figure


def _counts(name: str, value: Any) -> Any:
    counts = as_array(value, name)
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or counts.min() < 1:
        more = ", or a dict of such lists" if name == "schedules" else ""
        raise ValueError(
            f"{name}: got {value!r}, allowed is a list of positive integers, one per layer{more}"
        )
    return counts


def _draw(matplotlib: Any, panels: Sequence[Any], counts: Mapping[str, Any]) -> None:
    """Draw counts per layer, each in a panel of its own or all in one."""
    shared = len(panels) == 1 and len(counts) > 1
    width = 0.85 / len(counts) if shared else 0.85
    for index, (name, values) in enumerate(counts.items()):
        axes = panels[0] if shared else panels[index]
        offset = (index - (len(counts) - 1) / 2) * width if shared else 0.0
        places = np.arange(len(values)) + offset
        colour = COLOURS[index % len(COLOURS)]
        bars = axes.bar(places, values, width=width, color=colour, label=short(name))
        if not shared:
            if len(values) <= 16:
                axes.bar_label(bars, fontsize=8)
            between = "\n" if len(short(name)) > 14 else " "
            axes.set_title(f"{short(name)}{between}({experts_text(values.sum())})".strip())
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
        # Room above the bars, which otherwise cross the names.
        panels[0].set_ylim(top=(1.15 + 0.1 * -(-len(counts) // 4)) * max(map(max, counts.values())))
        panels[0].legend(frameon=False, ncols=4, loc="upper left", fontsize=9)
        panels[0].set_title("Experts of each layer")
