"""Bad input: every refusal names the culprit, and the model is as it was before."""

from __future__ import annotations

import dynamoe as dm
import numpy as np
import pytest

from support.networks import INPUTS, OUTPUTS, ROWS, classifier, config, layer, rows, state

X, Y = rows()
NAN_ROW = X.copy()
NAN_ROW[3, 4] = np.nan
INFINITE = X.copy()
INFINITE[-1, -1] = -np.inf
NEGATIVE = Y.copy()
NEGATIVE[5] = -2
TOO_LARGE = Y.copy()
TOO_LARGE[7] = OUTPUTS
HUGE = Y.astype(np.int64)
HUGE[0] = 2**32

BAD_X = {
    "one axis": X[0],
    "three axes": X[None],
    "too few columns": X[:, :-1],
    "too many columns": np.hstack([X, X]),
    "NaN": NAN_ROW,
    "infinity": INFINITE,
    "beyond float32": X.astype(np.float64) * 1e300,
    "complex": X.astype(complex),
    "strings": X.astype(str),
    "objects": X.astype(object),
    "dates": np.zeros((ROWS, INPUTS), "datetime64[s]"),
    "ragged": [[1.0] * INPUTS, [1.0]],
    "masked": np.ma.masked_less(X, 0),
    "None": None,
    "number": 3.5,
    "dict": {"a": 1},
    "structured": np.zeros((ROWS, INPUTS), [("a", "f4")]),
}
BAD_TARGETS = {
    "too short": Y[:-1],
    "too long": np.append(Y, 0),
    "column": Y[:, None],
    "floats": Y.astype(np.float64),
    "below -1": NEGATIVE,
    "too large": TOO_LARGE,
    "beyond int32": HUGE,
    "beyond int32 unsigned": HUGE.astype(np.uint64),
    "strings": Y.astype(str),
    "None": None,
    "one number": 3,
}
BAD_WEIGHTS = {
    "too short": np.ones(ROWS - 1),
    "column": np.ones((ROWS, 1)),
    "NaN": np.full(ROWS, np.nan),
    "infinity": np.full(ROWS, np.inf),
    "negative": -np.ones(ROWS),
    "strings": ["a"] * ROWS,
}


def refused(network, call, match, error=ValueError):
    """Check that `call` is refused with `match` in the message and nothing changed."""
    before = state(network)
    with pytest.raises(error, match=match) as caught:
        call()
    assert state(network) == before
    return str(caught.value)


@pytest.mark.parametrize("name", list(BAD_X))
@pytest.mark.parametrize(
    "verb", ["forward", "training", "predict", "predict_proba", "evaluate", "train_batch", "fit"]
)
def test_bad_rows(model, name, verb):
    bad = BAD_X[name]
    calls = {
        "forward": lambda: model.forward(bad),
        "training": lambda: model.forward(bad, training=True),
        "predict": lambda: model.predict(bad),
        "predict_proba": lambda: model.predict_proba(bad),
        "evaluate": lambda: model.evaluate(bad, Y),
        "train_batch": lambda: model.train_batch(bad, Y),
        "fit": lambda: model.fit(bad, Y, epochs=1, progress=False),
    }
    refused(model, calls[verb], r"\bx\b")


@pytest.mark.parametrize("name", ["three axes", "NaN", "infinity", "complex"])
def test_bad_rows_for_traces_and_calibration(model, name):
    refused(model, lambda: model.routing_trace(BAD_X[name]), r"\bx\b")
    refused(model, lambda: model.calibrate(BAD_X[name], 2), r"\bx\b")


@pytest.mark.parametrize("name", list(BAD_TARGETS))
def test_bad_targets(model, name):
    bad = BAD_TARGETS[name]
    refused(model, lambda: model.train_batch(X, bad), "targets")
    refused(model, lambda: model.evaluate(X, bad), "targets")
    refused(model, lambda: model.fit(X, bad, epochs=1, progress=False), "targets")
    refused(
        model, lambda: model.fit(X, Y, validation=(X, bad), progress=False), "validation targets"
    )
    model.forward(X, training=True)
    if bad is not None:
        refused(model, lambda: model.loss(bad), "targets")
        refused(model, lambda: model.backward(bad), "targets")
    model.backward(Y)


@pytest.mark.parametrize("name", list(BAD_WEIGHTS))
def test_bad_weights(model, name):
    bad = BAD_WEIGHTS[name]
    refused(model, lambda: model.train_batch(X, Y, sample_weight=bad), "weight")
    refused(model, lambda: model.fit(X, Y, sample_weight=bad, progress=False), "weight")


def test_bad_output_gradients(model):
    model.forward(X, training=True)
    good = np.zeros((ROWS, OUTPUTS), np.float32)
    for bad in (good[:-1], good.T, good + np.nan, good + np.inf, "x", good.astype(complex)):
        refused(model, lambda bad=bad: model.backward(output_gradient=bad), "output_gradient")
    refused(model, lambda: model.backward(), "exactly one")
    refused(model, lambda: model.backward(Y, output_gradient=good), "exactly one")
    model.backward(output_gradient=good)


