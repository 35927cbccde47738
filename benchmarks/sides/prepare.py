"""prepare.py FOLDER: makes the case that FOLDER/workload.json describes, with this library."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dynamoe as dm
import numpy as np


def batch(work: dict, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and their targets."""
    random = np.random.default_rng(0)
    if work["inputs"]:
        x = random.standard_normal((rows, work["inputs"]), np.float32)
    else:
        x = random.integers(0, work["vocabulary"], rows, np.int32)
    if work["task"] == "regression":
        return x, random.standard_normal((rows, work["outputs"]), np.float32)
    return x, random.integers(0, work["outputs"], rows, np.int32)


def typical_rows(network: dm.Model | dm.MoELayer, x: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` rows whose K, summed over the layers, is nearest to the mean."""
    active = sum(layer.active.sum(axis=1) for layer in network.routing_trace(x))
    return np.sort(np.argsort(np.abs(active - active.mean()), kind="stable")[:count])


def mean_active(network: dm.Model | dm.MoELayer) -> list[float]:
    """Return the mean K of each layer since the latest call."""
    return [layer.mean_k for layer in network.routing_stats(reset=True)]


def main(folder: Path) -> None:
    """Write the case."""
    work = json.loads((folder / "workload.json").read_text())
    is_layer, rows = work["layer"], work["rows"]
    network = (dm.MoELayer if is_layer else dm.Model)(work["configuration"], seed=0)
    x, targets = batch(work, max(rows, 256))
    network.calibrate(x, work["targets"][0] if is_layer else work["targets"])
    if rows < len(x):
        chosen = typical_rows(network, x, rows)
        x, targets = x[chosen], targets[chosen]
    network.save(folder / "model.safetensors")
    network.routing_stats(reset=True)
    network.forward(x) if is_layer else network.evaluate(x, targets)
    active = mean_active(network)
    network.forward(x, training=True) if is_layer else network.train_batch(x, targets)
    active_training = mean_active(network)

    x.tofile(folder / "x.bin")
    targets.tofile(folder / "targets.bin")
    values = {
        "kind": "layer" if is_layer else "model",
        "rows": rows,
        "output_rows": min(rows, max(1, 2**24 // work["outputs"])),
        "inputs": work["inputs"],
        "outputs": work["outputs"],
        "targets": "values" if work["task"] == "regression" else "classes",
        "experts": " ".join(map(str, work["experts"])),
        "activation": work["activation"],
        "active": " ".join(map(str, active)),
        "active_training": " ".join(map(str, active_training)),
    }
    text = "".join(f"{key} {value}\n" for key, value in values.items())
    (folder / "case.txt").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
