"""Tensors and buffers of other packages where arrays are read."""

from __future__ import annotations

import array
import mmap

import dynamoe as dm
import numpy as np
import pytest
from dynamoe import _arrays

from support.networks import INPUTS, OUTPUTS, classifier, config, layer, rows, state


class Tensor:
    """Speaks DLPack and nothing else, as a tensor of another package does."""

    def __init__(self, values, device=(1, 0)):
        self._values = values
        self._device = device

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._device


class Refusing(Tensor):
    """Cannot be exported, as tensors of types that DLPack lacks."""

    def __dlpack__(self, **options):
        raise BufferError("cannot export this")


class Convertible(Refusing):
    """Cannot be exported, but converts itself."""

    def __array__(self, dtype=None, copy=None):
        return self._values


def kinds(values):
    """Return `values` in every form that shares memory or is converted."""
    everything = {
        "DLPack": Tensor(values),
        "DLPack float64": Tensor(values.astype(np.float64)),
        "DLPack strided": Tensor(np.asfortranarray(values)),
        "DLPack by __array__": Convertible(values),
        "memoryview": memoryview(values),
        "memoryview big-endian": memoryview(values.astype(">f4")),
        "memoryview strided": memoryview(np.repeat(values, 2, axis=0)[::2]),
        "memoryview of bytes, cast": memoryview(values.tobytes()).cast("B").cast("f", values.shape),
    }
    if values.ndim == 1:
        everything["array.array"] = array.array("f", values.tolist())
        everything["array.array double"] = array.array("d", values.tolist())
    return everything


NAMES = list(kinds(np.ones((2, 2), np.float32)))
FLAT_NAMES = list(kinds(np.ones(2, np.float32)))


@pytest.mark.parametrize("name", NAMES)
def test_features_of_every_kind(name):
    x, y = rows()
    other = kinds(x)[name]
    first, second = classifier(), classifier()
    assert np.array_equal(first.forward(other), second.forward(x))
    assert np.array_equal(first.predict(other), second.predict(x))
    assert first.evaluate(other, y)["loss"] == second.evaluate(x, y)["loss"]
    assert first.train_batch(other, y) == second.train_batch(x, y)
    histories = [
        model.fit(data, y, epochs=1, validation=(data, y), progress=False)
        for model, data in ((first, other), (second, x))
    ]
    assert histories[0].loss == histories[1].loss
    for model, data in ((first, other), (second, x)):
        model.calibrate(data, 1.5)
        model.routing_trace(data)
    assert state(first) == state(second)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_layers_of_every_kind(name):
    x, _ = rows()
    first, second = layer(), layer()
    for made, given in ((first, kinds(x)[name]), (second, x)):
        made.zero_gradients()
        made.forward(given, training=True)
        assert made.backward(given).shape == x.shape
        made.step()
    assert state(first) == state(second)


@pytest.mark.parametrize("name", FLAT_NAMES)
def test_parameters_of_every_kind(name, model):
    values = np.linspace(-1, 1, OUTPUTS, dtype=np.float32)
    model.parameters["head.bias"] = kinds(values)[name]
    assert np.array_equal(model.parameters["head.bias"], values)
    model.gradients["head.bias"] = kinds(values)[name]
    assert np.array_equal(model.gradients["head.bias"], values)


@pytest.mark.parametrize("code", ["b", "h", "i", "q"])
def test_classes_and_ids_of_every_kind(code):
    x, y = rows()
    expected = classifier().train_batch(x, y)
    weights = np.linspace(0.5, 1, len(x), dtype=np.float32)
    weighted = classifier().train_batch(x, y, sample_weight=weights)
    assert classifier().train_batch(x, array.array(code, y.tolist())) == expected
    assert classifier().train_batch(x, memoryview(y.astype(code))) == expected
    assert classifier().train_batch(x, Tensor(y.astype(code))) == expected
    given = array.array("f", weights.tolist())
    assert classifier().train_batch(x, y, sample_weight=given) == weighted

    language = dm.Model(
        config(task="language_model", inputs=None, outputs=None, vocabulary=7), seed=1
    )
    ids = np.arange(6, dtype=code).reshape(2, 3)
    logits = language.forward(ids)
    assert np.array_equal(language.forward(memoryview(ids)), logits)
    assert np.array_equal(language.forward(Tensor(ids)), logits)


