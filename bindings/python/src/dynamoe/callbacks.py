"""What `Model.fit` can do after each epoch: stop early, keep the best, write a log.

A callback is any callable ``callback(model, history)``, called after each epoch and its
validation; returning True ends the training. One that also needs a beginning and an end derives
from `Callback`.

>>> from dynamoe.callbacks import Checkpoint, EarlyStopping, Logging
>>> history = model.fit(
...     x, y, epochs=100, validation=(x_held_out, y_held_out),
...     callbacks=[EarlyStopping(patience=5), Checkpoint("best.safetensors"), Logging("log.csv")],
... )
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._callback import Callback
from ._callback_files import checked_path, first_columns, require_writable, size
from ._library import integer, number
from .history import History, finite_or_none, is_better

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "Logging"]


class EarlyStopping(Callback):
    """End the training when a metric no longer gets better, and go back to its best epoch.

    A larger accuracy or R² is better, of everything else a smaller one. NaN is never better.

    Parameters
    ----------
    monitor : str, default "validation_loss"
        One of `History.metric_names`.
    patience : int, default 5
        After how many epochs in a row that are not better the training ends; at least 1.
    minimum_change : float, default 0
        A better epoch must differ from the best one by more than this; at least 0.
    restore_best : bool, default True
        Give the model at the end the parameters and buffers of the best epoch, also when the last
        epoch or another callback ends the training. The optimizer's state stays that of the last
        step. After Ctrl-C or an error the model stays as it is; `restore` gives it the best then.
        Needs memory for a copy of the parameters.

    Attributes
    ----------
    best : float
        The best value; NaN before the first.
    best_epoch : int or None
        Its epoch, counted from 1.

    Raises
    ------
    ValueError
        For an argument that is not allowed, and before the first step for an unknown `monitor`.
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 5,
        minimum_change: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self.monitor = _name(monitor)
        self.patience = integer(patience, "patience", 1)
        self.minimum_change = number(minimum_change, "minimum_change")
        if not 0 <= self.minimum_change < float("inf"):
            raise ValueError(
                f"minimum_change: got {minimum_change}, allowed is a finite number of at least 0"
            )
        self.restore_best = bool(restore_best)
        self._forget()

    def _forget(self) -> None:
        self.best = float("nan")
        self.best_epoch: int | None = None
        self._waited = 0
        self._kept: tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]] | None = None

    def begin(self, model: Model, history: History) -> None:
        """Check `monitor` and forget an earlier training."""
        _require_metric(self, self.monitor, history)
        self._forget()

    def __call__(self, model: Model, history: History) -> bool | None:
        """Compare the latest epoch with the best one."""
        value = history.metrics[self.monitor][-1]
        if is_better(self.monitor, value, self.best, self.minimum_change):
            self.best, self.best_epoch, self._waited = value, history.epochs, 0
            if self.restore_best:
                self._kept = _copy(model.parameters), _copy(model.buffers)
        else:
            self._waited += 1
        return self._waited >= self.patience

    def restore(self, model: Model) -> None:
        """Give the model the parameters and buffers of the best epoch, if they were kept."""
        if self._kept is None:
            raise ValueError(
                "restore: no epoch was kept, or the model already is as after the best"
            )
        parameters, buffers = self._kept
        for name, array in parameters.items():
            model.parameters[name] = array
        for name, array in buffers.items():
            model.buffers[name] = array
        self._kept = None

    def close(self, model: Model, history: History) -> None:
        """Restore the best epoch, unless Ctrl-C or an error ended the training."""
        if history.interrupted or history.failed:
            return
        if self._kept is not None and self.best_epoch != history.epochs:
            self.restore(model)
        self._kept = None


