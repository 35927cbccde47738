"""Saving and loading."""

from __future__ import annotations

from pathlib import Path

import dynamoe as dm
import numpy as np
import pytest

from support import safetensors_file
from support.networks import classifier, config, layer, rows, state


def test_a_loaded_model_goes_on_bit_for_bit(model, tmp_path):
    x, y = rows()
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = dm.Model.load(str(path))
    assert loaded.config == model.config
    assert np.array_equal(loaded.forward(x), model.forward(x))
    for _ in range(3):
        assert loaded.train_batch(x, y) == model.train_batch(x, y)
    for name, values in {**model.parameters, **model.buffers}.items():
        assert np.array_equal(values, {**loaded.parameters, **loaded.buffers}[name]), name


@pytest.mark.parametrize(
    "optimizer",
    [
        {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"kind": "adamw", "clip": 0.5, "warmup": 2, "total": 20, "floor": 0.1},
    ],
)
def test_optimizers_continue(tmp_path, optimizer):
    x, y = rows()
    model = classifier(trained=True, optimizer=optimizer)
    model.save(tmp_path / "m")
    loaded = dm.Model.load(tmp_path / "m")
    assert [loaded.train_batch(x, y) for _ in range(4)] == [
        model.train_batch(x, y) for _ in range(4)
    ]


def test_the_file_is_safetensors(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    tensors, metadata = safetensors_file.read(tmp_path / "m.safetensors")
    for name, values in {**model.parameters, **model.buffers}.items():
        assert np.array_equal(tensors[name], values), name
    assert metadata


def test_layers_are_saved_too(tmp_path):
    x, _ = rows()
    made = layer(trained=True)
    made.save(tmp_path / "layer")
    loaded = dm.MoELayer.load(tmp_path / "layer")
    assert np.array_equal(loaded.forward(x), made.forward(x))
    assert list(loaded.parameters) == list(made.parameters)
    with pytest.raises(OSError):
        dm.Model.load(tmp_path / "layer")


def test_damaged_files_are_refused(model, tmp_path):
    model.save(tmp_path / "good")
    content = (tmp_path / "good").read_bytes()
    bad = tmp_path / "bad"
    damages = {
        "empty": b"",
        "short": content[:5],
        "header cut": content[:100],
        "data cut": content[:-1],
        "longer": content + b"\0",
        "foreign": b"PK\x03\x04" + b"\0" * 500,
        "length": (2**62).to_bytes(8, "little") + content[8:],
        "text": b"hello world, this is not a model at all",
        "name": content.replace(b"head.weight", b"haed.weight"),
    }
    for name, damaged in damages.items():
        bad.write_bytes(damaged)
        with pytest.raises(OSError) as caught:
            dm.Model.load(bad)
        assert len(str(caught.value)) > 10, name


def test_missing_and_impossible_places(model, tmp_path):
    before = state(model)
    for path in (tmp_path / "absent", tmp_path, Path("/dev/null/x")):
        with pytest.raises(OSError):
            dm.Model.load(path)
    for path in (tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(OSError):
            model.save(path)
    for path in ("", "a\0b", None, 3.5, ["x"]):
        with pytest.raises(ValueError, match="path"):
            model.save(path)
        with pytest.raises(ValueError, match="path"):
            dm.Model.load(path)
    assert state(model) == before


def test_a_refused_save_leaves_the_old_file(model, tmp_path):
    path = tmp_path / "m"
    model.save(path)
    content = path.read_bytes()
    model.close()
    with pytest.raises(ValueError):
        model.save(path)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_names_outside_ascii(model, tmp_path):
    path = tmp_path / "modèle 模型"
    model.save(path)
    assert dm.Model.load(path).config == model.config == dm.Model(config()).config
