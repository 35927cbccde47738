"""A layer as a PyTorch module: gradients, modes, refusals. Skipped without PyTorch."""

from __future__ import annotations

import dynamoe as dm
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from dynamoe.interop.torch import MoELayer  # noqa: E402

from support import torch_reference  # noqa: E402
from support.torch_modules import CASES, ROWS, WIDTH, made, require_in_effect, rows, trained  # noqa: E402

# ------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", list(CASES))
def test_gradients_are_those_of_the_formula(name):
    module, x = made(**CASES[name]), rows()
    factors = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    y = module(x)
    (y * factors).sum().backward()

    config = module.layer.config
    active = torch.from_numpy(module.layer.last_routing[0].active)
    values = {
        key: tensor.detach().double().requires_grad_() for key, tensor in module.named_parameters()
    }
    exact = x.detach().double().requires_grad_()
    config["router"].setdefault("temperature", 1.0)
    expected, auxiliary = torch_reference.forward(values, config, exact, active)
    ((expected * factors).sum() + auxiliary).backward()
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=1e-4, atol=1e-4)
    for key, tensor in module.named_parameters():
        torch.testing.assert_close(
            tensor.grad.double(), values[key].grad, rtol=1e-4, atol=1e-4, msg=key
        )
    assert float(module.auxiliary_loss) == pytest.approx(auxiliary.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["top_k", "top_k swiglu without bias", "dense with losses"])
def test_gradients_are_central_differences(name):
    """Along random directions of the input and of each parameter, where no selection changes."""
    module, x = made(**CASES[name]), rows()
    factors = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))

    def loss():
        y = module(x)
        return float((y.double() * factors).sum()) + float(module.auxiliary_loss)

    ((module(x) * factors).sum()).backward()
    active = module.layer.last_routing[0].active
    for tensor in (x, *module.parameters()):
        generator = torch.Generator().manual_seed(2)
        direction = torch.randn(tensor.shape, generator=generator)
        direction /= direction.norm()
        size = 1e-2
        found = []
        with torch.no_grad():
            start = tensor.clone()
            for sign in (1, -1):
                tensor.copy_(start + sign * size * direction)
                found.append(loss())
                assert np.array_equal(module.layer.last_routing[0].active, active)
            tensor.copy_(start)
        difference = (found[0] - found[1]) / (2 * size)
        slope = float((tensor.grad * direction).sum())
        assert slope == pytest.approx(difference, rel=5e-3, abs=5e-3)


def test_gradients_pass_through_to_other_modules():
    torch.manual_seed(0)
    first, last, module = torch.nn.Linear(3, WIDTH), torch.nn.Linear(WIDTH, 2), made()
    network = torch.nn.Sequential(first, module, torch.nn.GELU(), last)
    x, targets = torch.randn(6, 4, 3), torch.randint(2, (6, 4))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        logits = network(x)
        assert logits.shape == (6, 4, 2)
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 2), targets.reshape(-1))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert first.weight.grad.abs().sum() > 0


def test_gradients_are_those_of_transformers():
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    from dynamoe.interop import mixtral

    torch.manual_seed(1)
    config = transformers.MixtralConfig(
        vocab_size=8,
        hidden_size=WIDTH,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=5,
        initializer_range=0.3,
    )
    block = transformers.MixtralForCausalLM(config).model.layers[0].mlp
    module = MoELayer(mixtral.load(block.state_dict(), None, k=2))
    first, second = rows(), rows()
    block(first[None]).square().sum().backward()
    module(second[None]).square().sum().backward()
    torch.testing.assert_close(second.grad, first.grad, rtol=1e-4, atol=1e-5)
    gate_up = torch.cat([module.experts.gate.weight.grad, module.experts.up.weight.grad], dim=1)
    torch.testing.assert_close(gate_up, block.experts.gate_up_proj.grad, rtol=1e-4, atol=1e-5)
    found = module.experts.down.weight.grad
    torch.testing.assert_close(found, block.experts.down_proj.grad, rtol=1e-4, atol=1e-5)
    found = module.router.weight.grad
    torch.testing.assert_close(found, block.gate.weight.grad, rtol=1e-4, atol=1e-5)


def test_gradients_add_up_until_they_are_cleared():
    module, x = made(), rows()
    module(x).square().sum().backward()
    once = {name: tensor.grad.clone() for name, tensor in module.named_parameters()}
    module(x).square().sum().backward()
    for name, tensor in module.named_parameters():
        torch.testing.assert_close(tensor.grad, 2 * once[name])
    module.zero_grad(set_to_none=False)
    module(x).square().sum().backward()
    for name, tensor in module.named_parameters():
        assert torch.equal(tensor.grad, once[name])


