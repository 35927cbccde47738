"""Files in the safetensors format, read and written with NumPy alone.

A file is the length of its header (8 bytes, little-endian), the header (a JSON object: name to
``dtype``, ``shape`` and ``data_offsets``), and the tensors, row-major and little-endian. A large
checkpoint is several files and an index: a JSON object whose ``weight_map`` names the file of each
tensor.

Source: the format as described by the package `safetensors`, https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._arrays import FloatArray, shape_text
from .._library import encoded_path

INDEX_SUFFIX = ".index.json"

# BF16 is the upper half of an F32, and read as whole numbers.
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# The largest header that the package safetensors reads.
_LARGEST_HEADER = 100_000_000


class _Entry(NamedTuple):
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int


class TensorFiles:
    """The tensors of a file, of an index with its files, or of the folder of either.

    Files of an index are opened when a tensor of theirs is asked for.

    Raises
    ------
    OSError
        When a file is missing, truncated or not of this format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        where = Path(os.fsdecode(encoded_path(path)))
        if where.is_dir():
            where = _checkpoint_of(where)
        self.folder = where.parent
        self.path = where
        self._entries: dict[str, _Entry] = {}
        self._files: dict[str, str] = {}
        if where.name.endswith(INDEX_SUFFIX):
            self._files = _weight_map(where)
        else:
            self._entries = _read_header(where)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def names(self) -> Iterable[str]:
        """The names of all tensors."""
        return self._files or self._entries

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            file = self.folder / self._files[name]
            found = _read_header(file)
            if name not in found:
                raise OSError(f"{file}: has no {name}, though {self.path.name} says so")
            listed = {key for key, value in self._files.items() if value == file.name}
            self._entries.update({key: found[key] for key in found if key in listed})
        entry = self._entries[name]
        if entry.dtype not in _TYPES:
            allowed = ", ".join(_TYPES)
            raise ValueError(f"{name}: got the type {entry.dtype}, allowed is one of {allowed}")
        return entry

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without reading it.

        Raises
        ------
        ValueError
            For a type that `read` does not know.
        """
        return self._entry(name).shape

    def read(self, name: str) -> FloatArray:
        """Return a tensor as float32: BF16 and F16 exactly, F64 rounded."""
        entry = self._entry(name)
        count = math.prod(entry.shape)
        with open(entry.file, "rb") as file:
            file.seek(entry.begin)
            values = np.fromfile(file, _TYPES[entry.dtype], count)
        if len(values) != count:
            raise OSError(f"{entry.file}: ends within {name}")
        if entry.dtype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):
            return np.require(values, np.float32, ["C", "A"]).reshape(entry.shape)


def write(path: str | os.PathLike[str], tensors: Mapping[str, FloatArray]) -> None:
    """Write float32 tensors to a file, beside it at first, so that an old one stays whole.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    where = Path(os.fsdecode(encoded_path(path)))
    # The package transformers refuses files that do not say for whom they were written.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.size * 4
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    beside = where.with_name(f".{where.name}.{os.getpid()}.new")
    try:
        with open(beside, "xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for tensor in tensors.values():
                file.write(np.ascontiguousarray(tensor, "<f4").data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, where)
    finally:
        beside.unlink(missing_ok=True)


def _checkpoint_of(folder: Path) -> Path:
    """Return the index in a folder, otherwise the one safetensors file."""
    for pattern in (f"*.safetensors{INDEX_SUFFIX}", "*.safetensors"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise OSError(f"{folder}: has {names}; name the one that is meant")
    raise OSError(f"{folder}: has no safetensors file")


def _json_object(text: bytes, file: Path, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise OSError(f"{file}: {what} is no JSON object: {error}") from None
    if not isinstance(value, dict):
        raise OSError(f"{file}: {what} is no JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands in it twice")
    return result


def _weight_map(index: Path) -> dict[str, str]:
    names = _json_object(index.read_bytes(), index, "the index").get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(file, str) and file == Path(file).name for file in names.values()
    ):
        raise OSError(f"{index}: weight_map does not name a file of this folder for each tensor")
    return names


def _read_header(path: Path) -> dict[str, _Entry]:
    with open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if total < 8 or length > min(total - 8, _LARGEST_HEADER):
            raise OSError(f"{path}: is no safetensors file, or is truncated")
        header = _json_object(file.read(length), path, "the header")
    header.pop("__metadata__", None)
    start = 8 + length
    return {name: _checked(path, name, header[name], start, total) for name in header}


def _checked(path: Path, name: str, found: Any, start: int, total: int) -> _Entry:
    try:
        dtype, shape = found["dtype"], tuple(found["shape"])
        begin, end = found["data_offsets"]
        numbers = (*shape, begin, end)
        if not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise OSError(f"{path}: the header does not describe {name}") from None
    if not begin <= end <= total - start:
        raise OSError(f"{path}: {name} goes beyond the end of the file, which may be truncated")
    if dtype in _TYPES and end - begin != math.prod(shape) * np.dtype(_TYPES[dtype]).itemsize:
        raise OSError(
            f"{path}: {name} {dtype} {shape_text(shape)} does not fit its {end - begin} bytes"
        )
    return _Entry(path, dtype, shape, start + begin)
