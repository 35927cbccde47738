"""Parameters, buffers and gradients as live views, and the life of their memory."""

from __future__ import annotations

import copy
import gc
import pickle
import resource
import threading

import dynamoe as dm
import numpy as np
import pytest
from dynamoe import _memory

from support.networks import OUTPUTS, classifier, config, layer, rows


def test_views_are_live_and_without_a_copy(model):
    x, y = rows()
    view = model.parameters["head.weight"]
    again = model.parameters["head.weight"]
    assert np.shares_memory(view, again) and view.dtype == np.float32
    before = view.copy()
    model.train_batch(x, y)
    assert not np.array_equal(view, before)
    assert np.array_equal(view, model.parameters["head.weight"])


def test_parameter_views_are_read_only(model):
    for mapping in (model.parameters, model.buffers):
        for view in mapping.values():
            assert not view.flags.writeable
            with pytest.raises(ValueError):
                view[...] = 0
            with pytest.raises(ValueError):
                view.flags.writeable = True


def test_names_and_shapes(model):
    shapes = {name: view.shape for name, view in model.parameters.items()}
    assert shapes["input.weight"] == (16, 12)
    assert shapes["layers.0.router.weight"] == (6, 16)
    assert shapes["layers.0.experts.up.weight"] == (6, 20, 16)
    assert shapes["layers.2.experts.down.weight"] == (3, 16, 20)
    assert shapes["layers.1.experts.down.bias"] == (4, 16)
    assert shapes["head.bias"] == (OUTPUTS,)
    assert list(model.gradients) == list(model.parameters)
    assert "layers.0.router.threshold" in model.buffers
    assert "missing" not in model.parameters and len(model.parameters) == len(shapes)
    for missing in ("missing", 3, None, ["a"]):
        with pytest.raises(KeyError):
            model.parameters[missing]
    assert "head.weight [5, 16]" in repr(model.parameters)


def test_assignment_copies_values_in(model):
    x, _ = rows()
    logits = model.forward(x)
    model.parameters["head.bias"] = model.parameters["head.bias"] + 1
    np.testing.assert_allclose(model.forward(x), logits + 1, rtol=1e-5, atol=1e-5)
    model.parameters["layers.0.experts.up.weight"] = np.zeros((6, 20, 16))
    assert not np.array_equal(model.forward(x), logits + 1)
    model.buffers["layers.0.router.threshold"] = [0.125]
    assert model.buffers["layers.0.router.threshold"][0] == 0.125
    model.gradients["head.bias"] = np.arange(OUTPUTS)
    assert model.gradients["head.bias"][3] == 3


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(4),
        np.zeros((OUTPUTS, 1)),
        0.5,
        [1, 2, 3, 4, np.nan],
        [1, 2, 3, 4, np.inf],
        [1, 2, 3, 4, 1e300],
        "abcde",
        [1, 2, [3]],
        np.zeros(OUTPUTS, complex),
        None,
    ],
)
def test_assignment_refuses(model, values):
    before = model.parameters["head.bias"].copy()
    with pytest.raises(ValueError, match=r"head\.bias"):
        model.parameters["head.bias"] = values
    assert np.array_equal(model.parameters["head.bias"], before)


def test_assignment_refuses_unknown_names(model):
    for mapping in (model.parameters, model.buffers, model.gradients):
        with pytest.raises(KeyError, match="haed"):
            mapping["haed.bias"] = np.zeros(OUTPUTS)


@pytest.mark.parametrize("name", ["head.weight", "layers.1.experts.up.weight", "input.bias"])
def test_memory_that_was_written_to_is_put_in_effect(model, name):
    """As PyTorch's optimizers do through `dynamoe.interop.torch`."""
    x, _ = rows()
    other = classifier(trained=True)
    model.forward(x)
    shared = model.parameters.shared(name)
    assert np.shares_memory(shared, model.parameters[name])
    other.parameters[name] = 3 * shared
    shared *= 3
    model.parameters.written(name)
    assert np.array_equal(model.forward(x), other.forward(x))
    shared.flat[-1] = np.nan
    with pytest.raises(ValueError, match=rf"{name}\[{shared.size - 1}\] is nan"):
        model.parameters.written(name)


