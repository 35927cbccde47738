"""What models, layers and sessions have in common: the handle, and how it routed."""

from __future__ import annotations

import ctypes
from ctypes import byref, sizeof
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _signatures as c
from ._arrays import address
from ._library import check
from ._memory import Functions, Handle
from .statistics import Routing, RoutingStatistics

Self = TypeVar("Self", bound="Routed")


class Routed:
    """Base of `Model`, `MoELayer` and `Session`. Not made by itself."""

    _noun: ClassVar[str]
    _c: ClassVar[Functions]
    _handle: Handle | None = None
    _layer_count: int
    _experts: list[int]

    def _live(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ValueError(f"the {self._noun} is closed")
        return handle

    def close(self) -> None:
        """Give it up; memory that a view or a session reads stays as long as that.

        Every later method raises ValueError; closing twice is fine.
        """
        self._handle = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._handle is None

    def __enter__(self: Self) -> Self:
        self._live()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def experts(self) -> list[int]:
        """Experts of each layer."""
        self._live()
        return list(self._experts)

    # ----------------------------------------------------------------------------- routing

    def _layer_argument(self, layer: int) -> tuple[int, ...]:
        """Return the arguments that name a layer: an index for models, nothing for a layer."""
        return (layer,)

    def _statistics(self, layer: int, result: c.RoutingStatistics, *arrays: NDArray[Any]) -> None:
        handle = self._live()
        pairs: list[int | None] = []
        for array in arrays:
            pairs += [address(array), array.size]
        pairs += [None, 0] * (4 - len(arrays))
        where = self._layer_argument(layer)
        check(self._c.routing_statistics(handle.address, *where, byref(result), *pairs))

    def _mean_k(self) -> list[float]:
        """Return the mean K of each layer since the last reset."""
        result = c.RoutingStatistics(struct_size=sizeof(c.RoutingStatistics))
        means = []
        for layer in range(self._layer_count):
            self._statistics(layer, result)
            means.append(float(result.mean_k))
        return means

    def _reset_statistics(self) -> None:
        handle = self._live()
        check(self._c.routing_reset(handle.address))

    def routing_stats(self, reset: bool = False) -> list[RoutingStatistics]:
        """Return the routing statistics since the last reset, one object per layer.

        Parameters
        ----------
        reset : bool, default False
            Start counting anew afterwards.
        """
        results = [self._layer_statistics(layer) for layer in range(self._layer_count)]
        if reset:
            self._reset_statistics()
        return results

    def _layer_statistics(self, layer: int) -> RoutingStatistics:
        count = self._experts[layer]
        histogram = np.zeros(count + 1, np.int64)
        rows = np.zeros(count, np.int64)
        weight = np.zeros(count, np.float64)
        together = np.zeros((count, count), np.int64)
        r = c.RoutingStatistics(struct_size=sizeof(c.RoutingStatistics))
        self._statistics(layer, r, histogram, rows, weight, together)
        return RoutingStatistics(
            experts=count,
            rows=int(r.rows),
            k_histogram=histogram,
            mean_k=float(r.mean_k),
            variance_k=float(r.variance_k),
            expert_rows=rows,
            mean_weight=weight,
            entropy=float(r.entropy),
            limited_share=float(r.limited_share),
            unused=int(r.unused),
            coactivation=together,
            load_imbalance=float(r.load_imbalance),
            load_variation=float(r.load_variation),
            participation=None if np.isnan(r.participation) else float(r.participation),
            gradient_variance=None,
        )

    @property
    def last_routing(self) -> list[Routing]:
        """Routing of the latest forward: one object per layer with ``active`` and ``weights``.

        Raises
        ------
        DynaMoEError
            Before any forward.
        """
        handle = self._live()
        rows = ctypes.c_size_t()
        check(self._c.last_rows(handle.address, byref(rows)))
        results = []
        for layer, experts in enumerate(self._experts):
            active = np.zeros((rows.value, experts), np.uint8)
            weights = np.zeros((rows.value, experts), np.float32)
            where = self._layer_argument(layer)
            arrays = (address(active), active.size, address(weights), weights.size)
            check(self._c.last_routing(handle.address, *where, *arrays))
            results.append(Routing(active.view(np.bool_), weights))
        return results

    def _summary(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(closed)" if self._handle is None else f"{name}({self._summary()})"


def joined(parts: list[Routing]) -> Routing:
    """Return the routing of consecutive chunks of rows as one."""
    if len(parts) == 1:
        return parts[0]
    return Routing(
        np.concatenate([part.active for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )
