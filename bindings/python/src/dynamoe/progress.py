"""One progress bar for a whole training: tqdm when it is there, a plain line otherwise."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

_TERMINAL_SECONDS = 0.1
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

    def close(self, message: str | None = None) -> None:
        """End the bar and show a last message."""


def make_progress(epochs: int, batches: int, shown: bool) -> Progress:
    """Return the progress display for `epochs` of `batches` each."""
    if not shown:
        return _Silent()
    try:
        from tqdm import tqdm
    except ImportError:
        return _Line(epochs)
    return _Bar(tqdm, epochs, batches)


class _Silent:
    def epoch(self, number: int) -> None:
        pass

    def due(self) -> bool:
        return False

    def batch(self, text: str | None) -> None:
        pass

    def end_epoch(self, text: str) -> None:
        pass

    def close(self, message: str | None = None) -> None:
        if message:
            print(message, file=sys.stderr)


class _Timed:
    """Decides when a text is due: seldom where a file or a pipe keeps every line."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._interval = _TERMINAL_SECONDS if self._terminal else _FILE_SECONDS
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
            bar_format=_BAR_FORMAT,
            dynamic_ncols=True,
            mininterval=self._interval,
        )

    def epoch(self, number: int) -> None:
        self._bar.set_description_str(f"epoch {number}/{self._epochs}", refresh=False)

    def batch(self, text: str | None) -> None:
        if text is not None:
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()

    def end_epoch(self, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=self.due())

    def close(self, message: str | None = None) -> None:
        self._bar.close()
        if message:
            print(message, file=sys.stderr)


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

    def close(self, message: str | None = None) -> None:
        if self._width:
            print(file=sys.stderr)
        if message:
            print(message, file=sys.stderr)