def test_memory_is_shared():
    values = np.ones((3, 4), np.float32)
    for given in (Tensor(values), memoryview(values), array.array("f", [1, 2])):
        read = _arrays.floats(given, "x")
        # NumPy itself keeps the object alive whose memory it reads.
        assert not read.flags.owndata
    assert np.shares_memory(_arrays.floats(Tensor(values), "x"), values)
    assert np.shares_memory(_arrays.floats(memoryview(values), "x"), values)


def test_bfloat16_arrays_are_converted():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    values = np.array([1.5, -2, 0.25], ml_dtypes.bfloat16)
    assert np.array_equal(_arrays.floats(values, "x"), [1.5, -2, 0.25])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (bytes(4 * INPUTS), "bytes"),
        (bytearray(4 * INPUTS), "bytearray"),
        (memoryview(bytes(4 * INPUTS)), "memoryview"),
        (memoryview(bytearray(4 * INPUTS)), "memoryview"),
        (memoryview(bytes(INPUTS)).cast("c"), "memoryview"),
        (mmap.mmap(-1, 4 * INPUTS), "mmap"),
        (Tensor(np.ones((1, INPUTS), np.float32), (2, 0)), "CUDA"),
        (Tensor(np.ones((1, INPUTS), np.float32), (10, 1)), "ROCm"),
        (Tensor(np.ones((1, INPUTS), np.float32), (99, 0)), "device type 99"),
        (Refusing(np.ones((1, INPUTS), np.float32)), "cannot export this"),
        (Tensor(np.ones((1, INPUTS), complex)), "complex128"),
        (memoryview(np.full((1, INPUTS), "a", "S1")), "S1"),
    ],
)
def test_refused_with_the_reason(given, words, model):
    before = state(model)
    for call in (model.forward, lambda x: model.train_batch(x, [0]), model.predict):
        with pytest.raises(ValueError, match=rf"x: .*{words}"):
            call(given)
    with pytest.raises(ValueError, match=rf"head\.bias.*{words}"):
        model.parameters["head.bias"] = given
    assert state(model) == before


def test_a_view_of_bytes_of_an_array_is_an_array(model):
    pixels = (rows()[0] > 0).astype(np.uint8)
    assert np.array_equal(model.forward(memoryview(pixels)), model.forward(pixels))


# ------------------------------------------------------------------------------------- PyTorch


@pytest.fixture(scope="module")
def torch():
    """Return PyTorch, or skip."""
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def test_tensors_of_every_type(torch):
    x, y = rows()
    x = x.astype(np.float16).astype(np.float32)
    expected = classifier().train_batch(x, y)
    tensor = torch.from_numpy(x)
    for given in (
        tensor,
        tensor.double(),
        tensor.half(),
        tensor.clone().requires_grad_(),
        torch.nn.Parameter(tensor),
        tensor.t().contiguous().t(),
        tensor.repeat(2, 1)[: len(x)],
        torch._neg_view(-tensor),
    ):
        assert classifier().train_batch(given, torch.from_numpy(y)) == expected
    coarse = tensor.bfloat16()
    assert classifier().train_batch(coarse, y) == classifier().train_batch(coarse.float(), y)
    assert classifier().train_batch(coarse.clone().requires_grad_(), y)


def test_tensors_share_their_memory(torch):
    tensor = torch.ones(3, 4, requires_grad=True)
    read = _arrays.floats(tensor, "x")
    assert _arrays.address(read) == tensor.data_ptr()


def test_tensors_elsewhere_are_refused(torch, model):
    for given, words in (
        (torch.empty(1, INPUTS, device="meta"), r"got a tensor on meta.*\.cpu\(\)"),
        (torch.ones(1, INPUTS).to_sparse(), r"sparse.*\.to_dense\(\)"),
        (torch.ones(1, INPUTS, dtype=torch.complex64), "complex"),
    ):
        with pytest.raises(ValueError, match=rf"x: .*{words}"):
            model.forward(given)
        with pytest.raises(ValueError, match=rf"head\.bias.*{words}"):
            model.parameters["head.bias"] = given


def test_parameters_from_tensors(torch, model):
    bias = torch.nn.Linear(3, OUTPUTS).bias
    model.parameters["head.bias"] = bias
    assert np.array_equal(model.parameters["head.bias"], bias.detach().numpy())
