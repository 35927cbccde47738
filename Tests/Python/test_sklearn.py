"""The scikit-learn estimators: data as newcomers bring it, and the tools of scikit-learn."""

from __future__ import annotations

import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import dynamoe as dm
import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn: dynamoe[sklearn]")
import joblib  # noqa: E402
from sklearn import datasets  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler  # noqa: E402

from support.estimators import blobs, classifier, regressor, wild  # noqa: E402

# ------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("make", [classifier, regressor])
def test_every_parameter_is_documented_with_its_default(make):
    estimator = make()
    text = type(estimator).__doc__
    defaults = clone(type(estimator)()).get_params()
    for name, default in defaults.items():
        found = re.search(rf"^    {name} : .*$", text, re.MULTILINE)
        assert found, name
        shown = f'"{default}"' if isinstance(default, str) else f"{default}"
        assert found.group().endswith(f"default {shown}".replace("0.0001", "1e-4")), found.group()
    assert "<" not in re.sub(r"<https?:[^>]*>", "", text)


def test_the_configuration_is_that_of_the_parameters():
    x, y = blobs()
    model = classifier().fit(x, y).model_
    plain = model.config
    assert model.experts == [8, 2] and plain["router"]["target_active"] == 2
    assert (plain["inputs"], plain["outputs"], plain["width"]) == (4, 3, 16)
    steps = 15 * 17  # epochs of 300 rows in batches of 18
    assert (plain["optimizer"]["warmup"], plain["optimizer"]["total"]) == (steps // 20, steps)
    assert plain["optimizer"]["lr"] == pytest.approx(0.004)
    assert plain["optimizer"]["weight_decay"] == 2
    many = classifier(batch_size=3, max_iter=1).fit(x, y).model_.config["optimizer"]
    assert many["weight_decay"] == pytest.approx(0.64)
    changes = {
        "experts": 6,
        "schedule": "ascending",
        "layers": 3,
        "router": {"kind": "threshold", "target_active": 4, "noise": 0.1},
        "target_active": 1.5,
        "hidden": 24,
        "shared_experts": 1,
        "activation": "swiglu",
        "norm": "rms",
        "bias": False,
        "residual": False,
        "losses": {"balance": 0.01},
        "optimizer": {"kind": "sgd", "lr": 9, "momentum": 0.9, "total": None},
        "lr": 0.02,
        "weight_decay": 0.001,
    }
    model = classifier(**changes, max_iter=1).fit(x, y).model_
    config = model.config
    assert model.experts == [1, 4, 6] and config["hidden"] == 24
    assert config["router"]["target_active"] == 1.5 and config["router"]["noise"] == 0.1
    assert config["losses"]["balance"] == 0.01 and config["optimizer"]["total"] is None
    assert config["optimizer"]["lr"] == 0.02 and config["optimizer"]["momentum"] == 0.9
    for name in ("shared_experts", "activation", "norm", "bias", "residual"):
        assert config[name] == changes[name]
    nested = classifier(
        experts={"schedule": "wave", "layers": 3, "maximum": 4},
        router=[{"kind": "top_k", "k": 1}, {"kind": "dense"}, {"kind": "relu"}],
        max_iter=1,
    )
    assert nested.fit(x, y).model_.experts == dm.schedule("wave", 3, 1, 4).tolist()
    kinds = [router["kind"] for router in nested.model_.config["router"]]
    assert kinds == ["top_k", "dense", "relu"]


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"width": 0}, "width"),
        ({"experts": [4], "layers": 2}, "layers"),
        ({"experts": [4], "schedule": "wave"}, "schedule"),
        ({"experts": "many"}, "experts"),
        ({"schedule": "upwards"}, "schedule"),
        ({"router": "treshold"}, "router.kind"),
        ({"router": 3}, "router"),
        ({"router": "top_k"}, "router.k"),
        ({"router": "dense", "target_active": 2}, "target_active"),
        ({"optimizer": "adamw"}, "optimizer"),
        ({"optimizer": {"rate": 1}}, "rate"),
        ({"optimizer": {"warmup": "long"}}, "optimizer.warmup"),
        ({"lr": -1}, "lr"),
        ({"max_iter": 0}, "max_iter"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "small"}, "batch_size"),
        ({"tol": -1}, "tol"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"early_stopping": True, "validation_fraction": 1.0}, "validation_fraction"),
        ({"callbacks": 3}, "callbacks"),
    ],
)
def test_bad_parameters_are_named_by_fit_and_change_nothing(changes, culprit):
    x, y = blobs()
    estimator = classifier(max_iter=2).fit(x, y)
    before = estimator.predict_proba(x)
    estimator.set_params(**changes)
    with pytest.raises(ValueError, match=culprit):
        estimator.fit(x, y)
    assert np.array_equal(estimator.predict_proba(x), before)


