"""The networks of the paper, by name."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from ctypes import byref
from dataclasses import dataclass
from typing import Any, cast

from ._library import check, library, text
from .config import ModelConfig, to_json


@dataclass(frozen=True)
class Preset:
    """What belongs to a preset besides its configuration.

    Attributes
    ----------
    name : str
        What `preset` takes.
    description : str
        One sentence.
    batch_size : int
        Images of a batch, or windows of `sequence_length` tokens.
    sequence_length : int or None
        Tokens of a window; None for images.
    parameter_count : int
        Elements of all parameters.
    embedding_parameter_count : int
        Of these the elements of the embedding, which is also the head; 0 for images.
    """

    name: str
    description: str
    batch_size: int
    sequence_length: int | None
    parameter_count: int
    embedding_parameter_count: int


def presets() -> dict[str, Preset]:
    """Return the presets by name.

    Examples
    --------
    >>> presets()["paper_language_tiny"].batch_size
    32
    """
    entries = json.loads(_text(library.dynamoe_presets_json))
    return {entry["name"]: Preset(**entry) for entry in entries}


def preset(name: str, **overrides: Any) -> ModelConfig:
    """Return the configuration of a network of the paper, arXiv 2603.01697.

    Every default is written out. docs/configuration.md says what the paper leaves open and what
    was chosen.

    Parameters
    ----------
    name : str
        ``paper_mnist``, ``paper_fashion_mnist``, ``paper_cifar10``, ``paper_language_tiny``,
        ``paper_language_small`` or ``paper_language_medium``; `presets` describes them.
    **overrides
        Settings of `ModelConfig` that replace the preset's. A dict is merged key by key into the
        preset's, so ``router={"noise": 0}`` leaves the rest of the router as it is, unless it
        names another ``kind``: it then takes the place of the preset's.

    Returns
    -------
    ModelConfig
        A new dict.

    Raises
    ------
    ValueError
        For an unknown name or key, with the nearest known one, and for anything else that `Model`
        would refuse.

    Examples
    --------
    >>> config = preset("paper_mnist", router={"noise": 0}, width=64)
    >>> config["router"]["temperature"], config["width"]
    (0.5, 64)
    >>> preset("paper_mnist", router={"nose": 0})
    Traceback (most recent call last):
    ...
    ValueError: unknown key router.nose; did you mean noise?
    """
    encoded = text(name, "name")
    changes = to_json(overrides)
    function = library.dynamoe_preset_json
    written = _text(lambda *place: function(encoded, changes, len(changes), *place))
    return cast(ModelConfig, json.loads(written))


def _text(function: Callable[..., int]) -> bytes:
    """Return the text of a C function that takes text, capacity and length."""
    length = ctypes.c_size_t()
    check(function(None, 0, byref(length)))
    written = ctypes.create_string_buffer(length.value + 1)
    check(function(written, len(written), byref(length)))
    return written.value