def test_autograd_grad_and_hooks():
    module, x = made(), rows()
    seen = []
    module.experts.up.weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad))
    gradient, dx = torch.autograd.grad(module(x).sum(), [module.router.weight, x])
    assert gradient.shape == (5, WIDTH) and dx.shape == x.shape
    assert module.router.weight.grad is None and seen == []
    module(x).sum().backward()
    assert torch.equal(module.router.weight.grad, gradient) and len(seen) == 1


def test_frozen_parameters_get_no_gradient():
    module, x = made(), rows()
    module.experts.requires_grad_(False)
    module(x).sum().backward()
    assert module.experts.up.weight.grad is None
    assert module.router.weight.grad is not None and x.grad is not None
    module.requires_grad_(False)
    assert not module(x.detach()).requires_grad
    module(x).sum().backward()


def test_auxiliary_gradients_are_scaled():
    case = CASES["dense with losses"]
    plain = made(**{**case, "losses": {}})
    x = rows()
    gradients = {}
    for scale in (None, 1, 0.25):
        module = plain if scale is None else made(**case)
        if scale is not None:
            module.auxiliary_scale = scale
        x.grad = None
        module(x).sum().backward()
        gradients[scale] = [x.grad, *(tensor.grad for tensor in module.parameters())]
    for without, whole, quarter in zip(*gradients.values(), strict=True):
        torch.testing.assert_close(quarter - without, 0.25 * (whole - without), atol=1e-4, rtol=0)
    assert (
        max(float((a - b).abs().max()) for a, b in zip(gradients[1], gradients[None], strict=True))
        > 1e-3
    )


# ------------------------------------------------------------------------------------- modes


def test_training_and_evaluation():
    module = made(router={"kind": "threshold", "target_active": 2, "noise": 0.1})
    x = rows()
    layer = module.layer
    first = module(x)
    threshold = layer.buffers["router.threshold"].copy()
    assert threshold > 0 and not torch.equal(module(x), first)  # noise
    module.eval()
    threshold = layer.buffers["router.threshold"].copy()
    assert torch.equal(module(x), module(x))
    assert np.array_equal(module(x).detach().numpy(), layer.forward(x.detach().numpy()))
    assert layer.buffers["router.threshold"] == threshold
    assert module(x[:0]).shape == (0, WIDTH)
    with pytest.raises(ValueError, match="rows is 0"):
        module.train()(x[:0])


def test_evaluation_has_no_backward_and_leaves_the_pending_one():
    module, x = made(), rows()
    loss = module(x).sum()
    module.eval()
    with pytest.raises(dm.DynaMoEError, match=r"evaluation mode.*train\(\)"):
        module(x).sum().backward()
    with torch.no_grad():
        assert not module(x).requires_grad
    with torch.inference_mode():
        module(x)
    loss.backward()
    assert x.grad is not None


def test_one_forward_is_kept():
    module, x = made(), rows()
    first, second = module(x), module(2 * x)
    with pytest.raises(dm.DynaMoEError, match=r"later forward.*join the batches"):
        first.sum().backward()
    assert all(tensor.grad is None for tensor in module.parameters())
    second.sum().backward(retain_graph=True)
    gradient = module.router.weight.grad.clone()
    with pytest.raises(dm.DynaMoEError, match="had its backward"):
        second.sum().backward()
    assert torch.equal(module.router.weight.grad, gradient)
    third = module(x)
    with torch.no_grad():
        module(x)
    with pytest.raises(dm.DynaMoEError, match="later forward"):
        third.sum().backward()
    fourth = module(x)
    module.layer.forward(x.detach().numpy(), training=True)
    with pytest.raises(dm.DynaMoEError, match="later forward"):
        fourth.sum().backward()
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)[0]
        gradient.sum().backward()


def test_parameters_may_not_change_before_the_backward():
    module, x = made(), rows()
    loss = module(x).sum()
    with torch.no_grad():
        module.experts.down.bias.add_(1)
    with pytest.raises(RuntimeError, match=r"experts\.down\.bias was changed in place"):
        loss.backward()
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    module(x).sum().backward()
    loss = module(x).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"router\.weight was changed in place"):
        loss.backward()
    loss = module(x).sum()
    assert all(tensor.data.isfinite().all() for tensor in module.parameters())
    loss.backward()


def test_calibration_uses_what_was_written():
    module, x = made(router={"kind": "threshold", "target_active": 2}), rows(200)
    module.layer.forward(x)
    with torch.no_grad():
        module.router.weight.mul_(-3)
    module.layer.calibrate(x, 1.5)
    assert module.layer.routing_trace(x)[0].k.mean() == pytest.approx(1.5, abs=0.05)


