"""The readers, with whole and with damaged files."""

from __future__ import annotations

import gzip

import dynamoe as dm
import numpy as np
import pytest
from dynamoe import data


def idx(values: np.ndarray) -> bytes:
    """Return an array of bytes as an idx file."""
    magic = {3: 2051, 1: 2049}[values.ndim]
    return np.array([magic, *values.shape], ">u4").tobytes() + values.astype(np.uint8).tobytes()


def write_idx_set(folder, train=20, test=10, packed=True):
    generator = np.random.default_rng(0)
    written = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = generator.integers(0, 256, (count, 28, 28))
        labels = generator.integers(0, 10, count)
        written[prefix] = images, labels
        for stem, values in ((f"{prefix}-images-idx3", images), (f"{prefix}-labels-idx1", labels)):
            content = idx(values)
            if packed:
                (folder / f"{stem}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (folder / f"{stem}-ubyte").write_bytes(content)
    return written


def test_digits():
    x, y = dm.data.digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32
    assert y.shape == (1797,) and y.dtype == np.int64
    assert x.min() == 0 and x.max() == 1 and np.array_equal(np.unique(x * 16), np.arange(17))
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (x[0, :8] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0] and y[:10].tolist() == [*range(10)]
    x[...] = 7
    assert dm.data.digits()[0].max() == 1


def test_digits_come_with_source_and_licence():
    text = (data._DIGITS.with_suffix(".txt")).read_text()
    for word in ("UCI", "Alpaydin", "Kaynak", "1998", "CC BY 4.0"):
        assert word in text
    assert data._DIGITS.stat().st_size < 100_000


def test_stratified_split():
    x, y = dm.data.digits()
    x_train, y_train, x_test, y_test = dm.data.stratified_split(x, y, test_share=0.2, seed=0)
    assert len(x_train) == len(y_train) == 1797 - len(y_test) and len(x_test) == len(y_test)
    shares = np.bincount(y_test) / np.bincount(y)
    np.testing.assert_allclose(shares, 0.2, atol=0.003)
    pairs = np.vstack([np.column_stack([x_train, y_train]), np.column_stack([x_test, y_test])])
    both = np.column_stack([x, y])
    assert np.array_equal(np.sort(pairs, axis=0), np.sort(both, axis=0))
    again = dm.data.stratified_split(x, y, test_share=0.2, seed=0)
    other = dm.data.stratified_split(x, y, test_share=0.2, seed=1)
    assert np.array_equal(again[2], x_test) and not np.array_equal(other[2], x_test)


@pytest.mark.parametrize(
    "x, y, more, match",
    [
        (np.zeros((3, 2)), [0, 1], {}, "x"),
        (np.zeros((2, 2)), [0.5, 1], {}, "y"),
        (np.zeros((2, 2)), [[0, 1]], {}, "y"),
        (np.zeros((2, 2)), [0, 1], {"test_share": 0}, "test_share"),
        (np.zeros((2, 2)), [0, 1], {"test_share": np.nan}, "test_share"),
        (np.zeros((2, 2)), [0, 1], {"test_share": "half"}, "test_share"),
        (np.zeros((2, 2)), [0, 1], {"seed": -1}, "seed"),
        (3, [0, 1], {}, "x"),
    ],
)
def test_bad_splits(x, y, more, match):
    with pytest.raises(ValueError, match=match):
        dm.data.stratified_split(x, y, **more)


def test_shifts():
    x, y = dm.data.digits()
    more, labels = dm.data.with_shifts(x, y, (8, 8))
    assert more.shape == (5 * 1797, 64) and more.dtype == np.float32
    assert np.array_equal(labels, np.tile(y, 5))
    images = more.reshape(5, 1797, 8, 8)
    assert np.array_equal(images[0], x.reshape(-1, 8, 8))
    for index, (down, right) in enumerate([(0, 1), (0, -1), (1, 0), (-1, 0)], start=1):
        rolled = np.roll(images[0], (down, right), axis=(1, 2))
        if right:
            rolled[:, :, 0 if right > 0 else -1] = 0
        else:
            rolled[:, 0 if down > 0 else -1] = 0
        assert np.array_equal(images[index], rolled), index
    for bad in ((x, y, (8, 9)), (x, y[:-1], (8, 8)), (x[0], y, (8, 8)), (x, y, 8), (x, 3, (8, 8))):
        with pytest.raises(ValueError, match=r"^(x|y|image_shape):"):
            dm.data.with_shifts(*bad)
    with pytest.raises(ValueError, match="image_shape"):
        dm.data.with_shifts(x, y, (64, 1.0))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_sets(tmp_path, name, packed):
    written = write_idx_set(tmp_path, packed=packed)
    loaded = dm.data.load(name, tmp_path if packed else str(tmp_path))
    assert loaded.name == name and loaded.image_shape == (28, 28) and len(loaded.classes) == 10
    assert loaded.x_train.shape == (20, 784) and loaded.x_test.shape == (10, 784)
    assert loaded.x_train.dtype == np.float32 and loaded.y_train.dtype == np.int64
    images, labels = written["t10k"]
    np.testing.assert_allclose(loaded.x_test, images.reshape(10, 784) / 255, rtol=1e-6)
    assert np.array_equal(loaded.y_test, labels)
    assert name in repr(loaded) and len(repr(loaded)) < 200


def damaged_files(whole: bytes):
    wrong_label = whole[:-1] + b"\x0a"
    return {
        "empty": gzip.compress(b""),
        "header cut": gzip.compress(whole[:6]),
        "data cut": gzip.compress(whole[:-3]),
        "data longer": gzip.compress(whole + b"\0"),
        "label 10": gzip.compress(wrong_label),
        "other magic": gzip.compress(b"\0\0\x08\x03" + whole[4:]),
        "no gzip": b"hello",
        "gzip cut": gzip.compress(whole)[:-6],
        "gzip broken": bytes(b ^ 255 if i == 14 else b for i, b in enumerate(gzip.compress(whole))),
        "other count": gzip.compress(idx(np.zeros(19))),
    }


@pytest.mark.parametrize("damage", list(damaged_files(b"12345678")))
def test_damaged_idx_files(tmp_path, damage):
    written = write_idx_set(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(damaged_files(idx(written["train"][1]))[damage])
    with pytest.raises(OSError, match=r"train-labels-idx1-ubyte.*https?://"):
        dm.data.load("mnist", tmp_path)


def test_damaged_images(tmp_path):
    write_idx_set(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    sizes = (np.zeros((10, 14, 56)), np.zeros((0, 28, 28)), np.zeros((9, 28, 28)))
    huge = np.array([2051, 2**32 - 1, 28, 28], ">u4").tobytes() + b"\0" * 100
    for content in (*map(idx, sizes), huge):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(OSError, match="t10k"):
            dm.data.load("fashion_mnist", tmp_path)


def test_missing_files(tmp_path):
    write_idx_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(OSError, match=r"t10k-labels-idx1-ubyte is missing.*zalandoresearch"):
        dm.data.load("fashion_mnist", tmp_path)
    for folder in (tmp_path / "absent", tmp_path / "train-labels-idx1-ubyte.gz"):
        with pytest.raises(OSError, match="is not a folder"):
            dm.data.load("mnist", folder)
    with pytest.raises(OSError, match=r"data_batch_1\.bin is missing.*toronto"):
        dm.data.load("cifar10", tmp_path)


def test_bad_names_and_folders(tmp_path):
    for name in ("minst", "", None, 3):
        with pytest.raises(ValueError, match="fashion_mnist"):
            dm.data.load(name, tmp_path)
    for folder in (None, 3.5):
        with pytest.raises(ValueError, match="folder"):
            dm.data.load("mnist", folder)


@pytest.mark.parametrize("inner", [True, False])
def test_cifar10(tmp_path, monkeypatch, inner):
    monkeypatch.setattr(data, "_CIFAR_RECORDS", 8)
    folder = tmp_path / "cifar-10-batches-bin" if inner else tmp_path
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    records = generator.integers(0, 256, (6, 8, 3073)).astype(np.uint8)
    records[:, :, 0] %= 10
    for number, batch in enumerate(records[:5], start=1):
        (folder / f"data_batch_{number}.bin").write_bytes(batch.tobytes())
    (folder / "test_batch.bin.gz").write_bytes(gzip.compress(records[5].tobytes()))
    loaded = dm.data.load("cifar10", tmp_path)
    assert loaded.x_train.shape == (40, 3072) and loaded.image_shape == (3, 32, 32)
    assert np.array_equal(loaded.y_train, records[:5, :, 0].reshape(-1))
    np.testing.assert_allclose(loaded.x_test, records[5, :, 1:] / 255, rtol=1e-6)
    path = folder / "data_batch_3.bin"
    path.write_bytes(records[2].tobytes()[:-1])
    with pytest.raises(OSError, match="data_batch_3"):
        dm.data.load("cifar10", tmp_path)
    records[2, 4, 0] = 10
    path.write_bytes(records[2].tobytes())
    with pytest.raises(OSError, match=r"data_batch_3.*label 10"):
        dm.data.load("cifar10", tmp_path)


def test_published_sets(data_folder):
    mnist = dm.data.load("mnist", data_folder / "mnist")
    assert mnist.x_train.shape == (60_000, 784) and mnist.x_test.shape == (10_000, 784)
    assert np.bincount(mnist.y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip
    assert mnist.x_train.mean(dtype=np.float64) == pytest.approx(0.1307, abs=1e-4)
    fashion = dm.data.load("fashion_mnist", data_folder / "fashion-mnist")
    assert np.bincount(fashion.y_train).tolist() == [6000] * 10
    assert fashion.x_train.mean(dtype=np.float64) == pytest.approx(0.2860, abs=1e-4)
