"""The memory that a layer shares with a PyTorch module. Skipped without PyTorch."""

from __future__ import annotations

import copy
import gc
import pickle

import dynamoe as dm
import numpy as np
import pytest
from dynamoe import _memory

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


from support.torch_modules import CASES, ROWS, WIDTH, made, require_in_effect, rows, trained  # noqa: E402

# ------------------------------------------------------------------------------------- memory


def test_nothing_is_copied(monkeypatch):
    """The library reads and writes at the addresses of PyTorch's own tensors."""
    module, x = made(), rows()
    calls = {}
    functions = module.layer._c
    for verb in ("forward", "backward"):
        original = getattr(functions, verb)

        def recorded(*arguments, verb=verb, original=original):
            calls[verb] = arguments
            return original(*arguments)

        monkeypatch.setattr(functions, verb, recorded)
    y = module(x)
    assert calls["forward"][1] == x.data_ptr() and calls["forward"][5] == y.data_ptr()
    dy = torch.ones(ROWS, WIDTH)
    (dx,) = torch.autograd.grad(y, [x], dy)
    assert calls["backward"][1] == dy.data_ptr() and calls["backward"][3] == dx.data_ptr()
    deep = rows(12).reshape(3, 4, WIDTH)
    y = module(deep)
    assert calls["forward"][1] == deep.data_ptr() and calls["forward"][5] == y.data_ptr()
    with torch.no_grad():
        y = module.eval()(x)
    assert calls["forward"][1] == x.data_ptr() and calls["forward"][5] == y.data_ptr()


@pytest.mark.parametrize("name", list(CASES))
def test_parameters_are_the_layer_s_memory(name):
    module = made(**CASES[name])
    layer = module.layer
    assert [key for key, _ in module.named_parameters()] == list(layer.parameters)
    assert [key for key, _ in module.named_buffers()] == list(layer.buffers)
    for key, tensor in module.named_parameters():
        assert isinstance(tensor, torch.nn.Parameter)
        assert tensor.data_ptr() == layer.parameters[key].ctypes.data
    for key, tensor in module.named_buffers():
        assert tensor.data_ptr() == layer.buffers[key].ctypes.data
    with torch.no_grad():
        module.router.weight.fill_(0.5)
    assert (layer.parameters["router.weight"] == 0.5).all()
    layer.parameters["experts.down.weight"] = np.full((5, WIDTH, 12), 0.25)
    assert (module.experts.down.weight == 0.25).all()


def test_memory_outlives_the_module():
    module = made()
    weight = module.experts.up.weight
    values = weight.detach().clone()
    module.layer.close()
    del module
    made(seed=8)
    assert torch.equal(weight, values)


def test_memory_goes_with_the_last_reference(monkeypatch):
    freed = []
    original = _memory.Handle.__del__
    monkeypatch.setattr(
        _memory.Handle, "__del__", lambda self: (freed.append(self.address), original(self))
    )
    gc.disable()
    try:
        module = trained(made(**CASES["threshold with shared experts"]))
        weight, layer = module.router.weight, module.layer
        del module
        assert layer.forward(rows()).shape == (ROWS, WIDTH) and freed == []
        del layer
        assert freed == []
        del weight
        assert len(freed) == 1
    finally:
        gc.enable()


WRITES = {
    "copy_": lambda m, p, v: p.copy_(v),
    "mul_": lambda m, p, v: p.mul_(2),
    "part": lambda m, p, v: p[1, 2].fill_(1),
    "detach": lambda m, p, v: p.detach().add_(1),
    "data": lambda m, p, v: p.data.mul_(2),
    "data, part": lambda m, p, v: p.data.clamp_(-0.01, 0.01),
    "data, set": lambda m, p, v: setattr(p, "data", v),
    "init": lambda m, p, v: torch.nn.init.normal_(p),
    "load_state_dict": lambda m, p, v: m.load_state_dict(made(seed=5).state_dict()),
    "load_state_dict, assign": lambda m, p, v: m.load_state_dict(
        made(seed=5).state_dict(), assign=True
    ),
    "vector_to_parameters": lambda m, p, v: torch.nn.utils.vector_to_parameters(
        torch.linspace(-1, 1, sum(t.numel() for t in m.parameters())), m.parameters()
    ),
    "layer": lambda m, p, v: m.layer.parameters.__setitem__("experts.up.weight", v.numpy()),
}


@pytest.mark.parametrize("name", list(WRITES))
def test_writes_are_in_effect(name):
    module = trained(made())
    require_in_effect(module)
    weight = module.experts.up.weight
    before = weight.detach().clone()
    with torch.no_grad():
        WRITES[name](module, weight, torch.randn_like(weight))
    assert not torch.equal(weight, before)
    assert module.experts.up.weight is weight
    assert weight.data_ptr() == module.layer.parameters["experts.up.weight"].ctypes.data
    require_in_effect(module)
    trained(module)
    require_in_effect(module)


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "AdamW foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_steps_of_an_optimizer_are_in_effect(name):
    module = made()
    optimizer = OPTIMIZERS[name](module.parameters())
    for _ in range(3):
        before = module.experts.up.weight.detach().clone()
        trained(module, 1, optimizer)
        assert not torch.equal(module.experts.up.weight, before)
        require_in_effect(module)


