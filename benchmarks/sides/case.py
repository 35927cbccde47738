"""A workload as a folder: what all sides read, so that they compute the same function.

case.txt             a key and its values a line
model.safetensors    weights and calibrated thresholds, as `Model.save` writes them
x.bin                float32 [rows, inputs], or int32 [rows] when inputs is 0
targets.bin          int32 [rows], or float32 [rows, outputs] when targets is `values`
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


class Case:
    """The description and the arrays of a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        lines = (self.folder / "case.txt").read_text().splitlines()
        self.values = {key: words for key, *words in map(str.split, lines)}
        self.rows = self.integer("rows")
        self.output_rows = self.integer("output_rows")
        self.inputs = self.integer("inputs")
        self.outputs = self.integer("outputs")
        self.experts = [int(word) for word in self.values["experts"]]
        self.activation = self.values["activation"][0]
        self.is_layer = self.values["kind"][0] == "layer"
        self.model_path = str(self.folder / "model.safetensors")

    def integer(self, key: str) -> int:
        """Return a number of the description."""
        return int(self.values[key][0])

    def numbers(self, key: str) -> list[float]:
        """Return a list of the description."""
        return [float(word) for word in self.values[key]]

    def x(self) -> np.ndarray:
        """Return the rows: features or token ids."""
        if self.inputs:
            return np.fromfile(self.folder / "x.bin", np.float32).reshape(self.rows, self.inputs)
        return np.fromfile(self.folder / "x.bin", np.int32)

    def targets(self) -> np.ndarray:
        """Return classes or values."""
        if self.values["targets"][0] == "classes":
            return np.fromfile(self.folder / "targets.bin", np.int32)
        return np.fromfile(self.folder / "targets.bin", np.float32).reshape(self.rows, self.outputs)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return parameters and thresholds by name; those of a single layer begin with layers.0."""
        with open(self.model_path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        prefix = "layers.0." if self.is_layer else ""
        return {
            prefix + name: np.fromfile(
                self.model_path,
                np.float32,
                count=(entry["data_offsets"][1] - entry["data_offsets"][0]) // 4,
                offset=8 + length + entry["data_offsets"][0],
            ).reshape(entry["shape"])
            for name, entry in header.items()
            if entry["dtype"] == "F32" and not name.startswith("optimizer")
        }

    def read_output(self, path: str) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return what a side wrote with `write_output`: outputs, and the mask of each layer."""
        content = Path(path).read_bytes()
        size = 4 * self.output_rows * self.outputs
        outputs = np.frombuffer(content[:size], np.float32).reshape(self.output_rows, self.outputs)
        masks = np.frombuffer(content[size:], np.uint8).reshape(self.output_rows, sum(self.experts))
        return outputs, np.split(masks.astype(bool), np.cumsum(self.experts)[:-1], axis=1)

    def write_output(self, path: str, outputs: np.ndarray, masks: list[np.ndarray]) -> None:
        """Write float32 [output_rows, outputs], then uint8 [output_rows, experts of all layers]."""
        with open(path, "wb") as file:
            file.write(np.ascontiguousarray(outputs, np.float32).tobytes())
            file.write(np.concatenate(masks, axis=1).astype(np.uint8).tobytes())
