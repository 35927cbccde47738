"""Small networks and data for the tests."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import dynamoe as dm
import numpy as np

INPUTS, OUTPUTS, ROWS = 12, 5, 40


def config(**changes: Any) -> dict[str, Any]:
    """Return a small classifier's configuration with some keys replaced (None: removed)."""
    base: dict[str, Any] = {
        "task": "classification",
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "width": 16,
        "experts": [6, 4, 3],
        "hidden": 20,
        "router": {"kind": "threshold", "target_active": 2, "noise": 0.05},
        "losses": {"balance": 0.01, "z": 0.001},
    }
    base.update(changes)
    return {key: value for key, value in base.items() if value is not None}


def rows(count: int = ROWS, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return features float32 [count, INPUTS] and classes int64 [count] that depend on them."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((count, INPUTS)).astype(np.float32)
    y = (x[:, :OUTPUTS] + 0.3 * x[:, OUTPUTS : 2 * OUTPUTS]).argmax(axis=1)
    return x, y.astype(np.int64)


def classifier(trained: bool = False, seed: int = 7, **changes: Any) -> dm.Model:
    """Return a small classifier, after three steps if `trained`."""
    model = dm.Model(config(**changes), seed=seed)
    if trained:
        x, y = rows()
        for _ in range(3):
            model.train_batch(x, y)
    return model


def layer(trained: bool = False, seed: int = 7, **changes: Any) -> dm.MoELayer:
    """Return a small single layer, after two steps if `trained`."""
    base: dict[str, Any] = {
        "width": INPUTS,
        "experts": 5,
        "hidden": 9,
        "router": {"kind": "threshold", "target_active": 2},
        "losses": {"balance": 0.01},
    }
    made = dm.MoELayer({**base, **changes}, seed=seed)
    if trained:
        x, _ = rows()
        for _ in range(2):
            made.zero_gradients()
            made.backward(made.forward(x, training=True))
            made.step()
    return made


def state(network: dm.Model | dm.MoELayer) -> str:
    """Return a hash of parameters, buffers, gradients, optimizer and random state, statistics."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        network.save(path)
        digest.update(path.read_bytes())
    for name, gradient in network.gradients.items():
        digest.update(name.encode() + gradient.tobytes())
    statistics = [layer.as_dict() for layer in network.routing_stats()]
    digest.update(json.dumps(statistics).encode())
    return digest.hexdigest()
