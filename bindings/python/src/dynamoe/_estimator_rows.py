"""What the scikit-learn estimators do to rows before a model sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from ._arrays import FloatArray
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


def standardized(scaler: StandardScaler | None, x: Array) -> FloatArray:
    """Return (x - mean) / standard deviation in float32, 0 for columns that never varied."""
    if scaler is None:
        return np.ascontiguousarray(x, np.float32)
    # In float64, so that a large offset does not swallow the differences.
    values = scaler.transform(x.astype(np.float64))
    values[:, ~_varies(scaler)] = 0
    return np.asarray(values, np.float32)


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
