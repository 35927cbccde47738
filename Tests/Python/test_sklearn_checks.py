"""scikit-learn's own checks of the estimators, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import dynamoe as dm
import pytest

sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn: dynamoe[sklearn]")
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

ESTIMATORS = [
    dm.sklearn.DynaMoEClassifier(width=16, max_iter=30),
    dm.sklearn.DynaMoERegressor(width=16, max_iter=30),
]


def contradicts_the_method(estimator):
    """Return scikit-learn's checks that cannot hold, with the reason."""
    return {
        "check_sample_weight_equivalence_on_dense_data": (
            "a weight multiplies a row's loss, but routing counts rows: a repeated row takes "
            "part twice in the quantile of a batch's scores, a weighted one once; and batches "
            "are drawn from rows, so other rows are together in a batch"
        )
    }


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=contradicts_the_method)
def test_scikit_learn_check(estimator, check):
    check(estimator)


def run(code):
    """Run Python code in a new process and return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_dynamoe_does_not_import_scikit_learn():
    run(
        "import sys, dynamoe as dm; assert 'sklearn' in dir(dm);"
        "assert 'sklearn' not in sys.modules;"
        "dm.sklearn.DynaMoEClassifier(); assert 'sklearn' in sys.modules"
    )


def test_without_scikit_learn_the_error_names_the_extra():
    told = run(
        "import sys; sys.modules['sklearn'] = None\n"
        "import dynamoe as dm\n"
        "try: dm.sklearn\n"
        "except ImportError as error: print(error)\n"
    )
    assert "pip install 'dynamoe[sklearn]'" in told
