"""Whether two sides compute the same function; nothing is timed before they do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.sides import Side

LARGEST_ERROR = 1e-3
LARGEST_SHARE = 0.005  # of rows that rounding may route otherwise
LARGEST_CHANGE_ERROR = 0.1


@dataclass
class Output:
    """What a side answers in evaluation."""

    values: np.ndarray
    masks: list[np.ndarray]


def output(side: Side) -> Output:
    """Ask a side."""
    return Output(*side.output())


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def compare(name: str, found: Output, expected: Output) -> dict[str, float]:
    """Return relative error and rows routed otherwise.

    A row whose score is within rounding of the threshold may differ; its output is then left out.
    Calibration puts the threshold on a score, so that there is such a row in every layer.

    Raises
    ------
    RuntimeError
        When they do not agree.
    """
    same = np.ones(len(expected.values), bool)
    for mine, theirs in zip(found.masks, expected.masks, strict=True):
        same &= (mine == theirs).all(axis=1)
    error = _distance(found.values[same], expected.values[same])
    others = int((~same).sum())
    allowed = int(max(2 * len(expected.masks), LARGEST_SHARE * len(same)))
    if not error <= LARGEST_ERROR or others > allowed:
        raise RuntimeError(
            f"{name} computes something else: relative error {error:.1e}, allowed is "
            f"{LARGEST_ERROR}; {others} of {len(same)} rows are routed otherwise, allowed are "
            f"{allowed}"
        )
    return {"relative_error": error, "rows_routed_otherwise": others}


def compare_training(
    name: str, found: tuple[Output, Output], expected: tuple[Output, Output]
) -> float:
    """Return the relative error of the change of the outputs by a few steps.

    Raises
    ------
    RuntimeError
        When the sides do not learn the same.
    """
    same = np.ones(len(expected[0].values), bool)
    for outputs in (found[0], found[1], expected[1]):
        for mine, theirs in zip(outputs.masks, expected[0].masks, strict=True):
            same &= (mine == theirs).all(axis=1)
    error = _distance(
        found[1].values[same] - found[0].values[same],
        expected[1].values[same] - expected[0].values[same],
    )
    if not error <= LARGEST_CHANGE_ERROR or not same.any():
        raise RuntimeError(
            f"{name} learns something else: relative error of the change of the outputs "
            f"{error:.2f}, allowed is {LARGEST_CHANGE_ERROR}, over {int(same.sum())} of "
            f"{len(same)} rows"
        )
    return error
