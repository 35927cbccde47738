"""Modules around small layers, and what they have to compute. Needs PyTorch."""

from __future__ import annotations

import dynamoe as dm
import numpy as np
import torch
from dynamoe.interop.torch import MoELayer

WIDTH, ROWS = 8, 24

CASES = {
    "top_k": {"router": {"kind": "top_k", "k": 2}},
    "top_k swiglu without bias": {
        "activation": "swiglu",
        "bias": False,
        "router": {"kind": "top_k", "k": 3, "temperature": 0.7},
    },
    "threshold with shared experts": {
        "shared_experts": 2,
        "activation": "silu",
        "router": {"kind": "threshold", "target_active": 2},
        "losses": {"balance": 0.3, "z": 0.1, "entropy": -0.2},
    },
    "percentile": {"activation": "geglu", "router": {"kind": "percentile"}},
    "dense with losses": {
        "activation": "gelu",
        "router": {"kind": "dense", "gate": "softmax"},
        "losses": {"balance": 0.1, "z": 0.2, "entropy": 0.3},
    },
}


def made(seed=3, **changes):
    """Return a module around a small layer."""
    base = {"width": WIDTH, "experts": 5, "hidden": 12, "router": {"kind": "top_k", "k": 2}}
    return MoELayer(dm.MoELayer({**base, **changes}, seed=seed))


def rows(count=ROWS, seed=0):
    """Return rows [count, WIDTH] that require a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, WIDTH, generator=generator).requires_grad_()


def trained(module, steps=3, optimizer=None, x=None):
    """Make steps of a PyTorch optimizer towards 0.7 x."""
    optimizer = optimizer or torch.optim.AdamW(module.parameters(), lr=0.01)
    x = rows() if x is None else x
    for _ in range(steps):
        optimizer.zero_grad()
        (module(x) - 0.7 * x.detach()).square().mean().backward()
        optimizer.step()
    return module


def fresh_output(module, x):
    """Return the evaluation of `x` by a new layer with the module's parameters and buffers."""
    layer = dm.MoELayer(module.layer.config, seed=99)
    for name, values in module.layer.parameters.items():
        layer.parameters[name] = values
    for name, values in module.layer.buffers.items():
        layer.buffers[name] = values
    return layer.forward(x)


def require_in_effect(module):
    """Evaluate: nothing that was packed before may be in use."""
    x = rows(7, seed=4)
    training = module.training
    expected = fresh_output(module, x)
    assert np.array_equal(module.layer.forward(x), expected)
    with torch.no_grad():
        y = module.eval()(x)
    module.train(training)
    assert np.array_equal(y.numpy(), expected)
