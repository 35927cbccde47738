"""Documents of text as token ids, and the windows that language models train on."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import IntArray, integers, shape_text
from ._library import integer, number
from ._tokenizers import as_path, encoder_of

_BATCH = 256
_LARGEST_ID = 2**31 - 1


def text(
    path_or_paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    tokenizer: Any,
    *,
    field: str = "text",
    limit: int | None = None,
) -> list[IntArray]:
    """Return the documents of JSONL files as token ids.

    Each line is one JSON object, whose `field` is the text of one document; empty lines are passed
    over. Documents without a token are left out.

    Parameters
    ----------
    path_or_paths : path, or list of paths
        Files in UTF-8, plain or packed by gzip (``.gz``).
    tokenizer : path, pair of paths, tokenizer or callable
        The folder of GPT-2's vocabulary and merges, or (vocabulary, merges); what
        `gpt2_tokenizer` returns; an object of ``tokenizers`` or ``tiktoken``; or a function from a
        string to a list of ids.
    field : str, default "text"
        The key of the text.
    limit : int, optional
        Stop after so many documents.

    Returns
    -------
    list of numpy.ndarray
        One int32 [tokens] per document, in order.

    Raises
    ------
    OSError
        When a file is missing, damaged or has a line that is no such object; the message names
        file and line.
    ImportError
        When the tokenizer needs a package that is not installed.
    ValueError
        For anything else wrong with an argument.

    Examples
    --------
    >>> documents = text("openwebtext.jsonl.gz", tokenizer="gpt2")
    >>> training, held_out = split_documents(documents, held_out_share=0.05, seed=0)
    >>> x, targets = windows(training, 128, end_of_text=50256)
    """
    paths = _paths(path_or_paths)
    encode = encoder_of(tokenizer)
    if not isinstance(field, str):
        raise ValueError(f"field: got {field!r}, allowed is a string")
    most = None if limit is None else integer(limit, "limit", 1)
    documents: list[IntArray] = []
    batch: list[str] = []
    for line in _texts(paths, field):
        batch.append(line)
        if len(batch) == _BATCH or (most is not None and len(documents) + len(batch) >= most):
            documents += [ids for ids in encode(batch) if ids.size]
            batch.clear()
            if most is not None and len(documents) >= most:
                return documents
    if batch:
        documents += [ids for ids in encode(batch) if ids.size]
    return documents


def split_documents(
    documents: Sequence[Any], held_out_share: float = 0.1, seed: int = 0
) -> tuple[list[Any], list[Any]]:
    """Split documents at random into those to train on and those held out.

    Whole documents: no window of a held-out document is seen in training. round(n * held_out_share)
    of n are held out, at least one and at most all but one.

    Parameters
    ----------
    documents : sequence
        At least two; of any kind.
    held_out_share : float, default 0.1
        Between 0 and 1, both excluded.
    seed : int, default 0
        Same seed and number of documents, same split.

    Returns
    -------
    training, held_out : list
        Each in the order of `documents`.

    Raises
    ------
    ValueError
        For fewer than two documents, or a share out of bounds.
    """
    if not isinstance(documents, (list, tuple)) or len(documents) < 2:
        got = len(documents) if isinstance(documents, (list, tuple)) else type(documents).__name__
        raise ValueError(f"documents: got {got}, allowed is a list of at least 2")
    share = number(held_out_share, "held_out_share")
    if not 0 < share < 1:
        raise ValueError(f"held_out_share: got {share}, allowed is between 0 and 1, both excluded")
    generator = np.random.Generator(np.random.PCG64(integer(seed, "seed", 0, 2**64 - 1)))
    count = min(max(round(len(documents) * share), 1), len(documents) - 1)
    chosen = set(generator.permutation(len(documents))[:count].tolist())
    training = [document for index, document in enumerate(documents) if index not in chosen]
    return training, [documents[index] for index in sorted(chosen)]


def windows(
    ids: Any,
    length: int,
    *,
    end_of_text: int | None = None,
    across: bool = False,
    padding: int = 0,
) -> tuple[IntArray, IntArray]:
    """Cut documents into windows of tokens, with the next token of each as its target.

    A document of n tokens has n - 1 pairs of a token and the next; they are cut into windows of
    `length` one after the other, none shared. What remains of the last window is filled with
    `padding` and targets of -1, which no loss counts (routing does see those rows).

    Parameters
    ----------
    ids : array or list of arrays
        One document [tokens], or several; integer ids.
    length : int
        S, at least 1.
    end_of_text : int, optional
        The token to put after each document, where it is the target of the last one.
    across : bool, default False
        Whether windows go on from one document into the next, over `end_of_text`, which is then
        required. Only the last window of all has padding.
    padding : int, default 0
        The id that fills.

    Returns
    -------
    x, targets : numpy.ndarray
        int32 [B, S]; a document of one token and nothing after it has no window.

    Raises
    ------
    ValueError
        For anything wrong with an argument.

    Examples
    --------
    >>> x, targets = windows([[5, 6, 7, 8], [9, 10]], 2)
    >>> x.tolist(), targets.tolist()
    ([[5, 6], [7, 0], [9, 0]], [[6, 7], [8, -1], [10, -1]])
    """
    documents = _documents(ids)
    size = integer(length, "length", 1, _LARGEST_ID)
    filler = integer(padding, "padding", 0, _LARGEST_ID)
    if end_of_text is not None:
        end = np.array([integer(end_of_text, "end_of_text", 0, _LARGEST_ID)], np.int32)
        documents = [np.concatenate([document, end]) for document in documents]
    if across:
        if end_of_text is None:
            raise ValueError("end_of_text: missing, allowed with across is an id between documents")
        documents = [np.concatenate(documents)] if documents else []
    counts = [max(len(document) - 1, 0) for document in documents]
    total = sum(-(-count // size) for count in counts)
    x = np.full((total, size), filler, np.int32)
    targets = np.full((total, size), -1, np.int32)
    first = 0
    for document, count in zip(documents, counts, strict=True):
        if count:
            x.reshape(-1)[first : first + count] = document[:-1]
            targets.reshape(-1)[first : first + count] = document[1:]
            first += -(-count // size) * size
    return x, targets


def _documents(ids: Any) -> list[IntArray]:
    several = isinstance(ids, (list, tuple)) and not all(np.ndim(part) == 0 for part in ids)
    documents = []
    for index, part in enumerate(ids if several else [ids]):
        name = f"ids[{index}]" if several else "ids"
        empty = isinstance(part, (list, tuple)) and len(part) == 0
        array = np.zeros(0, np.int32) if empty else integers(part, name, "integer ids")
        if array.ndim != 1:
            raise ValueError(
                f"{name}: got shape {shape_text(array.shape)}, allowed is [tokens], or a list of "
                "such documents"
            )
        if array.size and array.min() < 0:
            raise ValueError(f"{name}: got {array.min()}, allowed are ids of at least 0")
        documents.append(array)
    return documents


# ------------------------------------------------------------------------------- files


def _paths(value: Any) -> list[Path]:
    several = isinstance(value, (list, tuple))
    if several and not value:
        raise ValueError("path_or_paths: got an empty list, allowed is at least one path")
    paths = [as_path(part, "path_or_paths") for part in (value if several else [value])]
    for path in paths:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "is missing"
            raise OSError(f"{path} {what}; allowed are files with one JSON object a line")
    return paths


def _texts(paths: Sequence[Path], field: str) -> Iterator[str]:
    for path in paths:
        number = 0
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield _field(line, field, f"{path}, line {number}")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise OSError(f"{path} is damaged after line {number}: {error}") from None
        except PermissionError as error:
            raise OSError(f"{path} cannot be read: {error.strerror or error}") from None


def _field(line: bytes, field: str, place: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise OSError(
            f"{place}: is not JSON ({error}); allowed is one object a line with a text in {field!r}"
        ) from None
    if not isinstance(value, dict):
        raise OSError(f"{place}: is a {type(value).__name__}, allowed is an object with {field!r}")
    if field not in value:
        keys = ", ".join(map(repr, list(value)[:8])) or "none"
        raise OSError(f"{place}: has no {field!r}, only {keys}; the argument field names another")
    if not isinstance(value[field], str):
        raise OSError(f"{place}: {field!r} is a {type(value[field]).__name__}, allowed is a string")
    return str(value[field])
