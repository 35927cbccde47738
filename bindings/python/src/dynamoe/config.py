"""Typed configurations and their way into JSON.

`ModelConfig` and its parts are dictionaries with known keys: ``ModelConfig(task=..., ...)`` and
``{"task": ..., ...}`` are the same thing, and a type checker knows both. The library itself judges
keys and values, so a misspelt key is refused with the nearest known one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np

ScheduleName = Literal[
    "uniform", "descending", "ascending", "pyramid", "valley", "wave", "inverse_wave"
]
RouterKind = Literal[
    "percentile",
    "threshold",
    "expert_threshold",
    "top_k",
    "top_p",
    "top_any",
    "relu",
    "dense",
]
ActivationName = Literal["relu", "gelu", "gelu_tanh", "silu", "swiglu", "geglu"]


class _ScheduleRequired(TypedDict):
    schedule: ScheduleName
    maximum: int


class ScheduleConfig(_ScheduleRequired, total=False):
    """A count or value per layer by formula.

    Keys: ``schedule`` and ``maximum`` (required), ``minimum`` (1), ``cycles`` (2, of the waves),
    ``total`` (None: the exact sum over layers), ``layers`` (only and always in ``experts``).
    """

    minimum: int
    cycles: float
    total: int | None
    layers: int


class _RouterRequired(TypedDict):
    kind: RouterKind


class RouterConfig(_RouterRequired, total=False):
    """A router. ``kind`` is required; keys that the kind does not use are refused.

    Keys: ``gate`` ("softmax", "normalized", "raw"; by kind), ``temperature`` (1), ``noise`` (0),
    ``min_active`` (1), ``max_active`` (None), ``balance_rate`` (0), ``percentile`` (0.5),
    ``target_active``, ``momentum`` (0.9), ``k``, ``p`` (0.4), ``scale`` (1).
    """

    gate: Literal["softmax", "normalized", "raw"]
    temperature: float
    noise: float
    min_active: int
    max_active: int | None
    balance_rate: float
    percentile: float
    target_active: float | Sequence[float] | ScheduleConfig
    momentum: float
    k: int
    p: float
    scale: float


class LossesConfig(TypedDict, total=False):
    """Coefficients of the auxiliary losses: ``balance``, ``z``, ``entropy`` (0), ``sparsity``."""

    balance: float
    z: float
    entropy: float
    sparsity: float


class OptimizerConfig(TypedDict, total=False):
    """The optimizer and its learning-rate schedule.

    Keys: ``kind`` ("adamw"; "sgd"), ``lr`` (0.001), ``betas`` (0.9, 0.999), ``eps`` (1e-8),
    ``momentum`` (0), ``nesterov`` (False), ``weight_decay`` (adamw 0.01, sgd 0), ``decay_all``
    (False), ``clip`` (None), ``warmup`` (0), ``total`` (None), ``floor`` (0).
    """

    kind: Literal["adamw", "sgd"]
    lr: float
    betas: Sequence[float]
    eps: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_all: bool
    clip: float | None
    warmup: int
    total: int | None
    floor: float


class _ModelRequired(TypedDict):
    task: Literal["classification", "language_model", "regression"]
    width: int
    experts: Sequence[int] | ScheduleConfig
    router: RouterConfig | Sequence[RouterConfig]


class ModelConfig(_ModelRequired, total=False):
    """The configuration of a `Model`.

    Required: ``task``, ``width``, ``experts``, ``router``, one of ``inputs`` and ``vocabulary``,
    and ``outputs`` (not for language models). Optional: ``hidden`` (4 * width),
    ``shared_experts`` (0), ``activation`` ("gelu"), ``bias`` (True), ``residual`` (True), ``norm``
    ("layer"; "rms", "none"), ``tied_embedding`` (False), ``losses``, ``optimizer``.

    Examples
    --------
    >>> config = ModelConfig(
    ...     task="classification", inputs=64, outputs=10, width=64, experts=[8, 6, 4, 2],
    ...     router={"kind": "threshold", "target_active": 2},
    ... )
    """

    inputs: int
    vocabulary: int
    outputs: int
    hidden: int | Sequence[int] | ScheduleConfig
    shared_experts: int
    activation: ActivationName
    bias: bool
    residual: bool
    norm: Literal["none", "layer", "rms"]
    tied_embedding: bool
    losses: LossesConfig
    optimizer: OptimizerConfig


class _LayerRequired(TypedDict):
    width: int
    experts: int
    router: RouterConfig


class LayerConfig(_LayerRequired, total=False):
    """The configuration of an `MoELayer`: one layer without norm and residual.

    Required: ``width``, ``experts`` (one integer), ``router``. Optional: ``hidden`` (4 * width),
    ``shared_experts`` (0), ``activation`` ("gelu"), ``bias`` (True), ``losses``, ``optimizer``.
    """

    hidden: int
    shared_experts: int
    activation: ActivationName
    bias: bool
    losses: LossesConfig
    optimizer: OptimizerConfig


_DEEPEST = 8


def to_json(config: Mapping[str, Any]) -> bytes:
    """Return `config` as JSON, with NumPy scalars and arrays as numbers and lists.

    Raises
    ------
    ValueError
        For anything that JSON cannot say, NaN and infinity among it; the message names the key.
    """
    if not isinstance(config, Mapping):
        raise ValueError(
            f"config: got {type(config).__name__}, allowed is a dict (or ModelConfig, LayerConfig)"
        )
    return json.dumps(_plain(config, "config", 0), allow_nan=False).encode("ascii")


def _plain(value: Any, key: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError(f"{key}: nested deeper than any setting")
    if value is None or isinstance(value, (str, bool, int)):
        # Subclasses (enumerations among them) become the plain value that json would write.
        return value if value is None or isinstance(value, bool) else _base(value)
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), key, depth + 1)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key}: got {value}, allowed is a finite number")
        return float(value)
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"{key}: got the key {name!r}, allowed are strings")
        prefix = "" if key == "config" else f"{key}."
        return {str(n): _plain(v, f"{prefix}{n}", depth + 1) for n, v in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain(item, f"{key}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise ValueError(
        f"{key}: got {type(value).__name__}, allowed are numbers, strings, booleans, None, "
        "lists, dicts and NumPy scalars and arrays"
    )


def _base(value: str | int) -> str | int:
    return str.__str__(value) if isinstance(value, str) else int(value)
