"""What a network does with rows when it is not trained: logits, predictions, evaluation."""

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
from ._memory import Functions
from ._rows import RowReader
from .network import Network, joined
from .statistics import Routing

METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "language_model": ("accuracy", "perplexity"),
    "regression": ("r2",),
}


class Inference(Network):
    """The part of `Model` that needs no targets to learn from. Not made by itself."""

    _noun = "model"
    _prefix = "layers.{}."
    _c = Functions("model")

    def _adopt(self, out: Any) -> None:
        super()._adopt(out)
        info = self._info()
        self._reader = RowReader(
            c.TASKS[info.task], int(info.inputs), int(info.vocabulary), int(info.outputs)
        )
        self._width = int(info.width)
        self._row_shape: tuple[int, ...] | None = None

    def _summary(self) -> str:
        reader = self._reader
        rows = f"{reader.inputs} inputs" if reader.inputs else f"vocabulary {reader.vocabulary}"
        router = self.config["router"]
        routers = router if isinstance(router, list) else [router]
        kinds = ", ".join(dict.fromkeys(str(r["kind"]) for r in routers))
        return (
            f"{reader.task}: {rows} -> {reader.outputs} outputs, width {self._width}, "
            f"experts {self._experts}, {kinds} router, "
            f"{self.parameter_count:,} parameters{self._precision_text}"
        )

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

    def forward(self, x: Any, training: bool = False, out: FloatArray | None = None) -> FloatArray:
        """Return the logits of `x`.

        In training the router draws its noise, stored thresholds move, and what `backward` needs
        is kept. In evaluation a row's result has the same bits whatever batch it is in, and
        nothing changes but the routing statistics.

        Parameters
        ----------
        x : array
            Features [T, inputs], or integer ids [T] or [B, S] (then T = B * S).
        training : bool, default False
            T must be at least 1.
        out : numpy.ndarray, optional
            Contiguous float32 [T, C] to write into, for loops without allocation.

        Returns
        -------
        numpy.ndarray
            float32 [T, C]; `out` if given.

        Raises
        ------
        ValueError
            For a wrong shape or type, NaN or infinity, or an id outside the vocabulary.
        DynaMoEError
            When the logits are not finite.
        """
        rows = self._reader.rows(x)
        shape = (self._reader.count(rows), self._reader.outputs)
        logits = np.empty(shape, np.float32) if out is None else _arrays.output(out, "out", shape)
        if out is not None and np.may_share_memory(rows, logits):
            rows = rows.copy()
        self._call("forward", rows, 1 if training else 0, address(logits), logits.size)
        if training:
            self._row_shape, self._losses = self._reader.axes(rows), None
        return logits

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


def softmax(logits: FloatArray) -> FloatArray:
    """Return softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
