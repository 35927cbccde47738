"""Weights from and to torch.nn.Linear. Skipped without PyTorch."""

from __future__ import annotations

import dynamoe as dm
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from dynamoe.interop.torch import from_linear, to_linear  # noqa: E402

from support.torch_modules import WIDTH  # noqa: E402


def classifier():
    """Return a small model."""
    return dm.Model(
        {
            "task": "classification",
            "inputs": 6,
            "outputs": 3,
            "width": WIDTH,
            "experts": [4, 2],
            "hidden": 5,
            "activation": "swiglu",
            "shared_experts": 1,
            "router": {"kind": "top_k", "k": 1},
        }
    )


PROJECTIONS = {
    "input": None,
    "head": None,
    "layers.0.router": None,
    "layers.0.experts.up": 3,
    "layers.1.experts.gate": 1,
    "layers.1.experts.down": 0,
    "layers.0.shared.down": 0,
}


@pytest.mark.parametrize("name", list(PROJECTIONS))
def test_linear_there_and_back(name):
    model, expert = classifier(), PROJECTIONS[name]
    before = {key: values.copy() for key, values in model.parameters.items()}
    linear = to_linear(model, name, expert)
    index = ... if expert is None else expert
    values = before[f"{name}.weight"][index]
    assert (linear.out_features, linear.in_features) == values.shape
    assert np.array_equal(linear.weight.detach(), values)
    assert (linear.bias is not None) == (f"{name}.bias" in before)
    from_linear(model, name, linear, expert)
    assert all(np.array_equal(values, before[key]) for key, values in model.parameters.items())
    with torch.no_grad():
        for tensor in linear.parameters():
            tensor.normal_()
    assert np.array_equal(model.parameters[f"{name}.weight"], before[f"{name}.weight"])
    from_linear(model, name, linear.double(), expert)
    for leaf, tensor in linear.named_parameters():
        key = f"{name}.{leaf}"
        changed = model.parameters[key]
        assert np.array_equal(changed[index], tensor.detach())
        before[key][index] = changed[index]
    assert all(np.array_equal(values, before[key]) for key, values in model.parameters.items())


def test_linear_computes_what_the_network_does():
    model, x = classifier(), torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    model = dm.Model({**model.config, "norm": "none", "residual": True}, seed=1)
    for name in ("layers.0", "layers.1"):
        for kind in ("experts", "shared"):
            for leaf in ("weight", "bias"):
                key = f"{name}.{kind}.down.{leaf}"
                model.parameters[key] = np.zeros(model.parameters[key].shape)
    y = to_linear(model, "head")(to_linear(model, "input")(x))
    assert np.allclose(model.forward(x), y.detach(), atol=1e-6)


def test_a_missing_bias_is_zero():
    model = classifier()
    from_linear(model, "head", torch.nn.Linear(WIDTH, 3, bias=False))
    assert (model.parameters["head.bias"] == 0).all()
    from_linear(model, "layers.0.experts.up", torch.nn.Linear(WIDTH, 5, bias=False), 2)
    bias = model.parameters["layers.0.experts.up.bias"]
    assert (bias[2] == 0).all() and bias[1].all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("haed", torch.nn.Linear(WIDTH, 3)), "name: got 'haed', allowed is one of input, "),
        (("norm", torch.nn.Linear(WIDTH, 3)), "name: got 'norm'"),
        (("head.weight", torch.nn.Linear(WIDTH, 3)), "name: got 'head.weight'"),
        (("head", torch.nn.Linear(WIDTH, 3), 0), "expert: got 0, allowed is None"),
        (("layers.0.experts.up", torch.nn.Linear(WIDTH, 5)), "expert: got None"),
        (("layers.0.experts.up", torch.nn.Linear(WIDTH, 5), 4), "expert: got 4"),
        (("layers.0.experts.up", torch.nn.Linear(WIDTH, 5), -1), "expert: got -1"),
        (("head", torch.nn.Linear(3, WIDTH)), r"linear\.weight: got shape \[8, 3\]"),
        (("layers.0.router", torch.nn.Linear(WIDTH, 4)), "linear: got one with a bias"),
        (("head", torch.nn.Linear(WIDTH, 3, device="meta")), r"linear\.weight: .*meta"),
        (("head", torch.ones(3, WIDTH)), "linear: got Tensor"),
    ],
)
def test_linears_that_do_not_fit_are_refused(arguments, words):
    model = classifier()
    before = {key: values.copy() for key, values in model.parameters.items()}
    with pytest.raises(ValueError, match=words):
        from_linear(model, *arguments)
    linear = torch.nn.Linear(WIDTH, 3)
    with torch.no_grad():
        linear.bias.fill_(torch.inf)
    with pytest.raises(ValueError, match=r"linear\.bias: got NaN or infinity"):
        from_linear(model, "head", linear)
    assert all(np.array_equal(values, before[key]) for key, values in model.parameters.items())
    with pytest.raises(ValueError, match="network: got dict"):
        to_linear({}, "head")
