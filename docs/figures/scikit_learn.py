"""Print the tables of docs/scikit-learn.md: python docs/figures/scikit_learn.py.

Three-fold cross-validation of the estimators with their defaults on the data sets inside
scikit-learn, beside scikit-learn's multilayer perceptron, plain and on standardised features,
and its random forest. Needs dynamoe[sklearn] and takes some minutes.
"""

import warnings

import numpy as np
from dynamoe.sklearn import DynaMoEClassifier, DynaMoERegressor
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def in_other_units(x):
    """Return features of scales from 1e-3 to 1e5 and with offsets up to 1e3."""
    generator = np.random.default_rng(0)
    scales = 10.0 ** generator.uniform(-3, 5, x.shape[1])
    return x * scales + 10.0 ** generator.uniform(-3, 3, x.shape[1])


def classifications():
    """Yield a name, features and classes."""
    for name in ("iris", "wine", "breast_cancer", "digits"):
        yield f"`load_{name}`", *getattr(datasets, f"load_{name}")(return_X_y=True)
    x, y = datasets.make_classification(
        6000, 16, n_informative=12, n_redundant=2, n_classes=26, n_clusters_per_class=1,
        class_sep=1.5, random_state=0,
    )  # fmt: skip
    yield "26 classes", x, y
    yield "26 classes, scales 1e-3 to 1e5", in_other_units(x), y
    yield "3 classes in 9 clusters", *datasets.make_classification(
        3000, 30, n_informative=10, n_redundant=5, n_clusters_per_class=3, n_classes=3,
        random_state=2,
    )  # fmt: skip
    yield (
        "19 rows of one class to 1",
        *datasets.make_classification(
            4000, 20, n_informative=8, weights=[0.95], flip_y=0.01, random_state=1
        ),
    )
    yield "`make_moons`, noise 0.25", *datasets.make_moons(1000, noise=0.25, random_state=0)


def regressions():
    """Yield a name, features and targets."""
    yield "`load_diabetes`", *datasets.load_diabetes(return_X_y=True)
    x, y = datasets.make_friedman1(2000, noise=1, random_state=0)
    yield "`make_friedman1`, noise 1", x, y
    yield "the same, scales 1e-3 to 1e5, y in 1e4 from 1e6", in_other_units(x), 1e6 + 1e4 * y
    yield "`make_friedman2`, noise 50", *datasets.make_friedman2(1500, noise=50, random_state=0)
    yield (
        "`make_regression`, 3 outputs",
        *datasets.make_regression(1500, 20, n_targets=3, noise=10, random_state=0),
    )


def table(problems, estimators, folds, scorings):
    """Print a table with a line for each problem; several scores are divided by a slash."""
    print(f"| data | rows, features | {' | '.join(estimators)} |")
    print("|---|---|" + "---|" * len(estimators))
    for name, x, y in problems:
        cells = [name, f"{x.shape[0]:,} x {x.shape[1]}"]
        for estimator in estimators.values():
            result = cross_validate(
                estimator, x, y, cv=folds, scoring=list(scorings), error_score="raise"
            )
            means = [sign * result[f"test_{scoring}"].mean() for scoring, sign in scorings.items()]
            cells.append(" / ".join(f"{mean:.3f}" for mean in means))
        print(f"| {' | '.join(cells)} |", flush=True)


def main():
    """Print both tables."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    scores = {"accuracy": 1, "balanced_accuracy": 1, "neg_log_loss": -1}
    mlp, forest = MLPClassifier(random_state=0), RandomForestClassifier(random_state=0)
    classifiers = {
        "`DynaMoEClassifier`": DynaMoEClassifier(random_state=0),
        "`MLPClassifier`": mlp,
        "`StandardScaler`, `MLPClassifier`": make_pipeline(StandardScaler(), mlp),
        "`RandomForestClassifier`": forest,
    }
    table(classifications(), classifiers, StratifiedKFold(3, shuffle=True, random_state=0), scores)
    print()
    mlp = MLPRegressor(random_state=0)
    regressors = {
        "`DynaMoERegressor`": DynaMoERegressor(random_state=0),
        "`MLPRegressor`": mlp,
        "`StandardScaler`, `MLPRegressor`": make_pipeline(StandardScaler(), mlp),
        "`RandomForestRegressor`": RandomForestRegressor(random_state=0),
    }
    table(regressions(), regressors, KFold(3, shuffle=True, random_state=0), {"r2": 1})


if __name__ == "__main__":
    main()
