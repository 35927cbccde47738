"""What models and single layers have in common: making, files, arrays, measures."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Mapping
from ctypes import byref, sizeof
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _signatures as c
from ._arrays import address, as_array
from ._errors import DynaMoEError
from ._library import check, encoded_path, integer, number
from ._memory import Handle, Place, Tensors
from .config import to_json
from .routed import Routed
from .statistics import RoutingStatistics

Self = TypeVar("Self", bound="Network")

_NAN = float("nan")


class Network(Routed):
    """Base of `Model` and `MoELayer`. Not made by itself."""

    # What the names of a layer's parameters begin with.
    _prefix: ClassVar[str]

    def __init__(self, config: Mapping[str, Any], seed: int = 0) -> None:
        text = to_json(config)
        out = ctypes.c_void_p()
        key = integer(seed, "seed", 0, 2**64 - 1)
        check(self._c.create_json(text, len(text), key, byref(out)))
        self._adopt(out)

    @classmethod
    def load(
        cls: type[Self], path: str | bytes | os.PathLike[str], precision: str = "float32"
    ) -> Self:
        """Return what `save` wrote: it continues bit for bit where the saved one stood.

        Parameters
        ----------
        path : str or path object
            The file.
        precision : {"float32", "bfloat16"}, default "float32"
            ``"bfloat16"``: for evaluation only, in half the memory and faster. The weight matrices
            are rounded as they are read, and what they are multiplied with is rounded too; sums,
            biases, norms and routers stay float32. What trains, changes parameters or saves
            raises DynaMoEError.

        Raises
        ------
        OSError
            When the file cannot be read, is truncated, damaged or not ours.
        ValueError
            When `path` is not a path or `precision` none of the two.
        """
        if precision not in c.PRECISIONS:
            names = ", ".join(map(repr, c.PRECISIONS))
            raise ValueError(f"precision: got {precision!r}, allowed is one of {names}")
        out = ctypes.c_void_p()
        check(cls._c.load_as(encoded_path(path), c.PRECISIONS.index(precision), byref(out)))
        network = cls.__new__(cls)
        network._adopt(out)
        return network

    def _adopt(self, out: ctypes.c_void_p) -> None:
        if not out.value:
            raise DynaMoEError("the library made no handle and reported no error")
        handle = Handle(out.value, self._c.free)
        self._handle = handle
        info = self._info()
        length = ctypes.c_size_t()
        check(self._c.config_json(handle.address, None, 0, byref(length)))
        text = ctypes.create_string_buffer(length.value + 1)
        check(self._c.config_json(handle.address, text, len(text), byref(length)))
        self._config_text = text.value.decode("utf-8")
        self._layer_count = int(info.layers)
        self._precision = c.PRECISIONS[info.precision]
        self._losses: dict[str, float] | None = None
        self._accuracy = float("nan")
        self._measures = 0
        self._tensors = self._read_places(self._c.parameter, info.tensor_count)
        self._buffers = self._read_places(self._c.buffer, info.buffer_count)
        self._read_experts()

    def _read_places(self, read: Any, count: int) -> dict[str, Place]:
        places = {}
        handle = self._live()
        for index in range(count):
            tensor = c.Tensor(struct_size=sizeof(c.Tensor))
            check(read(handle.address, index, byref(tensor)))
            data = ctypes.cast(tensor.data, ctypes.c_void_p).value
            gradient = ctypes.cast(tensor.gradient, ctypes.c_void_p).value
            shape = tuple(tensor.shape[: tensor.rank])
            places[tensor.name.decode()] = Place(shape, tensor.count, data or 0, gradient)
        return places

    def _read_experts(self) -> None:
        statistics = c.RoutingStatistics(struct_size=sizeof(c.RoutingStatistics))
        self._experts = []
        for layer in range(self._layer_count):
            self._statistics(layer, statistics)
            self._experts.append(int(statistics.experts))

    def save(self, path: str | bytes | os.PathLike[str]) -> None:
        """Write one safetensors file: parameters, buffers, config, optimizer and random state.

        The file is written beside `path` and renamed, so an interrupted save leaves an older file
        whole.

        Raises
        ------
        OSError
            When the file cannot be written.
        ValueError
            When `path` is not a path.
        """
        handle = self._live()
        check(self._c.save(handle.address, encoded_path(path)))

    # ----------------------------------------------------------------------------- facts

    def _info(self) -> c.Info:
        handle = self._live()
        info = c.Info(struct_size=sizeof(c.Info))
        check(self._c.info(handle.address, byref(info)))
        return info

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, every default written out; a dict that JSON can say."""
        self._live()
        return dict(json.loads(self._config_text))

    @property
    def precision(self) -> str:
        """``"float32"``, or ``"bfloat16"`` of a network that was loaded so."""
        self._live()
        return self._precision

    @property
    def parameter_count(self) -> int:
        """Elements of all parameters."""
        return int(self._info().parameter_count)

    @property
    def active_parameter_count(self) -> float:
        """Elements in use for a row at the measured mean K (before any row: at the target)."""
        return float(self._info().active_parameter_count)

    @property
    def flops_per_row(self) -> float:
        """Floating-point operations of a forward, 2 per multiply-add, at the same mean K."""
        return float(self._info().flops_per_row)

    # ----------------------------------------------------------------------------- arrays

    @property
    def parameters(self) -> Tensors:
        """Names to live read-only views; assigning to a name copies values in.

        With precision ``"bfloat16"`` the weight matrices are converted at each access: copies, not
        views; and nothing can be assigned.
        """
        self._live()
        return Tensors(self, "parameter")

    @property
    def buffers(self) -> Tensors:
        """Names of what is saved but not trained to live read-only views; assignable."""
        self._live()
        return Tensors(self, "buffer")

    @property
    def gradients(self) -> Tensors:
        """Parameter names to live writable views; a write before `step` is used by it.

        Raises
        ------
        DynaMoEError
            With precision ``"bfloat16"``: there are none.
        """
        self._live()
        self._require_training()
        return Tensors(self, "gradient")

    # ----------------------------------------------------------------------------- training

    def step(self, lr: float | None = None) -> None:
        """Make one optimizer step with the gradients as they are.

        Parameters
        ----------
        lr : float, optional
            The learning rate of this step in place of the configured one.

        Raises
        ------
        ValueError
            When `lr` is not a finite number of at least 0.
        DynaMoEError
            When a gradient is not finite.
        """
        handle = self._live()
        check(self._c.step(handle.address, self._learning_rate(lr)))

    @staticmethod
    def _learning_rate(lr: float | None) -> float:
        """Return `lr` as C wants it: NaN for the configured rate."""
        if lr is None:
            return _NAN
        rate = number(lr, "lr")
        if not 0 <= rate < float("inf"):
            raise ValueError(f"lr: got {rate}, allowed is a finite number of at least 0")
        return rate

    def zero_gradients(self) -> None:
        """Set every gradient to 0."""
        handle = self._live()
        check(self._c.zero_gradients(handle.address))

    def _require_training(self) -> None:
        if self._precision != "float32":
            raise DynaMoEError(
                f"the {self._noun} is for evaluation only: loaded as {self._precision}, "
                "allowed to train: loaded as float32",
                c.ERROR_STATE,
            )

    @property
    def auxiliary_losses(self) -> NDArray[np.float64]:
        """float64 [layers, 4] of the latest training forward, unscaled.

        Columns: balance, z, entropy, sparsity.
        """
        handle = self._live()
        values = np.zeros((self._layer_count, 4))
        check(self._c.auxiliary_losses(handle.address, address(values), values.size))
        return values

    # ----------------------------------------------------------------------------- measures

    def measure(self, *, participation: bool = False, gradient_variance: bool = False) -> None:
        """Choose what `routing_stats` measures beyond what is always on.

        What is switched on starts anew, what is switched off is forgotten. Results have the same
        bits with and without.

        Parameters
        ----------
        participation : bool, default False
            Participation ratio of each layer's input: T · D² multiply-adds a layer and forward.
        gradient_variance : bool, default False
            Variance of the gradients over the micro-batches since `zero_gradients`: two passes
            over all gradients a backward and three numbers a parameter.
        """
        bits = c.MEASURE_PARTICIPATION * bool(participation)
        bits |= c.MEASURE_GRADIENT_VARIANCE * bool(gradient_variance)
        check(self._c.measure(self._live().address, bits))
        self._measures = bits

    @property
    def gradient_variance(self) -> dict[str, float] | None:
        """Of each parameter the mean variance of its gradient over micro-batches.

        A micro-batch is one backward since `zero_gradients`; empty before the first one, None
        unless switched on by `measure`.
        """
        handle = self._live()
        if not self._measures & c.MEASURE_GRADIENT_VARIANCE:
            return None
        names = list(self.parameters)
        values = np.zeros(len(names))
        status = self._c.gradient_variance(handle.address, address(values), values.size)
        if status == c.ERROR_STATE:
            return {}
        check(status)
        return dict(zip(names, values.tolist(), strict=True))

    def routing_stats(self, reset: bool = False) -> list[RoutingStatistics]:
        """Return the routing statistics since the last reset, one object per layer.

        Parameters
        ----------
        reset : bool, default False
            Start counting anew afterwards.
        """
        variance = self.gradient_variance
        results = super().routing_stats(reset)
        if variance is None:
            return results
        return [
            replace(result, gradient_variance=self._of_layer(layer, variance))
            for layer, result in enumerate(results)
        ]

    def _of_layer(self, layer: int, variance: dict[str, float]) -> dict[str, float]:
        prefix = self._prefix.format(layer)
        return {name: value for name, value in variance.items() if name.startswith(prefix)}

    def _target_active(self, value: Any) -> NDArray[np.float64]:
        array = as_array(value, "target_active")
        if array.dtype.kind not in "fiu" or array.ndim > 1:
            raise ValueError(
                f"target_active: got {value!r}, allowed is one number or one per layer"
            )
        return np.array(array, np.float64, ndmin=1)

    @property
    def _precision_text(self) -> str:
        return "" if self._precision == "float32" else f" in {self._precision}"