def test_bad_out_arrays(model):
    good = np.zeros((ROWS, OUTPUTS), np.float32)
    frozen = good.copy()
    frozen.flags.writeable = False
    for bad in (
        good[:-1],
        good.astype(np.float64),
        good.astype(">f4"),
        np.zeros((ROWS, 2 * OUTPUTS), np.float32)[:, ::2],
        frozen,
        good.tolist(),
        np.asfortranarray(good),
    ):
        refused(model, lambda bad=bad: model.forward(X, out=bad), "out")


@pytest.mark.parametrize("lr", [np.nan, np.inf, -np.inf, -0.1, "fast", None.__class__, [0.1, 0.2]])
def test_bad_learning_rates(model, lr):
    refused(model, lambda: model.step(lr=lr), "lr")


@pytest.mark.parametrize(
    "target",
    [0, -1, np.nan, np.inf, 100, [2, 2], [2, 2, 2, 2], [2, 2, 7], "two", [[2, 2, 2]], None],
)
def test_bad_calibration_targets(model, target):
    refused(model, lambda: model.calibrate(X, target), "target_active|layer")


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_wrong_number_of_calibration_targets_is_named(model, count):
    message = rf"^target_active: got {count} numbers, allowed is one, or one for each of 3 layers"
    refused(model, lambda: model.calibrate(X, [1.0] * count), message)


def test_numbers_beyond_float32_are_shown_as_they_came(model):
    bad = X.astype(np.float64)
    bad[0, 0], bad[3, 1], bad[4, 2] = np.inf, -1e300, 1e39
    for call in (
        lambda: model.forward(bad),
        lambda: model.fit(bad, Y, epochs=1, progress=False),
        lambda: model.predict(bad.astype(np.longdouble)),
        lambda: model.predict(np.asfortranarray(bad)),
    ):
        refused(model, call, r"^x\[3, 1\]: got -1e\+300, which is beyond float32, allowed .*3\.40")
    largest = float(np.finfo(np.float32).max)
    assert model.forward(np.full(X.shape, 1e-300)).shape == (len(X), OUTPUTS)
    infinite = np.full(X.shape, np.inf)
    refused(model, lambda: model.forward(infinite), r"x\[0, 0\] is inf")
    model.parameters["head.bias"] = np.full(OUTPUTS, largest)


def test_numbers_above_a_bound_are_told_of_it(model):
    def fit(**more):
        return lambda: model.fit(X, Y, progress=False, **more)

    for name in ("epochs", "batch_size"):
        refused(model, fit(**{name: 2**70}), rf"^{name}: got {2**70}, .* from 1 to {2**63 - 1}$")
        refused(model, fit(**{name: 0}), rf"^{name}: got 0, allowed is an integer of at least 1$")
    refused(model, fit(seed=2**64), rf"^seed: .* from 0 to {2**64 - 1}$")


def test_calibration_needs_thresholds():
    model = classifier(router={"kind": "top_k", "k": 2})
    refused(model, lambda: model.calibrate(X, 2), "threshold")


def test_bad_fit_settings(model):
    for setting in (
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": True},
        {"epochs": "3"},
        {"batch_size": 0},
        {"batch_size": -5},
        {"batch_size": None},
        {"seed": -1},
        {"seed": 2**64},
        {"callbacks": 3},
        {"callbacks": [print, 3]},
        {"validation": X},
        {"validation": (X,)},
    ):
        name = next(iter(setting))
        refused(model, lambda s=setting: model.fit(X, Y, progress=False, **s), name)
    refused(model, lambda: model.fit(X[:0], Y[:0], progress=False), r"\bx\b")


def test_bad_values_late_in_the_data_are_found_before_the_first_step(model):
    x, y = rows(1000)
    x[-1, 0] = np.nan
    refused(model, lambda: model.fit(x, y, epochs=1, batch_size=10, progress=False), r"\bx\b")
    refused(model, lambda: model.predict(np.vstack([X] * 300 + [x[-1:]])), r"\bx\b")


