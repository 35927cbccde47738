"""The one style of all figures: colours, fonts, sizes, panels and heat maps."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

INK = "#222222"
GREY = "#8a8a8a"
GRID = "#e6e6e6"
PALE = "#f3f3f3"
# Okabe and Ito (2008), in an order whose neighbours differ in lightness as well.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
# Nuñez, Anderton and Renslow (2018): even in lightness, the same to people who see no red or green.
COLOUR_MAP = "cividis"
WIDTH = 10.0
"""Inches that a notebook shows without shrinking the text much."""
DPI = 120
MOST_COLUMNS = 4
_SMALL = 8
_FEW_COLUMNS = 16
_LONGEST_NAME = 24
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

Values = NDArray[np.float64]


def matplotlib_module() -> Any:
    """Return pyplot-free matplotlib, or say which extra is missing."""
    try:
        import matplotlib
        import matplotlib.figure
        import matplotlib.ticker
    except ImportError as error:
        raise ImportError(
            "dynamoe.plot needs matplotlib: install it with `pip install 'dynamoe[plot]'`"
        ) from error
    return matplotlib


@contextmanager
def style() -> Iterator[Any]:
    """Give matplotlib, set to the common style."""
    matplotlib = matplotlib_module()
    with matplotlib.rc_context(_STYLE):
        yield matplotlib


def new_figure(size: tuple[float, float]) -> Any:
    """Return a figure that a notebook shows once, `pyplot.show` knows, and scripts can save."""
    if "matplotlib.pyplot" in sys.modules and "ipykernel" not in sys.modules:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size, dpi=DPI, layout="constrained")

    class Figure(matplotlib_module().figure.Figure):  # type: ignore[misc]
        """A figure that shows itself in notebooks, whatever the backend."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return Figure(figsize=size, dpi=DPI, layout="constrained")


def figure_and_axes(axes: Any, size: tuple[float, float]) -> tuple[Any, Any]:
    """Return the given axes with their figure, or those of a new figure."""
    if axes is not None:
        return axes.figure, axes
    figure = new_figure(size)
    return figure, figure.subplots()


# --------------------------------------------------------------------------------------- panels


@dataclass(frozen=True)
class Panels:
    """One axes per layer, and where each stands."""

    figure: Any
    axes: list[Any]
    columns: int
    """0 where the caller chose the axes: then each is labelled."""

    def leftmost(self, index: int) -> bool:
        """Return whether a panel has none to its left."""
        return not self.columns or index % self.columns == 0

    def lowest(self, index: int) -> bool:
        """Return whether a panel has none below."""
        return not self.columns or index + self.columns >= len(self.axes)


def column_count(panels: int) -> int:
    """Return how many panels stand side by side."""
    return 3 if panels in (5, 6, 9) else min(panels, MOST_COLUMNS)


def layer_panels(
    count: int, axes: Any, height: float, *, title: str, widest: float = 4.4, **shared: Any
) -> Panels:
    """Return axes for `count` layers: those given, or a new figure with a title.

    Parameters
    ----------
    count : int
        Layers.
    axes : matplotlib axes or sequence of them, or None
        As many as layers.
    height : float
        Inches of a panel.
    title : str
        Above all panels of a new figure.
    widest : float
        Inches that a panel has at most.
    **shared
        For `Figure.subplots`.
    """
    if axes is not None:
        given = list(np.ravel(np.array(axes, dtype=object)))
        if len(given) != count:
            raise ValueError(f"axes: got {len(given)}, allowed is one for each of {count} layers")
        return Panels(given[0].figure, given, 0)
    columns = column_count(count)
    lines = -(-count // columns)
    figure = new_figure((min(WIDTH, widest * columns + 1), height * lines + 0.6))
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    all_axes = list(figure.subplots(lines, columns, squeeze=False, **shared).flat)
    for unused in all_axes[count:]:
        unused.set_visible(False)
    if columns > 2:
        for each in all_axes:
            each.tick_params(labelsize=_SMALL)
    return Panels(figure, all_axes[:count], columns)


def panel_title(axes: Any, text: str) -> None:
    """Write what one of several panels shows."""
    axes.set_title(text, fontsize=9, fontweight="normal")


def experts_text(count: int) -> str:
    """Return the words for a number of experts."""
    return f"{count} expert" if count == 1 else f"{count} experts"


def say_empty(axes: Any, text: str) -> None:
    """Say in the middle of axes why nothing is drawn."""
    axes.set_facecolor(PALE)
    place = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, text, color=INK, size=9, **place)


