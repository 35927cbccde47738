"""Blocks of Mixtral checkpoints against the formula, and against Transformers where it is there."""

from __future__ import annotations

import json
import os

import dynamoe as dm
import numpy as np
import pytest
from dynamoe.interop import mixtral

from support import mixtral as expected
from support.mixtral import EXPERTS, HIDDEN, WIDTH, K, block, fused, named
from support.safetensors_file import read

TOLERANCE = 1e-5


@pytest.fixture
def x():
    """Return rows [T, D]."""
    return np.random.default_rng(5).standard_normal((50, WIDTH)).astype(np.float32)


def require_equal(layer, tensors, x):
    """Compare a layer's outputs with the formula."""
    assert np.abs(layer.forward(x) - expected.output(tensors, x)).max() < TOLERANCE


def other_tensors():
    """Return what else is in a checkpoint."""
    return {
        "model.embed_tokens.weight": np.ones((3, 2), np.float32),
        "model.layers.0.input_layernorm.weight": np.ones(2, np.float32),
        "model.layers.1.self_attn.q_proj.weight": np.ones((2, 2), np.int8),
        "model.layers.2.mlp.gate_proj.weight": np.ones((2, 2), np.float32),
    }


def checkpoint(folder, layout, form):
    """Write two blocks in some form; return the path and the blocks by number."""
    blocks = {0: block(0), 13: block(1)}
    tensors = other_tensors()
    for number, values in blocks.items():
        if layout == "fused":
            tensors.update(named(fused(values), number, "mlp"))
        else:
            tensors.update(named(values, number))
    (folder / "config.json").write_text(
        json.dumps({"num_experts_per_tok": K, "hidden_act": "silu"})
    )
    if form == "sharded":
        return expected.write_sharded(folder, tensors), blocks
    expected.write(folder / "model.safetensors", tensors)
    return folder / "model.safetensors", blocks


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


# ------------------------------------------------------------------------------------- refusals


def changed(tensors, **changes):
    """Return tensors with some replaced (None: removed), dots written as double underscores."""
    result = dict(tensors)
    for name, values in changes.items():
        key = name.replace("__", ".")
        if values is None:
            del result[key]
        else:
            result[key] = values
    return result


