"""Tokenizers of GPT-2's kind from files, through the package `tokenizers` or `tiktoken`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ._arrays import IntArray, as_array

TokenizerPackage: TypeAlias = Literal["tokenizers", "tiktoken"]
Encode: TypeAlias = Callable[[list[str]], list[Any]]

END_OF_TEXT = "<|endoftext|>"

_ORIGIN = (
    "get GPT-2's encoder.json and vocab.bpe from "
    "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/ (vocab.json and merges.txt "
    "of https://huggingface.co/openai-community/gpt2 are the same files)"
)
_VOCABULARIES = ("encoder.json", "vocab.json")
_MERGES = ("vocab.bpe", "merges.txt")
# GPT-2's: contractions, letters, numbers and the rest, each with the space before it.
_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class Tokenizer:
    """Turns texts into token ids.

    Made by `dynamoe.data.gpt2_tokenizer`.

    Attributes
    ----------
    vocabulary : int
        Number of token ids.
    end_of_text : int or None
        The id of ``<|endoftext|>``, which no text is turned into; None when there is none.
    package : str
        What does the work: ``"tokenizers"`` or ``"tiktoken"``.
    """

    def __init__(
        self, vocabulary: int, end_of_text: int | None, package: str, encode: Encode
    ) -> None:
        self.vocabulary = vocabulary
        self.end_of_text = end_of_text
        self.package = package
        self._encode = encode

    def encode(self, text: str) -> IntArray:
        """Return the ids of a text, int32 [tokens]."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[IntArray]:
        """Return the ids of several texts, each int32 [tokens]."""
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"text: got {type(text).__name__}, allowed is a string")
        return [np.array(ids, np.int32) for ids in self._encode(list(map(_whole, texts)))]

    def __repr__(self) -> str:
        return f"Tokenizer({self.vocabulary} ids, by {self.package})"


def gpt2_tokenizer(
    vocabulary: str | os.PathLike[str],
    merges: str | os.PathLike[str] | None = None,
    package: TokenizerPackage | None = None,
) -> Tokenizer:
    """Return a byte-pair tokenizer of GPT-2's kind from its two files.

    Nothing is downloaded. Needs the package ``tokenizers`` or ``tiktoken``
    (``pip install 'dynamoe[text]'`` installs the first); both give the same ids.

    Parameters
    ----------
    vocabulary : str or path object
        The JSON file from tokens to ids, ``encoder.json`` or ``vocab.json``; or, without
        `merges`, the folder of both files.
    merges : str or path object, optional
        The list of merges, ``vocab.bpe`` or ``merges.txt``.
    package : {"tokenizers", "tiktoken"}, optional
        What is to do the work; by default the first that is installed.

    Raises
    ------
    OSError
        When a file is missing or not what it should be; the message names it and where to get it.
    ImportError
        When the package is not installed.
    ValueError
        For anything else wrong with an argument.

    Examples
    --------
    >>> tokenizer = gpt2_tokenizer("gpt2")
    >>> tokenizer.encode("Hello world")
    array([15496,   995], dtype=int32)
    """
    encoder, pairs = _paths(vocabulary, merges)
    ids = _read_vocabulary(encoder)
    ranked = _read_merges(pairs)
    module, name = _package(package)
    make = _by_tokenizers if name == "tokenizers" else _by_tiktoken
    encode = make(module, ids, ranked, encoder, pairs)
    return Tokenizer(max(ids.values()) + 1, ids.get(END_OF_TEXT), name, encode)


def encoder_of(tokenizer: Any) -> Callable[[list[str]], list[IntArray]]:
    """Return a function from texts to ids of whatever the caller has as a tokenizer."""
    if isinstance(tokenizer, (str, os.PathLike)):
        tokenizer = gpt2_tokenizer(tokenizer)
    elif isinstance(tokenizer, (tuple, list)) and len(tokenizer) == 2:
        tokenizer = gpt2_tokenizer(*tokenizer)
    if isinstance(tokenizer, Tokenizer):
        return tokenizer.encode_all
    one = getattr(tokenizer, "encode_ordinary", None) or getattr(tokenizer, "encode", None)
    one = one if callable(one) else tokenizer
    if not callable(one):
        raise ValueError(
            f"tokenizer: got {tokenizer!r}, allowed are the folder of GPT-2's files, a pair "
            "(vocabulary, merges) of paths, a tokenizer with a method encode, or a function from "
            "a string to ids"
        )
    return lambda texts: [_ids(one(_whole(text))) for text in texts]


def _ids(result: Any) -> IntArray:
    """Return what a foreign tokenizer gave as int32 [tokens]."""
    ids = as_array(getattr(result, "ids", result), "tokenizer")
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            f"tokenizer: gave {ids.dtype} of {ids.ndim} dimensions, allowed is a list of ids"
        )
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= 2**31):
        raise ValueError(f"tokenizer: gave {ids.min()} to {ids.max()}, allowed is 0 to 2**31 - 1")
    return ids.astype(np.int32)


