"""What is wrong with a checkpoint is said by name, and what a block cannot express is refused."""

from __future__ import annotations

import json

import dynamoe as dm
import numpy as np
import pytest
from dynamoe.interop import mixtral

from support import mixtral as expected
from support.mixtral import EXPERTS, HIDDEN, WIDTH, K, block, checkpoint, fused, named


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
    idle = {"kind": "top_k", "k": 2, "min_active": 2, "max_active": 2, "noise": 0.1}
    assert mixtral.tensors(dm.MoELayer({**base, "router": idle}), 0)
    with pytest.raises(ValueError, match=words):
        mixtral.tensors(dm.MoELayer({**base, **changes}), 0)
    with pytest.raises(ValueError, match="layout: got 'flat'"):
        mixtral.tensors(dm.MoELayer(base), 0, layout="flat")
