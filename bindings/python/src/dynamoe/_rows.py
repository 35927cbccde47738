"""Rows, targets and weights of a caller as what a model's functions read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import _arrays
from . import _signatures as c
from ._arrays import FloatArray, IntArray, address, require_between, require_finite, shape_text

_CHUNK_VALUES = 2**22
_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class RowReader:
    """Knows the shapes and types that a model takes.

    `axes` everywhere is the shape that targets have: (T,), or (B, S) of ids [B, S].
    """

    task: str
    inputs: int
    vocabulary: int
    outputs: int

    @property
    def regression(self) -> bool:
        """Whether targets are real numbers."""
        return self.task == "regression"

    def rows(self, x: Any, name: str = "x") -> FloatArray | IntArray:
        """Return features float32 [T, inputs], or ids int32 [T] or [B, S]."""
        if self.inputs:
            return _arrays.features(x, name, self.inputs)
        return _arrays.tokens(x, name, self.vocabulary)

    def axes(self, rows: FloatArray | IntArray) -> tuple[int, ...]:
        """Return the shape that targets of `rows` have."""
        return rows.shape[:1] if self.inputs else rows.shape

    def count(self, rows: FloatArray | IntArray) -> int:
        """Return T."""
        return len(rows) if self.inputs else rows.size

    def require_valid(self, rows: FloatArray | IntArray, name: str = "x") -> None:
        """Refuse bad values before the first of several calls, so that none is made in vain."""
        if self.inputs:
            require_finite(rows, name)
        else:
            require_between(rows, name, 0, self.vocabulary - 1)

    def targets(
        self, targets: Any, axes: tuple[int, ...] | None, name: str = "targets"
    ) -> FloatArray | IntArray:
        """Return checked targets for rows of shape `axes` (None: only the library knows)."""
        if not self.regression:
            allowed = f"integers from 0 to {self.outputs - 1}, or -1 for an ignored row"
            classes = _arrays.integers(targets, name, allowed)
            if axes is not None and classes.shape != axes:
                _refuse_shape(name, classes.shape, axes)
            return classes
        values = _arrays.floats(targets, name)
        if axes is not None:
            full = (*axes, self.outputs)
            if values.shape != full and not (self.outputs == 1 and values.shape == axes):
                _refuse_shape(name, values.shape, full)
        return values

    def require_valid_targets(self, targets: FloatArray | IntArray, name: str = "targets") -> None:
        """Refuse targets that the library would refuse."""
        if self.regression:
            require_finite(targets, name)
        else:
            require_between(targets, name, -1, self.outputs - 1)

    def struct(self, targets: FloatArray | IntArray) -> c.Targets:
        """Return `targets` for the C interface; the caller keeps the array alive."""
        if self.regression:
            return c.Targets(None, 0, address(targets), targets.size)
        return c.Targets(address(targets), targets.size, None, 0)

    def weights(self, sample_weight: Any, axes: tuple[int, ...]) -> FloatArray | None:
        """Return checked sample weights of shape `axes`, or None."""
        if sample_weight is None:
            return None
        weights = _arrays.floats(sample_weight, "sample_weight")
        if weights.shape != axes:
            _refuse_shape("sample_weight", weights.shape, axes)
        return weights

    def chunks(self, rows: FloatArray | IntArray) -> Iterator[FloatArray | IntArray]:
        """Yield consecutive rows in pieces whose logits stay small; at least one piece."""
        flat = rows if self.inputs else rows.reshape(-1)
        widest = max(self.outputs, self.inputs, 1)
        step = max(1, min(_CHUNK_ROWS, _CHUNK_VALUES // widest))
        for start in range(0, max(len(flat), 1), step):
            yield flat[start : start + step]


def _refuse_shape(name: str, got: tuple[int, ...], allowed: tuple[int, ...]) -> None:
    raise ValueError(f"{name}: got shape {shape_text(got)}, allowed is {shape_text(allowed)}")
