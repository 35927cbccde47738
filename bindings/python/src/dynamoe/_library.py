"""Loads libdynamoe and turns its status codes into exceptions."""

from __future__ import annotations

import ctypes
import json
import operator
import os
from pathlib import Path
from typing import Any

import numpy as np

from . import _signatures
from ._errors import exception

LIBRARY_NAME = "libdynamoe.so"


def _load() -> ctypes.CDLL:
    named = os.environ.get("DYNAMOE_LIBRARY")
    path = Path(named) if named else Path(__file__).with_name(LIBRARY_NAME)
    if not path.is_file():
        raise ImportError(
            f"{path} is missing: install the package (`pip install ./bindings/python` builds the "
            "library), or name a finished library in the environment variable DYNAMOE_LIBRARY."
        )
    try:
        library = ctypes.CDLL(str(path.resolve()))
        library.dynamoe_abi_version.restype = ctypes.c_uint32
        found = library.dynamoe_abi_version()
        if found != _signatures.ABI_VERSION:
            raise ImportError(
                f"{path} has ABI version {found}, this package needs "
                f"{_signatures.ABI_VERSION}: reinstall the package."
            )
        _signatures.declare(library)
    except (OSError, AttributeError) as error:
        raise ImportError(f"{path} is not a usable libdynamoe: {error}") from error
    return library


library = _load()
_last_error = library.dynamoe_last_error


def check(status: int) -> None:
    """Raise the exception that belongs to `status` unless it is 0."""
    if status != 0:
        message = _last_error()
        raise exception(status, message.decode("utf-8", "replace") if message else "")


def integer(value: Any, name: str, minimum: int, maximum: int = 2**63 - 1) -> int:
    """Return `value` as an int within bounds, or raise a ValueError that names it."""
    bounds = f"of at least {minimum}" if maximum >= 2**63 - 1 else f"from {minimum} to {maximum}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}: got {value!r}, allowed is an integer {bounds}") from None
    if result > maximum:
        bounds = f"from {minimum} to {maximum}"
    if not minimum <= result <= maximum:
        raise ValueError(f"{name}: got {result}, allowed is an integer {bounds}")
    return result


def number(value: Any, name: str) -> float:
    """Return `value` as a float, or raise a ValueError that names it."""
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: got {value!r}, allowed is a number") from None


def text(value: Any, name: str) -> bytes:
    """Return a string as bytes that C reads whole, or raise a ValueError that names it."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{name}: got {value!r}, allowed is a string without null characters")
    return value.encode("utf-8", "replace")


def encoded_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> bytes:
    """Return `path` as bytes for the C interface.

    Raises
    ------
    ValueError
        When it is not a path, is empty or contains a null character.
    """
    try:
        encoded = os.fsencode(path)
    except TypeError:
        raise ValueError(f"path: got {path!r}, allowed is a string or a path object") from None
    if not encoded or b"\0" in encoded:
        raise ValueError(f"path: got {path!r}, allowed is a name without null characters")
    return encoded


def version() -> str:
    """Return the version of the native library, such as ``"0.1.0"``."""
    return str(library.dynamoe_version().decode())


def build_info() -> dict[str, Any]:
    """Return which kernels, threads and processor features the library uses."""
    return dict(json.loads(library.dynamoe_build_info()))


def set_threads(count: int) -> None:
    """Set the number of worker threads of the library.

    Results do not depend on it. The default is ``DYNAMOE_THREADS``, else the processors available
    to the process.

    Parameters
    ----------
    count : int
        1 to 256.

    Raises
    ------
    ValueError
        When `count` is not such an integer.
    """
    check(library.dynamoe_threads_set(integer(count, "count", 1, 256)))


def get_threads() -> int:
    """Return the number of worker threads of the library."""
    return int(library.dynamoe_threads_get())
