"""The scikit-learn estimators: weights, early stopping, random numbers, `partial_fit`."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn: dynamoe[sklearn]")
from sklearn import datasets  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from support.estimators import blobs, classifier, regressor, wild  # noqa: E402

# ------------------------------------------------------------------------------- weights


def dense(make, rows, **changes):
    """Return an estimator that makes full batches and chooses no experts."""
    return make(router="dense", batch_size=rows, shuffle=False, lr=0.01, **changes)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_rows_of_weight_zero_are_as_removed(make):
    x, y = blobs()
    weights = np.random.default_rng(0).integers(0, 2, len(x))
    weighted = make().fit(x, y, sample_weight=weights)
    removed = make().fit(x[weights > 0], y[weights > 0])
    np.testing.assert_allclose(weighted.predict(x), removed.predict(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_weight_is_a_repetition_where_nothing_is_chosen(make):
    x, y = blobs(100)
    weights = np.random.default_rng(0).integers(0, 4, len(x))
    method = "predict_proba" if make is classifier else "predict"
    weighted = dense(make, 1000).fit(x, y, sample_weight=weights)
    repeated = dense(make, 1000).fit(x.repeat(weights, axis=0), y.repeat(weights))
    plain = dense(make, 1000).fit(x, y)
    expected = getattr(repeated, method)(x)
    np.testing.assert_allclose(getattr(weighted, method)(x), expected, rtol=1e-3, atol=1e-3)
    assert np.abs(getattr(plain, method)(x) - expected).max() > 0.01


def test_the_unit_of_the_weights_does_not_matter():
    x, y = blobs()
    weights = np.random.default_rng(0).uniform(0.1, 1, len(x))
    one, other = (classifier().fit(x, y, sample_weight=weights * unit) for unit in (1, 2.0**-300))
    assert np.array_equal(one.predict_proba(x), other.predict_proba(x))


def test_class_weight():
    x, y = datasets.make_blobs([950, 50], centers=[[0, 0], [1, 1]], random_state=0)
    recalls = [
        classifier(class_weight=weight, max_iter=5).fit(x, y).predict(x)[y == 1].mean()
        for weight in (None, {0: 1, 1: 19}, "balanced")
    ]
    assert recalls[0] < 0.3 and min(recalls[1:]) > 0.6
    with pytest.raises(ValueError, match="class_weight"):
        classifier(class_weight="heavy").fit(x, y)


@pytest.mark.parametrize(
    "weights", [-np.ones(300), np.zeros(300), np.ones(299), np.ones((300, 2)), [np.nan] * 300]
)
def test_bad_weights_are_refused(weights):
    x, y = blobs()
    with pytest.raises(ValueError, match="sample_weight"):
        classifier().fit(x, y, sample_weight=weights)


# ------------------------------------------------------------------------------- training


def test_early_stopping_keeps_the_best_parameters():
    x, y = datasets.make_classification(300, 20, n_informative=4, flip_y=0.3, random_state=0)
    kept = {}

    def keep(model, history):
        kept[history.epochs] = {name: values.copy() for name, values in model.parameters.items()}

    for weights in (None, np.random.default_rng(0).uniform(0.5, 2, 300)):
        estimator = classifier(early_stopping=True, max_iter=80, lr=0.01, callbacks=keep)
        estimator.fit(x, y, sample_weight=weights)
        losses = [result["loss"] for result in estimator.history_.validation]
        assert estimator.n_iter_ < 80 and estimator.n_iter_ == len(estimator.loss_curve_)
        assert estimator.n_iter_ == estimator.best_iter_ + 10
        if weights is None:
            assert estimator.best_loss_ == min(losses) == losses[estimator.best_iter_ - 1]
        else:
            assert estimator.best_loss_ != min(losses)
        best, last = kept[estimator.best_iter_], kept[estimator.n_iter_]
        for name, values in estimator.model_.parameters.items():
            assert np.array_equal(values, best[name]), name
            assert not np.array_equal(values, last[name]), name


def test_training_ends_when_its_loss_no_longer_falls():
    x, y = blobs()
    estimator = classifier(max_iter=200, tol=0.01, n_iter_no_change=3).fit(x, y)
    assert estimator.n_iter_ < 200 and estimator.best_loss_ == min(estimator.loss_curve_)
    assert classifier(max_iter=30, tol=0, n_iter_no_change=30).fit(x, y).n_iter_ == 30


def test_random_state():
    x, y = blobs()
    same = [classifier().fit(x, y).predict_proba(x) for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(classifier(random_state=1).fit(x, y).predict_proba(x), same[0])
    state = classifier(random_state=np.random.RandomState(0)).fit(x, y)
    assert np.array_equal(state.predict_proba(x), same[0])


def test_ctrl_c_keeps_what_was_learned(capsys):
    x, y = blobs()

    def interrupt(model, history):
        if history.epochs == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.warns(UserWarning, match="interrupted after 3 of 15") as caught:
        estimator = classifier(callbacks=[interrupt]).fit(x, y)
    assert estimator.n_iter_ == 3 and estimator.predict(x).shape == (300,)
    assert len(caught) == 1 and capsys.readouterr().err == ""


@pytest.mark.parametrize("make", [classifier, regressor])
def test_ctrl_c_in_partial_fit_ends_the_loop_around_it(make):
    x, y = blobs()
    more = {"classes": [0, 1, 2]} if make is classifier else {}
    calls = []

    def interrupt(model, history):
        calls.append(history.steps)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    estimator, twin = make(callbacks=[interrupt]), make()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(5):
            estimator.partial_fit(x, y, **more)
    for _ in range(3):
        twin.partial_fit(x, y, **more)
    assert len(calls) == 3 and estimator.history_.interrupted and estimator.n_iter_ == 3
    assert np.array_equal(estimator.predict(x), twin.predict(x))
    assert estimator.partial_fit(x, y).n_iter_ == 4


def test_partial_fit_of_a_classifier():
    x, y = blobs(600)
    names = np.array(["a", "b", "c"])
    order = np.argsort(y)  # One class after the other: the first rows say little of the scale.
    estimator = classifier(lr=0.01)
    for _ in range(10):
        for part in np.array_split(order, 6):
            estimator.partial_fit(x[part], names[y[part]], classes=names)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 60
    assert np.array_equal(estimator.classes_, names)
    np.testing.assert_allclose(estimator.scaler_.mean_, StandardScaler().fit(x).mean_)
    mixed = classifier(lr=0.01)
    for part in np.array_split(np.arange(600), 30):
        mixed.partial_fit(x[part], y[part], classes=[0, 1, 2])
    assert mixed.score(x, y) > 0.9


def test_partial_fit_of_a_regressor():
    x, y = datasets.make_regression(600, 4, random_state=0)
    estimator = regressor(lr=0.01)
    for _ in range(4):
        for part in np.array_split(np.arange(600), 6):
            estimator.partial_fit(wild(x[part]), 1e5 * y[part])
    assert estimator.score(wild(x), 1e5 * y) > 0.9
    with pytest.raises(ValueError, match="outputs"):
        estimator.partial_fit(x, np.stack([y, y], axis=1))


def test_partial_fit_goes_on_after_fit():
    x, y = blobs()
    estimator = classifier().fit(x, y)
    before = estimator.predict_proba(x)
    estimator.partial_fit(x, y)
    assert estimator.n_iter_ == 16 and estimator.model_.config["optimizer"]["total"] is None
    difference = np.abs(estimator.predict_proba(x) - before).max()
    assert 0 < difference < 0.5
    estimator.partial_fit(x, y)
    assert estimator.n_iter_ == 17


@pytest.mark.parametrize("make", [classifier, regressor])
def test_partial_fit_with_weights(make):
    x, y = blobs()
    classes = {"classes": [0, 1, 2]} if make is classifier else {}
    weights = np.where(y == 0, 50.0, 1.0)
    plain, weighted = make(lr=0.01), make(lr=0.01)
    for _ in range(3):
        plain.partial_fit(x, y, **classes)
        weighted.partial_fit(x, y, sample_weight=weights, **classes)
    expected = StandardScaler().fit(x, sample_weight=weights).mean_
    np.testing.assert_allclose(weighted.scaler_.mean_, expected)
    # With the scale of the plain one only the loss tells them apart.
    weighted = make(lr=0.01, standardize=False).partial_fit(x, y, sample_weight=weights, **classes)
    plain = make(lr=0.01, standardize=False).partial_fit(x, y, **classes)
    assert not np.array_equal(weighted.predict(x), plain.predict(x))


def test_refused_partial_fit_changes_nothing():
    x, y = blobs()
    fresh = classifier()
    with pytest.raises(ValueError, match="classes"):
        fresh.partial_fit(x, y)
    with pytest.raises(NotFittedError):
        fresh.predict(x)
    estimator = classifier().partial_fit(x, y, classes=[0, 1, 2])
    before = estimator.predict_proba(x)
    with pytest.raises(ValueError, match="label 7"):
        estimator.partial_fit(x + 1, np.where(y == 0, 7, y))
    with pytest.raises(ValueError, match="classes"):
        estimator.partial_fit(x + 1, y, classes=[0, 1])
    with pytest.raises(ValueError, match="batch_size"):
        estimator.set_params(batch_size=0).partial_fit(x + 1, y)
    with pytest.raises(ValueError, match="early_stopping"):
        estimator.set_params(early_stopping=True).partial_fit(x + 1, y)
    with pytest.raises(ValueError, match="class_weight"):
        estimator.set_params(class_weight="balanced").partial_fit(x + 1, y)
    assert np.array_equal(estimator.predict_proba(x), before)
