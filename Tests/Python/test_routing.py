"""Routing of single rows, statistics of many, calibration."""

from __future__ import annotations

import json

import dynamoe as dm
import numpy as np
import pytest

from support.networks import ROWS, classifier, layer, rows


def test_last_routing_is_that_of_the_latest_forward(model):
    x, _ = rows()
    model.forward(x[:9])
    routing = model.last_routing
    assert [r.active.shape for r in routing] == [(9, 6), (9, 4), (9, 3)]
    for r in routing:
        assert r.active.dtype == bool and r.weights.dtype == np.float32
        assert not r.weights[~r.active].any()
        assert np.array_equal(r.k, r.active.sum(axis=1)) and r.k.min() >= 1
        assert "9 rows" in repr(r)
    model.forward(x)
    assert model.last_routing[0].active.shape == (ROWS, 6)


def test_trace_is_evaluation(model):
    x, _ = rows()
    model.forward(x)
    expected = model.last_routing
    for traced, last in zip(model.routing_trace(x), expected, strict=True):
        assert np.array_equal(traced.active, last.active)
        assert np.array_equal(traced.weights, last.weights)
    assert model.routing_trace(x[:0])[0].active.shape == (0, 6)


def test_statistics_count_the_routing(model):
    x, _ = rows(200)
    model.routing_stats(reset=True)
    trace = model.routing_trace(x)
    for stats, routing in zip(model.routing_stats(), trace, strict=True):
        active, k = routing.active, routing.k
        assert stats.rows == 200 and stats.experts == active.shape[1]
        assert np.array_equal(stats.k_histogram, np.bincount(k, minlength=stats.experts + 1))
        assert stats.mean_k == pytest.approx(k.mean())
        assert stats.variance_k == pytest.approx(k.var(), abs=1e-9)
        assert np.array_equal(stats.expert_rows, active.sum(axis=0))
        together = active.astype(int).T @ active.astype(int)
        assert np.array_equal(stats.coactivation, together)
        used = stats.expert_rows > 0
        weights = routing.weights.sum(axis=0, dtype=np.float64)[used] / stats.expert_rows[used]
        np.testing.assert_allclose(stats.mean_weight[used], weights, rtol=1e-5)
        assert stats.unused == (~used).sum()
        load = stats.expert_rows
        assert stats.load_imbalance == pytest.approx(load.max() / load.mean())
        assert stats.load_variation == pytest.approx(load.std() / load.mean())
        assert 0 <= stats.limited_share <= 1 and 0 < stats.entropy <= np.log(stats.experts) + 1e-6
        assert stats.participation is None and stats.gradient_variance is None
        assert json.loads(json.dumps(stats.as_dict()))["rows"] == 200
        assert "200 rows" in repr(stats)


def test_reset_begins_anew(model):
    x, _ = rows()
    model.forward(x)
    assert model.routing_stats(reset=True)[0].rows > 0
    fresh = model.routing_stats()[0]
    assert fresh.rows == 0 and not fresh.k_histogram.any() and fresh.load_imbalance == 0
    model.forward(x)
    assert model.routing_stats()[1].rows == ROWS


def test_k_varies_from_row_to_row():
    x, y = rows(500)
    model = classifier()
    for _ in range(10):
        model.train_batch(x, y)
    k = model.routing_trace(x)[0].k
    assert len(np.unique(k)) > 1


def test_bounds_of_k():
    x, _ = rows(300)
    router = {"kind": "threshold", "target_active": 3, "min_active": 2, "max_active": 4}
    model = classifier(experts=[8, 8], router=router)
    model.forward(x, training=True)
    for routing in model.last_routing:
        assert routing.k.min() >= 2 and routing.k.max() <= 4


@pytest.mark.parametrize("target", [1.5, [2.5, 1.25, 1], np.array([3, 2, 1.5])])
def test_calibration_sets_the_mean_k(model, target):
    x, _ = rows(1000)
    model.calibrate(x, target)
    wanted = np.broadcast_to(target, 3)
    means = [routing.k.mean() for routing in model.routing_trace(x)]
    np.testing.assert_allclose(means, wanted, atol=0.05)


