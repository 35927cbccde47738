"""All planted errors."""

from planted import (
    evaluation,
    extremes,
    gradients,
    losses,
    routing,
    sessions,
    training,
)

ALL = (
    gradients.ERRORS
    + routing.ERRORS
    + losses.ERRORS
    + training.ERRORS
    + evaluation.ERRORS
    + extremes.ERRORS
    + sessions.ERRORS
)

_names = [error.name for error in ALL]
assert len(set(_names)) == len(_names), [
    name for name in _names if _names.count(name) > 1
]
