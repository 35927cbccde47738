"""`History`: what a training did, epoch by epoch."""

from __future__ import annotations

from typing import Any


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
        language models and weighted rows.
    mean_k : list of list of float
        [epochs][layers]: mean number of active experts of the training rows.
    validation : list of dict
        What `Model.evaluate` said after each epoch; empty without validation rows.
    seconds : list of float
        Duration of each epoch, without validation.
    steps : int
        Optimizer steps made, those of an unfinished epoch included.
    interrupted : bool
        Whether Ctrl-C ended the training.
    """

    def __init__(self, task: str, experts: list[int]) -> None:
        self.task = task
        self.experts = experts
        self.loss: list[float] = []
        self.total_loss: list[float] = []
        self.accuracy: list[float] = []
        self.mean_k: list[list[float]] = []
        self.validation: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.steps = 0
        self.interrupted = False

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return len(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as numbers and lists that JSON can say."""
        values = dict(vars(self))
        values["validation"] = [_plain(result) for result in self.validation]
        return {"epochs": self.epochs, **values}

    def plot(self, axes: Any = None) -> Any:
        """Draw loss and accuracy over epochs; see `dynamoe.plot.history`."""
        from . import plot

        return plot.history(self, axes=axes)

    def __len__(self) -> int:
        return self.epochs

    def __repr__(self) -> str:
        parts = [f"{self.epochs} epochs", f"{self.steps} steps"]
        if self.loss:
            parts.append(f"loss {self.loss[-1]:.4g}")
        if self.accuracy:
            parts.append(f"accuracy {self.accuracy[-1]:.4g}")
        if self.validation:
            last = self.validation[-1]
            for name in ("accuracy", "r2", "perplexity"):
                if name in last:
                    parts.append(f"validation {name} {last[name]:.4g}")
        if self.interrupted:
            parts.append("interrupted")
        return f"History({', '.join(parts)})"


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in result.items()
    }
