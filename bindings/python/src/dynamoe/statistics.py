"""What the router did: statistics of many rows, and the routing of single rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Routing:
    """The routing of some rows in one layer.

    Attributes
    ----------
    active : numpy.ndarray
        bool [rows, experts]: which experts a row used.
    weights : numpy.ndarray
        float32 [rows, experts]: the gate weights, zero where not active.
    """

    active: NDArray[np.bool_]
    weights: NDArray[np.float32]

    @property
    def k(self) -> NDArray[np.int64]:
        """Experts of each row, int64 [rows]."""
        return np.asarray(self.active.sum(axis=1, dtype=np.int64))

    def __repr__(self) -> str:
        rows, experts = self.active.shape
        mean = float(self.active.sum()) / rows if rows else 0.0
        return f"Routing({rows} rows, {experts} experts, mean K {mean:.3g})"


@dataclass(frozen=True, eq=False)
class RoutingStatistics:
    """Routing of one layer since the last reset, evaluation included. Variances are over n.

    Attributes
    ----------
    experts : int
        N, the experts of the layer.
    rows : int
        Rows seen.
    k_histogram : numpy.ndarray
        int64 [N + 1]: rows that used 0, 1, ... N experts.
    mean_k, variance_k : float
        Mean and variance of K, the experts of a row.
    expert_rows : numpy.ndarray
        int64 [N]: rows that used each expert.
    mean_weight : numpy.ndarray
        float64 [N]: mean gate weight of each expert over its rows.
    entropy : float
        Mean entropy of the routing scores, in nats.
    limited_share : float
        Share of rows whose K was changed by `min_active` or `max_active`.
    unused : int
        Experts that no row used.
    coactivation : numpy.ndarray
        int64 [N, N]: rows that used both; the diagonal repeats `expert_rows`.
    load_imbalance : float
        Largest over mean rows per expert; 0 before any row.
    load_variation : float
        Coefficient of variation of the rows per expert.
    participation : float or None
        (tr C)² / tr C² of the covariance C of the rows that the layer reads, after the norm: over
        how many directions they spread, from 1 to D, 0 if all are equal. None unless switched on
        by `measure`.
    gradient_variance : dict of float or None
        Of each parameter of the layer, by name, the mean over its elements of the variance over
        the micro-batches (backward passes) since `zero_gradients`; empty before the first one.
        None unless switched on by `measure`.
    """

    experts: int
    rows: int
    k_histogram: NDArray[np.int64]
    mean_k: float
    variance_k: float
    expert_rows: NDArray[np.int64]
    mean_weight: NDArray[np.float64]
    entropy: float
    limited_share: float
    unused: int
    coactivation: NDArray[np.int64]
    load_imbalance: float
    load_variation: float
    participation: float | None = None
    gradient_variance: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers and lists that JSON can say."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in values.items()
        }

    def __repr__(self) -> str:
        return (
            f"RoutingStatistics({self.rows} rows, {self.experts} experts, "
            f"mean K {self.mean_k:.3g}, load imbalance {self.load_imbalance:.3g}, "
            f"{self.unused} unused)"
        )
