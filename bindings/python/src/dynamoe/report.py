"""How a model routes rows, as one HTML file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from ._library import encoded_path
from .model import Model


def report(
    model: Model,
    x: Any,
    y: Any,
    path: str | bytes | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Evaluate `x` and write how it was routed as one HTML file, readable without network.

    The report has the model in numbers and, of these rows alone: loss and accuracy, experts and
    mean K by layer, histograms of K, the load of the experts, which classes (token ids: which
    tokens; regression of one output: which ranges of the target) use which experts, co-activation,
    and K against the entropy of the router's scores. The same arguments give the same bytes.

    Parameters
    ----------
    model : Model
        Changed in nothing but its statistics, which count the rows as `Model.evaluate` does.
    x : array
        As in `Model.forward`; at least one row.
    y : array
        Targets, as in `Model.loss`.
    path : path
        Written as a whole: an interrupted call leaves an older file as it was.
    class_names : sequence of str, optional
        One per output of a model with classes; of a language model also the names of its tokens.
        Default: those saved with the model, else the numbers.
    title : str, optional
        Default: "Routing report".

    Raises
    ------
    ValueError
        For anything wrong with an array or a name.
    OSError
        When the file cannot be written.

    Examples
    --------
    >>> dm.report(model, x_test, y_test, "report.html", class_names=list("0123456789"))
    """
    model._report(x, y, _options(class_names, title), encoded_path(path))


def _options(class_names: Sequence[str] | None, title: str | None) -> bytes:
    """Return the options as the C interface reads them."""
    options: dict[str, Any] = {}
    if class_names is not None:
        if isinstance(class_names, str | bytes):
            raise ValueError(f"class_names: got {class_names!r}, allowed is one string per class")
        options["class_names"] = [_text("class_names", name) for name in class_names]
    if title is not None:
        options["title"] = _text("title", title)
    return json.dumps(options, ensure_ascii=False).encode("utf-8", "replace")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: got {value!r}, allowed are strings")
    return str(value)
