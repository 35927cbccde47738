"""The verbs of `Model`: shapes, results, errors by order."""

from __future__ import annotations

import dynamoe as dm
import numpy as np
import pytest

from support.networks import INPUTS, OUTPUTS, ROWS, classifier, config, rows, state


def cross_entropy(logits, targets):
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(targets)), targets]


def test_forward_gives_logits_of_every_row(model):
    x, _ = rows()
    logits = model.forward(x)
    assert logits.shape == (ROWS, OUTPUTS) and logits.dtype == np.float32
    assert np.isfinite(logits).all() and np.ptp(logits) > 0


def test_forward_writes_into_out(model):
    x, _ = rows()
    out = np.full((ROWS, OUTPUTS), np.nan, np.float32)
    assert model.forward(x, out=out) is out
    assert np.array_equal(out, model.forward(x))


def test_no_rows_give_no_logits(model):
    assert model.forward(np.zeros((0, INPUTS))).shape == (0, OUTPUTS)
    assert model.predict(np.zeros((0, INPUTS))).shape == (0,)
    assert model.predict_proba(np.zeros((0, INPUTS))).shape == (0, OUTPUTS)
    with pytest.raises(ValueError):
        model.forward(np.zeros((0, INPUTS)), training=True)


def test_evaluation_changes_nothing_but_statistics(model):
    x, y = rows()
    model.routing_stats(reset=True)
    before = {name: a.copy() for name, a in {**model.parameters, **model.buffers}.items()}
    model.forward(x)
    model.predict(x)
    model.evaluate(x, y)
    for name, values in {**model.parameters, **model.buffers}.items():
        assert np.array_equal(values, before[name]), name
    assert model.routing_stats()[0].rows == 3 * ROWS


def test_loss_is_the_cross_entropy_plus_auxiliary_losses(model):
    x, y = rows()
    logits = model.forward(x, training=True)
    total = model.loss(y)
    parts = model.losses
    assert parts["task"] == pytest.approx(cross_entropy(logits, y).mean(), rel=1e-5)
    unscaled = model.auxiliary_losses
    assert unscaled.shape == (3, 4)
    assert parts["balance"] == pytest.approx(0.01 * unscaled[:, 0].sum(), rel=1e-6)
    assert parts["z"] == pytest.approx(0.001 * unscaled[:, 1].sum(), rel=1e-6)
    weighted = sum(parts[name] for name in ("task", "balance", "z", "entropy", "sparsity"))
    assert total == parts["total"] == pytest.approx(weighted, rel=1e-9)


def test_ignored_rows_are_not_counted(model):
    x, y = rows()
    logits = model.forward(x, training=True)
    some = y.copy()
    some[::3] = -1
    model.loss(some)
    counted = some >= 0
    expected = cross_entropy(logits[counted], some[counted]).mean()
    assert model.losses["task"] == pytest.approx(expected, rel=1e-5)
    model.loss(np.full(ROWS, -1))
    assert model.losses["task"] == 0


def test_backward_from_targets_and_from_the_output_gradient_agree(model):
    x, y = rows()
    logits = model.forward(x, training=True)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    output_gradient = powers / powers.sum(axis=1, keepdims=True)
    output_gradient[np.arange(ROWS), y] -= 1
    model.zero_gradients()
    dx = model.backward(y)
    first = {name: g.copy() for name, g in model.gradients.items()}
    other = classifier(trained=True)
    other.zero_gradients()
    other.forward(x, training=True)
    dx_other = other.backward(output_gradient=output_gradient / ROWS)
    assert dx.shape == (ROWS, INPUTS)
    np.testing.assert_allclose(dx, dx_other, rtol=1e-3, atol=1e-7)
    for name, gradient in other.gradients.items():
        np.testing.assert_allclose(gradient, first[name], rtol=1e-3, atol=1e-6, err_msg=name)


