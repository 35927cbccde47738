"""Arrays of the caller as what the library reads: contiguous, aligned, native float32 or int32."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

_INT32 = np.iinfo(np.int32)
_Nothing = ctypes.c_char * 0


def address(array: Any) -> int:
    """Return where the data of `array` is. The caller keeps `array` alive."""
    # A quarter of the time of array.ctypes.data, which read-only arrays still need.
    try:
        return ctypes.addressof(_Nothing.from_buffer(array))
    except TypeError:
        return int(array.ctypes.data)


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as it is written in messages: ``[100, 64]``."""
    return "[" + ", ".join(map(str, shape)) + "]"


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return `value` as an array of any kind, or raise a ValueError that names it."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name}: got a masked array, allowed are arrays without a mask")
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: cannot be read as an array: {error}") from None


def floats(value: Any, name: str) -> FloatArray:
    """Return `value` as contiguous float32; copies only when it must."""
    array = as_array(value, name)
    if array.dtype == np.float32:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    elif array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: got {_kind(array)}, allowed are real numbers such as float32")
    # Too large for float32 becomes infinity, which the library refuses by name.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(array, np.float32, ["C", "A"])


def features(value: Any, name: str, columns: int) -> FloatArray:
    """Return `value` as float32 [rows, columns], or raise a ValueError that names it."""
    array = floats(value, name)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(
            f"{name}: got shape {shape_text(array.shape)}, allowed is [rows, {columns}]"
        )
    return array


def integers(value: Any, name: str, allowed: str) -> IntArray:
    """Return `value` as contiguous int32, or raise a ValueError that names it."""
    array = as_array(value, name)
    if array.dtype == np.int32:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    elif array.dtype.kind not in "iu":
        raise ValueError(f"{name}: got {_kind(array)}, allowed are {allowed}")
    elif array.size and array.dtype.itemsize >= 4:
        low, high = int(array.min()), int(array.max())
        if low < _INT32.min or high > _INT32.max:
            worst = high if high > _INT32.max else low
            raise ValueError(f"{name}: got {worst}, allowed are {allowed}")
    return np.require(array, np.int32, ["C", "A"])


def tokens(value: Any, name: str, vocabulary: int) -> IntArray:
    """Return token ids as int32 [T] or [B, S], or raise a ValueError that names them."""
    array = integers(value, name, f"integer ids from 0 to {vocabulary - 1}")
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name}: got shape {shape_text(array.shape)}, allowed is [rows] or [batch, length]"
        )
    return array


def output(value: Any, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return `value`, an array to write results into, after checking that it can take them."""
    allowed = f"a writable contiguous float32 array {shape_text(shape)}"
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name}: got {type(value).__name__}, allowed is {allowed}")
    flags = value.flags
    if value.dtype != np.float32 or value.shape != shape:
        raise ValueError(
            f"{name}: got {value.dtype} {shape_text(value.shape)}, allowed is {allowed}"
        )
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise ValueError(f"{name}: got a strided or read-only array, allowed is {allowed}")
    return value


def require_finite(array: NDArray[Any], name: str) -> None:
    """Raise a ValueError that names `array` when it holds NaN or infinity."""
    # Minimum and maximum carry NaN and infinity and need no temporary array.
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise ValueError(f"{name}: got NaN or infinity, allowed are finite numbers")


def require_between(array: NDArray[Any], name: str, lowest: int, highest: int) -> None:
    """Raise a ValueError that names `array` when a value is out of bounds."""
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < lowest or high > highest:
            worst = low if low < lowest else high
            raise ValueError(f"{name}: got {worst}, allowed is {lowest} to {highest}")


def _kind(array: NDArray[Any]) -> str:
    return f"an array of {array.dtype}"
