"""Documents from JSONL and tokenizers of GPT-2's kind."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys

import dynamoe as dm
import numpy as np
import pytest

PACKAGES = [name for name in ("tokenizers", "tiktoken") if importlib.util.find_spec(name)]
SENTENCES = [
    "the cat sat on the mat, and the hat of the cat sat there too.",
    "It's the cat's 123 hats: naïve cafés, 猫 and 🐈!  Two  spaces\n\tand a tab.",
    "they'll say that the rat that the cat sat on had 4567 hats",
]


def characters(text):
    """Return ids of a text without any package: a token per character."""
    return [ord(character) % 97 for character in text]


def write(path, documents, **more):
    """Write documents as JSONL."""
    lines = [json.dumps({"text": document, **more}) for document in documents]
    content = "\n".join(lines).encode() + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def needs(package):
    """Skip without one of the optional packages."""
    if package not in PACKAGES:
        pytest.skip(f"the package {package} is not installed")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a folder with a small vocabulary and its merges."""
    needs("tokenizers")
    from tokenizers import ByteLevelBPETokenizer

    folder = tmp_path_factory.mktemp("tiny")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        SENTENCES * 5, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False
    )
    trained.save_model(str(folder))
    # GPT-2 has the special token last; training puts it first.
    ids = json.loads((folder / "vocab.json").read_text())
    moved = {token: number - 1 for token, number in ids.items() if token != "<|endoftext|>"}
    moved["<|endoftext|>"] = len(ids) - 1
    (folder / "vocab.json").write_text(json.dumps(moved))
    return folder


# ------------------------------------------------------------------------------- tokenizers


@pytest.mark.parametrize("package", ["tokenizers", "tiktoken"])
def test_tiny_tokenizer(tiny, package):
    needs(package)
    tokenizer = dm.data.gpt2_tokenizer(tiny, package=package)
    assert tokenizer.vocabulary == 300 and tokenizer.end_of_text == 299
    assert tokenizer.package == package and package in repr(tokenizer)
    tokens = {
        number: token for token, number in json.loads((tiny / "vocab.json").read_text()).items()
    }
    for sentence, ids in zip(SENTENCES, tokenizer.encode_all(SENTENCES), strict=True):
        assert ids.dtype == np.int32 and len(ids) < len(sentence.encode())
        joined = "".join(tokens[number] for number in ids.tolist())
        assert joined.replace("Ġ", " ").startswith(sentence[:9])
    # Merges never cross the pieces that the pattern makes, and are applied by rank.
    the = [tokens[number] for number in tokenizer.encode("the the").tolist()]
    assert the == ["the", "Ġthe"]
    assert tokenizer.encode("").tolist() == []
    assert 299 not in tokenizer.encode("<|endoftext|>").tolist()


def test_packages_agree(tiny):
    needs("tiktoken")
    first = dm.data.gpt2_tokenizer(tiny / "vocab.json", tiny / "merges.txt")
    second = dm.data.gpt2_tokenizer(tiny, package="tiktoken")
    assert first.package == "tokenizers"
    hard = [
        *SENTENCES,
        "",
        " ",
        "\n\n  x",
        "a\0b",
        "\x85\x1c\u2028|",
        "ÄÖ  ",
        "x" * 1000,
        "\ud83d!",
    ]
    for text, one, two in zip(hard, first.encode_all(hard), second.encode_all(hard), strict=True):
        assert one.tolist() == two.tolist(), text


@pytest.mark.parametrize("package", ["tokenizers", "tiktoken"])
def test_published_encodings(data_folder, package):
    needs(package)
    folder = data_folder / "gpt2"
    tokenizer = dm.data.gpt2_tokenizer(folder, package=package)
    assert tokenizer.vocabulary == 50257 and tokenizer.end_of_text == 50256
    lines = gzip.decompress((folder / "golden-encodings.jsonl.gz").read_bytes()).splitlines()
    cases = [json.loads(line) for line in lines]
    assert len(cases) > 90
    for case, ids in zip(cases, tokenizer.encode_all([c["text"] for c in cases]), strict=True):
        assert ids.tolist() == case["ids"]


