"""`MoELayer`: one layer to drive by hand."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, sizeof
from typing import Any

import numpy as np

from . import _arrays
from . import _signatures as c
from ._arrays import FloatArray, address, shape_text
from ._library import check
from ._memory import Functions
from .network import Network
from .statistics import Routing


class MoELayer(Network):
    """One dynamic mixture-of-experts layer without norm and residual.

    ``y_t = sum over active experts e of w_te * E_e(x_t)``, plus the shared experts.

    Parameters
    ----------
    config : dict or LayerConfig
        See `LayerConfig`.
    seed : int, default 0
        0 to 2**64 - 1.

    Raises
    ------
    ValueError
        For a bad configuration; the message names the key.

    Examples
    --------
    >>> layer = MoELayer({"width": 32, "experts": 4, "router": {"kind": "top_k", "k": 2}})
    >>> y = layer.forward(x, training=True)
    >>> dx = layer.backward_step(dy)
    """

    # Called before parameters are used, by `Tensors.shared` changed perhaps.
    _synchronize: Callable[[], None] | None = None
    _noun = "layer"
    _prefix = ""
    _c = Functions("layer")

    def _adopt(self, out: Any) -> None:
        super()._adopt(out)
        self._width = int(self._info().width)
        self._rows_in_training: int | None = None

    def _layer_argument(self, layer: int) -> tuple[int, ...]:
        return ()

    def _summary(self) -> str:
        kind = self.config["router"]["kind"]
        return (
            f"width {self._width}, {self._experts[0]} experts, {kind} router, "
            f"{self.parameter_count:,} parameters{self._precision_text}"
        )

    def forward(self, x: Any, training: bool = False, out: FloatArray | None = None) -> FloatArray:
        """Return the layer's output.

        Parameters
        ----------
        x : array
            [T, width].
        training : bool, default False
            Draw noise, move stored thresholds, keep what `backward` needs; T at least 1.
        out : numpy.ndarray, optional
            Contiguous float32 [T, width] to write into.

        Returns
        -------
        numpy.ndarray
            float32 [T, width]; `out` if given.

        Raises
        ------
        ValueError
            For a wrong shape or type, NaN or infinity.
        """
        handle = self._live()
        if self._synchronize is not None:
            self._synchronize()
        rows = _arrays.features(x, "x", self._width)
        y = (
            np.empty(rows.shape, np.float32)
            if out is None
            else (_arrays.output(out, "out", rows.shape))
        )
        if out is not None and np.may_share_memory(rows, y):
            rows = rows.copy()
        arguments = (address(rows), rows.size, len(rows), 1 if training else 0)
        check(self._c.forward(handle.address, *arguments, address(y), y.size))
        if training:
            self._rows_in_training = len(rows)
        return y

    def backward(self, output_gradient: Any) -> FloatArray:
        """Add the gradients of the latest training forward to `gradients`.

        The weighted auxiliary gradients are added.

        Parameters
        ----------
        output_gradient : array
            dLoss/dy [T, width].

        Returns
        -------
        numpy.ndarray
            dLoss/dx, float32 [T, width].

        Raises
        ------
        ValueError
            For a wrong shape or type, NaN or infinity.
        DynaMoEError
            Without a training forward since the latest backward.
        """
        return self._backward(self._c.backward, output_gradient)

    def backward_step(self, output_gradient: Any, lr: float | None = None) -> FloatArray:
        """Do `zero_gradients`, `backward` and `step` in one call, with the same bits.

        Without ``clip``, and unless the gradient variance is measured, each part of a matrix makes
        its step as soon as its gradient is known: weights and the optimizer's state are read and
        written once. Leaves `gradients` unspecified, also when it fails.

        Parameters
        ----------
        output_gradient : array
            dLoss/dy [T, width].
        lr : float, optional
            The learning rate of this step in place of the configured one.

        Returns
        -------
        numpy.ndarray
            dLoss/dx, float32 [T, width].

        Raises
        ------
        ValueError
            For a wrong shape or type, NaN or infinity; when `lr` is not from 0 to 1e6.
        DynaMoEError
            Without a training forward since the latest backward; when the layer was loaded as
            bfloat16. When a gradient is not finite or above 1e18: no parameter was changed, but
            the forward has had its backward.
        """
        return self._backward(self._c.backward_step, output_gradient, self._learning_rate(lr))

    def _backward(self, function: Any, output_gradient: Any, *rest: float) -> FloatArray:
        handle = self._live()
        gradient = _arrays.features(output_gradient, "output_gradient", self._width)
        expected = self._rows_in_training
        if expected is not None and len(gradient) != expected:
            raise ValueError(
                f"output_gradient: got shape {shape_text(gradient.shape)}, "
                f"allowed is {shape_text((expected, self._width))}"
            )
        dx = np.empty(gradient.shape, np.float32)
        arguments = (address(gradient), gradient.size, address(dx), dx.size)
        check(function(handle.address, *arguments, *rest))
        return dx

    @property
    def losses(self) -> dict[str, float]:
        """Weighted auxiliary losses of the latest training forward.

        ``task`` (0 here), ``balance``, ``z``, ``entropy``, ``sparsity`` and ``total``.

        Raises
        ------
        DynaMoEError
            Before any training forward.
        """
        handle = self._live()
        result = c.Losses(struct_size=sizeof(c.Losses))
        check(self._c.losses(handle.address, byref(result)))
        names = ("task", "balance", "z", "entropy", "sparsity", "total")
        return {name: float(getattr(result, name)) for name in names}

    def routing_trace(self, x: Any) -> list[Routing]:
        """Evaluate `x` and return the routing of every row, as a list of one object.

        Parameters
        ----------
        x : array
            [T, width].
        """
        self.forward(x)
        return self.last_routing

    def calibrate(self, x: Any, target_active: float) -> None:
        """Set the stored threshold so that `x` routes with a given mean K.

        For routers of kind ``threshold`` and ``expert_threshold`` only.

        Parameters
        ----------
        x : array
            [T, width], at least one row.
        target_active : float
            The mean K, from `min_active` to min(N, `max_active`).

        Raises
        ------
        ValueError
            For another kind of router, or a number that is not allowed.
        """
        handle = self._live()
        if self._synchronize is not None:
            self._synchronize()
        rows = _arrays.features(x, "x", self._width)
        target = self._target_active(target_active)
        if target.size != 1:
            raise ValueError(f"target_active: got {target.size} numbers, allowed is one")
        check(
            self._c.calibrate(handle.address, address(rows), rows.size, len(rows), float(target[0]))
        )
