"""The files that callbacks write: their paths, and what is there already."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any


def checked_path(path: Any, name: str = "path") -> str:
    """Return `path` as a string, or raise a ValueError that names it."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise ValueError(f"{name}: got {path!r}, allowed is a path")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ValueError(f"{name}: got {text!r}, allowed is the name of a file")
    return text


def require_writable(path: Path) -> None:
    """Raise an OSError unless a file can be written at `path`."""
    folder = path.parent
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, allowed is the name of a file")
    if not folder.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{path} cannot be written: {folder} may not be written to")


def size(path: Path) -> int:
    """Return the bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def first_columns(path: Path, is_csv: bool) -> list[str]:
    """Return the columns that the first line of a CSV or JSONL file names, none of other text."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            if is_csv:
                return next(csv.reader(file), [])
            line = json.loads(file.readline())
    except (ValueError, csv.Error, RecursionError):
        return []
    return list(line) if isinstance(line, dict) else []
