"""Golden cases of an independent reference, replayed through the package."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dynamoe as dm
import numpy as np
import pytest

from support import safetensors_file

# What a first version of the library need not have; a refusal is then no failure.
_LATER_KINDS = {"expert_threshold", "top_p", "top_any", "relu"}


def _folder() -> Path:
    named = os.environ.get("DYNAMOE_FIXTURES")
    checkout = Path(__file__).resolve().parents[2]
    return Path(named) if named else checkout.parent / "shared" / "fixtures"


CASES = sorted(path.stem for path in _folder().glob("*.safetensors"))


def near(actual, expected, absolute, relative, name):
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=absolute, err_msg=name)


def later(config):
    """Return whether a configuration uses what may still be missing."""
    routers = config["router"] if isinstance(config["router"], list) else [config["router"]]
    kinds = {router["kind"] for router in routers}
    return bool(kinds & _LATER_KINDS) or "vocabulary" in config


@pytest.mark.parametrize(
    "name",
    CASES
    or [
        pytest.param(
            "none",
            marks=pytest.mark.skip(reason="no golden cases: DYNAMOE_FIXTURES names their folder"),
        )
    ],
)
def test_case(name):
    tensors, metadata = safetensors_file.read(_folder() / f"{name}.safetensors")
    config = json.loads(metadata["config"])
    config["optimizer"] = json.loads(metadata["optimizer"])
    try:
        model = dm.Model(config)
    except (ValueError, dm.DynaMoEError) as error:
        if later(config):
            pytest.skip(f"not in this library: {error}")
        raise
    for mapping in (model.parameters, model.buffers):
        for parameter in mapping:
            mapping[parameter] = tensors[parameter]
    x = tensors["x"] if "x" in tensors else tensors["ids"]
    replay(model, x, tensors["targets"], tensors)


def replay(model, x, targets, tensors):
    """Forward, backward, evaluation, step, and two more steps, each against what is expected."""
    model.zero_gradients()
    logits = model.forward(x, training=True)
    near(logits, tensors["expected.logits"], 1e-5, 1e-4, "logits")
    total = model.loss(targets)
    near(total, tensors["expected.loss"][0], 1e-5, 1e-4, "loss")
    near(model.losses["task"], tensors["expected.task_loss"][0], 1e-5, 1e-4, "task loss")
    near(model.auxiliary_losses, tensors["expected.aux"], 1e-5, 1e-4, "auxiliary losses")
    for index, routing in enumerate(model.last_routing):
        prefix = f"expected.layers.{index}"
        assert np.array_equal(routing.active, tensors[f"{prefix}.active"]), prefix
        near(routing.weights, tensors[f"{prefix}.weights"], 1e-5, 1e-4, prefix)
    check_gradients(model, model.backward(targets), tensors)
    for buffer, values in model.buffers.items():
        near(values, tensors[f"expected.forward.{buffer}"], 1e-5, 1e-4, buffer)
    near(model.forward(x), tensors["expected.eval.logits"], 1e-5, 1e-4, "evaluation")
    for index, routing in enumerate(model.last_routing):
        prefix = f"expected.eval.layers.{index}"
        assert np.array_equal(routing.active, tensors[f"{prefix}.active"]), prefix
    losses = [total]
    model.step()
    for _ in range(2):
        model.zero_gradients()
        model.forward(x, training=True)
        losses.append(model.loss(targets))
        model.backward(targets)
        model.step()
    near(losses, tensors["expected.step_losses"], 1e-5, 1e-4, "losses of the steps")
    for mapping in (model.parameters, model.buffers):
        for parameter, values in mapping.items():
            near(values, tensors[f"expected.step3.{parameter}"], 5e-5, 1e-4, parameter)


def check_gradients(model, dx, tensors):
    pairs = dict(model.gradients)
    if dx is not None:
        pairs["x"] = dx
    for name, actual in pairs.items():
        expected = tensors[f"expected.grad.{name}"].astype(np.float64)
        near(actual, expected, 1e-5, 2e-3, f"gradient of {name}")
        norm = np.linalg.norm(expected)
        if norm > 1e-5:
            assert np.linalg.norm(actual - expected) <= 1e-3 * norm, name
