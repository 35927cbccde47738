"""What models and sessions do with rows without training: logits, predictions, evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import byref, sizeof
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from . import _signatures as c
from ._arrays import FloatArray, IntArray, address
from ._library import check
from ._rows import RowReader
from .routed import Routed, joined
from .statistics import Routing

METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "language_model": ("accuracy", "perplexity"),
    "regression": ("r2",),
}


class Inference(Routed):
    """The part of `Model` that a `Session` has too. Not made by itself."""

    _reader: RowReader

    @property
    def task(self) -> str:
        """``"classification"``, ``"language_model"`` or ``"regression"``."""
        return self._reader.task

    # ----------------------------------------------------------------------------- forward

    def _call(self, verb: str, rows: FloatArray | IntArray, *rest: Any) -> None:
        """Call the feature or the token form of a function."""
        handle = self._live()
        if self._reader.inputs:
            function = getattr(self._c, verb)
            check(function(handle.address, address(rows), rows.size, len(rows), *rest))
        else:
            function = getattr(self._c, f"{verb}_tokens")
            check(function(handle.address, address(rows), rows.size, *rest))

    def forward(self, x: Any, *, out: FloatArray | None = None) -> FloatArray:
        """Return the logits of `x`; see `Model.forward` and `Session.forward`."""
        raise NotImplementedError

    def _logits(self, x: Any, out: FloatArray | None, *flags: int) -> tuple[FloatArray, Any]:
        """Return the logits of `x`, in `out` if given, and the rows as they were read."""
        rows = self._reader.rows(x)
        shape = (self._reader.count(rows), self._reader.outputs)
        logits = np.empty(shape, np.float32) if out is None else _arrays.output(out, "out", shape)
        if out is not None and np.may_share_memory(rows, logits):
            rows = rows.copy()
        self._call("forward", rows, *flags, address(logits), logits.size)
        return logits, rows

    def _all_logits(self, x: Any, reduce: Callable[[FloatArray], NDArray[Any]]) -> NDArray[Any]:
        rows = self._reader.rows(x)
        self._reader.require_valid(rows)
        return np.concatenate([reduce(self.forward(chunk)) for chunk in self._reader.chunks(rows)])

    def predict(self, x: Any) -> NDArray[Any]:
        """Return the predicted class of each row, or the outputs of a regression.

        Parameters
        ----------
        x : array
            As in `forward`; any number of rows.

        Returns
        -------
        numpy.ndarray
            int64 [T], or float32 [T, C] for a regression.

        Raises
        ------
        ValueError
            As `forward`.
        """
        if self._reader.regression:
            return self._all_logits(x, lambda logits: logits)
        return self._all_logits(x, lambda logits: logits.argmax(axis=1).astype(np.int64))

    def predict_proba(self, x: Any) -> FloatArray:
        """Return the probability of each class.

        Parameters
        ----------
        x : array
            As in `forward`; any number of rows.

        Returns
        -------
        numpy.ndarray
            float32 [T, C]; rows sum to 1.

        Raises
        ------
        ValueError
            As `forward`; and for a regression, which has no probabilities.
        """
        if self._reader.regression:
            raise ValueError("predict_proba: got a regression, allowed are models with classes")
        return self._all_logits(x, softmax)

    def evaluate(self, x: Any, targets: Any) -> dict[str, Any]:
        """Evaluate any number of rows.

        Parameters
        ----------
        x : array
            As in `forward`.
        targets : array
            As in `loss`.

        Returns
        -------
        dict
            ``loss`` (task loss), ``accuracy`` (classes), ``r2`` (regression), ``perplexity``
            (language model), ``rows`` that counted, ``mean_k`` float64 [layers].

        Raises
        ------
        ValueError
            For anything wrong with an array.
        """
        rows = self._reader.rows(x)
        array = self._reader.targets(targets, self._reader.axes(rows))
        result = c.Evaluation(struct_size=sizeof(c.Evaluation))
        mean_k = np.zeros(self._layer_count)
        into = (byref(result), address(mean_k), mean_k.size)
        self._call("evaluate", rows, byref(self._reader.struct(array)), *into)
        values: dict[str, Any] = {"loss": float(result.loss)}
        for name in METRICS[self.task]:
            values[name] = float(getattr(result, name))
        return {**values, "rows": int(result.rows), "mean_k": mean_k}

    def _report(self, x: Any, targets: Any, options: bytes, path: bytes) -> None:
        """Do what `dynamoe.report` says."""
        rows = self._reader.rows(x)
        array = self._reader.targets(targets, self._reader.axes(rows))
        structure = self._reader.struct(array)
        self._call("report", rows, byref(structure), options, len(options), path)

    def routing_trace(self, x: Any) -> list[Routing]:
        """Evaluate `x` and return the routing of every row, one object per layer.

        Parameters
        ----------
        x : array
            As in `forward`; any number of rows.

        Raises
        ------
        ValueError
            As `forward`.
        """
        rows = self._reader.rows(x)
        self._reader.require_valid(rows)
        parts = []
        for chunk in self._reader.chunks(rows):
            self.forward(chunk)
            parts.append(self.last_routing)
        return [joined(list(layer)) for layer in zip(*parts, strict=True)]

    def routing_entropy(self, x: Any) -> NDArray[np.float64]:
        """Evaluate `x` and return how undecided the router was about each row.

        The entropy of the router's distribution, ``-sum_e s_e log s_e`` in nats: 0 when all of it
        is on one expert, log N when all N experts score the same. s is the softmax of the router's
        logits over all experts of the layer, active or not (``top_any``: its scores divided by
        their sum). Its mean over rows is `RoutingStatistics.entropy`, from which it is read row by
        row: a call makes T evaluations of one row.

        Parameters
        ----------
        x : array
            As in `forward`; any number of rows.

        Returns
        -------
        numpy.ndarray
            float64 [layers, T], in the order of `routing_trace`.

        Raises
        ------
        ValueError
            As `forward`.
        """
        rows = self._reader.rows(x)
        self._reader.require_valid(rows)
        flat = rows if self._reader.inputs else rows.reshape(-1)
        logits = np.empty((1, self._reader.outputs), np.float32)
        sums = np.empty((len(flat) + 1, self._layer_count))
        sums[0] = self._entropy_sums()
        for index in range(len(flat)):
            self.forward(flat[index : index + 1], out=logits)
            sums[index + 1] = self._entropy_sums()
        # Differences of sums may fall below 0 by their rounding.
        return np.ascontiguousarray(np.maximum(np.diff(sums, axis=0), 0.0).T)

    def _entropy_sums(self) -> list[float]:
        """Return the sum of the routing entropies of each layer's rows since the last reset."""
        result = c.RoutingStatistics(struct_size=sizeof(c.RoutingStatistics))
        sums = []
        for layer in range(self._layer_count):
            self._statistics(layer, result)
            sums.append(float(result.entropy) * int(result.rows))
        return sums


def softmax(logits: FloatArray) -> FloatArray:
    """Return softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
