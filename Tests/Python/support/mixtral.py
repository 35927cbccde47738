"""A Mixtral block written out in NumPy, and checkpoints with such blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WIDTH, HIDDEN, EXPERTS, K = 12, 20, 5, 2


def block(seed=0, width=WIDTH, hidden=HIDDEN, experts=EXPERTS):
    """Return the tensors of a block by their names in the layout per_expert, float32."""
    draw = np.random.default_rng(seed).standard_normal
    tensors = {"gate.weight": draw((experts, width))}
    for expert in range(experts):
        tensors[f"experts.{expert}.w1.weight"] = draw((hidden, width)) / width**0.5
        tensors[f"experts.{expert}.w2.weight"] = draw((width, hidden)) / hidden**0.5
        tensors[f"experts.{expert}.w3.weight"] = draw((hidden, width)) / width**0.5
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def fused(tensors):
    """Return the tensors of a block in the layout fused."""
    count = len(tensors["gate.weight"])

    def stacked(leaf):
        return np.stack([tensors[f"experts.{e}.{leaf}.weight"] for e in range(count)])

    return {
        "gate.weight": tensors["gate.weight"],
        "experts.gate_up_proj": np.concatenate([stacked("w1"), stacked("w3")], axis=1),
        "experts.down_proj": stacked("w2"),
    }


def output(tensors, x, k=K):
    """Return y [T, D] of a block, row by row and in float64, by the paper's formula."""
    tensors = {name: values.astype(np.float64) for name, values in tensors.items()}
    y = np.zeros(x.shape)
    for row, values in enumerate(x.astype(np.float64)):
        logits = tensors["gate.weight"] @ values
        best = np.argsort(-logits)[:k]
        weights = np.exp(logits[best] - logits[best].max())
        for weight, expert in zip(weights / weights.sum(), best, strict=True):
            gate, down, up = (tensors[f"experts.{expert}.w{i}.weight"] for i in (1, 2, 3))
            inner = gate @ values
            y[row] += weight * (down @ (inner / (1 + np.exp(-inner)) * (up @ values)))
    return y


def named(tensors, number, container="block_sparse_moe"):
    """Return tensors under their names in a checkpoint."""
    return {f"model.layers.{number}.{container}.{name}": v for name, v in tensors.items()}


def bfloat16(values):
    """Return the bits of values rounded to the nearest bfloat16, halves to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


_TYPES = {"float32": "F32", "float64": "F64", "float16": "F16", "uint16": "BF16", "int8": "I8"}


def write(path: Path, tensors, header=None):
    """Write a safetensors file, independently of the library; uint16 stands for bfloat16."""
    content, entries = b"", {"__metadata__": {"format": "pt"}}
    for name, values in tensors.items():
        offsets = [len(content), len(content) + values.nbytes]
        kind = _TYPES[values.dtype.name]
        entries[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": offsets}
        content += values.tobytes()
    text = json.dumps(entries).encode() if header is None else header
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def write_sharded(folder: Path, tensors, files=3):
    """Write tensors to several files with an index; return the index."""
    names = sorted(tensors)
    shards = {f"model-{i:05d}-of-{files:05d}.safetensors": names[i::files] for i in range(files)}
    weight_map = {}
    for file, inside in shards.items():
        write(folder / file, {name: tensors[name] for name in inside})
        weight_map.update(dict.fromkeys(inside, file))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


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
        return write_sharded(folder, tensors), blocks
    write(folder / "model.safetensors", tensors)
    return folder / "model.safetensors", blocks
