"""Mixture-of-experts blocks of Mixtral checkpoints as layers, and layers as such blocks.

A block of Mixtral (Jiang et al., *Mixtral of Experts*, arXiv 2401.04088, section 2.1) is a layer
with a ``top_k`` router, gate ``normalized``, activation ``swiglu`` and no biases. W1 is the gate
projection, W3 the up projection, W2 the down projection; all are [outputs, inputs]:

    ``y = sum over the k best experts e of w_e * W2_e (silu(W1_e x) * (W3_e x))``

``w`` is the softmax over the k best logits, which is the softmax over all divided by its sum over
the k best.

N experts, D width, H hidden size. Two layouts are known, by the names of their tensors:

    ======================================== ===================================================
    ``"per_expert"``, in most files          ``block_sparse_moe.gate.weight`` [N, D],
                                             ``block_sparse_moe.experts.{e}.w1.weight`` [H, D],
                                             ``….w2.weight`` [D, H], ``….w3.weight`` [H, D]
    ``"fused"``, in the memory of            ``mlp.gate.weight`` [N, D],
    Transformers 5 and in files that it      ``mlp.experts.gate_up_proj`` [N, 2 H, D] (W1, then W3),
    saves with save_original_format=False    ``mlp.experts.down_proj`` [N, D, H]
    ======================================== ===================================================

before each of them ``model.layers.{number}.``. Read are safetensors files, with NumPy alone, and
mappings of names to arrays, such as a ``state_dict``.

>>> from dynamoe.interop import mixtral
>>> layer = mixtral.load("Mixtral-8x7B-v0.1", 3)
>>> mixtral.save("block.safetensors", {3: layer})
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from .._arrays import FloatArray
from .._library import integer
from ..config import LossesConfig, OptimizerConfig
from ..layer import MoELayer
from ._mixtral_blocks import Arrays, Block
from ._safetensors import TensorFiles, write

__all__ = ["load", "parameters", "save", "tensors"]

Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"
Layout: TypeAlias = Literal["per_expert", "fused"]

_LAYOUTS = ("per_expert", "fused")
_PREFIX = "model.layers.{}."


def load(
    source: Source,
    number: int | None,
    k: int | None = None,
    *,
    losses: LossesConfig | None = None,
    optimizer: OptimizerConfig | None = None,
) -> MoELayer:
    """Return a block as a layer. F16 and BF16 become float32, F64 is rounded.

    Parameters
    ----------
    source : str, path object or mapping
        A safetensors file, the ``.safetensors.index.json`` of several, the folder of either, or
        names to arrays.
    number : int or None
        Which layer of the checkpoint, from 0. None: the names have nothing before ``gate.weight``
        and ``experts``, as in the ``state_dict`` of a block.
    k : int, optional
        Active experts of a row, 1 to N. Required unless there is a ``config.json`` beside the
        file, whose ``num_experts_per_tok`` is taken then.
    losses, optimizer : dict, optional
        Of the layer's configuration.

    Returns
    -------
    dynamoe.MoELayer
        Its outputs are those of the block, up to rounding in float32.

    Raises
    ------
    OSError
        When a file is missing, truncated or not of the format.
    ValueError
        When a tensor is missing, too many, of another shape or type, or not finite, and when the
        ``config.json`` has another activation; the message names it.
    """
    opened, config = _opened(source)
    block = Block(opened, number)
    active = _active(k, config, source)
    settings = {"losses": losses, "optimizer": optimizer}
    layer = MoELayer(
        {
            "width": block.width,
            "experts": block.experts,
            "hidden": block.hidden,
            "activation": "swiglu",
            "bias": False,
            "router": {
                "kind": "top_k",
                "k": integer(active, "k", 1, block.experts),
                "gate": "normalized",
            },
            **{key: value for key, value in settings.items() if value is not None},
        }
    )
    for name in block.parameter_names:
        layer.parameters[name] = block.parameter(name)
    return layer


def parameters(source: Source, number: int | None) -> dict[str, FloatArray]:
    """Return the arrays of a block under a layer's names, for a layer that exists.

    ``router.weight`` [N, D], ``experts.up.weight`` and ``experts.gate.weight`` [N, H, D],
    ``experts.down.weight`` [N, D, H].

    Parameters
    ----------
    source, number
        As in `load`, which raises the same.

    Examples
    --------
    >>> for name, values in parameters("checkpoint", 3).items():
    ...     model.parameters[f"layers.0.{name}"] = values
    """
    block = Block(_opened(source)[0], number)
    return {name: block.parameter(name) for name in block.parameter_names}


def tensors(
    layer: MoELayer, number: int | None, layout: Layout = "per_expert"
) -> dict[str, FloatArray]:
    """Return a layer's weights under the names of a block: what `load` reads.

    Parameters
    ----------
    layer : dynamoe.MoELayer
        One that a block can express: ``swiglu``, no biases, no shared experts, a ``top_k`` router
        with the gate ``normalized``, temperature 1 and no ``balance_rate``.
    number : int or None
        As in `load`.
    layout : {"per_expert", "fused"}, default "per_expert"
        See the module.

    Returns
    -------
    dict
        float32. Of ``"per_expert"`` all are live read-only views of the layer; of ``"fused"``
        ``gate_up_proj`` is a copy.

    Raises
    ------
    ValueError
        For any other layer; the message names the setting.
    """
    if layout not in _LAYOUTS:
        names = ", ".join(map(repr, _LAYOUTS))
        raise ValueError(f"layout: got {layout!r}, allowed is one of {names}")
    _require_block(layer)
    prefix = ""
    if number is not None:
        block = "block_sparse_moe." if layout == "per_expert" else "mlp."
        prefix = _PREFIX.format(integer(number, "number", 0)) + block
    gate, up, down = (layer.parameters[f"experts.{name}.weight"] for name in ("gate", "up", "down"))
    result = {"gate.weight": layer.parameters["router.weight"]}
    if layout == "fused":
        result["experts.gate_up_proj"] = np.concatenate([gate, up], axis=1)
        result["experts.down_proj"] = down
    else:
        for expert in range(len(gate)):
            for leaf, values in (("w1", gate), ("w2", down), ("w3", up)):
                result[f"experts.{expert}.{leaf}.weight"] = values[expert]
    return {prefix + name: values for name, values in result.items()}


def save(
    path: str | os.PathLike[str],
    layers: Mapping[int, MoELayer],
    layout: Layout = "per_expert",
) -> None:
    """Write layers to one safetensors file, in float32. An interrupted save leaves an older whole.

    Parameters
    ----------
    path : str or path object
        The file.
    layers : mapping
        Number in the checkpoint to layer; of each as in `tensors`.
    layout : {"per_expert", "fused"}, default "per_expert"
        See the module.

    Raises
    ------
    OSError
        When the file cannot be written.
    ValueError
        For a layer that a block cannot express.
    """
    if not isinstance(layers, Mapping):
        raise ValueError(f"layers: got {type(layers).__name__}, allowed is a mapping number: layer")
    merged: dict[str, FloatArray] = {}
    for number, layer in layers.items():
        merged.update(tensors(layer, integer(number, "number", 0), layout))
    write(path, merged)


def _opened(source: Any) -> tuple[TensorFiles | Arrays, dict[str, Any]]:
    """Return the tensors of a source and the configuration beside it, {} when there is none."""
    if isinstance(source, Mapping):
        return Arrays(source), {}
    files = TensorFiles(source)
    path = files.folder / "config.json"
    if not path.is_file():
        return files, {}
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise OSError(f"{path}: is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise OSError(f"{path}: is no JSON object")
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise ValueError(f"{path}: hidden_act is {activation!r}, allowed is 'silu'")
    return files, config


def _active(k: Any, config: dict[str, Any], source: Any) -> Any:
    if k is not None:
        return k
    if "num_experts_per_tok" not in config:
        where = "a mapping" if isinstance(source, Mapping) else os.fsdecode(source)
        raise ValueError(
            f"k: got None, allowed is an integer: {where} has no config.json with "
            "num_experts_per_tok"
        )
    return config["num_experts_per_tok"]


def _require_block(layer: Any) -> None:
    if not isinstance(layer, MoELayer):
        raise ValueError(f"layer: got {type(layer).__name__}, allowed is a dynamoe.MoELayer")
    config = layer.config
    router = config["router"]
    k = min(router.get("k", 0), config["experts"])
    lowest, highest = router.get("min_active", 1), router.get("max_active")
    expected = {
        "activation": (config["activation"], "swiglu"),
        "bias": (config["bias"], False),
        "shared_experts": (config["shared_experts"], 0),
        "router.kind": (router["kind"], "top_k"),
        "router.gate": (router.get("gate"), "normalized"),
        "router.temperature": (router.get("temperature"), 1),
        "router.balance_rate": (router.get("balance_rate"), 0),
        "router.min_active": (lowest, min(lowest, k)),
        "router.max_active": (highest, highest if highest is None else max(highest, k)),
    }
    for setting, (found, allowed) in expected.items():
        if found != allowed:
            raise ValueError(
                f"layer: {setting} is {found!r}, which a Mixtral block cannot express; "
                f"allowed is {allowed!r}"
            )
