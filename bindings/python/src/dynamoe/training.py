"""The training loop behind `Model.fit`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import FloatArray, IntArray, require_finite
from ._callback import Callback
from ._library import integer
from .history import History, metric_names
from .inference import METRICS
from .progress import Progress, make_progress

if TYPE_CHECKING:
    from .model import Model

    Follower = Callable[[Model, History], Any]


class Settings:
    """Arguments of `Model.fit` that are not arrays, checked."""

    def __init__(
        self,
        epochs: int,
        batch_size: int,
        shuffle: bool,
        seed: int,
        progress: bool,
        callbacks: Follower | Sequence[Follower] | None,
        announce: bool = True,
    ) -> None:
        self.epochs = integer(epochs, "epochs", 1)
        self.batch_size = integer(batch_size, "batch_size", 1)
        self.seed = integer(seed, "seed", 0, 2**64 - 1)
        self.shuffle = bool(shuffle)
        self.progress = bool(progress)
        self.callbacks = _callback_list(callbacks)
        self.announce = announce
        """Whether a stop by Ctrl-C is printed; callers that tell of it otherwise say False."""


def _callback_list(callbacks: Any) -> list[Follower]:
    if callbacks is None:
        return []
    listed = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    for each in listed:
        if isinstance(each, type) and issubclass(each, Callback):
            raise ValueError(
                f"callbacks: got the class {each.__name__}, allowed is an object of it, "
                f"{each.__name__}(…)"
            )
        if not callable(each):
            raise ValueError(f"callbacks: got {each!r}, allowed are callables")
    return listed


@dataclass
class _Rows:
    """Checked training rows."""

    x: FloatArray | IntArray
    targets: FloatArray | IntArray
    weights: FloatArray | None

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, order: NDArray[np.int64]) -> _Rows:
        weights = None if self.weights is None else self.weights[order]
        return _Rows(self.x[order], self.targets[order], weights)


class _Interrupt:
    """Turns Ctrl-C into a request to stop after the running batch.

    Only in the main thread and only in place of Python's own handler; a second Ctrl-C is raised.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> _Interrupt:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *exception: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)


class _Sums:
    """Running sums of an epoch."""

    def __init__(self) -> None:
        self.task = self.total = self.weight = self.right = 0.0
        self.counted = 0

    def add(self, losses: dict[str, float], weight: float, accuracy: float, counted: int) -> None:
        self.task += losses["task"] * weight
        self.total += losses["total"] * weight
        self.weight += weight
        if counted:
            self.right += accuracy * counted
            self.counted += counted

    def mean(self, total: float) -> float:
        return total / self.weight if self.weight else 0.0

    @property
    def accuracy(self) -> float | None:
        """Share of the counted rows that were predicted right; None without any."""
        return self.right / self.counted if self.counted else None


