"""The example on language models: shortly on made-up text, at length on published text."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys

import numpy as np
import pytest

from test_examples import run
from test_text import needs

SUBJECTS = ("the cat", "a dog", "my old friend", "the captain", "nobody", "her sister")
VERBS = ("sees", "follows", "paints", "forgets", "carries", "hears")
OBJECTS = ("the river", "a red house", "seven stones", "an empty boat", "the quiet hills")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Return a folder of sentences as JSONL and of a tokenizer that was trained on them."""
    needs("tokenizers")
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path_factory.mktemp("made-up")
    generator = np.random.default_rng(0)

    def sentence():
        return " ".join(str(generator.choice(words)) for words in (SUBJECTS, VERBS, OBJECTS)) + "."

    documents = [" ".join(sentence() for _ in range(40)) for _ in range(60)]
    lines = [json.dumps({"text": document}) for document in documents]
    (folder / "text.jsonl").write_text("\n".join(lines))
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        documents, vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.save_model(str(folder))
    return folder


def numbers(output):
    """Return the two perplexities of the example's output."""
    model = float(re.search(r"Held-out perplexity ([\d.]+)", output).group(1))
    unigram = float(re.search(r"unigram baseline ([\d.]+)", output).group(1))
    return model, unigram


@pytest.mark.parametrize("router", ["percentile", "threshold"])
def test_a_short_training_beats_the_unigram(checkout, made_up, tmp_path, router):
    script = checkout / "examples" / "python" / "language_model.py"
    arguments = ("--text", made_up / "text.jsonl", "--tokenizer", made_up, "--router", router)
    more = ("--steps", 60, "--figure", "out.png")
    output, errors = run(script, *arguments, *more, folder=tmp_path)
    model, unigram = numbers(output)
    assert 1 < model < unigram / 3
    assert "83,840 without the embedding" in output.replace("\n", " ")
    assert "57 documents to train on" in output and "3 held out" in output
    for word in ("tokens/s", "peak memory", "router " + router, "Mean K"):
        assert word in output
    assert "held-out perplexity" in errors and "60/60" in errors
    table = output.split("Layer   Experts")[1].split("\n\n")[0].splitlines()[1:]
    values = [len(re.findall(r"\d: ", line)) for line in table]
    assert len(values) == 4
    # The percentile of a row's own scores gives one K, a threshold several.
    assert (max(values) == 1) if router == "percentile" else (max(values) > 1)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_unigram_baseline(checkout, monkeypatch):
    path = checkout / "examples" / "python" / "language_model.py"
    specification = importlib.util.spec_from_file_location("language_model", path)
    example = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "language_model", example)
    specification.loader.exec_module(example)
    seen, held_out = np.array([[0, 0, 1], [0, -1, -1]]), np.array([[0, 1, 2, -1]])
    text = example.Text((1, 1), seen, seen, held_out, held_out, vocabulary=4)
    # Counts 3, 1, 0, 0 and one more each, of 8.
    expected = (4 / 8 * 2 / 8 * 1 / 8) ** (-1 / 3)
    assert text.unigram_perplexity == pytest.approx(expected)


def test_what_is_missing_is_named(checkout, made_up, tmp_path):
    script = checkout / "examples" / "python" / "language_model.py"
    arguments = ("--text", "absent.jsonl", "--tokenizer", made_up)
    _, errors = run(script, *arguments, folder=tmp_path, expected=1)
    assert errors == (
        "language_model: absent.jsonl is missing; allowed are files with one JSON object a line\n"
    )
    arguments = ("--text", made_up / "text.jsonl", "--tokenizer", "absent")
    _, errors = run(script, *arguments, folder=tmp_path, expected=1)
    assert errors.startswith("language_model: absent is missing; get GPT-2's encoder.json")
    for bad in (("--steps", 0), ("--held-out", 1)):
        _, errors = run(script, *arguments, *bad, folder=tmp_path, expected=2)
        assert bad[0] in errors


def test_published_text_beats_the_unigram(checkout, data_folder, tmp_path):
    """The long way: one pass over 950 documents with the tiny preset; only when asked for."""
    if os.environ.get("DYNAMOE_LONG_TEST") != "language":
        pytest.skip("takes minutes: set DYNAMOE_LONG_TEST to language")
    needs("tokenizers")
    script = checkout / "examples" / "python" / "language_model.py"
    text = data_folder / "text" / "openwebtext-1000.jsonl.gz"
    arguments = ("--text", text, "--tokenizer", data_folder / "gpt2")
    model, unigram = numbers(run(script, *arguments, folder=tmp_path)[0])
    assert 1500 < unigram < 1800 and model < 0.6 * unigram