BAD_CONFIGS = [
    ({"task": None}, "task"),
    ({"task": "clasification"}, "task"),
    ({"width": None}, "width"),
    ({"width": 0}, "width"),
    ({"width": -4}, "width"),
    ({"width": 2**62}, ""),
    ({"width": 16.0}, "width"),
    ({"width": "16"}, "width"),
    ({"width": [16]}, "width"),
    ({"inputs": None}, "inputs"),
    ({"inputs": 0}, "inputs"),
    ({"vocabulary": 10}, "inputs|vocabulary"),
    ({"outputs": None}, "outputs"),
    ({"experts": []}, "experts"),
    ({"experts": [4, 0]}, "experts"),
    ({"experts": 4}, "experts"),
    ({"experts": {"schedule": "descending", "maximum": 4}}, "layers"),
    ({"experts": {"schedule": "decending", "layers": 2, "maximum": 4}}, "schedule"),
    ({"hidden": [8, 8]}, "hidden"),
    ({"hidden": 0}, "hidden"),
    ({"shared_experts": -1}, "shared_experts"),
    ({"activation": "gleu"}, "gelu"),
    ({"bias": 1}, "bias"),
    ({"norm": "batch"}, "norm"),
    ({"tied_embedding": True}, "tied_embedding"),
    ({"router": None}, "router"),
    ({"router": {}}, "kind"),
    ({"router": {"kind": "treshold", "target_active": 2}}, "threshold"),
    ({"router": {"kind": "threshold"}}, "target_active"),
    ({"router": {"kind": "threshold", "target_active": 0}}, "target_active"),
    ({"router": {"kind": "threshold", "target_active": [1, 2]}}, "target_active"),
    ({"router": {"kind": "threshold", "target_active": 2, "k": 3}}, "k"),
    ({"router": {"kind": "threshold", "target_active": 2, "temperture": 1}}, "temperature"),
    ({"router": {"kind": "top_k", "k": 0}}, "k"),
    ({"router": {"kind": "top_k", "k": 2, "temperature": 0}}, "temperature"),
    ({"router": {"kind": "top_k", "k": 2, "noise": -1}}, "noise"),
    ({"router": {"kind": "top_k", "k": 2, "min_active": 3, "max_active": 2}}, "max_active"),
    ({"router": [{"kind": "top_k", "k": 2}]}, "router"),
    ({"losses": {"balance": "high"}}, "balance"),
    ({"losses": {"ballance": 1}}, "balance"),
    ({"optimizer": {"kind": "adam"}}, "adamw"),
    ({"optimizer": {"lr": -1}}, "lr"),
    ({"optimizer": {"betas": [0.9]}}, "betas"),
    ({"optimizer": {"betas": [0.9, 1.0]}}, "betas"),
    ({"optimizer": {"kind": "sgd", "nesterov": True}}, "esterov"),
    ({"optimizer": {"warmup": 5, "total": 5}}, "total"),
    ({"expert": [4]}, "experts"),
    ({"Width": 3}, "width"),
    ({"optimizer": {"lr": float("nan")}}, r"optimizer\.lr"),
    ({"optimizer": {"lr": float("inf")}}, r"optimizer\.lr"),
    ({"router": {"kind": "threshold", "target_active": np.array([2, np.nan, 2])}}, r"active\[1\]"),
    ({"hidden": {1, 2}}, "hidden.*set"),
    ({"hidden": 3j}, "hidden.*complex"),
    ({3: 4}, "key 3"),
]


@pytest.mark.parametrize("change, match", BAD_CONFIGS, ids=[str(c)[:60] for c, _ in BAD_CONFIGS])
def test_bad_configurations(change, match):
    with pytest.raises((ValueError, MemoryError), match=match):
        dm.Model(
            config(**change) if all(isinstance(k, str) for k in change) else {**config(), **change}
        )


@pytest.mark.parametrize("bad", [None, "{}", 3, [1], b"{}"])
def test_configurations_are_dicts(bad):
    with pytest.raises(ValueError, match="config"):
        dm.Model(bad)
    with pytest.raises(ValueError, match="config"):
        dm.MoELayer(bad)


def test_endless_configurations():
    endless: dict = {}
    endless["router"] = endless
    with pytest.raises(ValueError, match="nested"):
        dm.Model(endless)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "1", None, True, np.nan])
def test_bad_seeds(seed):
    with pytest.raises(ValueError, match="seed"):
        dm.Model(config(), seed=seed)


def test_bad_layer_calls():
    made = layer(trained=True)
    for name in ("one axis", "three axes", "too few columns", "NaN", "infinity", "strings"):
        refused(made, lambda name=name: made.forward(BAD_X[name]), r"\bx\b")
        refused(made, lambda name=name: made.forward(BAD_X[name], training=True), r"\bx\b")
        refused(made, lambda name=name: made.calibrate(BAD_X[name], 2), r"\bx\b")
    refused(made, lambda: made.backward(X), "", dm.DynaMoEError)
    made.forward(X, training=True)
    for bad in (X[:-1], X[:, :-1], NAN_ROW, INFINITE, None):
        refused(made, lambda bad=bad: made.backward(bad), "output_gradient")
    for target in ([2, 2], 0, 100, np.nan, "two"):
        refused(made, lambda target=target: made.calibrate(X, target), "target_active|layer")
    made.backward(X)
    for change, match in (
        ({"experts": [3]}, "experts"),
        ({"width": 0}, "width"),
        ({"norm": "layer"}, "norm"),
    ):
        with pytest.raises(ValueError, match=match):
            layer(**change)


@pytest.mark.parametrize("count", [0, -1, 257, 2**40, 1.5, "2", None, True])
def test_bad_thread_counts(count):
    before = dm.get_threads()
    with pytest.raises(ValueError, match="count"):
        dm.set_threads(count)
    assert dm.get_threads() == before