def fit(
    model: Model,
    x: Any,
    targets: Any,
    sample_weight: Any,
    validation: tuple[Any, Any] | None,
    settings: Settings,
) -> History:
    """Train `model`; see `Model.fit`."""
    model._live()
    model._require_training()
    rows = _checked_rows(model, x, targets, sample_weight, "")
    if len(rows) == 0:
        raise ValueError("x: got no rows, allowed is at least one")
    held_out = _checked_validation(model, validation)
    names = metric_names(
        model.task != "regression" and bool((rows.targets >= 0).any()),
        METRICS[model.task] if held_out is not None else (),
    )
    history = History(model.task, model.experts, settings.epochs, names)
    # Callbacks close while Ctrl-C is still held back, so that none is left halfway.
    with _Interrupt() as interrupt, ExitStack() as stack:
        _begin(model, history, settings, stack)
        batches = -(-len(rows) // settings.batch_size)
        progress = make_progress(settings.epochs, batches, settings.progress)
        try:
            _run(model, rows, held_out, settings, history, progress, interrupt)
        except BaseException as error:
            _fail(history, error)
            raise
        finally:
            told = history.interrupted and settings.announce
            message = _stop_message(history, settings) if told else None
            progress.close(message, complete=not (history.interrupted or history.failed))
    return history


def _stop_message(history: History, settings: Settings) -> str:
    return (
        f"Stopped by Ctrl-C after {history.epochs} of {settings.epochs} epochs: the model is as "
        f"after step {history.steps} of this training, the last full one."
    )


def _checked_rows(model: Model, x: Any, targets: Any, weights: Any, prefix: str) -> _Rows:
    """Return rows that the library will not refuse, so that no step is made in vain."""
    reader = model._reader
    array = reader.rows(x, f"{prefix}x")
    axes = reader.axes(array)
    wanted = reader.targets(targets, axes, f"{prefix}targets")
    reader.require_valid(array, f"{prefix}x")
    reader.require_valid_targets(wanted, f"{prefix}targets")
    weight = reader.weights(weights, axes)
    if weight is not None:
        require_finite(weight, "sample_weight")
        if weight.size and weight.min() < 0:
            raise ValueError(f"sample_weight: got {weight.min()}, allowed is at least 0")
    return _Rows(array, wanted, weight)


def _checked_validation(model: Model, validation: Any) -> _Rows | None:
    if validation is None:
        return None
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise ValueError("validation: allowed is a pair (x, targets)")
    return _checked_rows(model, validation[0], validation[1], None, "validation ")


def _run(
    model: Model,
    rows: _Rows,
    held_out: _Rows | None,
    settings: Settings,
    history: History,
    progress: Progress,
    interrupt: _Interrupt,
) -> None:
    generator = np.random.Generator(np.random.PCG64(settings.seed))
    order = np.arange(len(rows))
    for number in range(1, settings.epochs + 1):
        if settings.shuffle:
            order = generator.permutation(len(rows))
        model._reset_statistics()
        progress.epoch(number)
        started = time.perf_counter()
        sums = _Sums()
        for start in range(0, len(rows), settings.batch_size):
            _train(model, rows.batch(order[start : start + settings.batch_size]), sums)
            history.steps += 1
            if interrupt.requested:
                _stop(history)
                return
            progress.batch(_text(sums, model._mean_k(), history) if progress.due() else None)
        _record(model, history, sums, time.perf_counter() - started)
        if held_out is not None:
            history.validation.append(model.evaluate(held_out.x, held_out.targets))
        progress.end_epoch(_text(sums, history.mean_k[-1], history))
        with progress.aside():
            # Every callback sees the epoch, whatever the others say.
            stop = [each for each in settings.callbacks if each(model, history) is True]
        if interrupt.requested:
            _stop(history)
        elif stop and number < settings.epochs:
            history.stopped_by = _callback_name(stop[0])
        if stop or interrupt.requested:
            return


def _begin(model: Model, history: History, settings: Settings, stack: ExitStack) -> None:
    """Let the callbacks prepare; `stack` closes those that did."""
    try:
        for callback in settings.callbacks:
            if isinstance(callback, Callback):
                callback.begin(model, history)
                stack.callback(callback.close, model, history)
    except BaseException as error:
        _fail(history, error)
        raise


def _fail(history: History, error: BaseException) -> None:
    history.failed, history.stopped_by = True, type(error).__name__


def _stop(history: History) -> None:
    history.interrupted, history.stopped_by = True, "Ctrl-C"


def _callback_name(callback: Any) -> str:
    return str(getattr(callback, "__name__", type(callback).__name__))


def _record(model: Model, history: History, sums: _Sums, seconds: float) -> None:
    history.loss.append(sums.mean(sums.task))
    history.total_loss.append(sums.mean(sums.total))
    if sums.accuracy is not None:
        history.accuracy.append(sums.accuracy)
    history.mean_k.append(model._mean_k())
    history.seconds.append(seconds)


def _text(sums: _Sums, mean_k: list[float], history: History) -> str:
    parts = [f"loss {sums.mean(sums.task):.3f}"]
    if sums.accuracy is not None:
        parts.append(f"accuracy {100 * sums.accuracy:.1f}%")
    parts.append(f"mean K {sum(mean_k) / len(mean_k):.2f}")
    if history.validation:
        last = history.validation[-1]
        if "accuracy" in last:
            parts.append(f"valid {100 * last['accuracy']:.1f}%")
        else:
            parts.append(f"valid loss {last['loss']:.3f}")
    return ", ".join(parts)


def _train(model: Model, rows: _Rows, sums: _Sums) -> None:
    """Make one step and add its losses to `sums`."""
    model.train_batch(rows.x, rows.targets, rows.weights)
    counted = 0 if model.task == "regression" else int(np.count_nonzero(rows.targets >= 0))
    sums.add(model.losses, _weight(model, rows), model._accuracy, counted)


def _weight(model: Model, rows: _Rows) -> float:
    """Return the weight of a batch in the epoch's mean loss: what its own mean divided by."""
    if model.task == "regression":
        return float(len(rows) if rows.weights is None else rows.weights.sum(dtype=np.float64))
    counted = rows.targets >= 0
    if rows.weights is None:
        return float(np.count_nonzero(counted))
    return float(rows.weights.sum(dtype=np.float64, where=counted))
