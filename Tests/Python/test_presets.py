"""The presets of the paper, their overrides, and the numbers that the documentation prints."""

from __future__ import annotations

import math
import re

import dynamoe as dm
import numpy as np
import pytest

IMAGES = ("paper_mnist", "paper_fashion_mnist", "paper_cifar10")
LANGUAGE = ("paper_language_tiny", "paper_language_small", "paper_language_medium")


def test_names_batches_and_counts():
    listed = dm.presets()
    assert tuple(listed) == IMAGES + LANGUAGE
    for name, preset in listed.items():
        assert preset.name == name and preset.description.endswith(".")
        model = dm.Model(dm.preset(name), seed=0)
        assert model.parameter_count == preset.parameter_count
        if name in IMAGES:
            assert (preset.batch_size, preset.sequence_length) == (256, None)
            assert preset.embedding_parameter_count == 0
        else:
            assert (preset.batch_size, preset.sequence_length) == (32, 128)
            embedding = model.parameters["embedding.weight"].size
            assert preset.embedding_parameter_count == embedding


def test_language_models_are_as_large_as_published():
    """From 85 K to 1.4 M parameters without the embedding."""
    listed = [dm.presets()[name] for name in LANGUAGE]
    counts = [preset.parameter_count - preset.embedding_parameter_count for preset in listed]
    assert counts == sorted(counts)
    assert counts[0] == pytest.approx(85_000, rel=0.02)
    assert counts[-1] == pytest.approx(1_400_000, rel=0.02)


@pytest.mark.parametrize("name", IMAGES + LANGUAGE)
def test_published_settings(name):
    config = dm.preset(name)
    router = config["router"]
    assert (router["kind"], router["percentile"], router["gate"]) == ("percentile", 0.5, "softmax")
    assert (router["temperature"], router["noise"]) == (0.5, 0.1)
    assert [config["losses"][key] for key in ("balance", "z", "entropy")] == [0, 0, 0]
    assert (config["optimizer"]["kind"], config["optimizer"]["lr"]) == ("adamw", 0.001)
    assert dm.Model(config).config == config


def test_the_documentation_prints_the_counts(checkout):
    page = (checkout / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `(paper_\w+)` \|(.*)\|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(dm.presets())
    for name, cells in rows:
        preset, config = dm.presets()[name], dm.preset(name)
        numbers = [int(text.replace(",", "")) for text in re.findall(r"\d[\d,]*", cells)]
        experts = dm.Model(config).experts
        others = preset.parameter_count - preset.embedding_parameter_count
        counts = [others, preset.embedding_parameter_count] if name in LANGUAGE else [others]
        assert numbers == [config["width"], config["hidden"], *experts, *counts], name
        assert config["experts"]["schedule"] in cells


def test_overrides_merge():
    plain = dm.preset("paper_mnist")
    config = dm.preset(
        "paper_mnist",
        router={"noise": 0, "max_active": np.int64(3)},
        experts={"schedule": "wave"},
        optimizer={"lr": np.float64(0.01)},
        width=np.int32(32),
    )
    assert config["router"] == {**plain["router"], "noise": 0, "max_active": 3}
    assert config["experts"] == {**plain["experts"], "schedule": "wave"}
    assert config["optimizer"] == {**plain["optimizer"], "lr": 0.01}
    assert config["width"] == 32 and config["hidden"] == plain["hidden"]
    assert plain == dm.preset("paper_mnist")


def test_another_kind_replaces():
    router = {"kind": "threshold", "target_active": 2}
    config = dm.preset("paper_language_tiny", router=router, vocabulary=11)
    assert config["router"]["gate"] == "raw" and config["router"]["noise"] == 0
    assert "percentile" not in config["router"] and config["outputs"] == 11
    lists = dm.preset("paper_mnist", experts=[3], router=[{"kind": "dense"}])
    assert lists["experts"] == [3] and dm.Model(lists).experts == [3]


@pytest.mark.parametrize(
    "overrides, match",
    [
        ({"router": {"nose": 0}}, r"unknown key router\.nose; did you mean noise\?"),
        ({"widht": 3}, r"unknown key widht; did you mean width\?"),
        ({"optimizer": {"learning_rate": 1}}, r"optimizer\.learning_rate"),
        ({"router": {"k": 2}}, "router.k is not used by kind percentile"),
        ({"width": 0}, "width must be an integer of at least 1; got 0"),
        ({"router": {"noise": math.nan}}, "router.noise"),
        ({"router": None}, "router"),
        ({"width": object()}, "width"),
    ],
)
def test_bad_overrides(overrides, match):
    with pytest.raises(ValueError, match=match):
        dm.preset("paper_mnist", **overrides)


def test_bad_names():
    with pytest.raises(ValueError, match=r"did you mean paper_cifar10\?"):
        dm.preset("paper_cifar1O")
    for name in ("", "mnist", "a" * 1000, None, 3, "paper\0mnist"):
        with pytest.raises(ValueError, match=r"^name"):
            dm.preset(name)


def test_a_preset_learns():
    """The paper's rule, on an image set that is at hand: every row uses the same number."""
    x, y = dm.data.digits()
    config = dm.preset("paper_mnist", inputs=64, width=32, hidden=32)
    model = dm.Model(config, seed=0)
    model.fit(x, y, epochs=10, batch_size=dm.presets()["paper_mnist"].batch_size, progress=False)
    model.routing_stats(reset=True)
    assert model.evaluate(x, y)["accuracy"] > 0.9
    assert [layer.mean_k for layer in model.routing_stats()] == [4, 3, 2, 1]
    assert all(layer.variance_k == 0 for layer in model.routing_stats())
