"""One progress bar for a whole training: tqdm when it is there, a plain line otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

# Seconds between two texts. A file or a pipe keeps every one of them.
_TERMINAL_SECONDS = 0.1
_NOTEBOOK_SECONDS = 0.25
_FILE_SECONDS = 2.0
_BAR_FORMAT = "{desc} |{bar}| {elapsed}{postfix}"


class Progress(Protocol):
    """What `Model.fit` tells while it trains."""

    def epoch(self, number: int) -> None:
        """Begin epoch `number`, counted from 1."""

    def due(self) -> bool:
        """Return whether a new text would be shown now; texts cost time to make."""

    def batch(self, text: str | None) -> None:
        """Count one batch; `text` replaces what is shown."""

    def end_epoch(self, text: str) -> None:
        """Show the final text of an epoch."""

    def aside(self) -> AbstractContextManager[None]:
        """Make room for what others print in the meantime."""

    def close(self, message: str | None = None, complete: bool = True) -> None:
        """End the bar, full if the training is `complete`, and show a last message."""


def make_progress(epochs: int, batches: int, shown: bool) -> Progress:
    """Return the progress display for `epochs` of `batches` each."""
    if not shown:
        return _Silent()
    try:
        return _Bar(_tqdm(), epochs, batches)
    except ImportError:
        return _Line(epochs)


def _in_notebook() -> bool:
    """Return whether the running code is a notebook's, whose output can be overwritten."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _tqdm() -> Any:
    """Return the class of bar that fits: a widget only where a notebook can show one.

    `tqdm.auto` would warn where ipywidgets is missing.
    """
    from tqdm import tqdm

    if not _in_notebook():
        return tqdm
    try:
        import ipywidgets  # noqa: F401
        from tqdm.notebook import tqdm as widget
    except ImportError:
        return tqdm
    return widget


class _Silent:
    def epoch(self, number: int) -> None:
        pass

    def due(self) -> bool:
        return False

    def batch(self, text: str | None) -> None:
        pass

    def end_epoch(self, text: str) -> None:
        pass

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self, message: str | None = None, complete: bool = True) -> None:
        if message:
            print(message, file=sys.stderr)


class _Timed:
    """Decides when a text is due."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._interval = _TERMINAL_SECONDS if self._terminal else _FILE_SECONDS
        if _in_notebook():
            self._interval = _NOTEBOOK_SECONDS
        self._next = 0.0

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True


class _Bar(_Timed):
    def __init__(self, tqdm: Any, epochs: int, batches: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._bar = tqdm(
            total=epochs * batches,
            desc=f"epoch 1/{epochs}",
            bar_format=_BAR_FORMAT,
            dynamic_ncols=True,
            mininterval=self._interval,
        )
        shape = getattr(self._bar, "dynamic_ncols", None)
        if self._terminal and callable(shape):
            self._bar.dynamic_ncols = lambda file: _with_margin(shape(file))

    def epoch(self, number: int) -> None:
        self._bar.set_description_str(f"epoch {number}/{self._epochs}", refresh=False)

    def batch(self, text: str | None) -> None:
        if text is not None:
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()

    def end_epoch(self, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=self.due())

    @contextmanager
    def aside(self) -> Iterator[None]:
        if not self._terminal:
            yield
            return
        self._bar.clear()
        try:
            yield
        finally:
            self._bar.refresh()

    def close(self, message: str | None = None, complete: bool = True) -> None:
        if complete:
            # Ended early is ended well: a widget shows what lacks batches as a failure.
            self._bar.total = self._bar.n
        self._bar.close()
        if message:
            print(message, file=sys.stderr)


def _with_margin(shape: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    """Leave room for the ``^C`` of a terminal, which would wrap the line and repeat the bar."""
    columns, lines = shape
    return (columns if columns is None else max(1, columns - 2)), lines


class _Line(_Timed):
    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._number = self._width = 0

    def epoch(self, number: int) -> None:
        self._number = number

    def batch(self, text: str | None) -> None:
        if text is not None and self._terminal:
            self._write(text, "")

    def end_epoch(self, text: str) -> None:
        self._write(text, "\n")

    def _write(self, text: str, end: str) -> None:
        line = f"epoch {self._number}/{self._epochs} {text}"
        padding = " " * max(0, self._width - len(line))
        start = "\r" if self._terminal else ""
        print(f"{start}{line}{padding}", end=end, file=sys.stderr, flush=True)
        self._width = 0 if end else len(line)

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self, message: str | None = None, complete: bool = True) -> None:
        if self._width:
            print(file=sys.stderr)
        if message:
            print(message, file=sys.stderr)
