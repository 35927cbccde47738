"""Fitted scikit-learn estimators as bytes."""

from __future__ import annotations

import copy
import pickle

import dynamoe as dm
import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn: dynamoe[sklearn]")
import joblib  # noqa: E402
from sklearn.base import clone  # noqa: E402

from support.estimators import blobs, classifier, regressor  # noqa: E402

COPIES = {
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "oldest protocol": lambda estimator: pickle.loads(pickle.dumps(estimator, 0)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_copies_predict_the_same_bits(make, copied):
    x, y = blobs()
    estimator = make().fit(x, y)
    other = copied(estimator)
    assert other.model_ is not estimator.model_
    assert np.array_equal(other.predict(x), estimator.predict(x))
    assert other.get_params() == estimator.get_params()
    assert other.loss_curve_ == estimator.loss_curve_
    # Both go on alike, and neither moves the other.
    other.partial_fit(x, y)
    before = other.predict(x)
    estimator.partial_fit(x, y)
    estimator.partial_fit(x, y)
    assert np.array_equal(other.predict(x), before)
    other.partial_fit(x, y)
    assert np.array_equal(other.predict(x), estimator.predict(x))


def test_the_state_is_the_model_file(tmp_path):
    x, y = blobs()
    estimator = classifier().fit(x, y)
    state = estimator.__getstate__()
    assert isinstance(estimator.model_, dm.Model)
    (tmp_path / "model").write_bytes(state["model_"])
    loaded = dm.Model.load(tmp_path / "model")
    rows = estimator.scaler_.transform(x)
    assert np.array_equal(loaded.predict(rows), estimator.predict(x))


def test_joblib_files_and_workers(tmp_path):
    x, y = blobs()
    estimator = classifier().fit(x, y)
    expected = estimator.predict_proba(x)
    joblib.dump(estimator, tmp_path / "estimator")
    assert np.array_equal(joblib.load(tmp_path / "estimator").predict_proba(x), expected)
    jobs = (joblib.delayed(estimator.predict_proba)(part) for part in np.array_split(x, 2))
    parts = joblib.Parallel(n_jobs=2)(jobs)
    assert np.array_equal(np.concatenate(parts), expected)


def test_unfitted_estimators_and_damaged_bytes():
    x, y = blobs()
    plain = pickle.loads(pickle.dumps(classifier(width=24)))
    assert plain.width == 24 and not hasattr(plain, "model_")
    fitted = clone(plain).fit(x, y)
    state = fitted.__getstate__()
    state["model_"] = state["model_"][:-1]
    with pytest.raises(OSError):
        classifier().__setstate__(state)
