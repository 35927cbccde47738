"""Readers of the usual image sets and of text, and the handwritten digits inside the package."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import as_array
from ._documents import split_documents, text, windows
from ._library import integer, number
from ._tokenizers import Tokenizer, gpt2_tokenizer

__all__ = [
    "Dataset",
    "Tokenizer",
    "digits",
    "gpt2_tokenizer",
    "load",
    "split_documents",
    "stratified_split",
    "text",
    "windows",
    "with_shifts",
]

_DIGITS = Path(__file__).with_name("datasets") / "optdigits.npz"

_IDX_IMAGES, _IDX_LABELS = 2051, 2049
_IDX_SIDE = 28
_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_RECORDS = 10_000

_ORIGINS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/ (http://yann.lecun.com/exdb/mnist/)",
    "fashion_mnist": "https://github.com/zalandoresearch/fashion-mnist (data/fashion)",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
}
_CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
}

FloatArray = NDArray[np.float32]
LabelArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and classes, split as published.

    Attributes
    ----------
    name : str
        What was asked for.
    x_train, x_test : numpy.ndarray
        float32 [rows, features], pixels scaled to 0...1.
    y_train, y_test : numpy.ndarray
        int64 [rows], classes from 0.
    classes : tuple of str
        Names of the classes.
    image_shape : tuple of int
        Shape of a row as an image: (28, 28), or (3, 32, 32) as channels, rows, columns.
    """

    name: str
    x_train: FloatArray = field(repr=False)
    y_train: LabelArray = field(repr=False)
    x_test: FloatArray = field(repr=False)
    y_test: LabelArray = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    image_shape: tuple[int, ...]


def digits() -> tuple[FloatArray, LabelArray]:
    """Return 1,797 handwritten digits, 8 x 8 pixels, from inside the package.

    The test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), UCI
    Machine Learning Repository, CC BY 4.0.

    Returns
    -------
    x : numpy.ndarray
        float32 [1797, 64], scaled to 0...1.
    targets : numpy.ndarray
        int64 [1797], the digits.

    Examples
    --------
    >>> x, y = digits()
    >>> x_train, y_train, x_test, y_test = stratified_split(x, y, test_share=0.2, seed=0)
    """
    with np.load(_DIGITS, allow_pickle=False) as archive:
        pixels, labels = archive["pixels"], archive["labels"]
    return pixels.astype(np.float32) / np.float32(16), labels.astype(np.int64)


