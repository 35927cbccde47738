"""`Model`: a whole network, from rows to logits."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref, sizeof
from typing import Any

import numpy as np

from . import _arrays, training
from . import _signatures as c
from ._arrays import FloatArray, address, shape_text
from ._errors import DynaMoEError
from ._library import check
from ._memory import Functions
from ._rows import RowReader
from .history import History
from .inference import Inference
from .network import Network
from .session import Session

LOSS_NAMES = ("task", "balance", "z", "entropy", "sparsity", "total")


class Model(Inference, Network):
    """A dynamic mixture-of-experts network.

    ``h = input(x)``; for each layer ``h = h + MoE(norm(h))``; ``logits = head(norm(h))``. Each
    layer's router chooses the experts of each row, so the number of experts K follows the input.

    T is the number of rows, C the number of outputs. Float input of any real type and layout is
    converted to float32; NaN and infinity are refused.

    Parameters
    ----------
    config : dict or ModelConfig
        The network, its router, losses and optimizer; see `ModelConfig`. NumPy scalars and arrays
        are accepted as numbers and lists.
    seed : int, default 0
        0 to 2**64 - 1. Same seed, data and version: same bits, for any thread count.

    Raises
    ------
    ValueError
        For a bad configuration; the message names the key, what came and what is allowed.
    MemoryError
        When the parameters do not fit.

    Examples
    --------
    >>> model = Model({
    ...     "task": "classification", "inputs": 64, "outputs": 10, "width": 64,
    ...     "experts": [8, 4, 2], "router": {"kind": "threshold", "target_active": 2},
    ... }, seed=0)
    >>> model.forward(np.zeros((5, 64), np.float32)).shape
    (5, 10)
    """

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
        logits, rows = self._logits(x, out, 1 if training else 0)
        if training:
            self._row_shape, self._losses = self._reader.axes(rows), None
        return logits

    def session(self, threads: int = 1) -> Session:
        """Return a session, which evaluates this model in a thread beside others.

        Parameters
        ----------
        threads : int, default 1
            Threads that work on a call of the session, 1 to 256 and no more than `set_threads`.
            1 is the calling thread alone, which takes the least processor time for
            small batches of small networks. Results do not depend on it.

        Raises
        ------
        ValueError
            When `threads` is not such an integer.
        DynaMoEError
            When another thread is inside the model.
        """
        return Session(self, threads)

    def loss(self, targets: Any) -> float:
        """Return task loss plus weighted auxiliary losses of the latest training forward.

        Changes nothing. `losses` has the parts afterwards.

        Parameters
        ----------
        targets : array
            Integer classes [T] or [B, S] as the input was, -1 to ignore a row; for a regression
            real values [T, C] ([T] when C is 1).

        Raises
        ------
        ValueError
            For a wrong shape or type or a class out of range.
        DynaMoEError
            Before any training forward.
        """
        handle = self._live()
        array = self._reader.targets(targets, self._row_shape)
        result = c.Losses(struct_size=sizeof(c.Losses))
        check(self._c.loss(handle.address, byref(self._reader.struct(array)), byref(result)))
        return self._keep(result)

    def _keep(self, result: c.Losses) -> float:
        self._losses = {name: float(getattr(result, name)) for name in LOSS_NAMES}
        self._accuracy = float(result.accuracy)
        return self._losses["total"]

    @property
    def losses(self) -> dict[str, float]:
        """Parts of the latest `loss` or `train_batch`.

        ``task`` (unweighted), ``balance``, ``z``, ``entropy``, ``sparsity`` (weighted, summed over
        layers) and ``total``.

        Raises
        ------
        DynaMoEError
            When no loss was computed since the latest training forward.
        """
        self._live()
        if self._losses is None:
            raise DynaMoEError("no losses yet: call loss or train_batch after a training forward")
        return dict(self._losses)

    def backward(self, targets: Any = None, *, output_gradient: Any = None) -> FloatArray | None:
        """Add the gradients of the latest training forward to `gradients`.

        Parameters
        ----------
        targets : array, optional
            As in `loss`: gradients of the total loss.
        output_gradient : array, optional
            In place of `targets`: dLoss/dlogits [T, C] of a loss of your own, to which the
            weighted auxiliary gradients are added.

        Returns
        -------
        numpy.ndarray or None
            dLoss/dx, float32 [T, inputs]; None for token input.

        Raises
        ------
        ValueError
            When not exactly one of the two is given, or for a wrong shape, type or value.
        DynaMoEError
            Without a training forward since the latest backward.
        """
        if (targets is None) == (output_gradient is None):
            raise ValueError("backward: allowed is exactly one of targets and output_gradient")
        handle = self._live()
        axes = self._row_shape
        dx = None
        if self._reader.inputs:
            dx = np.empty(((axes or (0,))[0], self._reader.inputs), np.float32)
        into = (None, 0) if dx is None else (address(dx), dx.size)
        if targets is not None:
            array = self._reader.targets(targets, axes)
            check(self._c.backward(handle.address, byref(self._reader.struct(array)), *into))
            return dx
        gradient = _arrays.floats(output_gradient, "output_gradient")
        if axes is not None and gradient.shape != (int(np.prod(axes)), self._reader.outputs):
            raise ValueError(
                f"output_gradient: got shape {shape_text(gradient.shape)}, allowed is "
                f"{shape_text((int(np.prod(axes)), self._reader.outputs))}"
            )
        check(self._c.backward_output(handle.address, address(gradient), gradient.size, *into))
        return dx

    def train_batch(self, x: Any, targets: Any, sample_weight: Any = None) -> float:
        """Make one training step: zero_gradients, forward, loss, backward and step in one call.

        Leaves `gradients` unspecified. A refused call changes nothing.

        Parameters
        ----------
        x : array
            As in `forward`, at least one row.
        targets : array
            As in `loss`.
        sample_weight : array, optional
            [T] or [B, S], at least 0: the task loss is the weighted mean over rows. Routing
            ignores the weights.

        Returns
        -------
        float
            The total loss before the step; `losses` has the parts.

        Raises
        ------
        ValueError
            For anything wrong with an array.
        DynaMoEError
            When logits, loss or gradient are not finite.
        """
        rows = self._reader.rows(x)
        axes = self._reader.axes(rows)
        array = self._reader.targets(targets, axes)
        weights = self._reader.weights(sample_weight, axes)
        result = c.Losses(struct_size=sizeof(c.Losses))
        weight = (None, 0) if weights is None else (address(weights), weights.size)
        self._call("train_batch", rows, byref(self._reader.struct(array)), *weight, byref(result))
        self._row_shape = axes
        return self._keep(result)

    def fit(
        self,
        x: Any,
        targets: Any,
        epochs: int = 10,
        batch_size: int = 128,
        *,
        validation: tuple[Any, Any] | None = None,
        callbacks: training.Follower | Sequence[training.Follower] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        sample_weight: Any = None,
        progress: bool = True,
    ) -> History:
        """Train for some epochs and return what happened.

        Everything is checked before the first step. Routing statistics are reset at the start of
        each epoch; validation counts as well. Ctrl-C stops after the running batch: the model
        keeps the last full step, the returned history has ``interrupted`` set.

        Parameters
        ----------
        x, targets : array
            As in `train_batch`. Ids [B, S] are batched by their first axis.
        epochs : int, default 10
            Passes over the rows, at least 1.
        batch_size : int, default 128
            Rows of a batch, at least 1; the last one of an epoch may be smaller.
        validation : (x, targets), optional
            Evaluated after each epoch.
        callbacks : callable or list of callables, optional
            ``callback(model, history)`` after each epoch and its validation; returning True ends
            the training. `dynamoe.callbacks` has `EarlyStopping`, `Checkpoint`, `Logging`, and
            `Callback`, the base of those that also prepare before the first step and are closed
            at the end, however the training ends.
        shuffle : bool, default True
            Draw a new order for each epoch.
        seed : int, default 0
            Of the order.
        sample_weight : array, optional
            As in `train_batch`; the training accuracy of the history ignores it.
        progress : bool, default True
            Show one progress bar with loss, accuracy and mean K: tqdm, in notebooks with
            ipywidgets a widget; a plain line without tqdm.

        Returns
        -------
        History
            Loss, accuracy and mean K of each epoch, and the validation results.

        Raises
        ------
        ValueError
            For anything wrong with an argument or a callback's settings.
        DynaMoEError
            When the training leaves the finite numbers: the model is as after the last good step.
            Also for a model with precision ``"bfloat16"``.
        """
        settings = training.Settings(epochs, batch_size, shuffle, seed, progress, callbacks)
        return training.fit(self, x, targets, sample_weight, validation, settings)

    def calibrate(self, x: Any, target_active: float | Sequence[float]) -> None:
        """Set the stored thresholds so that `x` routes with a given mean K.

        For routers of kind ``threshold`` and ``expert_threshold`` only. Layer by layer, each on
        the output of its calibrated predecessor; later training moves the thresholds on.

        Parameters
        ----------
        x : array
            As in `forward`, at least one row.
        target_active : float or sequence of float
            The mean K, one number or one per layer, from `min_active` to min(N, `max_active`).

        Raises
        ------
        ValueError
            For another kind of router, or a number that is not allowed; the message names the
            layer.
        """
        rows = self._reader.rows(x)
        target = self._target_active(target_active)
        if target.size not in (1, self._layer_count):
            raise ValueError(
                f"target_active: got {target.size} numbers, allowed is one, or one for each of "
                f"{self._layer_count} layers"
            )
        self._call("calibrate", rows, address(target), target.size)