ZEROS = np.zeros((HIDDEN, WIDTH), np.float32)
BAD = {
    "no gate": (changed(block(), gate__weight=None), r"gate\.weight: is not in"),
    "one missing": (
        changed(block(), experts__3__w2__weight=None),
        r"experts\.3\.w2\.weight: is not in",
    ),
    "several missing": (
        {name: v for name, v in block().items() if ".w3." not in name},
        r"experts\.0\.w3\.weight: .*nor experts\.1.*and more",
    ),
    "one expert more": (
        changed(block(), experts__5__w1__weight=ZEROS),
        r"experts\.5\.w1\.weight: .*5 experts has no such",
    ),
    "a bias": (
        changed(block(), experts__0__w1__bias=np.zeros(HIDDEN, np.float32)),
        r"experts\.0\.w1\.bias: ",
    ),
    "odd w1": (
        changed(block(), experts__4__w1__weight=ZEROS[1:]),
        r"experts\.4\.w1\.weight: got shape \[19, 12\], allowed is \[20, 12\]",
    ),
    "transposed w2": (
        changed(block(), experts__1__w2__weight=ZEROS),
        r"experts\.1\.w2\.weight: got shape \[20, 12\], allowed is \[12, 20\]",
    ),
    "flat w2": (
        changed(block(), experts__0__w2__weight=ZEROS.reshape(-1)),
        r"experts\.0\.w2\.weight: got shape \[240\], allowed is \[width, hidden\]",
    ),
    "flat gate": (
        changed(block(), gate__weight=np.zeros(5, np.float32)),
        r"gate\.weight: got shape \[5\], allowed is \[experts, width\]",
    ),
    "empty gate": (
        changed(block(), gate__weight=np.zeros((0, 5), np.float32)),
        r"gate\.weight: got shape \[0, 5\]",
    ),
    "fused without its half": (
        changed(fused(block()), experts__gate_up_proj=None),
        r"experts\.gate_up_proj: is not in",
    ),
    "fused transposed": (
        {
            name: np.swapaxes(values, -1, -2) if values.ndim == 3 else values
            for name, values in fused(block()).items()
        },
        r"gate_up_proj: got shape \[5, 12, 40\], allowed is \[5, 24, 12\]",
    ),
    "both layouts": ({**block(), **fused(block())}, r"experts\.0\.w1\.weight: .*no such"),
    "not finite": (
        changed(block(), experts__2__w3__weight=ZEROS + np.inf),
        r"experts\.2\.w3\.weight: .*infinity",
    ),
    "nothing": ({}, r"gate\.weight: is not in"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_blocks_are_refused_by_name(tmp_path, name):
    tensors, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        mixtral.load(tensors, None, k=K)
    if "gate.weight" in tensors:
        path = tmp_path / "block.safetensors"
        expected.write(path, named(tensors, 2))
        prefix = r"model\.layers\.2\.block_sparse_moe\."
        with pytest.raises(ValueError, match=prefix + ".*" + words.partition(":")[0]):
            mixtral.load(path, 2, k=K)


def test_layers_are_chosen_by_number(tmp_path):
    path, _ = checkpoint(tmp_path, "per_expert", "one file")
    for number in (1, 2, 3):
        with pytest.raises(ValueError, match=rf"number: got {number}, allowed in .* 0, 13"):
            mixtral.load(path, number)
    for number in (-1, 0.5, "0", True):
        with pytest.raises(ValueError, match="number: got"):
            mixtral.load(path, number)
    with pytest.raises(ValueError, match="no Mixtral block"):
        mixtral.load({"model.layers.0.mlp.gate_proj.weight": ZEROS}, 0, k=K)
    twice = {**named(block(), 0), **named(block(), 0, "mlp")}
    with pytest.raises(ValueError, match="more than once"):
        mixtral.load(twice, 0, k=K)


def test_k_and_activation_come_from_the_configuration(tmp_path):
    path, _ = checkpoint(tmp_path, "per_expert", "one file")
    (tmp_path / "config.json").write_text('{"num_experts_per_tok": 3}')
    assert mixtral.load(path, 0).config["router"]["k"] == 3
    assert mixtral.load(path, 0, k=4).config["router"]["k"] == 4
    for k in (0, EXPERTS + 1, 1.5):
        with pytest.raises(ValueError, match="k: got"):
            mixtral.load(path, 0, k=k)
    for text, kind, words in (
        ("{}", ValueError, "k: got None"),
        ('{"num_experts_per_tok": "2"}', ValueError, "k: got '2'"),
        ('{"num_experts_per_tok": 2, "hidden_act": "relu"}', ValueError, "hidden_act is 'relu'"),
        ("[]", OSError, "config.json"),
        ("{", OSError, "config.json"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(kind, match=words):
            mixtral.load(path, 0)
    with pytest.raises(ValueError, match="k: got None"):
        mixtral.load(block(), None)


def entry(**changes):
    """Return a header with one tensor [2, 2] at the beginning, changed."""
    base = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    return json.dumps({"model.layers.0.mlp.gate.weight": {**base, **changes}}).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no safetensors file"),
        (b"1234567", "no safetensors file"),
        ((1000).to_bytes(8, "little") + b"{}", "truncated"),
        ((2**63).to_bytes(8, "little") + b"{}", "truncated"),
        ((2).to_bytes(8, "little") + b"{]", "header is no JSON object"),
        ((2).to_bytes(8, "little") + b"[]", "header is no JSON object"),
        ((2).to_bytes(8, "little") + b"\xff\xff", "header is no JSON object"),
        (entry(data_offsets=[0, 32]), "beyond the end"),
        (entry(data_offsets=[16, 0]), "beyond the end"),
        (entry(data_offsets=[0, 12]), "does not fit"),
        (entry(data_offsets=[-16, 0]), "does not describe"),
        (entry(data_offsets=[0]), "does not describe"),
        (entry(shape=[2, -2]), "does not describe"),
        (entry(shape=[2.0, 2]), "does not describe"),
        (entry(shape=[True, 4]), "does not describe"),
        (entry(shape=2), "does not describe"),
        (entry(shape=[10**30, 4]), "does not fit"),
        (entry(dtype=None), "does not describe"),
        (b'{"model.layers.0.mlp.gate.weight": 3}', "does not describe"),
        (b'{"a": 1, "a": 1}', "twice"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, words):
    path = tmp_path / "bad.safetensors"
    if content[:1] == b"{":
        content = len(content).to_bytes(8, "little") + content + bytes(16)
    path.write_bytes(content)
    with pytest.raises(OSError, match=f"bad.safetensors.*{words}"):
        mixtral.load(path, 0, k=K)


def test_types_without_a_number_are_refused(tmp_path):
    path = tmp_path / "block.safetensors"
    tensors = named(block(), 0)
    name = "model.layers.0.block_sparse_moe.experts.1.w3.weight"
    expected.write(path, {**tensors, name: np.ones((HIDDEN, WIDTH), np.int8)})
    with pytest.raises(ValueError, match=r"experts\.1\.w3\.weight: got the type I8"):
        mixtral.load(path, 0, k=K)


def test_files_that_an_index_names(tmp_path):
    index, _ = checkpoint(tmp_path, "per_expert", "sharded")
    listed = json.loads(index.read_text())
    gate = "model.layers.0.block_sparse_moe.gate.weight"
    file = tmp_path / listed["weight_map"][gate]
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(OSError, match=f"{file.name}.*truncated"):
        mixtral.load(index, 0)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=file.name):
        mixtral.load(index, 0)
    file.write_bytes(content)
    others = [name for name in set(listed["weight_map"].values()) if name != file.name]
    for weight_map, words in (
        ({**listed["weight_map"], gate: others[0]}, f"{others[0]}: has no .*gate.weight"),
        ({**listed["weight_map"], gate: "../model.safetensors"}, "weight_map"),
        ({gate: 3}, "weight_map"),
        (None, "weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(OSError, match=words):
            mixtral.load(index, 0)


def test_folders_without_one_checkpoint_are_refused(tmp_path):
    with pytest.raises(OSError, match="has no safetensors file"):
        mixtral.load(tmp_path, 0)
    for name in ("a.safetensors", "b.safetensors"):
        expected.write(tmp_path / name, named(block(), 0))
    with pytest.raises(OSError, match=r"a\.safetensors, b\.safetensors"):
        mixtral.load(tmp_path, 0)
    with pytest.raises(FileNotFoundError):
        mixtral.load(tmp_path / "c.safetensors", 0)
    for path in (3, None, b"", "a\0b"):
        with pytest.raises(ValueError, match="path: got"):
            mixtral.load(path, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation": "geglu"}, "activation is 'geglu'"),
        ({"bias": True}, "bias is True"),
        ({"shared_experts": 1}, "shared_experts is 1"),
        ({"router": {"kind": "dense"}}, "router.kind is 'dense'"),
        ({"router": {"kind": "top_k", "k": 2, "gate": "raw"}}, "router.gate is 'raw'"),
        ({"router": {"kind": "top_k", "k": 2, "temperature": 0.5}}, "router.temperature is 0.5"),
        ({"router": {"kind": "top_k", "k": 2, "balance_rate": 0.1}}, "router.balance_rate is 0.1"),
        ({"router": {"kind": "top_k", "k": 2, "min_active": 3}}, "router.min_active is 3"),
        ({"router": {"kind": "top_k", "k": 2, "max_active": 1}}, "router.max_active is 1"),
    ],
)
def test_layers_that_no_block_expresses_are_refused(changes, words):
    base = {
        "width": WIDTH,
        "experts": EXPERTS,
        "activation": "swiglu",
        "bias": False,
        "router": {"kind": "top_k", "k": 2},
    }
    assert mixtral.tensors(dm.MoELayer(base), 0)
    with pytest.raises(ValueError, match=words):
        mixtral.tensors(dm.MoELayer({**base, **changes}), 0)
    with pytest.raises(ValueError, match="layout: got 'flat'"):
        mixtral.tensors(dm.MoELayer(base), 0, layout="flat")


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