# ------------------------------------------------------------------------------- data


def test_units_of_the_features_do_not_matter():
    x, y = datasets.load_wine(return_X_y=True)
    parts = train_test_split(x, wild(x), y, random_state=0, stratify=y)
    plain, plain_test, raw, raw_test, train, test = parts
    assert classifier().fit(raw, train).score(raw_test, test) >= 0.93
    np.testing.assert_allclose(
        classifier().fit(raw, train).predict_proba(raw_test),
        classifier().fit(plain, train).predict_proba(plain_test),
        atol=0.02,
    )
    assert classifier(standardize=False).fit(raw, train).score(raw_test, test) < 0.9


@pytest.mark.parametrize("make", [classifier, regressor])
def test_columns_that_cannot_be_scaled_are_named(make):
    pandas = pytest.importorskip("pandas")
    x, y = blobs()
    x = x.astype(np.float64)
    estimator = make(max_iter=1)
    for size in (1e300, 1e160):
        wide = x.copy()
        wide[:, 1:3] *= size
        with pytest.raises(ValueError, match=r"^X: got numbers up to .* in column 1, 2, whose var"):
            estimator.fit(wide, y)
    frame = pandas.DataFrame(wide, columns=["one", "two", "three", "four"])
    with pytest.raises(ValueError, match="column 'two', 'three', whose variance is beyond float64"):
        estimator.fit(frame, y)
    assert not hasattr(estimator, "model_")
    small = x.copy()
    small[:, 0] *= 1e-170
    small[:, 3] = 1e9 + 1e-7 * x[:, 3]
    with pytest.warns(UserWarning, match=r"^X: column 0, 3 varies by too little"):
        estimator.fit(small, y)
    with pytest.raises(ValueError, match=r"^X\[0, 1\]: got .*, which is beyond float32"):
        make(standardize=False).fit(wide, y)
    with pytest.raises(ValueError, match=r"^standardised X\[0, 1\]: got .* beyond float32"):
        estimator.predict(wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        only_removed = np.where(np.arange(len(x)) == 0, 1e-170, 0.0)
        make(max_iter=1).fit(
            np.column_stack([x, only_removed, np.full(len(x), 0.1)]), y,
            sample_weight=np.arange(len(x)) > 0,
        )  # fmt: skip


def test_targets_that_cannot_be_scaled_are_named():
    x, y = blobs()
    with pytest.raises(ValueError, match=r"^y: got numbers up to .* in column 0, whose variance"):
        regressor(max_iter=1).fit(x, y * 1e300)
    with pytest.warns(UserWarning, match=r"^y: column 0 varies by too little"):
        regressor(max_iter=1).fit(x, y * 1e-170)


def test_units_of_the_targets_do_not_matter():
    x, y = datasets.make_friedman1(400, random_state=0)
    scores = [
        regressor(max_iter=40).fit(wild(x[:300]), unit(y[:300])).score(wild(x[300:]), unit(y[300:]))
        for unit in (lambda y: y, lambda y: 1e7 + 1e-2 * y, lambda y: 1e9 * y)
    ]
    assert min(scores) > 0.8 and max(scores) - min(scores) < 0.02


def test_features_that_never_vary_are_ignored():
    x, y = blobs()
    constant = np.column_stack([x, np.full(len(x), 0.1)])
    estimator = classifier().fit(constant, y)
    before = estimator.predict_proba(constant)
    constant[:, -1] = 1e6
    assert np.array_equal(estimator.predict_proba(constant), before)


@pytest.mark.parametrize(
    "names",
    [
        np.array(["setosa", "virginica", "versicolor"]),
        np.array(["b", "a", "c"], object),
        np.array([-5, 1000, 3]),
        np.array([2.0, -1.0, 7.0]),
    ],
)
def test_labels_of_any_type(names):
    x, y = blobs()
    estimator = classifier().fit(x, names[y])
    assert np.array_equal(estimator.classes_, np.sort(names))
    assert estimator.predict(x).dtype == names.dtype
    assert estimator.score(x, names[y]) > 0.9
    assert np.array_equal(
        estimator.classes_[estimator.predict_proba(x).argmax(axis=1)], estimator.predict(x)
    )


def test_two_classes_one_class_and_too_many():
    x, y = blobs(classes=2)
    assert classifier().fit(x, y == 1).score(x, y == 1) > 0.9
    single = classifier().fit(x, ["only"] * len(x))
    assert set(single.predict(x)) == {"only"} and np.all(single.predict_proba(x) == 1)
    many = np.arange(len(x)) // 2
    stopped = classifier(early_stopping=True).fit(x, many)
    assert stopped.history_.validation[0]["rows"] == 30 and len(stopped.classes_) == 150


def test_data_frames():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    x, y = blobs()
    frame = pandas.DataFrame(x, columns=list("abcd"))
    estimator = classifier().fit(frame, pandas.Series(y))
    assert list(estimator.feature_names_in_) == list("abcd") and estimator.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[list("dcba")])


