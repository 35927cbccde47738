"""What the scikit-learn estimators do to rows before a model sees them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from ._arrays import FloatArray, floats
from .data import stratified_split

Array = NDArray[Any]


def checked_weights(sample_weight: Any, rows: int) -> Array | None:
    """Return weights as float64 [rows], or None.

    Raises
    ------
    ValueError
        For a wrong shape, a weight that is negative or not finite, and weights that are all zero.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(
        check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    )
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight: got shape {weights.shape}, allowed is ({rows},)")
    if weights.min() < 0:
        raise ValueError(f"sample_weight: got {weights.min()}, allowed is at least 0")
    if not weights.any():
        raise ValueError("sample_weight: all weights are zero, allowed is at least one above 0")
    return weights


@dataclass(frozen=True)
class Rows:
    """Rows as a model takes them."""

    x: FloatArray
    targets: Array
    weights: FloatArray | None

    @classmethod
    def counted(cls, x: FloatArray, targets: Array, weights: Array | None) -> Rows:
        """Return rows without those of weight 0, which would take part in the routing.

        Weights get the mean 1, whatever their unit, so that float32 holds them.
        """
        if weights is None:
            return cls(x, targets, None)
        some = weights > 0
        scaled = weights[some] / weights[some].mean()
        return cls(x[some], targets[some], scaled.astype(np.float32))

    def part(self, chosen: Array) -> Rows:
        """Return the rows where `chosen`, bool [T], is true."""
        weights = None if self.weights is None else self.weights[chosen]
        return Rows(self.x[chosen], self.targets[chosen], weights)

    def __len__(self) -> int:
        return len(self.x)


def _varies(scaler: StandardScaler) -> Array:
    """Return which columns had more than one value.

    `StandardScaler` replaces the standard deviation of the others by 1; of those that vary it is
    the root of the variance, to the bit.
    """
    return np.asarray(scaler.scale_ == np.sqrt(scaler.var_))


def fitted_scaler(
    known: StandardScaler | None,
    values: Array,
    weights: Array | None,
    name: str,
    columns: Sequence[Any] | None,
) -> StandardScaler:
    """Return mean and scale of `values`, and of those that `known` knows.

    Warns of columns that vary, but by too little to be scaled: these are ignored as constant ones
    are. `name` and the names of its `columns` are for messages.

    Raises
    ------
    ValueError
        For columns whose mean or variance float64 does not hold.
    """
    # A copy, so that a call that fails later changes nothing.
    scaler = StandardScaler() if known is None else deepcopy(known)
    wide = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        scaler.partial_fit(wide, sample_weight=weights)
    beyond = ~(np.isfinite(scaler.mean_) & np.isfinite(scaler.var_))
    if beyond.any():
        raise ValueError(
            f"{name}: got numbers up to {np.abs(wide[:, beyond]).max():.3g} in "
            f"{_column_text(beyond, columns)}, whose variance is beyond float64, allowed are "
            "numbers up to about 1e150: divide them first"
        )
    counted = wide if weights is None else wide[weights > 0]
    lost = ~_varies(scaler) & (counted.max(axis=0) > counted.min(axis=0))
    if lost.any():
        warnings.warn(
            f"{name}: {_column_text(lost, columns)} varies by too little, for its mean or for "
            "float64, to be scaled, and is ignored: subtract an offset or multiply it first",
            stacklevel=4,
        )
    return scaler


def _column_text(chosen: Array, names: Sequence[Any] | None) -> str:
    """Return the words for some columns: up to five of their names, or numbers from 0."""
    places = np.flatnonzero(chosen).tolist()
    first = ", ".join(str(place) if names is None else repr(names[place]) for place in places[:5])
    return f"column {first}" + (f" and {len(places) - 5} more" if len(places) > 5 else "")


def standardized(scaler: StandardScaler | None, x: Array, name: str = "X") -> FloatArray:
    """Return (x - mean) / standard deviation in float32, 0 for columns that never varied."""
    if scaler is None:
        return floats(x, name)
    # In float64, so that a large offset does not swallow the differences.
    values = scaler.transform(x.astype(np.float64))
    values[:, ~_varies(scaler)] = 0
    return floats(values, f"standardised {name}")


def restored(scaler: StandardScaler | None, values: Array) -> Array:
    """Return standardised values in their own units, float64."""
    wide = values.astype(np.float64)
    if scaler is None:
        return wide
    return np.asarray(wide * np.where(_varies(scaler), scaler.scale_, 0) + scaler.mean_)


def held_out_rows(targets: Array, share: float, seed: int, classes: bool) -> Array:
    """Return which rows are held out, bool [T]: the same share of each class where it can be."""
    count = len(targets)
    if count < 2:
        raise ValueError(
            f"early_stopping: got {count} row, allowed are at least 2, one of which is held out"
        )
    chosen = np.zeros(count, bool)
    if classes:
        chosen[stratified_split(np.arange(count), targets, share, seed)[2]] = True
    if not chosen.any() or chosen.all():
        generator = np.random.Generator(np.random.PCG64(seed))
        size = min(max(round(count * share), 1), count - 1)
        chosen[:] = False
        chosen[generator.permutation(count)[:size]] = True
    return chosen


def batch_rows(batch_size: Any, rows: int) -> Any:
    """Return the rows of a batch: ``"auto"`` is settled, anything else left to `Model.fit`.

    Automatic are 8 to 128 rows, a sixteenth of all, then evened out so that the last batch of an
    epoch is hardly smaller than the others.
    """
    if not isinstance(batch_size, str):
        return batch_size
    if batch_size != "auto":
        raise ValueError(f"batch_size: got {batch_size!r}, allowed is 'auto' or an integer")
    wished = min(max(rows // 16, 8), 128)
    return -(-rows // -(-rows // wished))
