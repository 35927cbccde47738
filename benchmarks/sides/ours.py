"""ours.py FOLDER MODE: this library through its Python package.

MODE: `infer`; `train`; `train_dx`, the same, as in Python a layer's backward always computes the
gradient by the rows; `passes`, forward and backward without the optimizer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import dynamoe as dm
import numpy as np

from case import Case
from protocol import serve


def model_step(model: dm.Model, case: Case, mode: str) -> Callable[[], object]:
    """Return one step of a whole network."""
    x, targets = case.x(), case.targets()
    if mode == "infer":
        return lambda: model.forward(x)
    if mode.startswith("train"):
        return lambda: model.train_batch(x, targets)
    return lambda: (model.forward(x, training=True), model.backward(targets))


def layer_step(layer: dm.MoELayer, case: Case, mode: str) -> Callable[[], object]:
    """Return one step of a single layer under a mean squared error."""
    x, targets = case.x(), case.targets()
    if mode == "infer":
        return lambda: layer.forward(x)

    backward = layer.backward if mode == "passes" else layer.backward_step

    def passes() -> None:
        difference = layer.forward(x, training=True) - targets
        difference *= np.float32(2 / difference.size)
        backward(difference)

    return passes


def main(folder: str, mode: str) -> None:
    """Load the case and serve."""
    case = Case(folder)
    network = (dm.MoELayer if case.is_layer else dm.Model).load(case.model_path)
    step = (layer_step if case.is_layer else model_step)(network, case, mode)

    def output(x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        return network.forward(x), [layer.active for layer in network.last_routing]

    serve(case, step, output)


main(*sys.argv[1:])