def test_gradients_accumulate_until_they_are_zeroed(model):
    x, y = rows()
    model.zero_gradients()
    model.forward(x, training=True)
    model.backward(y)
    once = model.gradients["head.weight"].copy()
    model.forward(x, training=True)
    model.backward(y)
    assert np.abs(model.gradients["head.weight"]).sum() > 1.5 * np.abs(once).sum()
    model.zero_gradients()
    assert not any(gradient.any() for gradient in model.gradients.values())


def test_a_gradient_written_by_hand_is_used_by_step():
    model = classifier(optimizer={"kind": "sgd", "lr": 0.5})
    before = model.parameters["head.bias"].copy()
    model.zero_gradients()
    model.gradients["head.bias"][...] = np.arange(OUTPUTS)
    model.step()
    np.testing.assert_allclose(
        model.parameters["head.bias"], before - 0.5 * np.arange(OUTPUTS), rtol=1e-6, atol=1e-7
    )
    before = model.parameters["head.bias"].copy()
    model.step(lr=0.25)
    np.testing.assert_allclose(
        model.parameters["head.bias"], before - 0.25 * np.arange(OUTPUTS), rtol=1e-6, atol=1e-7
    )


def test_train_batch_equals_its_parts():
    x, y = rows()
    whole, parts = classifier(), classifier()
    for _ in range(3):
        loss = whole.train_batch(x, y)
        parts.zero_gradients()
        parts.forward(x, training=True)
        assert parts.loss(y) == loss
        assert parts.losses == whole.losses
        parts.backward(y)
        parts.step()
    for name, values in whole.parameters.items():
        assert np.array_equal(values, parts.parameters[name]), name
    for name, values in whole.buffers.items():
        assert np.array_equal(values, parts.buffers[name]), name


def test_training_learns():
    x, y = rows(400)
    model = classifier()
    first = model.train_batch(x, y)
    for _ in range(80):
        last = model.train_batch(x, y)
    assert last < 0.5 * first
    assert model.evaluate(x, y)["accuracy"] > 0.9


def test_sample_weights_weigh_the_task_loss():
    x, y = rows()
    weights = np.linspace(0, 2, ROWS)
    model = classifier()
    logits = classifier().forward(x, training=True)
    model.train_batch(x, y, sample_weight=weights)
    expected = (weights * cross_entropy(logits, y)).sum() / weights.sum()
    assert model.losses["task"] == pytest.approx(expected, rel=1e-5)


def test_predictions(model):
    x, y = rows()
    logits = model.forward(x)
    classes = model.predict(x)
    assert classes.dtype == np.int64 and np.array_equal(classes, logits.argmax(axis=1))
    probabilities = model.predict_proba(x)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=1), classes)
    result = model.evaluate(x, y)
    assert result["accuracy"] == pytest.approx((classes == y).mean())
    assert result["loss"] == pytest.approx(cross_entropy(logits, y).mean(), rel=1e-5)
    assert result["rows"] == ROWS and result["mean_k"].shape == (3,)


def test_any_number_of_rows(model):
    x, y = rows(10_001)
    classes = model.predict(x)
    assert classes.shape == (10_001,)
    assert np.array_equal(classes[9_990:], model.predict(x[9_990:]))
    assert model.evaluate(x, y)["accuracy"] == pytest.approx((classes == y).mean())
    trace = model.routing_trace(x)
    assert [layer.active.shape for layer in trace] == [(10_001, n) for n in (6, 4, 3)]


def test_regression():
    x, _ = rows(300)
    targets = np.stack([x[:, 0] * x[:, 1], np.tanh(x[:, 2])], axis=1)
    model = dm.Model(config(task="regression", outputs=2, optimizer={"lr": 0.003}), seed=1)
    outputs = model.forward(x, training=True)
    model.loss(targets)
    assert model.losses["task"] == pytest.approx(((outputs - targets) ** 2).mean(), rel=1e-5)
    model.backward(targets)
    history = model.fit(x, targets, epochs=60, batch_size=50, progress=False)
    result = model.evaluate(x, targets)
    assert set(result) == {"loss", "r2", "rows", "mean_k"}
    predicted = model.predict(x)
    assert predicted.shape == (300, 2) and predicted.dtype == np.float32
    spread = ((targets - targets.mean(axis=0)) ** 2).sum()
    r2 = 1 - ((predicted - targets) ** 2).sum() / spread
    assert result["r2"] == pytest.approx(r2, abs=0.05) and result["r2"] > 0.7
    assert history.accuracy == []
    with pytest.raises(ValueError, match="predict_proba"):
        model.predict_proba(x)


