"""Small scikit-learn estimators and data for the tests."""

from __future__ import annotations

import dynamoe as dm
import numpy as np
from sklearn import datasets

SMALL = {"width": 16, "max_iter": 15, "random_state": 0}


def classifier(**changes):
    """Return a small classifier."""
    return dm.sklearn.DynaMoEClassifier(**{**SMALL, **changes})


def regressor(**changes):
    """Return a small regressor."""
    return dm.sklearn.DynaMoERegressor(**{**SMALL, **changes})


def blobs(rows=300, classes=3, seed=0):
    """Return features [rows, 4] and classes that a small network separates."""
    return datasets.make_blobs(rows, 4, centers=classes, random_state=seed, cluster_std=2.0)


def wild(x, seed=0):
    """Return the same features in units that make them 1e-3 to 1e5 wide, with an offset."""
    generator = np.random.default_rng(seed)
    return x * 10.0 ** np.linspace(-3, 5, x.shape[1]) + generator.uniform(-1e3, 1e3, x.shape[1])