def short(name: Any) -> str:
    """Return a name that is short enough to stand beside an axis: its middle may be left out."""
    text = " ".join(str(name).split())
    if len(text) <= _LONGEST_NAME:
        return text
    half = (_LONGEST_NAME - 1) // 2
    return f"{text[: half + 1].rstrip()}…{text[-half:].lstrip()}"


# ------------------------------------------------------------------------------------ heat maps


def scale(shares: Sequence[Values]) -> Any:
    """Return the common scale of maps of percentages, from 0 to a round number.

    Of many columns most shares are small: their scale is that of square roots.
    """
    import matplotlib.colors

    largest = max((float(np.nanmax(s)) for s in shares if not np.isnan(s).all()), default=100.0)
    end = next((end for end in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0) if largest <= end), 100.0)
    if max(s.shape[1] for s in shares) > _FEW_COLUMNS:
        return matplotlib.colors.PowerNorm(0.5, 0, end)
    return matplotlib.colors.Normalize(0, end)


def draw_map(axes: Any, shares: Values, norm: Any, *, names: Sequence[str] | None = None) -> Any:
    """Draw shares in percent [lines, columns] as a map and return its image.

    Places that are NaN stay white: there is nothing of which a share could be.

    Parameters
    ----------
    axes : matplotlib axes
        Where to draw.
    shares : numpy.ndarray
        float64 [lines, columns].
    norm : matplotlib.colors.Normalize
        What `scale` returned.
    names : sequence of str, optional
        Of the lines, each of which is named then; without it they count from 0, as columns do.
    """
    lines, columns = shares.shape
    image = axes.imshow(
        np.ma.masked_invalid(shares), cmap=COLOUR_MAP, norm=norm, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_xticks(_tick_places(columns))
    if names is None:
        axes.set_yticks(_tick_places(lines))
    else:
        axes.set_yticks(range(lines), names)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _separate(axes, lines, columns)
    if columns <= 12 and lines <= 12:
        _write_values(axes, shares, norm)
    return image


def _tick_places(count: int) -> list[int]:
    """Return 0 and the round ones of the numbers below `count`."""
    steps = (5, 10, 20, 50, 100, 200, 500)
    step = 1 if count <= 12 else next((step for step in steps if count <= 7 * step), count)
    return list(range(0, count, step))


def _separate(axes: Any, lines: int, columns: int) -> None:
    """Draw thin white lines between cells that are large enough to have them."""
    for axis, name, count in ((axes.xaxis, "x", columns), (axes.yaxis, "y", lines)):
        width = 1.5 if count <= _FEW_COLUMNS else 0.5
        if count <= 2 * _FEW_COLUMNS:
            axis.set_ticks(np.arange(count + 1) - 0.5, minor=True)
            axes.grid(which="minor", axis=name, color="white", linewidth=width)
    axes.tick_params(which="minor", length=0)


def _write_values(axes: Any, shares: Values, norm: Any) -> None:
    for (line, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            text = "<1" if 0 < share < 0.5 else f"{share:.0f}"
            colour = "white" if norm(share) < 0.5 else "black"
            place = {"ha": "center", "va": "center", "color": colour, "size": _SMALL}
            axes.text(column, line, text, **place)


def add_scale(figure: Any, image: Any, axes: Any, label: str) -> None:
    """Add the colour bar of a map, or of several with the same scale."""
    height = figure.bbox.height / figure.dpi
    part = 4.0 / height if isinstance(axes, list) and height > 4 else 1.0
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=25, shrink=part)
    bar.set_label(label)
    bar.outline.set_visible(False)