def test_several_outputs():
    x, y = datasets.make_regression(400, 6, n_targets=3, noise=1, random_state=0)
    y = y * [1e-4, 1, 1e6]
    estimator = regressor(max_iter=40).fit(x[:300], y[:300])
    assert estimator.predict(x).shape == (400, 3) and estimator.n_outputs_ == 3
    assert estimator.score(x[300:], y[300:]) > 0.9
    assert regressor().fit(x, y[:, :1]).predict(x).shape == (400, 1)
    assert regressor().fit(x, y[:, 0]).predict(x).shape == (400,)
    assert np.all(regressor().fit(x, np.full(400, 0.1)).predict(x) == 0.1)


def test_probabilities():
    x, y = blobs(classes=5)
    estimator = classifier().fit(x, y)
    probabilities = estimator.predict_proba(x * 100)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
    logarithms = estimator.predict_log_proba(x * 100)
    assert np.isfinite(logarithms).all()
    np.testing.assert_allclose(np.exp(logarithms), probabilities, rtol=1e-12)
    standardized = estimator.scaler_.transform(x)
    np.testing.assert_allclose(
        estimator.predict_proba(x), estimator.model_.predict_proba(standardized), atol=1e-6
    )
    large = np.concatenate([x] * 20)
    assert np.array_equal(estimator.predict(large), np.concatenate([estimator.predict(x)] * 20))
    with pytest.raises(NotFittedError):
        classifier().predict(x)


# ------------------------------------------------------------------------------- tools


def test_grid_search_in_a_pipeline():
    x, y = blobs()
    pipeline = make_pipeline(MinMaxScaler(), classifier(max_iter=5))
    name = "dynamoeclassifier"
    grid = {f"{name}__target_active": [1, 3.5], f"{name}__schedule": ["uniform", "ascending"]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(x, y)
    assert len(search.cv_results_["params"]) == 4 and search.best_score_ > 0.8
    for target in (1, 3.5):
        for schedule, experts in (("uniform", [8, 8]), ("ascending", [2, 8])):
            estimator = classifier(target_active=target, schedule=schedule).fit(x, y)
            assert estimator.model_.experts == experts
            layers = estimator.routing_stats(x)
            assert [layer.rows for layer in layers] == [300, 300]
            means = [layer.mean_k for layer in layers]
            assert means == pytest.approx([min(target, n) for n in experts], rel=0.25)


def test_worker_processes_give_the_same_scores():
    x, y = blobs()
    here = cross_val_score(classifier(max_iter=5), x, y, cv=2)
    workers = cross_val_score(classifier(max_iter=5), x, y, cv=2, n_jobs=2)
    assert np.array_equal(here, workers)


def threads_of_a_process_with(estimator):
    """Return the library's threads where `estimator` was unpickled."""
    return dm.get_threads()


def test_worker_processes_share_the_processors(monkeypatch):
    monkeypatch.delenv("DYNAMOE_THREADS", raising=False)
    job = joblib.delayed(threads_of_a_process_with)(classifier())
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        assert joblib.Parallel(n_jobs=2)([job, job]) == [1, 1]
    assert threads_of_a_process_with(classifier()) == dm.get_threads()


def test_threads_may_share_an_estimator():
    x, y = blobs(2000)
    estimator = classifier(max_iter=2).fit(x, y)
    expected = estimator.predict_proba(x)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(estimator.predict_proba, [x] * 16):
            assert np.array_equal(result, expected)


def test_routing_and_calibration():
    x, y = blobs()
    estimator = classifier(experts=[6, 4]).fit(x, y)
    trace = estimator.routing_trace(x)
    layers = estimator.routing_stats(x)
    assert [routing.active.shape for routing in trace] == [(300, 6), (300, 4)]
    for routing, layer in zip(trace, layers, strict=True):
        assert np.array_equal(routing.active.sum(axis=0), layer.expert_rows)
    assert estimator.calibrate(x, target_active=1) is estimator
    assert [layer.mean_k for layer in estimator.routing_stats(x)] == pytest.approx([1, 1], rel=0.05)
