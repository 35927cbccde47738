"""Arrays of every type and layout, and determinism over threads and batches."""

from __future__ import annotations

import dynamoe as dm
import numpy as np
import pytest

from support.networks import INPUTS, ROWS, classifier, rows, state


def variants(x):
    """Return arrays with the values of `x` in other types and layouts."""
    wide = np.zeros((2 * ROWS, 2 * INPUTS), np.float32)
    wide[::2, ::2] = x
    shifted = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = shifted[1:].view(np.float32).reshape(x.shape)
    unaligned[...] = x
    return {
        "float64": x.astype(np.float64),
        "strided": wide[::2, ::2],
        "columns": np.asfortranarray(x),
        "reversed": x[::-1].copy()[::-1],
        "big-endian": x.astype(">f4"),
        "big-endian float64": x.astype(">f8"),
        "longdouble": x.astype(np.longdouble),
        "unaligned": unaligned,
        "list": x.tolist(),
        "read-only": np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    }


@pytest.mark.parametrize("name", list(variants(rows()[0])))
def test_every_layout_gives_the_same_bits(model, name):
    x, y = rows()
    other = variants(x)[name]
    assert np.array_equal(model.forward(other), model.forward(x))
    assert model.evaluate(other, y)["loss"] == model.evaluate(x, y)["loss"]
    first, second = classifier(), classifier()
    assert first.train_batch(x, y) == second.train_batch(other, y)
    assert state(first) == state(second)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, ">i4", np.float16, bool])
def test_whole_numbers_are_features_too(model, kind):
    x = (rows()[0] > 0.3).astype(kind)
    assert np.array_equal(model.forward(x), model.forward(x.astype(np.float32)))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint32, np.int64, np.uint64, ">i8"])
def test_targets_of_every_integer_type(kind):
    x, y = rows()
    expected = classifier().train_batch(x, y)
    assert classifier().train_batch(x, y.astype(kind)) == expected
    assert classifier().train_batch(x, np.stack([y, y], axis=1).astype(kind)[:, 0]) == expected
    assert classifier().train_batch(x, y.tolist()) == expected


def test_same_bits_for_any_thread_count():
    x, y = rows(777)
    hashes, logits = set(), set()
    for threads in (1, 2, 3):
        dm.set_threads(threads)
        assert dm.get_threads() == threads
        model = classifier(width=48, hidden=96)
        for _ in range(3):
            model.train_batch(x, y)
        hashes.add(state(model))
        logits.add(model.forward(x).tobytes())
    assert len(hashes) == len(logits) == 1


def test_a_row_has_the_same_bits_in_any_batch(model):
    x, _ = rows(130)
    whole = model.forward(x)
    for size in (1, 2, 3, 7, 64, 129):
        parts = [model.forward(x[start : start + size]) for start in range(0, 130, size)]
        assert np.array_equal(np.concatenate(parts), whole), size
    order = np.random.default_rng(0).permutation(130)
    assert np.array_equal(model.forward(x[order]), whole[order])


def test_seeds_decide_everything():
    x, y = rows()
    same = [classifier(seed=3) for _ in range(2)]
    other = classifier(seed=4)
    for model in (*same, other):
        model.train_batch(x, y)
    assert state(same[0]) == state(same[1]) != state(other)
    largest = classifier(seed=2**64 - 1)
    assert largest.parameters["head.weight"].any()
    assert state(classifier(seed=np.int64(3))) == state(classifier(seed=3))
