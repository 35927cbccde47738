"""Blocks of Mixtral checkpoints against the formula, and against Transformers where it is there."""

from __future__ import annotations

import json
import os

import dynamoe as dm
import numpy as np
import pytest
from dynamoe.interop import mixtral

from support import mixtral as expected
from support.mixtral import (
    EXPERTS,
    HIDDEN,
    WIDTH,
    K,
    block,
    checkpoint,
    fused,
    named,
    other_tensors,
)
from support.safetensors_file import read

TOLERANCE = 1e-5


@pytest.fixture
def x():
    """Return rows [T, D]."""
    return np.random.default_rng(5).standard_normal((50, WIDTH)).astype(np.float32)


def require_equal(layer, tensors, x):
    """Compare a layer's outputs with the formula."""
    assert np.abs(layer.forward(x) - expected.output(tensors, x)).max() < TOLERANCE


@pytest.mark.parametrize("form", ["one file", "sharded"])
@pytest.mark.parametrize("layout", ["per_expert", "fused"])
def test_outputs_are_the_formula_s(tmp_path, x, layout, form):
    path, blocks = checkpoint(tmp_path, layout, form)
    for number, tensors in blocks.items():
        for source in (path, str(path), os.fsencode(path), tmp_path):
            layer = mixtral.load(source, number)
            assert layer.experts == [EXPERTS] and layer.config["hidden"] == HIDDEN
            require_equal(layer, tensors, x)
        assert (layer.last_routing[0].k == K).all()


@pytest.mark.parametrize("layout", ["per_expert", "fused"])
def test_mappings(x, layout):
    tensors = block(3)
    given = fused(tensors) if layout == "fused" else tensors
    require_equal(mixtral.load(given, None, k=K), tensors, x)
    require_equal(mixtral.load(named(given, 4, "mlp"), 4, k=K), tensors, x)
    views = {name: memoryview(values) for name, values in given.items()}
    require_equal(mixtral.load(views, None, k=K), tensors, x)


@pytest.mark.parametrize("k", [1, 3, EXPERTS])
def test_k_is_the_caller_s(x, k):
    tensors = block(3)
    layer = mixtral.load(tensors, None, k=k)
    assert np.abs(layer.forward(x) - expected.output(tensors, x, k)).max() < TOLERANCE


@pytest.mark.parametrize("kind", ["float16", "float64", "bfloat16"])
def test_other_types_become_float32(tmp_path, x, kind):
    exact = block(2)
    if kind == "bfloat16":
        stored = {name: expected.bfloat16(values) for name, values in exact.items()}
        exact = {n: (v.astype(np.uint32) << 16).view(np.float32) for n, v in stored.items()}
    else:
        stored = {name: values.astype(kind) for name, values in exact.items()}
        exact = {name: values.astype(np.float32) for name, values in stored.items()}
    expected.write(tmp_path / "block.safetensors", named(stored, 0))
    layer = mixtral.load(tmp_path / "block.safetensors", 0, k=K)
    written = mixtral.tensors(layer, None)
    assert all(np.array_equal(written[name], exact[name]) for name in exact)
    require_equal(layer, exact, x)


@pytest.mark.parametrize("layout", ["per_expert", "fused"])
def test_what_is_saved_is_what_was_loaded(tmp_path, x, layout):
    path, blocks = checkpoint(tmp_path, layout, "one file")
    layers = {number: mixtral.load(path, number) for number in blocks}
    target = tmp_path / "saved.safetensors"
    target.write_bytes(b"older")
    mixtral.save(target, layers, layout=layout)
    saved, metadata = read(target)
    assert metadata == {"format": "pt"}
    original = {n: v for n, v in read_all(path).items() if n not in other_tensors()}
    assert set(saved) == set(original)
    assert all(np.array_equal(saved[name], original[name]) for name in saved)
    again = mixtral.load(target, 13, k=K)
    assert np.array_equal(again.forward(x), layers[13].forward(x))
    left = {"config.json", "model.safetensors", "saved.safetensors"}
    assert {file.name for file in tmp_path.iterdir()} == left


