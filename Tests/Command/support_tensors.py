"""Writes safetensors files with NumPy alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

TYPES = {"float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64", "uint8": "U8"}


def write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write the tensors in their order."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        piece = np.ascontiguousarray(tensor).tobytes()
        offsets = [len(data), len(data) + len(piece)]
        header[name] = {
            "dtype": TYPES[str(tensor.dtype)],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        data += piece
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
