"""Splits by documents, windows, and language models that learn from them."""

from __future__ import annotations

import subprocess
import sys

import dynamoe as dm
import numpy as np
import pytest

# ------------------------------------------------------------------------------- splits


def test_splits_are_of_whole_documents():
    documents = [np.full(5, number, np.int32) for number in range(40)]
    training, held_out = dm.data.split_documents(documents, held_out_share=0.2, seed=3)
    assert len(held_out) == 8 and len(training) == 32
    numbers = [document[0] for document in training]
    others = [document[0] for document in held_out]
    assert sorted(numbers + others) == list(range(40))
    assert numbers == sorted(numbers) and others == sorted(others)
    again = dm.data.split_documents(documents, held_out_share=0.2, seed=3)[1]
    assert [document[0] for document in again] == others
    other = dm.data.split_documents(documents, held_out_share=0.2, seed=4)[1]
    assert [document[0] for document in other] != others
    for share in (0.001, 0.999):
        training, held_out = dm.data.split_documents(["a", "b"], held_out_share=share)
        assert len(training) == len(held_out) == 1


@pytest.mark.parametrize(
    "documents, more, match",
    [
        ([[1]], {}, "documents"),
        (3, {}, "documents"),
        ("ab", {}, "documents"),
        ([[1], [2]], {"held_out_share": 0}, "held_out_share"),
        ([[1], [2]], {"held_out_share": 1}, "held_out_share"),
        ([[1], [2]], {"held_out_share": float("nan")}, "held_out_share"),
        ([[1], [2]], {"seed": -1}, "seed"),
    ],
)
def test_bad_document_splits(documents, more, match):
    with pytest.raises(ValueError, match=match):
        dm.data.split_documents(documents, **more)


# ------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("length", [1, 2, 3, 7, 100])
def test_windows_hold_every_pair_once(rng, length):
    sizes = [2, 1, 9, 0, 8, 3, 30, length, length + 1, length + 2]
    documents = [rng.integers(1, 50, size).astype(np.int64) for size in sizes]
    x, targets = dm.data.windows(documents, length, padding=77)
    assert x.dtype == targets.dtype == np.int32 and x.shape == targets.shape
    assert len(x) == sum(-(-(size - 1) // length) for size in sizes if size > 1)
    first = 0
    for document in documents:
        rows = max(0, -(-(len(document) - 1) // length))
        ids = x[first : first + rows].reshape(-1)
        wanted = targets[first : first + rows].reshape(-1)
        counted = wanted >= 0
        assert np.array_equal(ids[counted], document[:-1])
        assert np.array_equal(wanted[counted], document[1:])
        assert (ids[~counted] == 77).all() and (~counted).sum() < length
        first += rows
    assert first == len(x)


def test_windows_end_with_the_token_asked_for():
    x, targets = dm.data.windows([[5, 6, 7], [8], []], 2, end_of_text=9)
    assert x.tolist() == [[5, 6], [7, 0], [8, 0]]
    assert targets.tolist() == [[6, 7], [9, -1], [9, -1]]


def test_windows_across_documents():
    x, targets = dm.data.windows([[5, 6, 7], [8], [1, 2]], 3, end_of_text=9, across=True)
    assert x.tolist() == [[5, 6, 7], [9, 8, 9], [1, 2, 0]]
    assert targets.tolist() == [[6, 7, 9], [8, 9, 1], [2, 9, -1]]
    x, targets = dm.data.windows(np.arange(7), 3)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]] and targets.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_nothing_gives_no_windows():
    for ids in ([], [[]], [[3]], [[], [4]], np.zeros(0, np.int32)):
        x, targets = dm.data.windows(ids, 4)
        assert x.shape == targets.shape == (0, 4)
    assert dm.data.windows([], 4, end_of_text=1, across=True)[0].shape == (0, 4)


@pytest.mark.parametrize(
    "ids, length, more, match",
    [
        ([1, 2], 0, {}, "length"),
        ([1, 2], 2.0, {}, "length"),
        ([1, 2], 2**31, {}, "length"),
        ([0.5, 2], 2, {}, "ids"),
        ([1, -2], 2, {}, "ids"),
        ([[1, 2], [0.5]], 2, {}, r"ids\[1\]"),
        (np.zeros((2, 2), int), 2, {}, "ids"),
        ([[[1, 2]]], 2, {}, r"ids\[0\]"),
        ([2**31, 1], 2, {}, "ids"),
        ([1, 2], 2, {"across": True}, "end_of_text"),
        ([1, 2], 2, {"end_of_text": -1}, "end_of_text"),
        ([1, 2], 2, {"end_of_text": 2**31}, "end_of_text"),
        ([1, 2], 2, {"padding": -1}, "padding"),
        ("text", 2, {}, "ids"),
    ],
)
def test_bad_windows(ids, length, more, match):
    with pytest.raises(ValueError, match=match):
        dm.data.windows(ids, length, **more)


def test_windows_train_a_model():
    """The order 0, 1, …, 9 is learnt from windows with padding."""
    documents = [np.arange(start, start + 23) % 10 for start in range(6)]
    x, targets = dm.data.windows(documents, 8)
    config = dm.preset("paper_language_tiny", vocabulary=10, optimizer={"lr": 0.01})
    model = dm.Model(config, seed=0)
    model.fit(x, targets, epochs=30, batch_size=4, progress=False)
    result = model.evaluate(x, targets)
    assert result["rows"] == 6 * 22 and result["perplexity"] < 1.1 and result["accuracy"] == 1


def test_evaluation_never_holds_all_logits():
    """20,000 tokens of GPT-2's vocabulary would be 4 GB of logits."""
    program = """
import dynamoe as dm, numpy as np
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
model = dm.Model(dm.preset("paper_language_tiny", width=8, hidden=8, experts=[2]), seed=0)
ids = np.random.default_rng(0).integers(0, 50257, (156, 129))
before = peak()
result = model.evaluate(ids[:, :-1], ids[:, 1:])
print(result["rows"], result["perplexity"], peak() - before)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, perplexity, megabytes = map(float, done.stdout.split())
    assert rows == 156 * 128 and 40_000 < perplexity < 80_000
    assert megabytes < 250