def test_a_layer_by_hand():
    x, _ = rows()
    made = layer()
    y = made.forward(x, training=True)
    assert y.shape == x.shape
    dx = made.backward(np.ones_like(y))
    assert dx.shape == x.shape and dx.any()
    assert made.losses["task"] == 0 and made.losses["balance"] > 0
    assert made.losses["total"] == pytest.approx(made.losses["balance"])
    assert made.auxiliary_losses.shape == (1, 4)
    before = made.parameters["experts.up.weight"].copy()
    made.step()
    assert not np.array_equal(before, made.parameters["experts.up.weight"])
    assert made.parameters["router.weight"].shape == (5, 12)
    assert len(made.routing_stats()) == len(made.last_routing) == 1
    assert made.routing_trace(x)[0].active.shape == (ROWS, 5)
    made.calibrate(x, 3)
    assert made.routing_trace(x)[0].k.mean() == pytest.approx(3, abs=0.2)
    out = np.empty_like(x)
    assert made.forward(x, out=out) is out
    same = x.copy()
    made.forward(same, out=same)
    assert np.array_equal(same, out)
    for word in ("width 12", "5 experts", "threshold"):
        assert word in repr(made)


def test_a_layer_steps_at_once():
    x, _ = rows()
    whole, parts = layer(), layer()
    gradient = np.sin(x)
    for lr in (None, 0.02):
        assert np.array_equal(whole.forward(x, training=True), parts.forward(x, training=True))
        dx = whole.backward_step(gradient, lr=lr)
        parts.zero_gradients()
        assert np.array_equal(dx, parts.backward(gradient))
        parts.step(lr=lr)
        for name, values in parts.parameters.items():
            assert np.array_equal(whole.parameters[name], values), name
    before = {name: values.copy() for name, values in whole.parameters.items()}
    with pytest.raises(dm.DynaMoEError, match="forward"):
        whole.backward_step(gradient)
    whole.forward(x, training=True)
    for wrong, lr, match in (
        (gradient[:-1], None, "output_gradient"),
        (gradient * np.nan, None, "output_gradient"),
        (gradient, -1, "lr"),
        (gradient, "fast", "lr"),
    ):
        with pytest.raises(ValueError, match=match):
            whole.backward_step(wrong, lr=lr)
    with pytest.raises(dm.DynaMoEError, match="gradient of"):
        whole.backward_step(gradient * np.float32(1e30))
    assert all(np.array_equal(whole.parameters[name], before[name]) for name in before)


def test_a_layer_equals_its_formula():
    x, _ = rows()
    made = layer(activation="relu")
    y = made.forward(x)
    weights, p = made.last_routing[0].weights, made.parameters
    expected = np.zeros_like(x)
    for e in range(5):
        hidden = np.maximum(x @ p["experts.up.weight"][e].T + p["experts.up.bias"][e], 0)
        out = hidden @ p["experts.down.weight"][e].T + p["experts.down.bias"][e]
        expected += weights[:, e : e + 1] * out
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert dm.MoELayer(made.config, seed=7).config == made.config


@pytest.mark.parametrize("single", [False, True])
def test_measures_are_off_until_asked_for(single):
    x, y = rows()
    network = layer() if single else classifier()
    plain = layer() if single else classifier()
    network.measure(participation=True, gradient_variance=True)
    assert network.gradient_variance == {}
    for part in (slice(0, 20), slice(20, 45)):
        for each in (network, plain):
            result = each.forward(x[part], training=True)
            if single:
                each.backward(np.ones_like(result))
            else:
                each.backward(y[part])
    for name in network.gradients:
        assert np.array_equal(network.gradients[name], plain.gradients[name]), name
    variance = network.gradient_variance
    assert list(variance) == list(network.parameters)
    assert all(value >= 0 for value in variance.values()) and max(variance.values()) > 0
    for index, stats in enumerate(network.routing_stats()):
        width = network.config["width"]
        assert 1 <= stats.participation <= width
        prefix = "" if single else f"layers.{index}."
        own = {name: value for name, value in variance.items() if name.startswith(prefix)}
        assert stats.gradient_variance == own and own
    network.zero_gradients()
    assert network.gradient_variance == {}
    network.measure()
    stats = network.routing_stats()[0]
    assert stats.participation is None and stats.gradient_variance is None
