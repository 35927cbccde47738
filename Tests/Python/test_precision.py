"""Models that are loaded in bfloat16."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import dynamoe as dm
import numpy as np
import pytest

from support.networks import INPUTS, classifier, layer, rows

ONLY = "evaluation only: loaded as bfloat16"


def rounded(values):
    """Return float32 rounded to the nearest of 8 bits of precision, halves to even."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32)


def is_matrix(name):
    """Tell whether a parameter is a matrix other than a router's."""
    return name.endswith(".weight") and "router" not in name and "norm" not in name


@pytest.fixture
def pair(model, tmp_path):
    """Return a trained model and what is loaded of it in bfloat16."""
    model.save(tmp_path / "model")
    return model, dm.Model.load(tmp_path / "model", precision="bfloat16")


def test_parameters_are_rounded_copies(pair):
    model, half = pair
    assert (model.precision, half.precision) == ("float32", "bfloat16")
    assert list(half.parameters) == list(model.parameters)
    assert half.config == model.config and half.parameter_count == model.parameter_count
    for name, values in model.parameters.items():
        found = half.parameters[name]
        assert found.shape == values.shape and found.dtype == np.float32
        assert not found.flags.writeable
        assert np.array_equal(found, rounded(values) if is_matrix(name) else values), name
        assert np.shares_memory(found, half.parameters[name]) != is_matrix(name), name
    for name, values in model.buffers.items():
        assert np.array_equal(half.buffers[name], values)
    assert "in bfloat16" in repr(half) and "bfloat16" not in repr(model)


def test_copies_outlive_the_model(pair):
    _, half = pair
    values = half.parameters["head.weight"]
    before = values.copy()
    half.close()
    assert np.array_equal(values, before)
    with pytest.raises(ValueError, match="closed"):
        _ = half.precision


def test_results_are_near_and_rows_do_not_see_each_other(pair):
    model, half = pair
    x, y = rows(200)
    logits, expected = half.forward(x), model.forward(x)
    assert not np.array_equal(logits, expected)
    same = np.ones(len(x), bool)
    for a, b in zip(half.routing_trace(x), model.routing_trace(x), strict=True):
        same &= (a.active == b.active).all(axis=1)
    assert same.mean() > 0.9
    assert np.abs(logits - expected)[same].max() < 0.05 * np.abs(expected).max()
    for size in (1, 3, 50):
        assert np.array_equal(half.forward(x[7 : 7 + size]), logits[7 : 7 + size])
    dm.set_threads(1)
    assert np.array_equal(half.forward(x), logits)
    assert np.array_equal(half.predict(x), logits.argmax(axis=1))
    assert abs(half.evaluate(x, y)["loss"] - model.evaluate(x, y)["loss"]) < 0.02


def test_calibration_and_statistics(pair):
    _, half = pair
    x, _ = rows(400)
    half.measure(participation=True)
    half.calibrate(x, 1.5)
    half.routing_stats(reset=True)
    half.predict_proba(x)
    for statistics in half.routing_stats():
        assert statistics.rows == 400 and abs(statistics.mean_k - 1.5) < 0.1
        assert statistics.participation > 0
    half.buffers["layers.0.router.threshold"] = [0.9]


def refused_calls():
    """Return calls that train, change parameters or save."""
    x, y = rows()
    return {
        "forward": lambda m: m.forward(x, training=True),
        "train_batch": lambda m: m.train_batch(x, y),
        "fit": lambda m: m.fit(x, y, epochs=1, progress=False),
        "loss": lambda m: m.loss(y),
        "backward": lambda m: m.backward(y),
        "step": lambda m: m.step(),
        "zero_gradients": lambda m: m.zero_gradients(),
        "gradients": lambda m: m.gradients,
        "auxiliary_losses": lambda m: m.auxiliary_losses,
        "gradient_variance": lambda m: m.measure(gradient_variance=True),
        "bias": lambda m: m.parameters.__setitem__("head.bias", np.zeros(5)),
        "matrix": lambda m: m.parameters.__setitem__("head.weight", np.zeros((5, 16))),
        "save": lambda m: m.save("refused"),
    }


@pytest.mark.parametrize("call", refused_calls())
def test_training_is_refused(pair, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, half = pair
    x, _ = rows()
    before = half.forward(x)
    statistics = half.routing_stats()[0].as_dict()
    with pytest.raises(dm.DynaMoEError, match=ONLY):
        refused_calls()[call](half)
    assert half.routing_stats()[0].as_dict() == statistics
    assert np.array_equal(half.forward(x), before)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("precision", ["float16", "BFLOAT16", "", None, 1, b"bfloat16", ["x"]])
def test_other_precisions_are_refused(model, tmp_path, precision):
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"precision: got .* allowed is one of"):
        dm.Model.load(tmp_path / "model", precision=precision)
    assert dm.Model.load(tmp_path / "model", "float32").precision == "float32"


def test_layers(tmp_path):
    made = layer(trained=True)
    made.save(tmp_path / "layer")
    half = dm.MoELayer.load(tmp_path / "layer", precision="bfloat16")
    x, _ = rows()
    expected = made.forward(x)
    found = half.forward(x)
    assert found.shape == (len(x), INPUTS) and not np.array_equal(found, expected)
    with pytest.raises(dm.DynaMoEError, match=ONLY):
        half.forward(x, training=True)
    with pytest.raises(dm.DynaMoEError, match=ONLY):
        half.backward(x)
    with pytest.raises(OSError):
        dm.Model.load(tmp_path / "layer", precision="bfloat16")


def test_token_models(tmp_path):
    for tied in (False, True):
        made = classifier(
            task="language_model",
            inputs=None,
            outputs=None,
            vocabulary=70,
            tied_embedding=tied,
        )
        made.save(tmp_path / "tokens")
        half = dm.Model.load(tmp_path / "tokens", precision="bfloat16")
        ids = np.arange(70).reshape(7, 10)
        expected = made.forward(ids)
        assert np.abs(half.forward(ids) - expected).max() < 0.05 * np.abs(expected).max()
        values = made.parameters["embedding.weight"]
        assert np.array_equal(half.parameters["embedding.weight"], rounded(values))


def test_memory(tmp_path):
    made = dm.MoELayer(
        {"width": 256, "experts": 40, "hidden": 1024, "router": {"kind": "top_k", "k": 2}}
    )
    made.save(tmp_path / "layer")
    floats = 4 * made.parameter_count
    program = textwrap.dedent(
        """
        import sys
        import dynamoe as dm
        import numpy as np

        def status(key):
            lines = open("/proc/self/status").read().splitlines()
            return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])

        before = status("VmRSS")
        half = dm.MoELayer.load(sys.argv[1], precision="bfloat16")
        half.forward(np.ones((4, 256)))
        print(status("VmHWM") - before, status("VmRSS") - before)
        """
    )
    command = [sys.executable, "-c", program, tmp_path / "layer"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak, resident = map(int, printed.split())
    assert 0.45 * floats < resident <= peak < 0.65 * floats
