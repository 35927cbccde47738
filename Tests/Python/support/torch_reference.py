"""A layer written out in PyTorch, in float64, for a routing that is given."""

from __future__ import annotations

import torch
from torch.nn import functional

_ACTIVATIONS = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "swiglu": functional.silu,
    "geglu": functional.gelu,
}


def expert(values, kind, index, activation, x):
    """Return E(x), by the names of the layer's tensors."""

    def projection(name, inputs):
        bias = values.get(f"{kind}.{name}.bias")
        weight = values[f"{kind}.{name}.weight"][index]
        return functional.linear(inputs, weight, None if bias is None else bias[index])

    if f"{kind}.gate.weight" in values:
        hidden = _ACTIVATIONS[activation](projection("gate", x)) * projection("up", x)
    else:
        hidden = _ACTIVATIONS[activation](projection("up", x))
    return projection("down", hidden)


def forward(values, config, x, active):
    """Return y [T, D] and the weighted auxiliary losses; `active` [T, N] is a constant."""
    router = config["router"]
    logits = x @ values["router.weight"].T
    scores = functional.softmax(logits / router["temperature"], dim=-1)
    chosen = scores * active
    if router["gate"] == "normalized":
        weights = chosen / chosen.sum(dim=-1, keepdim=True)
    elif router["gate"] == "softmax":
        weights = functional.softmax(scores.masked_fill(~active, -torch.inf), dim=-1)
    else:
        weights = chosen
    y = sum(
        weights[:, [e]] * expert(values, "experts", e, config["activation"], x)
        for e in range(active.shape[1])
    )
    for shared in range(config["shared_experts"]):
        y = y + expert(values, "shared", shared, config["activation"], x)
    losses = config["losses"]
    share = active.sum(dim=0) / active.sum()
    balance = active.shape[1] * (share * scores.mean(dim=0)).sum()
    z = torch.logsumexp(logits, dim=-1).square().mean()
    entropy = -(scores * scores.log()).sum(dim=-1).mean()
    return y, losses["balance"] * balance + losses["z"] * z + losses["entropy"] * entropy