def test_building_in_inference_mode():
    with torch.inference_mode():
        module = made()
    trained(module)
    require_in_effect(module)


# ------------------------------------------------------------------------------------- refusals


def test_what_the_module_is_made_of():
    module = made()
    assert "5 experts" in repr(module)
    with pytest.raises(ValueError, match="in a module already"):
        MoELayer(module.layer)
    for wrong in (None, {"width": 3}, dm.Model(dm.preset("paper_mnist"))):
        with pytest.raises(ValueError, match="layer: got"):
            MoELayer(wrong)
    for scale in (0, -1, float("nan"), float("inf"), "1"):
        with pytest.raises(ValueError, match="auxiliary_scale"):
            MoELayer(made().layer, auxiliary_scale=scale)
    layer = module.layer
    del module
    MoELayer(layer)
    layer.close()
    with pytest.raises(ValueError, match="closed"):
        MoELayer(layer)


def test_layers_in_bfloat16_are_refused(tmp_path):
    made().layer.save(tmp_path / "layer.safetensors")
    layer = dm.MoELayer.load(tmp_path / "layer.safetensors", precision="bfloat16")
    with pytest.raises(ValueError, match="layer: got one in bfloat16"):
        MoELayer(layer)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (rows().double(), r"x: got torch\.float64, allowed is torch\.float32"),
        (rows().bfloat16(), r"x: got torch\.bfloat16"),
        (torch.ones(2, WIDTH, dtype=torch.int64), r"x: got torch\.int64"),
        (torch.empty(2, WIDTH, device="meta"), "x: got a tensor on meta"),
        (torch.ones(WIDTH, 2), r"x: got shape \[8, 2\], allowed is \[\.\.\., 8\]"),
        (torch.tensor(1.0), r"x: got shape \[\]"),
        (np.ones((2, WIDTH), np.float32), "x: got ndarray"),
        (torch.full((2, WIDTH), torch.nan), "NaN|nan"),
    ],
)
def test_refused_input(x, words):
    module = made()
    before = module.layer._info().training_forwards
    with pytest.raises(ValueError, match=words):
        module(x)
    assert module.layer._info().training_forwards == before


def test_autocast_and_odd_memory():
    module, x = made(router={"kind": "dense"}), rows()
    expected = module(x.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x.bfloat16())
    assert y.dtype == torch.float32 and torch.equal(y, expected)
    y.sum().backward()
    whole = module(x).detach()
    for odd in (x.t().contiguous().t(), x.repeat(2, 1)[:ROWS], torch._neg_view(-x.detach())):
        y = module(odd)
        assert torch.equal(y, whole)
        y.sum().backward()  # of a gradient that is one number, expanded


def test_the_module_neither_moves_nor_changes_its_type():
    module = made()
    before = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    for change in (
        lambda m: m.double(),
        lambda m: m.half(),
        lambda m: m.to(torch.bfloat16),
        lambda m: m.to("meta"),
        lambda m: m.share_memory(),
        lambda m: torch.nn.Sequential(m).double(),
        lambda m: m.experts.double(),
    ):
        with pytest.raises(ValueError, match="cannot become"):
            change(module)
    module.float().cpu().to("cpu", torch.float32)
    assert before == {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    trained(module)


def test_tensors_cannot_be_replaced():
    x = rows()
    module = made()
    module.router.weight = torch.nn.Parameter(torch.zeros(5, WIDTH))
    with pytest.raises(ValueError, match=r"router\.weight: got another tensor"):
        module(x)
    module = made()
    values = {name: torch.zeros_like(tensor) for name, tensor in module.named_parameters()}
    with pytest.raises(ValueError, match="got another tensor"):
        torch.func.functional_call(module, values, (x,))
    module(x)
    with pytest.raises(ValueError, match=r"data: got shape \[2\]"):
        module.router.weight.data = torch.zeros(2)


def test_weights_that_are_not_finite_are_refused():
    module, x = made(), rows()
    with torch.no_grad():
        module.experts.up.weight[0, 0, 0] = torch.nan
    for _ in range(2):
        with pytest.raises(ValueError, match=r"experts\.up\.weight\[0\] is nan"):
            module(x)
    with torch.no_grad():
        module.experts.up.weight[0, 0, 0] = 1
    module(x).sum().backward()
    loss = (module(x) * torch.inf).sum()
    with pytest.raises(ValueError, match="output_gradient"):
        loss.backward()
