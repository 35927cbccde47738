"""Schedules: experts per layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._library import check, integer, library, number, text

_MOST_LAYERS = 2**20


def schedule(
    name: str,
    layers: int,
    minimum: int = 1,
    maximum: int | None = None,
    total: int | None = None,
    cycles: float = 2,
) -> NDArray[np.int64]:
    r"""Return the number of experts of each layer.

    With :math:`t = l / (L - 1)` (0 for one layer) and the shape :math:`s(t)` between 0 and 1,

    .. math:: N_l = minimum + round((maximum - minimum) \cdot s(t))

    where halves are rounded up. The shapes are ``uniform`` 1, ``descending`` 1 - t, ``ascending``
    t, ``pyramid`` 1 - abs(2t - 1), ``valley`` abs(2t - 1), ``wave`` (1 + cos(2 pi cycles t)) / 2
    and ``inverse_wave`` 1 - wave.

    Parameters
    ----------
    name : str
        The shape.
    layers : int
        L, at least 1.
    minimum : int, default 1
        Smallest number of experts, at least 1.
    maximum : int
        Largest number of experts, at least `minimum`.
    total : int, optional
        The same shape scaled so that the counts sum to `total` exactly: schedules become
        comparable at equal parameters. At least `layers`.
    cycles : float, default 2
        Periods of the waves; without effect on the other shapes.

    Returns
    -------
    numpy.ndarray
        int64 [layers].

    Raises
    ------
    ValueError
        For an unknown name or a number outside its bounds.

    Examples
    --------
    >>> schedule("descending", layers=4, minimum=2, maximum=8)
    array([8, 6, 4, 2])
    """
    shape = text(name, "name")
    if maximum is None:
        raise ValueError("maximum: missing, allowed is an integer of at least minimum")
    layer_count = integer(layers, "layers", 1, _MOST_LAYERS)
    lowest = integer(minimum, "minimum", 1)
    highest = integer(maximum, "maximum", 1)
    exact_sum = 0 if total is None else integer(total, "total", 1)
    counts = np.zeros(layer_count, np.int64)
    arguments: tuple[Any, ...] = (layer_count, lowest, highest, number(cycles, "cycles"), exact_sum)
    check(library.dynamoe_schedule_counts(shape, *arguments, counts.ctypes.data, counts.size))
    return counts
