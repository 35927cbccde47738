"""What the scikit-learn classifier and regressor have in common."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from . import training
from ._arrays import FloatArray
from ._estimator_config import model_config
from ._estimator_rows import Array, Rows, batch_rows, fitted_scaler, held_out_rows, standardized
from ._estimator_stopping import Stopping, logits
from ._library import get_threads, integer, number, set_threads
from .model import Model
from .statistics import Routing, RoutingStatistics
from .training import Settings

Self = TypeVar("Self", bound="Estimator")
Class = TypeVar("Class", bound=type)

_FILE = "model.safetensors"
_PARAMETERS = """\
    experts : int, list of int or dict, default 8
        Experts of each layer. An integer is the largest number of a layer, from which `schedule`
        goes to a quarter over `layers`; a list or a schedule as in a `ModelConfig`.
    schedule : str, default None
        Name of the schedule when `experts` is an integer; None is ``"descending"``.
    layers : int, default None
        Number of layers when `experts` is an integer; None is 2.
    router : str, dict or list of dict, default "threshold"
        A kind, or all settings of a router, or one router for each layer.
    target_active : float, list of float or dict, default None
        Mean number of active experts of a row, of all layers or one by one; put into `router`.
        None leaves `router` as it is, with 2 for the kinds that need it.
    width : int, default 64
        Width of the rows between the layers.
    hidden : int, list of int or dict, default 64
        Hidden units of an expert, of all layers or one by one.
    shared_experts : int, default 0
        Experts in every layer that every row uses.
    activation : str, default "gelu"
        ``"relu"``, ``"gelu"``, ``"gelu_tanh"``, ``"silu"``, ``"swiglu"``, ``"geglu"``.
    bias : bool, default True
        Whether input projection, experts and head have biases.
    residual : bool, default True
        Whether a layer adds to its input.
    norm : str, default "layer"
        ``"layer"``, ``"rms"``, ``"none"``.
    losses : dict, default None
        Coefficients of the auxiliary losses; None is no loss but the task's.
    optimizer : dict, default None
        Settings of the optimizer. Unless it has ``total``, `fit` sets it to the planned steps, and
        ``warmup`` to a twentieth of them.
    lr : float, default None
        Largest learning rate; None is what `optimizer` says, with AdamW 0.004 if it says nothing.
    weight_decay : float, default None
        None is what `optimizer` says, with AdamW and `fit` 64 / batches of an epoch, at most 2,
        if it says nothing.
    max_iter : int, default 50
        Most epochs of `fit`.
    batch_size : int or "auto", default "auto"
        Rows of a batch; automatic are 8 to 128, about a sixteenth of all.
    shuffle : bool, default True
        Draw a new order of the rows for each epoch.
    early_stopping : bool, default False
        Hold a share of the rows out, end the training when their loss no longer falls, and keep
        the parameters of the epoch with the smallest. Otherwise the training loss is watched and
        the last parameters are kept.
    validation_fraction : float, default 0.1
        Share that early stopping holds out, of a classifier from each class.
    n_iter_no_change : int, default 10
        Epochs without improvement after which the training ends.
    tol : float, default 1e-4
        Smallest fall of the loss that counts as an improvement.
    standardize : bool, default True
        Bring every feature, and the targets of a regressor, to mean 0 and variance 1 inside.
        Features that never vary are ignored.
    random_state : int, RandomState or None, default None
        Of the first parameters, the order of the rows and the rows held out.
    callbacks : callable or list of callables, default None
        Forwarded to `Model.fit`: ``callback(model, history)`` after each epoch.
    verbose : bool, default False
        Show a progress bar."""
_ATTRIBUTES = """\
    model_ : Model
        The network. It reads standardised features; the methods here standardise for it.
    history_ : History
        Of the latest `fit` or `partial_fit`.
    loss_curve_ : list of float
        Training loss of each epoch.
    n_iter_ : int
        Epochs.
    best_loss_ : float
        Smallest loss that was watched: of the rows held out with `early_stopping`.
    best_iter_ : int
        Its epoch, counted from 1.
    scaler_ : StandardScaler or None
        Mean and scale of the features.
    n_features_in_ : int
        Features.
    feature_names_in_ : numpy.ndarray
        Their names, if the data had such."""


def _share_processors() -> None:
    """Keep the threads of a joblib worker within its share of the processors.

    joblib tells its workers by ``OMP_NUM_THREADS``; ``DYNAMOE_THREADS`` goes first.
    """
    share = os.environ.get("OMP_NUM_THREADS", "")
    in_worker = multiprocessing.parent_process() is not None
    if in_worker and share.isdecimal() and "DYNAMOE_THREADS" not in os.environ:
        set_threads(max(1, min(int(share), get_threads())))


# Where an estimator is unpickled, this module has just been imported.
_share_processors()


def documented(kind: Class) -> Class:
    """Put the parameters and attributes that all estimators share into a class's docstring."""
    text = (kind.__doc__ or "").replace("    <parameters>", _PARAMETERS)
    kind.__doc__ = text.replace("    <attributes>", _ATTRIBUTES)
    return kind


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator(BaseEstimator):  # type: ignore[misc]
    """Base of `DynaMoEClassifier` and `DynaMoERegressor`. Not made by itself."""

    _task: ClassVar[str]

    experts: int | Sequence[int] | Mapping[str, Any] = 8
    schedule: str | None = None
    layers: int | None = None
    router: str | Mapping[str, Any] | Sequence[Mapping[str, Any]] = "threshold"
    target_active: float | Sequence[float] | Mapping[str, Any] | None = None
    width: int = 64
    hidden: int | Sequence[int] | Mapping[str, Any] = 64
    shared_experts: int = 0
    activation: str = "gelu"
    bias: bool = True
    residual: bool = True
    norm: str = "layer"
    losses: Mapping[str, float] | None = None
    optimizer: Mapping[str, Any] | None = None
    lr: float | None = None
    weight_decay: float | None = None
    max_iter: int = 50
    batch_size: int | str = "auto"
    shuffle: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4
    standardize: bool = True
    random_state: Any = None
    callbacks: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None
    verbose: bool = False

    # ----------------------------------------------------------------------------- training

    def _fit(self, rows: Rows, outputs: int) -> None:
        """Train a new model."""
        random = check_random_state(self.random_state)
        first, order, split = (int(random.randint(2**31 - 1)) for _ in range(3))
        rows, held_out = self._split(rows, split)
        stopping = Stopping(self.n_iter_no_change, self.tol, held_out)
        epochs = integer(self.max_iter, "max_iter", 1)
        batch = batch_rows(self.batch_size, len(rows))
        batches = -(-len(rows) // integer(batch, "batch_size", 1))
        model = Model(self._config(rows.x.shape[1], outputs, batches), seed=first)
        settings = self._settings(epochs, batch, order, [*self._callbacks(), stopping])
        validation = None if held_out is None else (held_out.x, held_out.targets)
        history = training.fit(model, rows.x, rows.targets, rows.weights, validation, settings)
        stopping.restore(model)
        if history.interrupted:
            warnings.warn(
                f"the training was interrupted after {history.epochs} of {epochs} epochs; the "
                "estimator is fitted with what it had learned",
                stacklevel=3,
            )
        self._keep(model, random, planned=True)
        self.history_ = history
        self.loss_curve_ = list(history.loss)
        self.n_iter_ = history.epochs
        self.best_loss_, self.best_iter_ = stopping.best, stopping.best_epoch

    def _settings(self, epochs: int, batch: Any, seed: int, callbacks: list[Any]) -> Settings:
        """Return the settings of a training whose interruption is told by the caller."""
        return Settings(
            epochs, batch, self.shuffle, seed, bool(self.verbose), callbacks, announce=False
        )

    def _pass_on_interrupt(self) -> None:
        """Raise the Ctrl-C that ended the latest training, once the estimator is whole again."""
        if self.history_.interrupted:
            raise KeyboardInterrupt

    def _split(self, rows: Rows, seed: int) -> tuple[Rows, Rows | None]:
        """Return the rows to train on and, for early stopping, those that are held out."""
        if not self.early_stopping:
            return rows, None
        share = number(self.validation_fraction, "validation_fraction")
        if not 0 < share < 1:
            raise ValueError(
                f"validation_fraction: got {share}, allowed is between 0 and 1, both excluded"
            )
        out = held_out_rows(rows.targets, share, seed, self._task == "classification")
        return rows.part(~out), rows.part(out)

    def _partial_fit(self, rows: Rows, outputs: int) -> None:
        """Make one pass over some rows."""
        if self.early_stopping:
            raise ValueError("early_stopping: got True, allowed with partial_fit is False")
        model, random = self._model_to_continue(rows.x.shape[1], outputs)
        with getattr(self, "_lock", None) or threading.Lock():
            seed = int(random.randint(2**31 - 1))
            batch = batch_rows(self.batch_size, len(rows))
            settings = self._settings(1, batch, seed, self._callbacks())
            history = training.fit(model, rows.x, rows.targets, rows.weights, None, settings)
        losses = [*getattr(self, "loss_curve_", []), *history.loss]
        self._keep(model, random, planned=False)
        self.history_, self.loss_curve_, self.n_iter_ = history, losses, len(losses)
        self.best_loss_ = min(losses, default=float("inf"))
        self.best_iter_ = losses.index(self.best_loss_) + 1 if losses else 0

    def _model_to_continue(self, inputs: int, outputs: int) -> tuple[Model, Any]:
        """Return a model whose learning rate does not end, and where random numbers come from."""
        if hasattr(self, "model_") and not self._planned:
            return self.model_, self._random
        config = self._config(inputs, outputs, None)
        if not hasattr(self, "model_"):
            random = check_random_state(self.random_state)
            return Model(config, seed=int(random.randint(2**31 - 1))), random
        learned = self.model_
        model = Model({**learned.config, "optimizer": config["optimizer"]})
        for old, new in (
            (learned.parameters, model.parameters),
            (learned.buffers, model.buffers),
        ):
            for name, values in old.items():
                new[name] = values
        return model, self._random

    def _config(self, inputs: int, outputs: int, batches: int | None) -> dict[str, Any]:
        return model_config(self.get_params(deep=False), self._task, inputs, outputs, batches)

    def _callbacks(self) -> list[Any]:
        callbacks = [] if self.callbacks is None else self.callbacks
        return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]

    def _keep(self, model: Model, random: Any, planned: bool) -> None:
        self.model_ = model
        self._lock = getattr(self, "_lock", None) or threading.Lock()
        self._random = random
        # Whether the learning rate ends with the steps that were planned.
        self._planned = planned

    def _scaler(
        self, known: StandardScaler | None, values: Array, weights: Array | None, name: str = "X"
    ) -> StandardScaler | None:
        """Return mean and scale of `values`, and of those that `known` knows."""
        if not self.standardize:
            return None
        names = getattr(self, "feature_names_in_", None) if name == "X" else None
        return fitted_scaler(known, values, weights, name, names)

    # ----------------------------------------------------------------------------- evaluation

    def _rows(self, X: Any) -> FloatArray:
        """Return checked rows as the model reads them."""
        check_is_fitted(self, "model_")
        x = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return standardized(self.scaler_, x)

    def _logits(self, X: Any) -> FloatArray:
        rows = self._rows(X)
        # A model has one user at a time, and threads may share an estimator.
        with self._lock:
            return logits(self.model_, rows)

    def routing_stats(self, X: Any) -> list[RoutingStatistics]:
        """Return how rows are routed, one object per layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, which alone are counted.

        Returns
        -------
        list of RoutingStatistics
            As `Model.routing_stats`: ``k_histogram``, ``mean_k``, ``expert_rows`` and more.
        """
        rows = self._rows(X)
        with self._lock:
            self.model_.routing_stats(reset=True)
            logits(self.model_, rows)
            return self.model_.routing_stats(reset=True)

    def routing_trace(self, X: Any) -> list[Routing]:
        """Return which experts each row uses and with what weights, one object per layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        list of Routing
            As `Model.routing_trace`: ``active`` and ``weights`` [n_samples, experts].
        """
        rows = self._rows(X)
        with self._lock:
            return self.model_.routing_trace(rows)

    def calibrate(self: Self, X: Any, target_active: float | Sequence[float]) -> Self:
        """Set the thresholds so that `X` uses another mean number of experts, without training.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows such as will be predicted.
        target_active : float or sequence of float
            As in `Model.calibrate`.

        Returns
        -------
        self
        """
        rows = self._rows(X)
        with self._lock:
            self.model_.calibrate(rows, target_active)
        return self

    # ----------------------------------------------------------------------------- pickling

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the model as the bytes of its safetensors file."""
        state = dict(super().__getstate__())
        lock = state.pop("_lock", None)
        if lock is not None:
            with lock, tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / _FILE
                self.model_.save(path)
                state["model_"] = path.read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state, with the model from its bytes."""
        state = dict(state)
        content = state.get("model_")
        super().__setstate__(state)
        if content is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / _FILE
                path.write_bytes(content)
                self._keep(Model.load(path), self._random, self._planned)
