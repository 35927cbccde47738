"""When the training of a scikit-learn estimator is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import FloatArray
from ._estimator_rows import Array, Rows
from ._library import integer, number

if TYPE_CHECKING:
    from .history import History
    from .model import Model

_CHUNK_ROWS = 4096


def logits(model: Model, x: FloatArray) -> FloatArray:
    """Return the logits of any number of rows in bounded scratch memory, float32 [T, C]."""
    starts = range(0, max(len(x), 1), _CHUNK_ROWS)
    return np.concatenate([model.forward(x[start : start + _CHUNK_ROWS]) for start in starts])


def log_softmax(values: Array) -> Array:
    """Return log softmax over the last axis, float64."""
    wide = values.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


class Stopping:
    """A callback of `Model.fit` that ends the training when the loss no longer falls.

    Parameters
    ----------
    patience : int
        Epochs without an improvement of more than `tol` before the end.
    tol : float
        Smallest fall of the loss that counts.
    held_out : Rows, optional
        Rows whose mean task loss is watched, and whose best parameters are kept; without them the
        training loss is watched and nothing kept.
    """

    def __init__(self, patience: Any, tol: Any, held_out: Rows | None) -> None:
        self.patience = integer(patience, "n_iter_no_change", 1)
        self.tol = number(tol, "tol")
        if not self.tol >= 0:
            raise ValueError(f"tol: got {self.tol}, allowed is at least 0")
        self.held_out = held_out
        self.best = float("inf")
        self.best_epoch = 0
        self._waited = 0
        self._kept: list[dict[str, FloatArray]] = []

    def __call__(self, model: Model, history: History) -> bool:
        loss = self._loss(model, history)
        self._waited = 0 if loss < self.best - self.tol else self._waited + 1
        if loss < self.best:
            self.best, self.best_epoch = loss, history.epochs
            if self.held_out is not None:
                self._kept = [
                    {name: np.array(values) for name, values in tensors.items()}
                    for tensors in (model.parameters, model.buffers)
                ]
        return self._waited >= self.patience

    def _loss(self, model: Model, history: History) -> float:
        if self.held_out is None:
            return history.loss[-1]
        rows = self.held_out
        if rows.weights is None:
            return float(history.validation[-1]["loss"])
        output = logits(model, rows.x)
        if model.task == "regression":
            losses = np.square(output.astype(np.float64) - rows.targets).mean(axis=1)
        else:
            chosen = np.take_along_axis(log_softmax(output), rows.targets[:, None], axis=1)
            losses = -chosen[:, 0]
        return float(np.average(losses, weights=rows.weights))

    def restore(self, model: Model) -> None:
        """Put the best parameters and thresholds back into `model`, if any were kept."""
        for kept, tensors in zip(self._kept, (model.parameters, model.buffers), strict=False):
            for name, values in kept.items():
                tensors[name] = values