def test_tokenizer_files_that_are_not(tiny, tmp_path):
    load = dm.data.gpt2_tokenizer
    with pytest.raises(OSError, match=r"absent is missing.*https?://"):
        load(tmp_path / "absent")
    with pytest.raises(OSError, match=r"encoder\.json is missing \(also vocab\.json\).*http"):
        load(tmp_path)
    vocabulary, merges = tiny / "vocab.json", tiny / "merges.txt"
    with pytest.raises(OSError, match=r"no-merges is missing"):
        load(vocabulary, tmp_path / "no-merges")
    with pytest.raises(OSError, match=r"no-vocabulary is missing"):
        load(tmp_path / "no-vocabulary", merges)
    with pytest.raises(ValueError, match="merges"):
        load(vocabulary)
    bad = tmp_path / "bad"
    for content in ("{", "[]", "{}", '{"a": 1.5}', '{"a": -1}', '{"a": 1, "b": 1}', '{"a": true}'):
        bad.write_text(content)
        with pytest.raises(OSError, match="bad is not"):
            load(bad, merges)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(OSError, match="bad is not UTF-8"):
        load(bad, merges)
    with pytest.raises(OSError, match="bad is not UTF-8"):
        load(vocabulary, bad)
    bad.write_text("#version: 0.2\na b\na b c\n")
    with pytest.raises(OSError, match="bad, line 3"):
        load(vocabulary, bad)
    for name in ("word2vec", 3):
        with pytest.raises(ValueError, match="package"):
            load(tiny, package=name)
    for path in (None, 3.5, "a\0b"):
        with pytest.raises((ValueError, OSError)):
            load(path, merges)


@pytest.mark.parametrize("package", ["tokenizers", "tiktoken"])
def test_files_that_do_not_belong_together(tiny, tmp_path, package):
    needs(package)
    merges = tmp_path / "merges.txt"
    merges.write_text("#version: 0.2\nq zz\n")
    with pytest.raises(OSError, match=r"vocab\.json and .*merges\.txt do not belong together"):
        dm.data.gpt2_tokenizer(tiny / "vocab.json", merges, package=package)


def test_missing_packages(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"tokenizers, which is not installed.*dynamoe\[text\]"):
        dm.data.gpt2_tokenizer(tiny, package="tokenizers")
    if "tiktoken" in PACKAGES:
        assert dm.data.gpt2_tokenizer(tiny).package == "tiktoken"
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(ImportError, match=r"tiktoken, which is not installed.*pip install"):
        dm.data.gpt2_tokenizer(tiny, package="tiktoken")
    with pytest.raises(ImportError, match=r"tokenizers or tiktoken, which is not installed"):
        dm.data.gpt2_tokenizer(tiny)


# ------------------------------------------------------------------------------- documents


def test_documents(tmp_path):
    first = write(tmp_path / "a.jsonl", ["one", "", "two two"], source="here")
    second = write(tmp_path / "b.jsonl.gz", ["thrée\n", "f/our"])
    documents = dm.data.text([first, str(second)], tokenizer=characters)
    assert [ids.dtype for ids in documents] == [np.int32] * 4
    expected = [characters(text) for text in ("one", "two two", "thrée\n", "f/our")]
    assert [ids.tolist() for ids in documents] == expected
    limited = dm.data.text((first, second), tokenizer=characters, limit=3)
    assert [ids.tolist() for ids in limited] == expected[:3]
    first.write_bytes(b'\n{"body": "x\\/y"}\r\n  \n')
    assert dm.data.text(first, characters, field="body")[0].tolist() == characters("x/y")
    many = write(tmp_path / "many.jsonl", [f"document {n}" for n in range(1000)])
    assert len(dm.data.text(many, characters)) == 1000
    assert len(dm.data.text(many, characters, limit=257)) == 257