def read_all(path):
    """Return the tensors of a file but those of types that the reader lacks."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__")
    result = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            values = np.frombuffer(content[begin:end], "<f4")
            result[name] = values.reshape(entry["shape"])
    return result


def test_saving_what_fails_leaves_the_old_file(tmp_path):
    layer = mixtral.load(block(), None, k=K)
    target = tmp_path / "block.safetensors"
    target.write_bytes(b"older")
    with pytest.raises(ValueError, match="layer: got Model"):
        mixtral.save(target, {0: layer, 1: dm.Model(dm.preset("paper_mnist"))})
    with pytest.raises(ValueError, match="mapping"):
        mixtral.save(target, layer)
    with pytest.raises(OSError, match="nowhere"):
        mixtral.save(tmp_path / "nowhere" / "block.safetensors", {0: layer})
    assert target.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["block.safetensors"]


def test_parameters_go_into_a_model():
    tensors = named(block(4), 7)
    model = dm.Model(
        {
            "task": "regression",
            "inputs": WIDTH,
            "outputs": 1,
            "width": WIDTH,
            "experts": [EXPERTS],
            "hidden": HIDDEN,
            "activation": "swiglu",
            "bias": False,
            "router": {"kind": "top_k", "k": K},
        }
    )
    found = mixtral.parameters(tensors, 7)
    for name, values in found.items():
        model.parameters[f"layers.0.{name}"] = values
    assert set(found) == set(mixtral.load(tensors, 7, k=K).parameters)
    assert np.array_equal(
        model.parameters["layers.0.experts.gate.weight"][2],
        tensors["model.layers.7.block_sparse_moe.experts.2.w1.weight"],
    )


def test_settings_of_the_training_are_taken():
    layer = mixtral.load(block(), None, k=K, losses={"balance": 0.5}, optimizer={"lr": 0.25})
    assert layer.config["losses"]["balance"] == 0.5 and layer.config["optimizer"]["lr"] == 0.25


# ------------------------------------------------------------------------------------- Transformers


@pytest.fixture(scope="module")
def transformers():
    """Return Transformers, or skip."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return pytest.importorskip("transformers", reason="Transformers is not installed")


@pytest.fixture(scope="module")
def network(transformers):
    """Return a small Mixtral network of Transformers with weights of usual size."""
    import torch

    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=16,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=EXPERTS,
        num_experts_per_tok=K,
        initializer_range=0.3,
    )
    return transformers.MixtralForCausalLM(config).eval()


def block_output(network, number, x):
    """Return what Transformers computes of rows."""
    import torch

    with torch.no_grad():
        result = network.model.layers[number].mlp(torch.from_numpy(x)[None])
    return (result[0] if isinstance(result, tuple) else result)[0].numpy()


@pytest.mark.parametrize("form", ["one file", "sharded", "fused", "state_dict", "block"])
def test_outputs_are_those_of_transformers(network, tmp_path, x, form):
    for number in (0, 1):
        source, wanted = tmp_path, number
        if form == "one file":
            network.save_pretrained(tmp_path)
        elif form == "sharded":
            network.save_pretrained(tmp_path, max_shard_size="4KB")
            assert (tmp_path / "model.safetensors.index.json").is_file()
        elif form == "fused":
            network.save_pretrained(tmp_path, save_original_format=False)
        elif form == "state_dict":
            source = network.state_dict()
        else:
            source, wanted = network.model.layers[number].mlp.state_dict(), None
        layer = mixtral.load(source, wanted, k=K)
        difference = np.abs(layer.forward(x) - block_output(network, number, x))
        assert difference.max() < TOLERANCE


def test_bfloat16_checkpoints_of_transformers(network, transformers, tmp_path, x):
    import torch

    network.save_pretrained(tmp_path / "exact")
    coarse = transformers.MixtralForCausalLM.from_pretrained(
        tmp_path / "exact", dtype=torch.bfloat16
    )
    coarse.save_pretrained(tmp_path / "coarse")
    layer = mixtral.load(tmp_path / "coarse", 1)
    difference = np.abs(layer.forward(x) - block_output(coarse.float(), 1, x))
    assert difference.max() < TOLERANCE


@pytest.mark.parametrize("layout", ["per_expert", "fused"])
def test_transformers_reads_what_is_saved(network, transformers, tmp_path, x, layout):
    network.save_pretrained(tmp_path, save_original_format=layout == "per_expert")
    path = tmp_path / "model.safetensors"
    layer = mixtral.load(path, 1)
    layer.zero_gradients()
    layer.backward(layer.forward(x, training=True))
    layer.step(lr=0.1)
    tensors, _ = read(path)
    written = mixtral.tensors(layer, 1, layout)
    assert set(written) <= set(tensors)
    mixtral.save(path, {1: layer}, layout=layout)
    saved, _ = read(path)
    assert all(np.array_equal(saved[name], written[name]) for name in written)
    expected.write(path, {**tensors, **saved})
    changed = transformers.MixtralForCausalLM.from_pretrained(tmp_path).eval()
    assert np.abs(block_output(changed, 1, x) - block_output(network, 1, x)).max() > 0.01
    assert np.abs(block_output(changed, 1, x) - layer.forward(x)).max() < TOLERANCE
    assert np.array_equal(block_output(changed, 0, x), block_output(network, 0, x))
