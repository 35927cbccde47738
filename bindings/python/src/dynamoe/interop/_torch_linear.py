"""Weights from and to ``torch.nn.Linear``, which keeps them as [outputs, inputs] as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .._arrays import FloatArray, floats, require_finite, shape_text
from .._library import integer
from ..network import Network


def to_linear(network: Network, name: str, expert: int | None = None) -> torch.nn.Linear:
    """Return a ``torch.nn.Linear`` with a copy of a projection's weight and bias.

    Parameters
    ----------
    network : dynamoe.Model or dynamoe.MoELayer
        In float32.
    name : str
        The name of the weight without ``.weight``: ``"head"``, ``"input"``, ``"router"``,
        ``"layers.0.experts.up"``, …
    expert : int, optional
        Which expert, from 0, of a weight [experts, outputs, inputs]; for that required, otherwise
        not allowed.

    Raises
    ------
    ValueError
        When the network has no such weight or expert; the message names it.

    Examples
    --------
    >>> up = to_linear(layer, "experts.up", expert=2)
    >>> up(x)
    """
    weight, bias, index = _projection(network, name, expert)
    values = network.parameters[weight][index]
    outputs, inputs = values.shape
    linear = torch.nn.utils.skip_init(
        torch.nn.Linear, inputs, outputs, bias=bias is not None, device="cpu", dtype=torch.float32
    )
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(values))
        if bias is not None:
            linear.bias.copy_(torch.tensor(network.parameters[bias][index]))
    return linear


def from_linear(
    network: Network, name: str, linear: torch.nn.Linear, expert: int | None = None
) -> None:
    """Copy the weight and bias of a ``torch.nn.Linear`` into a projection.

    Any floating-point type is converted to float32. A missing bias is written as 0.

    Parameters
    ----------
    network, name, expert
        As in `to_linear`.
    linear : torch.nn.Linear
        On the CPU, of the projection's shape.

    Raises
    ------
    ValueError
        For another shape, a bias that the network lacks, NaN or infinity; nothing is changed then.
    """
    weight, bias, index = _projection(network, name, expert)
    if not isinstance(linear, torch.nn.Linear):
        raise ValueError(f"linear: got {type(linear).__name__}, allowed is a torch.nn.Linear")
    if linear.bias is not None and bias is None:
        raise ValueError(f"linear: got one with a bias, allowed is one without: {name} has none")
    changes = {weight: _changed(network, weight, index, linear.weight)}
    if bias is not None:
        values = np.float32(0) if linear.bias is None else linear.bias
        changes[bias] = _changed(network, bias, index, values)
    for parameter, array in changes.items():
        network.parameters[parameter] = array


def _projection(network: Any, name: Any, expert: Any) -> tuple[str, str | None, Any]:
    """Return the names of weight and bias and the index of what belongs to `expert`."""
    if not isinstance(network, Network):
        raise ValueError(
            f"network: got {type(network).__name__}, allowed is a dynamoe.Model or dynamoe.MoELayer"
        )
    parameters = network.parameters
    names = [key.removesuffix(".weight") for key in parameters if key.endswith(".weight")]
    names = [key for key in names if parameters[f"{key}.weight"].ndim >= 2]
    if name not in names:
        raise ValueError(f"name: got {name!r}, allowed is one of {', '.join(names)}")
    shape = parameters[f"{name}.weight"].shape
    bias = f"{name}.bias" if f"{name}.bias" in parameters else None
    if len(shape) == 2:
        if expert is not None:
            raise ValueError(f"expert: got {expert!r}, allowed is None: {name} has no experts")
        return f"{name}.weight", bias, ...
    return f"{name}.weight", bias, integer(expert, "expert", 0, shape[0] - 1)


def _changed(network: Network, name: str, index: Any, values: Any) -> FloatArray:
    """Return a copy of a parameter with other values at `index`."""
    array = np.array(network.parameters[name])
    label = f"linear.{name.rpartition('.')[2]}"
    part = floats(values, label)
    if part.ndim and part.shape != array[index].shape:
        raise ValueError(
            f"{label}: got shape {shape_text(part.shape)}, "
            f"allowed is {shape_text(array[index].shape)}"
        )
    require_finite(part, label)
    array[index] = part
    return array