def test_views_outlive_the_model():
    model = classifier()
    view, gradient = model.parameters["head.weight"], model.gradients["head.weight"]
    values = view.copy()
    del model
    gc.collect()
    classifier(seed=8)
    assert np.array_equal(view, values)
    gradient[...] = 3
    assert (gradient == 3).all()


def test_views_outlive_close():
    model = classifier()
    view = model.parameters["head.weight"][1:, ::2]
    values = view.copy()
    model.close()
    gc.collect()
    classifier(seed=8)
    assert np.array_equal(view, values)


def count_frees(monkeypatch):
    """Return a list that grows with every handle that is given back."""
    freed = []
    original = _memory.Handle.__del__

    def counting(self):
        freed.append(self.address)
        original(self)

    monkeypatch.setattr(_memory.Handle, "__del__", counting)
    return freed


def test_memory_goes_with_the_last_view(monkeypatch):
    freed = count_frees(monkeypatch)
    model = classifier()
    view = model.parameters["head.weight"]
    part = view[0]
    model.close()
    del view
    gc.collect()
    assert freed == []
    del part
    assert len(freed) == 1


def test_memory_goes_with_the_model_when_there_is_no_view(monkeypatch):
    freed = count_frees(monkeypatch)
    model = classifier()
    mapping = model.parameters
    del model
    assert freed == []
    del mapping
    assert len(freed) == 1
    made = layer()
    made.close()
    assert len(freed) == 2


def test_making_and_forgetting_models_needs_no_more_memory():
    big = config(width=128, hidden=256, experts=[8, 8])
    for _ in range(5):
        dm.Model(big)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(40):
        model = dm.Model(big)
        assert model.parameters["head.weight"].size
    per_model = model.parameter_count * 4 / 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * per_model


def test_closed_models_refuse_everything():
    x, y = rows()
    model = classifier()
    parameters = model.parameters
    model.close()
    model.close()
    assert model.closed and repr(model) == "Model(closed)"
    calls = [
        lambda: model.forward(x),
        lambda: model.loss(y),
        lambda: model.losses,
        lambda: model.backward(y),
        lambda: model.step(),
        lambda: model.zero_gradients(),
        lambda: model.train_batch(x, y),
        lambda: model.predict(x),
        lambda: model.evaluate(x, y),
        lambda: model.fit(x, y, progress=False),
        lambda: model.parameters,
        lambda: parameters["head.bias"],
        lambda: list(parameters),
        lambda: model.buffers,
        lambda: model.config,
        lambda: model.parameter_count,
        lambda: model.routing_stats(),
        lambda: model.routing_trace(x),
        lambda: model.last_routing,
        lambda: model.calibrate(x, 2),
        lambda: model.save("unused"),
        lambda: model.__enter__(),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="closed"):
            call()


def test_context_manager_closes():
    with classifier() as model:
        assert not model.closed
    assert model.closed
    with layer() as made:
        pass
    assert made.closed


def test_models_are_neither_copied_nor_pickled(model):
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="save and load"):
            attempt(model)


def test_one_model_serves_one_thread_at_a_time():
    """Threads that share a model are refused as busy or served; nothing else happens."""
    model = classifier(width=64, hidden=256)
    x, _ = rows(3000)
    expected = model.forward(x)
    failures: list[BaseException] = []
    busy = []

    def work():
        for _ in range(20):
            try:
                assert np.array_equal(model.forward(x), expected)
            except dm.DynaMoEError as error:
                busy.append(error)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all("thread" in str(error) or "use" in str(error) for error in busy)
