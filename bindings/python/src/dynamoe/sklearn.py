"""scikit-learn estimators. Needs scikit-learn (``pip install 'dynamoe[sklearn]'``).

>>> from dynamoe.sklearn import DynaMoEClassifier
>>> DynaMoEClassifier(target_active=1.5).fit(x, y).score(x_test, y_test)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import Tags, compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import validate_data
except ImportError as error:
    raise ImportError(
        f"dynamoe.sklearn needs scikit-learn 1.6 or newer: pip install 'dynamoe[sklearn]' ({error})"
    ) from error

from ._estimator import Estimator, documented
from ._estimator_rows import Array, Rows, checked_weights, restored, standardized
from ._estimator_stopping import log_softmax

__all__ = ["DynaMoEClassifier", "DynaMoERegressor"]

C = TypeVar("C", bound="DynaMoEClassifier")
R = TypeVar("R", bound="DynaMoERegressor")

_TYPES = [np.float64, np.float32]


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class DynaMoEClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A classifier whose rows decide how many experts they use.

    Softmax cross-entropy over a dynamic mixture-of-experts network, trained with minibatches. The
    names of the network's parameters are those of a `ModelConfig`.

    Parameters
    ----------
    <parameters>
    class_weight : dict, "balanced" or None, default None
        Weight of each class in the loss, by label; ``"balanced"``: inverse to its frequency.

    Attributes
    ----------
    classes_ : numpy.ndarray
        The labels, sorted; columns of `predict_proba`.
    <attributes>

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> x, y = load_digits(return_X_y=True)
    >>> DynaMoEClassifier(random_state=0).fit(x[:1000], y[:1000]).score(x[1000:], y[1000:])
    """

    _task: ClassVar[str] = "classification"

    class_weight: Mapping[Any, float] | str | None = None

    def fit(self: C, X: Any, y: Any, sample_weight: Any = None) -> C:
        """Train a new model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Labels of any kind that can be sorted.
        sample_weight : array-like of shape (n_samples,), default None
            Weights w of at least 0: each step's loss is Σ w·loss / Σ w. Routing ignores them, but
            rows of weight 0 are left out altogether.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For anything wrong with data or parameters; the message names it.
        """
        x, labels = validate_data(self, X, y, dtype=_TYPES)
        check_classification_targets(labels)
        weights = checked_weights(sample_weight, len(x))
        classes, targets = np.unique(labels, return_inverse=True)
        weights = self._with_class_weight(labels, weights)
        scaler = self._scaler(None, x, weights)
        self._fit(Rows.counted(standardized(scaler, x), targets, weights), len(classes))
        self.scaler_, self.classes_ = scaler, classes
        return self

    def partial_fit(self: C, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> C:
        """Make one pass over some rows, with a constant learning rate.

        Mean and scale of the features are those of all rows seen. After `fit` the training goes
        on from what was learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default None
            All labels that will ever come; required at the first call, later the same or None.
        sample_weight : array-like of shape (n_samples,), default None
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For anything wrong with data or parameters, and for `early_stopping`.
        KeyboardInterrupt
            For Ctrl-C, after the running step: the estimator has learned from the rows up to it.
        """
        first = not hasattr(self, "model_")
        known = self._known_classes(classes, first)
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight: got {self.class_weight!r}, allowed with partial_fit are a dict "
                "and None: the frequencies are not known"
            )
        x, labels = validate_data(self, X, y, dtype=_TYPES, reset=first)
        check_classification_targets(labels)
        foreign = np.setdiff1d(labels, known)
        if foreign.size:
            raise ValueError(
                f"y: got the label {foreign.tolist()[0]!r}, allowed are {known.tolist()}"
            )
        weights = self._with_class_weight(labels, checked_weights(sample_weight, len(x)))
        scaler = self._scaler(None if first else self.scaler_, x, weights)
        targets = np.searchsorted(known, labels)
        self._partial_fit(Rows.counted(standardized(scaler, x), targets, weights), len(known))
        self.scaler_, self.classes_ = scaler, known
        self._pass_on_interrupt()
        return self

    def _known_classes(self, classes: Any, first: bool) -> Array:
        if classes is None:
            if first:
                raise ValueError("classes: got None, allowed at the first partial_fit is an array")
            return self.classes_
        given = np.unique(np.asarray(classes))
        if not first and not np.array_equal(given, self.classes_):
            raise ValueError(
                f"classes: got {given.tolist()}, allowed are those of the first call, "
                f"{self.classes_.tolist()}"
            )
        return given

    def _with_class_weight(self, labels: Array, weights: Array | None) -> Array | None:
        if self.class_weight is None:
            return weights
        by_class = compute_sample_weight(self.class_weight, labels)
        return checked_weights(by_class if weights is None else by_class * weights, len(labels))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        numpy.ndarray
            float64 (n_samples, n_classes) in the order of `classes_`; rows sum to 1.
        """
        powers = np.exp(log_softmax(self._logits(X)))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def predict_log_proba(self, X: Any) -> Array:
        """Return the natural logarithm of `predict_proba`, finite where that rounds to 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        numpy.ndarray
            float64 (n_samples, n_classes) in the order of `classes_`.
        """
        return log_softmax(self._logits(X))

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        numpy.ndarray
            Labels (n_samples,).
        """
        chosen = self._logits(X).argmax(axis=1)
        return np.asarray(self.classes_[chosen])


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class DynaMoERegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A regressor whose rows decide how many experts they use.

    Mean squared error over a dynamic mixture-of-experts network, trained with minibatches, of one
    output or several. The names of the network's parameters are those of a `ModelConfig`.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    target_scaler_ : StandardScaler or None
        Mean and scale of the targets. Losses are those of standardised targets.
    n_outputs_ : int
        Outputs.
    <attributes>

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> x, y = make_friedman1(1000, random_state=0)
    >>> DynaMoERegressor(random_state=0).fit(x[:800], y[:800]).score(x[800:], y[800:])
    """

    _task: ClassVar[str] = "regression"

    def __sklearn_tags__(self) -> Tags:
        """Return what scikit-learn asks about an estimator."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self: R, X: Any, y: Any, sample_weight: Any = None) -> R:
        """Train a new model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real numbers.
        sample_weight : array-like of shape (n_samples,), default None
            Weights w of at least 0: each step's loss is Σ w·loss / Σ w. Routing ignores them, but
            rows of weight 0 are left out altogether.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For anything wrong with data or parameters; the message names it.
        """
        x, values = validate_data(self, X, y, dtype=_TYPES, multi_output=True, y_numeric=True)
        weights = checked_weights(sample_weight, len(x))
        self._learn(self._fit, x, values, weights, anew=True)
        return self

    def partial_fit(self: R, X: Any, y: Any, sample_weight: Any = None) -> R:
        """Make one pass over some rows, with a constant learning rate.

        Mean and scale of features and targets are those of all rows seen. After `fit` the
        training goes on from what was learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real numbers.
        sample_weight : array-like of shape (n_samples,), default None
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For anything wrong with data or parameters, and for `early_stopping`.
        KeyboardInterrupt
            For Ctrl-C, after the running step: the estimator has learned from the rows up to it.
        """
        first = not hasattr(self, "model_")
        x, values = validate_data(
            self, X, y, dtype=_TYPES, multi_output=True, y_numeric=True, reset=first
        )
        outputs = 1 if values.ndim == 1 else values.shape[1]
        if not first and outputs != self.n_outputs_:
            raise ValueError(f"y: got {outputs} outputs, allowed are {self.n_outputs_} as before")
        weights = checked_weights(sample_weight, len(x))
        self._learn(self._partial_fit, x, values, weights, anew=first)
        self._pass_on_interrupt()
        return self

    def _learn(
        self,
        train: Callable[[Rows, int], None],
        x: Array,
        values: Array,
        weights: Array | None,
        anew: bool,
    ) -> None:
        """Train on standardised rows and targets, then keep how they were standardised."""
        columns = values.reshape(len(values), -1)
        known = (None, None) if anew else (self.scaler_, self.target_scaler_)
        scaler = self._scaler(known[0], x, weights)
        target_scaler = self._scaler(known[1], columns, weights, "y")
        targets = standardized(target_scaler, columns, "y")
        train(Rows.counted(standardized(scaler, x), targets, weights), columns.shape[1])
        self.scaler_: StandardScaler | None = scaler
        self.target_scaler_: StandardScaler | None = target_scaler
        self.n_outputs_, self._flat = columns.shape[1], values.ndim == 1

    def predict(self, X: Any) -> Array:
        """Return the value of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        numpy.ndarray
            float64, (n_samples,) or (n_samples, n_outputs) as `y` had.
        """
        output = self._logits(X)
        values = restored(self.target_scaler_, output)
        return np.asarray(values[:, 0] if self._flat else values)