class Checkpoint(Callback):
    """Save the model after epochs, as `Model.save` does.

    A file is written beside its path and renamed: whatever happens, the path has a whole file.

    Parameters
    ----------
    path : str or path object
        The file. ``{epoch}`` and the names of `History.metric_names` in braces are replaced, with
        formats as in `str.format`: ``"digits-{epoch:03}.safetensors"``. Without them each file
        replaces the one before. The folder must be there.
    monitor : str, default "validation_loss"
        With `best_only`, what decides: one of `History.metric_names`.
    best_only : bool, default True
        Save only epochs that are better than all before; otherwise each.

    Attributes
    ----------
    best : float
        The best value of `monitor`; NaN before the first.
    best_epoch : int or None
        Its epoch, counted from 1.
    saved : pathlib.Path or None
        The file written last.

    Raises
    ------
    ValueError
        For an argument that is not allowed; before the first step for an unknown `monitor` and for
        a path whose braces name something else.
    OSError
        Before the first step when the folder is not there or not writable, and when a file cannot
        be written, which ends the training.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "validation_loss",
        best_only: bool = True,
    ) -> None:
        self.path = checked_path(path)
        self.monitor = _name(monitor)
        self.best_only = bool(best_only)
        self._forget()

    def _forget(self) -> None:
        self.best = float("nan")
        self.best_epoch: int | None = None
        self.saved: Path | None = None

    def begin(self, model: Model, history: History) -> None:
        """Check `monitor` and `path` and forget an earlier training."""
        if self.best_only:
            _require_metric(self, self.monitor, history)
        require_writable(self._place(1, dict.fromkeys(history.metric_names, 0.0)))
        self._forget()

    def __call__(self, model: Model, history: History) -> bool | None:
        """Save the model if the epoch deserves it."""
        values = {name: numbers[-1] for name, numbers in history.metrics.items()}
        if self.best_only:
            if not is_better(self.monitor, values[self.monitor], self.best):
                return None
            self.best, self.best_epoch = values[self.monitor], history.epochs
        place = self._place(history.epochs, values)
        model.save(place)
        self.saved = place
        return None

    def _place(self, epoch: int, values: dict[str, float]) -> Path:
        try:
            return Path(self.path.format(epoch=epoch, **values))
        except (LookupError, ValueError, AttributeError) as error:
            allowed = ", ".join(["epoch", *values])
            raise ValueError(
                f"path: got {self.path!r} ({type(error).__name__}: {error}), allowed in braces are "
                f"{allowed}"
            ) from None


class Logging(Callback):
    """Write one line per epoch: into a CSV or JSONL file, or to a logger.

    A line has ``epoch``, ``steps`` so far, ``seconds`` of the epoch, everything in
    `History.metric_names`, and ``mean_k_0``, ``mean_k_1``, … of each layer, counted from 0 as in
    the names of parameters. It is in the file before the next epoch begins.

    Parameters
    ----------
    target : str, path object or logging.Logger
        A file that ends in ``.csv`` (a header, then lines) or ``.jsonl`` (an object a line, null
        for NaN and infinity); the folder must be there. Or a logger.
    append : bool, default False
        Keep what is in the file. Otherwise a log of before is replaced when the first epoch ends.
    level : int, default logging.INFO
        Of the records for a logger.

    Raises
    ------
    ValueError
        For another target; before the first step for a file that is no such log (its first line
        does not begin with ``epoch``, ``steps``, ``seconds``, ``loss``), and for a CSV file to
        append to whose columns are not those of this training.
    OSError
        Before the first step when the folder is not there or not writable, and when a line cannot
        be written, which ends the training.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | logging.Logger,
        append: bool = False,
        level: int = logging.INFO,
    ) -> None:
        self.append = bool(append)
        self.level = integer(level, "level", 0)
        self._logger: logging.Logger | logging.LoggerAdapter[Any] | None = None
        self._path: Path | None = None
        self._file: io.TextIOBase | None = None
        if isinstance(target, (logging.Logger, logging.LoggerAdapter)):
            self._logger = target
            return
        self._path = Path(checked_path(target, "target"))
        if self._path.suffix.lower() not in (".csv", ".jsonl"):
            raise ValueError(
                f"target: got {str(self._path)!r}, allowed is a logger or a file that ends in .csv "
                "or .jsonl"
            )

    def begin(self, model: Model, history: History) -> None:
        """Check the file."""
        self._header = ["epoch", "steps", "seconds", *history.metric_names]
        self._header += [f"mean_k_{layer}" for layer in range(len(history.experts))]
        if self._path is None:
            return
        require_writable(self._path)
        if not size(self._path):
            return
        columns = first_columns(self._path, self._is_csv)
        known = self._header[:4]
        if columns[: len(known)] != known:
            raise ValueError(
                f"target: got {str(self._path)!r}, which is not empty and no log of a training, "
                f"allowed is a new file or a log with the columns {', '.join(known)}, …"
            )
        if self.append and self._is_csv and columns != self._header:
            raise ValueError(
                f"target: got {str(self._path)!r} with the columns {', '.join(columns)}; "
                f"allowed to append to are {', '.join(self._header)}"
            )

    @property
    def _is_csv(self) -> bool:
        return self._path is not None and self._path.suffix.lower() == ".csv"

    def __call__(self, model: Model, history: History) -> bool | None:
        """Write the line of an epoch."""
        values: dict[str, Any] = {
            "epoch": history.epochs,
            "steps": history.steps,
            "seconds": history.seconds[-1],
            **{name: numbers[-1] for name, numbers in history.metrics.items()},
        }
        if self._logger is not None:
            text = ", ".join(f"{name} {values[name]:.4g}" for name in history.metric_names)
            self._logger.log(
                self.level, "epoch %d/%d: %s", history.epochs, history.requested_epochs, text
            )
            return None
        for layer, mean in enumerate(history.mean_k[-1]):
            values[f"mean_k_{layer}"] = mean
        self._write(values)
        return None

    def _write(self, values: dict[str, Any]) -> None:
        assert self._path is not None
        begins = self._file is None
        if self._file is None:
            with_header = not (self.append and size(self._path))
            self._file = open(  # noqa: SIM115
                self._path, "a" if self.append else "w", encoding="utf-8", newline=""
            )
        if self._is_csv:
            writer = csv.DictWriter(self._file, self._header, lineterminator="\n")
            if begins and with_header:
                writer.writeheader()
            writer.writerow(values)
        else:
            self._file.write(json.dumps(finite_or_none(values), allow_nan=False) + "\n")
        self._file.flush()

    def close(self, model: Model, history: History) -> None:
        """Close the file, or tell the logger what stopped the training."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
        if self._logger is not None and history.stopped_by:
            self._logger.log(
                self.level, "stopped by %s after %d of %d epochs, %d steps", history.stopped_by,
                history.epochs, history.requested_epochs, history.steps,
            )  # fmt: skip


def _name(monitor: Any) -> str:
    if not isinstance(monitor, str):
        raise ValueError(f"monitor: got {monitor!r}, allowed is the name of a metric")
    return monitor


def _require_metric(callback: Callback, monitor: str, history: History) -> None:
    if monitor not in history.metric_names:
        more = "; give fit validation rows for it" if monitor.startswith("validation_") else ""
        raise ValueError(
            f"{type(callback).__name__}: monitor: got {monitor!r}, allowed in this training are "
            f"{', '.join(history.metric_names)}{more}"
        )


def _copy(arrays: Any) -> dict[str, NDArray[Any]]:
    return {name: np.array(array) for name, array in arrays.items()}