def _whole(text: str) -> str:
    """Return a text without half surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# ------------------------------------------------------------------------------- files


def _paths(vocabulary: Any, merges: Any) -> tuple[Path, Path]:
    place = as_path(vocabulary, "vocabulary")
    if merges is not None:
        return place, as_path(merges, "merges")
    if not place.exists():
        raise OSError(f"{place} is missing; {_ORIGIN}")
    if not place.is_dir():
        raise ValueError(f"merges: missing, allowed without it is a folder as vocabulary: {place}")
    return _first(place, _VOCABULARIES), _first(place, _MERGES)


def as_path(value: Any, name: str) -> Path:
    """Return a path, or raise a ValueError that names it."""
    try:
        return Path(os.fsdecode(value))
    except (TypeError, ValueError):
        raise ValueError(f"{name}: got {value!r}, allowed is a path") from None


def _first(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise OSError(f"{folder / names[0]} is missing (also {names[1]}); {_ORIGIN}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OSError(f"{path} is missing; {_ORIGIN}") from None
    except UnicodeDecodeError as error:
        raise OSError(f"{path} is not UTF-8 text: {error}; {_ORIGIN}") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror or error}") from None


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        ids = json.loads(_text(path))
    except ValueError as error:
        raise OSError(f"{path} is not JSON: {error}; {_ORIGIN}") from None
    good = isinstance(ids, dict) and ids and all(type(value) is int for value in ids.values())
    if not good or min(ids.values()) < 0 or len(set(ids.values())) != len(ids):
        raise OSError(f"{path} is not an object from tokens to different ids; {_ORIGIN}")
    return dict(ids)


def _read_merges(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise OSError(f"{path}, line {number}: is not two tokens with a space; {_ORIGIN}")
        pairs.append((parts[0], parts[1]))
    return pairs


# ------------------------------------------------------------------------------- packages


def _package(wanted: str | None) -> tuple[Any, str]:
    if wanted not in (None, "tokenizers", "tiktoken"):
        raise ValueError(f"package: got {wanted!r}, allowed are 'tokenizers', 'tiktoken' and None")
    if wanted != "tiktoken":
        try:
            import tokenizers

            return tokenizers, "tokenizers"
        except ImportError as error:
            if wanted:
                raise _not_installed(wanted) from error
    try:
        import tiktoken

        return tiktoken, "tiktoken"
    except ImportError as error:
        raise _not_installed(wanted or "tokenizers or tiktoken") from error


def _not_installed(what: str) -> ImportError:
    return ImportError(
        f"texts are turned into tokens by the package {what}, which is not installed: "
        "`pip install 'dynamoe[text]'` or `pip install tiktoken`"
    )


def _by_tokenizers(
    module: Any, ids: dict[str, int], merges: list[tuple[str, str]], encoder: Path, pairs: Path
) -> Encode:
    from tokenizers import models, pre_tokenizers

    try:
        tokenizer = module.Tokenizer(models.BPE(vocab=ids, merges=merges))
    except Exception as error:
        raise _unfit(encoder, pairs, error) from None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(texts: list[str]) -> list[Any]:
        return [result.ids for result in tokenizer.encode_batch_fast(texts)]

    return encode


def _by_tiktoken(
    module: Any, ids: dict[str, int], merges: list[tuple[str, str]], encoder: Path, pairs: Path
) -> Encode:
    latest = -1
    for left, right in merges:
        known = ids.get(left + right, -1)
        # tiktoken has one number for both: the order of the merges and the id.
        if known <= latest or left not in ids or right not in ids:
            raise _unfit(encoder, pairs, f"the merge {left} {right} has no id in that order")
        latest = known
    byte_of = {character: byte for byte, character in enumerate(_byte_characters())}
    try:
        ranks = {
            bytes(byte_of[character] for character in token): number
            for token, number in ids.items()
            if token != END_OF_TEXT
        }
        special = {END_OF_TEXT: ids[END_OF_TEXT]} if END_OF_TEXT in ids else {}
        encoding = module.Encoding(
            encoder.stem, pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens=special
        )
    except Exception as error:
        raise _unfit(encoder, pairs, error) from None
    return lambda texts: list(encoding.encode_ordinary_batch(texts))


def _unfit(encoder: Path, pairs: Path, error: Any) -> OSError:
    return OSError(f"{encoder} and {pairs} do not belong together: {error}; {_ORIGIN}")


def _byte_characters() -> list[str]:
    """Return the character that stands for each byte in GPT-2's files.

    Printable bytes of Latin-1 stand for themselves, the others for the characters from 256 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    characters = []
    others = 0
    for byte in range(256):
        characters.append(chr(byte if byte in printable else 256 + others))
        others += byte not in printable
    return characters
