"""`History`: what a training did, epoch by epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

LARGER_IS_BETTER = ("accuracy", "r2")
_VALIDATION = "validation_"


class History:
    """Results of `Model.fit`, one entry per finished epoch.

    Attributes
    ----------
    task : str
        The task of the model.
    experts : list of int
        Experts of each layer.
    loss : list of float
        Mean task loss of the training rows, each taken before its step.
    total_loss : list of float
        The same with the weighted auxiliary losses.
    accuracy : list of float
        Share of training rows that were right, each taken before its step; empty for regressions,
        and when every row is ignored.
    mean_k : list of list of float
        [epochs][layers]: mean number of active experts of the training rows.
    validation : list of dict
        What `Model.evaluate` said after each epoch; empty without validation rows.
    seconds : list of float
        Duration of each epoch, without validation.
    steps : int
        Optimizer steps made, those of an unfinished epoch included.
    requested_epochs : int
        The epochs that were asked for.
    stopped_by : str or None
        What ended the training before its last epoch: ``"Ctrl-C"``, the name of a callback, or the
        name of an error's class; None when nothing did.
    interrupted : bool
        Whether Ctrl-C ended the training.
    failed : bool
        Whether an error ended it, for callbacks that are closed then.
    """

    def __init__(
        self,
        task: str,
        experts: list[int],
        requested_epochs: int = 0,
        metric_names: Sequence[str] = (),
    ) -> None:
        self.task = task
        self.experts = experts
        self.requested_epochs = requested_epochs
        self.loss: list[float] = []
        self.total_loss: list[float] = []
        self.accuracy: list[float] = []
        self.mean_k: list[list[float]] = []
        self.validation: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.steps = 0
        self.stopped_by: str | None = None
        self.interrupted = False
        self.failed = False
        self._metric_names = tuple(metric_names)

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return len(self.loss)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What callbacks can monitor, known before the first step.

        ``loss``, ``total_loss``, ``accuracy`` and ``mean_k`` (the mean over layers); with
        validation rows ``validation_loss``, ``validation_mean_k``, and as the task has them
        ``validation_accuracy``, ``validation_perplexity``, ``validation_r2``.
        """
        return self._metric_names or tuple(self.metrics)

    @property
    def metrics(self) -> dict[str, list[float]]:
        """One number per finished epoch of everything in `metric_names`."""
        values = {"loss": self.loss, "total_loss": self.total_loss}
        if self.accuracy:
            values["accuracy"] = self.accuracy
        values["mean_k"] = [_mean(layers) for layers in self.mean_k]
        for name in self.validation[0] if self.validation else ():
            if name != "rows":
                results = [result[name] for result in self.validation]
                values[_VALIDATION + name] = [
                    _mean(value) if name == "mean_k" else float(value) for value in results
                ]
        return {name: list(numbers) for name, numbers in values.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, strings and lists."""
        values = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {"epochs": self.epochs, **_plain(values)}

    def to_json(self, indent: int | None = None) -> str:
        """Return `as_dict` as JSON, with null for NaN and infinity, which JSON cannot say.

        Parameters
        ----------
        indent : int, optional
            As in `json.dumps`.
        """
        return json.dumps(finite_or_none(self.as_dict()), indent=indent, allow_nan=False)

    def plot(self, axes: Any = None) -> Any:
        """Draw loss and accuracy over epochs; see `dynamoe.plot.history`."""
        from . import plot

        return plot.history(self, axes=axes)

    def __len__(self) -> int:
        return self.epochs

    def __repr__(self) -> str:
        asked = max(self.requested_epochs, self.epochs)
        count = f"{self.epochs}" if asked == self.epochs else f"{self.epochs} of {asked}"
        parts = [
            f"{count} epoch{'s' * (asked != 1)}",
            f"{self.steps} step{'s' * (self.steps != 1)}",
        ]
        for name, values in self.metrics.items():
            if values and name.removeprefix(_VALIDATION) not in ("total_loss", "mean_k"):
                parts.append(f"{name.replace('_', ' ')} {_last_and_best(name, values)}")
        if self.stopped_by:
            parts.append(f"stopped by {self.stopped_by}")
        return f"History({', '.join(parts)})"


def metric_names(counts_right: bool, evaluated: Sequence[str]) -> list[str]:
    """Return the names of a training's metrics.

    Parameters
    ----------
    counts_right : bool
        Whether the training rows have an accuracy.
    evaluated : sequence of str
        What is known of the validation rows besides ``loss`` and ``mean_k``; without such rows
        nothing, not even these two.
    """
    names = ["loss", "total_loss", *(["accuracy"] if counts_right else []), "mean_k"]
    if evaluated:
        names += [_VALIDATION + name for name in ("loss", *evaluated, "mean_k")]
    return names


def is_better(name: str, value: float, best: float, change: float = 0.0) -> bool:
    """Return whether a metric is better than `best` by more than `change`; NaN never is."""
    if math.isnan(value):
        return False
    if math.isnan(best):
        return True
    if name.removeprefix(_VALIDATION) in LARGER_IS_BETTER:
        return value > best + change
    return value < best - change


def finite_or_none(value: Any) -> Any:
    """Return nested lists and dicts with None in place of NaN and infinity."""
    if isinstance(value, dict):
        return {name: finite_or_none(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite_or_none(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _last_and_best(name: str, values: Sequence[float]) -> str:
    best = 0
    for index, value in enumerate(values):
        if is_better(name, value, values[best]):
            best = index
    text = f"{values[-1]:.4g}"
    if not name.startswith(_VALIDATION) or not is_better(name, values[best], values[-1]):
        return text
    return f"{text} (best {values[best]:.4g} in epoch {best + 1})"


def _mean(values: Any) -> float:
    return float(sum(values) / len(values))


def _plain(value: Any) -> Any:
    """Return a copy in which arrays are lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