def test_documents_by_package(tiny, tmp_path):
    path = write(tmp_path / "a.jsonl", SENTENCES)
    expected = [ids.tolist() for ids in dm.data.gpt2_tokenizer(tiny).encode_all(SENTENCES)]
    tokenizers = [tiny, str(tiny), (tiny / "vocab.json", tiny / "merges.txt")]
    tokenizers.append(dm.data.gpt2_tokenizer(tiny))
    from tokenizers import ByteLevelBPETokenizer

    files = (str(tiny / "vocab.json"), str(tiny / "merges.txt"))
    tokenizers.append(ByteLevelBPETokenizer.from_file(*files))
    for tokenizer in tokenizers:
        assert [ids.tolist() for ids in dm.data.text(path, tokenizer)] == expected


def test_half_a_surrogate_pair(tmp_path):
    path = tmp_path / "half.jsonl"
    path.write_text('{"text": "a\\ud83d"}\n{"text": "\\ud83d\\ude00"}\n')
    seen = []
    dm.data.text(path, lambda text: seen.append(text) or [1])
    assert seen == ["a\N{REPLACEMENT CHARACTER}", "\N{GRINNING FACE}"]


@pytest.mark.parametrize(
    "line, match",
    [
        (b"not json", r"bad\.jsonl, line 2: is not JSON"),
        (b"\xff\xfe", r"bad\.jsonl, line 2: is not JSON"),
        (b"[" * 100_000, r"bad\.jsonl, line 2: is not JSON"),
        (b'"text"', r"line 2: is a str, allowed is an object with 'text'"),
        (b'{"body": "x"}', r"line 2: has no 'text', only 'body'.*field"),
        (b"{}", r"line 2: has no 'text', only none"),
        (b'{"text": 3}', r"line 2: 'text' is a int, allowed is a string"),
        (b'{"text": null}', r"line 2: 'text' is a NoneType"),
    ],
)
def test_bad_lines(tmp_path, line, match):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(OSError, match=match):
        dm.data.text(path, characters)


def test_bad_files(tmp_path):
    with pytest.raises(OSError, match=r"absent\.jsonl is missing"):
        dm.data.text(tmp_path / "absent.jsonl", characters)
    with pytest.raises(OSError, match="is a folder"):
        dm.data.text(tmp_path, characters)
    whole = write(tmp_path / "a.jsonl.gz", ["one", "two"]).read_bytes()
    wrong_sum = whole[:-8] + bytes(byte ^ 255 for byte in whole[-8:-4]) + whole[-4:]
    for content in (whole[:-6], b"hello", wrong_sum, whole[:10] + b"\xff" * 20):
        (tmp_path / "a.jsonl.gz").write_bytes(content)
        with pytest.raises(OSError, match=r"a\.jsonl\.gz is damaged"):
            dm.data.text(tmp_path / "a.jsonl.gz", characters)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"path_or_paths": []}, "path_or_paths"),
        ({"path_or_paths": 3}, "path_or_paths"),
        ({"path_or_paths": [None]}, "path_or_paths"),
        ({"tokenizer": 3}, "tokenizer"),
        ({"tokenizer": None}, "tokenizer"),
        ({"tokenizer": lambda text: 7}, "tokenizer: gave"),
        ({"tokenizer": lambda text: [0.5]}, "tokenizer: gave"),
        ({"tokenizer": lambda text: [-1]}, "tokenizer: gave"),
        ({"tokenizer": lambda text: [2**31]}, "tokenizer: gave"),
        ({"field": 3}, "field"),
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
    ],
)
def test_bad_arguments(tmp_path, change, match):
    path = write(tmp_path / "a.jsonl", ["one"])
    good = {"path_or_paths": path, "tokenizer": characters}
    assert len(dm.data.text(**good)) == 1
    with pytest.raises(ValueError, match=match):
        dm.data.text(**{**good, **change})


def test_published_text(data_folder):
    needs("tokenizers")
    folder = data_folder / "text"
    packed = (folder / "openwebtext-1000.gpt2.u16.gz").read_bytes()
    expected = np.frombuffer(gzip.decompress(packed), "<u2")
    end = int(np.flatnonzero(expected == 50256)[99]) + 1
    path = folder / "openwebtext-1000.jsonl.gz"
    documents = dm.data.text(path, tokenizer=data_folder / "gpt2", limit=100)
    assert len(documents) == 100
    joined = np.concatenate([np.append(document, 50256) for document in documents])
    assert np.array_equal(joined, expected[:end])