def test_pytorch_s_optimizer_trains_like_the_layer_s():
    settings = {"router": {"kind": "threshold", "target_active": 2, "noise": 0.05}}
    settings["optimizer"] = {"lr": 0.01, "weight_decay": 0}
    module = made(**settings)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0)
    trained(module, 10, optimizer)
    layer, x = made(**settings).layer, rows().detach().numpy()
    for _ in range(10):
        y = layer.forward(x, training=True)
        layer.zero_gradients()
        layer.backward(2 * (y - np.float32(0.7) * x) / y.size)
        layer.step()
    for name, values in layer.parameters.items():
        assert np.abs(values - module.layer.parameters[name]).max() < 1e-4, name
    assert layer.buffers["router.threshold"] == pytest.approx(
        module.layer.buffers["router.threshold"], abs=1e-5
    )


def test_the_layer_s_own_optimizer_may_be_used():
    module, x = made(), rows()
    before = module.experts.up.weight.detach().clone()
    module(x).sum().backward()
    module.layer.step()
    assert not torch.equal(module.experts.up.weight, before)
    require_in_effect(module)


# ------------------------------------------------------------------------------------- controllers


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    "router",
    [
        {"kind": "relu", "target_active": 1},
        {"kind": "top_p", "target_active": 2, "gate": "raw"},
        {"kind": "top_k", "k": 2, "balance_rate": 0.01},
    ],
)
def test_controllers_move_as_with_the_layer_s_optimizer(router, fused):
    module, x = made(router=router), rows()
    layer = made(router=router, optimizer={"kind": "sgd", "lr": 0.1}).layer
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, fused=fused)
    start = {name: values.copy() for name, values in layer.buffers.items()}
    for _ in range(4):
        optimizer.zero_grad()
        module(x).sum().backward()
        optimizer.step()
        layer.zero_gradients()
        layer.backward(np.ones_like(layer.forward(x.detach().numpy(), training=True)))
        layer.step()
    require_in_effect(module)
    moved = False
    for name, values in layer.buffers.items():
        assert np.allclose(values, module.layer.buffers[name], atol=1e-6)
        moved |= not np.array_equal(values, start[name])
    assert moved
    for name, values in layer.parameters.items():
        assert np.abs(values - module.layer.parameters[name]).max() < 1e-4


# ------------------------------------------------------------------------------------- copies


COPIED = {"router": {"kind": "threshold", "target_active": 2, "noise": 0.1}}


def copies(module, folder):
    """Return copies of a module, made in every way."""
    torch.save(module, folder / "module.pt")
    return {
        "deepcopy": copy.deepcopy(module),
        "pickle": pickle.loads(pickle.dumps(module)),
        "save": torch.load(folder / "module.pt", weights_only=False),
    }


def test_copies_go_on_where_the_module_stands(tmp_path):
    module = trained(made(**COPIED))
    module.auxiliary_scale = 0.5
    module.experts.requires_grad_(False)
    module.register_forward_hook(print_nothing)
    found = copies(module, tmp_path)
    x = rows()
    expected = module(x)  # with the noise of the next training forward
    for name, other in found.items():
        assert other.layer is not module.layer
        assert other.auxiliary_scale == 0.5 and len(other._forward_hooks) == 1
        assert [p.requires_grad for p in other.parameters()] == [
            p.requires_grad for p in module.parameters()
        ]
        assert torch.equal(other(x), expected), name
        assert other.layer.config == module.layer.config
        other.requires_grad_(True)
        trained(other)
        require_in_effect(other)
    require_in_effect(module)
    assert not copies(module.eval(), tmp_path)["deepcopy"].experts.up.training


def print_nothing(module, arguments, result):
    """Do nothing, as a hook that can be pickled."""


def test_state_of_a_module(tmp_path):
    module = trained(made(**COPIED))
    state = module.state_dict()
    assert set(state) == {*module.layer.parameters, *module.layer.buffers}
    torch.save(state, tmp_path / "state.pt")
    other = made(seed=9, **COPIED)
    assert str(other.load_state_dict(torch.load(tmp_path / "state.pt"))).startswith("<All keys")
    x = rows()
    with torch.no_grad():
        assert torch.equal(other.eval()(x), module.eval()(x))
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict({**state, "router.weight": torch.zeros(2)})
    module.layer.save(tmp_path / "layer.safetensors")
    loaded = dm.MoELayer.load(tmp_path / "layer.safetensors")
    assert np.array_equal(loaded.forward(x), module(x).detach())
