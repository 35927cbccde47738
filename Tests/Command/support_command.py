"""The built command, a configuration and images for its tests."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
COMMAND = os.environ.get("DYNAMOE_COMMAND", str(ROOT / ".build-command" / "bin" / "dynamoe"))
CONFIG = {
    "task": "classification",
    "width": 16,
    "experts": [4, 3],
    "hidden": 16,
    "router": {"kind": "threshold", "target_active": 2},
    "optimizer": {"lr": 0.01},
}


def images(folder, rows=400):
    """Write 8 by 8 images of ten kinds as IDX files; return them."""
    rng = np.random.default_rng(1)
    kinds = np.arange(rows) % 10
    patterns = rng.integers(0, 17, (10, 64))
    pixels = np.clip(patterns[kinds] + rng.normal(0, 1, (rows, 64)), 0, 16).astype(np.uint8)
    for name, array in ("images-idx3", pixels.reshape(rows, 8, 8)), ("labels-idx1", kinds):
        sizes = struct.pack(f">{array.ndim}I", *array.shape)
        data = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
        (folder / f"small-{name}-ubyte").write_bytes(data)
    return pixels, kinds
