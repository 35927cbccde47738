"""The base of callbacks, apart from the ready ones, which need more of Python's library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .history import History
    from .model import Model


class Callback:
    """Base of callbacks that take part in the beginning and the end of a training.

    Examples
    --------
    >>> class Seconds(Callback):
    ...     def __call__(self, model, history):
    ...         return sum(history.seconds) > 60  # one minute is enough
    """

    def begin(self, model: Model, history: History) -> None:
        """Prepare for a training; called before the first step.

        An error that is raised here refuses the training, and nothing has changed.
        ``history.metric_names`` says what can be monitored.
        """

    def __call__(self, model: Model, history: History) -> bool | None:
        """Follow an epoch and its validation; return True to end the training."""

    def close(self, model: Model, history: History) -> None:
        """Give up what `begin` acquired; called once after it, however the training ended.

        ``history.interrupted`` and ``history.failed`` say whether Ctrl-C or an error ended it.
        """
