"""Arrays of the caller as what the library reads: contiguous, aligned, native float32 or int32."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

_INT32 = np.iinfo(np.int32)
# The device types of DLPack's header, dlpack.h, that somebody may have.
_CPU = 1
_DEVICES = {
    2: "CUDA",
    3: "CUDA host",
    4: "OpenCL",
    7: "Vulkan",
    8: "Metal",
    10: "ROCm",
    11: "ROCm host",
    13: "CUDA managed",
    14: "oneAPI",
}
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
    """Return `value` as an array of any kind, or raise a ValueError that names it.

    Shares the memory of NumPy arrays, of tensors on the CPU (PyTorch's, also those that require
    gradients, and whatever speaks DLPack) and of buffers with a type (memoryview, array.array).
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name}: got a masked array, allowed are arrays without a mask")
    _refuse_bytes(value, name)
    try:
        if _is_torch_tensor(value):
            return _of_torch(value, name)
        if hasattr(value, "__dlpack_device__") and not isinstance(value, np.ndarray | np.generic):
            return _of_dlpack(value, name)
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        reason = str(error)
        if reason.startswith(f"{name}: "):
            raise
        raise ValueError(f"{name}: cannot be read as an array: {reason}") from None


def _refuse_bytes(value: Any, name: str) -> None:
    """Raise a ValueError for bytes: they have no type, so that one would be a number each."""
    holder = value
    if isinstance(value, memoryview):
        # A view that was cast has a type: memoryview(bytes).cast("f").
        if value.format not in ("B", "b", "c"):
            return
        holder = value.obj
    if isinstance(holder, bytes | bytearray) or type(holder).__module__ == "mmap":
        raise ValueError(
            f"{name}: got {type(value).__name__} without a type of number, allowed are arrays of "
            "numbers (numpy.frombuffer gives bytes a type)"
        )


def _is_torch_tensor(value: Any) -> bool:
    # Who has a tensor has imported torch; this package never does by itself.
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return isinstance(tensor, type) and isinstance(value, tensor)


def _of_torch(tensor: Any, name: str) -> NDArray[Any]:
    torch = sys.modules["torch"]
    if tensor.device.type != "cpu":
        raise ValueError(
            f"{name}: got a tensor on {tensor.device}, allowed are tensors on the CPU: tensor.cpu()"
        )
    if tensor.layout != torch.strided:
        raise ValueError(
            f"{name}: got a tensor of layout {tensor.layout}, allowed are dense ones: "
            "tensor.to_dense()"
        )
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.dtype not in (
        torch.float16,
        torch.float32,
        torch.float64,
    ):
        tensor = tensor.to(torch.float32)
    array: NDArray[Any] = tensor.resolve_neg().numpy()
    return array


def _of_dlpack(value: Any, name: str) -> NDArray[Any]:
    kind = int(value.__dlpack_device__()[0])
    if kind != _CPU:
        device = _DEVICES.get(kind, f"the device type {kind} of DLPack")
        raise ValueError(f"{name}: got an array on {device}, allowed are arrays on the CPU")
    try:
        return np.from_dlpack(value)
    except (TypeError, ValueError, RuntimeError, BufferError, AttributeError):
        # DLPack cannot carry, and NumPy not take, every type; bfloat16 comes through __array__.
        if hasattr(value, "__array__"):
            return np.asarray(value)
        raise


def floats(value: Any, name: str) -> FloatArray:
    """Return `value` as contiguous float32; copies only when it must."""
    array = as_array(value, name)
    if array.dtype == np.float32:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
    elif array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name}: got {_kind(array)}, allowed are real numbers such as float32")
    try:
        with np.errstate(over="raise", invalid="ignore", under="ignore"):
            return np.require(array, np.float32, ["C", "A"])
    except FloatingPointError:
        raise ValueError(_beyond_float32(array, name)) from None


def _beyond_float32(array: NDArray[Any], name: str) -> str:
    """Return what to say of an array with a finite number that float32 has not."""
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = np.isfinite(array) & ~np.isfinite(array.astype(np.float32))
    place = tuple(int(index) for index in np.argwhere(beyond)[0])
    where = f"{name}[{', '.join(map(str, place))}]" if place else name
    return (
        f"{where}: got {array[place]}, which is beyond float32, allowed are numbers up to "
        f"{np.finfo(np.float32).max} in size"
    )


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