def test_one_regression_output_takes_flat_targets():
    x, _ = rows()
    flat, column = (dm.Model(config(task="regression", outputs=1), seed=1) for _ in range(2))
    assert flat.train_batch(x, x[:, 0]) == column.train_batch(x, x[:, :1])


def test_calls_out_of_order(model):
    _, y = rows()
    fresh = classifier()
    for call in (
        lambda: fresh.backward(y),
        lambda: fresh.loss(y),
        lambda: fresh.losses,
        lambda: fresh.auxiliary_losses,
        lambda: fresh.last_routing,
    ):
        before = state(fresh)
        with pytest.raises(dm.DynaMoEError):
            call()
        assert state(fresh) == before
    x, y = rows()
    model.forward(x, training=True)
    model.backward(y)
    with pytest.raises(dm.DynaMoEError):
        model.backward(y)
    with pytest.raises(dm.DynaMoEError):
        model.losses


def test_evaluation_keeps_a_pending_backward():
    x, y = rows()
    straight, disturbed = classifier(), classifier()
    for model in (straight, disturbed):
        model.forward(x, training=True)
        if model is disturbed:
            model.predict(x[:7])
        model.backward(y)
    for name, gradient in straight.gradients.items():
        assert np.array_equal(gradient, disturbed.gradients[name]), name


def test_facts(model):
    sizes = sum(values.size for values in model.parameters.values())
    assert model.parameter_count == sizes
    assert 0 < model.active_parameter_count < sizes
    assert 0 < model.flops_per_row < 2 * sizes + 10_000
    assert model.config["experts"] == [6, 4, 3] and model.experts == [6, 4, 3]
    assert dm.Model(model.config, seed=7).parameter_count == sizes
    text = repr(model)
    for word in ("classification", "12 inputs", "5 outputs", "threshold", f"{sizes:,}"):
        assert word in text


def test_token_model():
    settings = config(inputs=None, vocabulary=11)
    try:
        model = dm.Model(settings, seed=1)
    except (ValueError, dm.DynaMoEError) as error:
        pytest.skip(f"token input: {error}")
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 11, (4, 6))
    targets = ids % OUTPUTS
    assert model.forward(ids).shape == (24, OUTPUTS)
    assert np.array_equal(model.forward(ids), model.forward(ids.reshape(-1)))
    model.forward(ids, training=True)
    assert model.backward(targets) is None
    history = model.fit(ids, targets, epochs=60, batch_size=2, progress=False)
    assert model.evaluate(ids, targets)["accuracy"] == 1
    assert model.predict(ids).shape == (24,) and history.epochs == 60
    with pytest.raises(ValueError, match="targets"):
        model.train_batch(ids, targets.reshape(-1))
    with pytest.raises(ValueError, match="x"):
        model.predict(np.array([3, 11]))


def test_forward_into_memory_that_the_rows_share(model):
    """Rows beyond one chunk are read after the first results were written."""
    count = 9000
    whole = np.random.default_rng(0).normal(size=(count, INPUTS)).astype(np.float32)
    expected = model.forward(whole)
    memory = np.concatenate([np.zeros(count * OUTPUTS, np.float32), whole.reshape(-1)])
    start = count * OUTPUTS - 2 * OUTPUTS
    out = memory[start : start + count * OUTPUTS].reshape(count, OUTPUTS)
    x = memory[count * OUTPUTS :].reshape(count, INPUTS)
    shared = model.forward(x, out=out)
    assert shared is out and np.array_equal(shared, expected)