def stratified_split(
    x: Any, y: Any, test_share: float = 0.2, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Split rows at random so that each class has the same share in both parts.

    Of a class with n rows, round(n * test_share) go to the test part; halves are rounded to even.

    Parameters
    ----------
    x : array
        [rows, ...].
    y : array
        Integer classes [rows].
    test_share : float, default 0.2
        Between 0 and 1, both excluded.
    seed : int, default 0
        Same seed, same split.

    Returns
    -------
    x_train, y_train, x_test, y_test : numpy.ndarray
        Copies; within a part the rows keep their order.

    Raises
    ------
    ValueError
        When lengths differ, `y` is not [rows] or `test_share` is out of bounds.
    """
    rows, labels = as_array(x, "x"), as_array(y, "y")
    share = number(test_share, "test_share")
    if not 0 < share < 1:
        raise ValueError(f"test_share: got {share}, allowed is between 0 and 1, both excluded")
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise ValueError(
            f"y: got {labels.dtype} of {labels.ndim} dimensions, allowed are integers [rows]"
        )
    if rows.ndim < 1 or len(rows) != len(labels):
        raise ValueError(f"x: got shape {rows.shape}, allowed is [{len(labels)}, ...] as y has")
    generator = np.random.Generator(np.random.PCG64(integer(seed, "seed", 0, 2**64 - 1)))
    chosen = np.zeros(len(labels), bool)
    for value in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == value))
        chosen[members[: round(len(members) * share)]] = True
    return rows[~chosen], labels[~chosen], rows[chosen], labels[chosen]


def with_shifts(x: Any, y: Any, image_shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return images together with copies shifted by one pixel in four directions.

    Five times the rows: a small set of images teaches more when their place does not matter.

    Parameters
    ----------
    x : array
        [rows, height * width].
    y : array
        [rows, ...]: what belongs to each image; repeated.
    image_shape : tuple of int
        (height, width).

    Returns
    -------
    x, y : numpy.ndarray
        [5 * rows, height * width]: the images, then those shifted right, left, down and up, with
        zeros moved in; and [5 * rows, ...].

    Raises
    ------
    ValueError
        When the shapes do not fit.

    Examples
    --------
    >>> x_train, y_train = with_shifts(x_train, y_train, (8, 8))
    """
    rows, labels = as_array(x, "x"), as_array(y, "y")
    if not isinstance(image_shape, (tuple, list)) or len(image_shape) != 2:
        raise ValueError(f"image_shape: got {image_shape!r}, allowed is (height, width)")
    height, width = (integer(size, "image_shape", 1) for size in image_shape)
    if rows.ndim != 2 or rows.shape[1] != height * width:
        raise ValueError(f"x: got shape {rows.shape}, allowed is [rows, {height * width}]")
    if labels.ndim < 1 or len(labels) != len(rows):
        raise ValueError(f"y: got shape {labels.shape}, allowed is [{len(rows)}, ...] as x has")
    images = rows.reshape(-1, height, width)
    results = np.zeros((5, *images.shape), rows.dtype)
    results[0] = images
    results[1, :, :, 1:] = images[:, :, :-1]
    results[2, :, :, :-1] = images[:, :, 1:]
    results[3, :, 1:] = images[:, :-1]
    results[4, :, :-1] = images[:, 1:]
    return results.reshape(-1, height * width), np.concatenate([labels] * 5)


def load(name: str, folder: str | os.PathLike[str]) -> Dataset:
    """Read a set of images from a folder.

    Parameters
    ----------
    name : {"mnist", "fashion_mnist", "cifar10"}
        The set. The first two are read from the four idx files, the last from the six files of
        the binary version (also in a folder ``cifar-10-batches-bin`` within); each file plain or
        with ``.gz``.
    folder : str or path object
        Where the files are.

    Returns
    -------
    Dataset
        Train and test rows.

    Raises
    ------
    ValueError
        For an unknown name.
    OSError
        When a file is missing, truncated, damaged or something else; the message names the file
        and where to get it.
    """
    if name not in _ORIGINS:
        raise ValueError(f"name: got {name!r}, allowed are {', '.join(map(repr, _ORIGINS))}")
    try:
        place = Path(os.fsdecode(folder))
    except (TypeError, ValueError):
        raise ValueError(f"folder: got {folder!r}, allowed is a path") from None
    if not place.is_dir():
        raise _failure(name, place, "is not a folder")
    if name == "cifar10":
        return _cifar10(name, place)
    return _idx_set(name, place)


def _idx_set(name: str, folder: Path) -> Dataset:
    x_train, y_train = _idx_part(name, folder, "train")
    x_test, y_test = _idx_part(name, folder, "t10k")
    shape = (_IDX_SIDE, _IDX_SIDE)
    return Dataset(name, x_train, y_train, x_test, y_test, _CLASSES[name], shape)


def _idx_part(name: str, folder: Path, prefix: str) -> tuple[FloatArray, LabelArray]:
    images = _idx(name, folder, f"{prefix}-images-idx3-ubyte", _IDX_IMAGES, 3)
    labels = _idx(name, folder, f"{prefix}-labels-idx1-ubyte", _IDX_LABELS, 1)
    if len(images) != len(labels):
        place = folder / f"{prefix}-labels-idx1-ubyte"
        raise _failure(name, place, f"has {len(labels)} labels for {len(images)} images")
    return _scaled(images.reshape(len(images), -1)), labels.astype(np.int64)


def _idx(name: str, folder: Path, stem: str, magic: int, axes: int) -> NDArray[np.uint8]:
    path, content = _read(name, folder, stem)
    header = 4 * (1 + axes)
    if len(content) < header:
        raise _failure(name, path, f"is truncated: {len(content)} bytes, the header has {header}")
    found, *shape = (int(value) for value in np.frombuffer(content, ">u4", 1 + axes))
    if found != magic:
        raise _failure(name, path, f"is not the idx file it should be: it begins with {found}")
    expected = (shape[0], _IDX_SIDE, _IDX_SIDE)[:axes]
    if tuple(shape) != expected or shape[0] == 0:
        raise _failure(name, path, f"has the shape {tuple(shape)}")
    size = int(np.prod(shape, dtype=object))
    if len(content) - header != size:
        raise _failure(
            name, path, f"has {len(content) - header} bytes of data, its header promises {size}"
        )
    values = np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    if axes == 1:
        _check_labels(name, path, values)
    return values


def _cifar10(name: str, folder: Path) -> Dataset:
    inner = folder / "cifar-10-batches-bin"
    if inner.is_dir():
        folder = inner
    train = [_cifar_batch(name, folder, f"data_batch_{number}.bin") for number in range(1, 6)]
    x_test, y_test = _cifar_batch(name, folder, "test_batch.bin")
    x_train = np.concatenate([x for x, _ in train])
    y_train = np.concatenate([y for _, y in train])
    return Dataset(name, x_train, y_train, x_test, y_test, _CLASSES[name], (3, 32, 32))


def _cifar_batch(name: str, folder: Path, stem: str) -> tuple[FloatArray, LabelArray]:
    path, content = _read(name, folder, stem)
    size = _CIFAR_RECORDS * _CIFAR_RECORD
    if len(content) != size:
        raise _failure(name, path, f"has {len(content)} bytes, a whole batch has {size}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD)
    _check_labels(name, path, records[:, 0])
    return _scaled(records[:, 1:]), records[:, 0].astype(np.int64)


def _check_labels(name: str, path: Path, labels: NDArray[np.uint8]) -> None:
    if labels.max() > 9:
        raise _failure(name, path, f"has the label {labels.max()}, allowed are 0 to 9")


def _scaled(pixels: NDArray[np.uint8]) -> FloatArray:
    values = pixels.astype(np.float32)
    values /= np.float32(255)
    return values


def _read(name: str, folder: Path, stem: str) -> tuple[Path, bytes]:
    """Return the file `stem` or `stem`.gz and its content, unpacked."""
    plain, packed = folder / stem, folder / f"{stem}.gz"
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise _failure(name, plain, "is missing (also with .gz)")
    try:
        content = path.read_bytes()
        return path, gzip.decompress(content) if path == packed else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _failure(name, path, f"is damaged: {error}") from None
    except OSError as error:
        raise _failure(name, path, f"cannot be read: {error.strerror or error}") from None


def _failure(name: str, path: Path, what: str) -> OSError:
    return OSError(f"{path} {what}; get the files from {_ORIGINS[name]}")
