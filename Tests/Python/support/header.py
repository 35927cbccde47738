"""Reads functions and structs out of dynamoe.h."""

from __future__ import annotations

import re
from pathlib import Path


def source(path: Path) -> str:
    """Return the header without comments and preprocessor lines."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.DOTALL)
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


def functions(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Return name -> (result type, argument types) of every function."""
    found = {}
    pattern = re.compile(r"([A-Za-z_][\w\s]*?[\s*]+)(dynamoe_\w+)\s*\(([^()]*)\)\s*;")
    for result, name, arguments in pattern.findall(source(path)):
        listed = [_type(argument) for argument in arguments.split(",")]
        found[name] = (_spaced(result), [] if listed == ["void"] else listed)
    return found


def structs(path: Path) -> dict[str, list[tuple[str, str, int]]]:
    """Return name -> [(field, type, length)] of every struct with a body."""
    found = {}
    pattern = re.compile(r"typedef struct \w+ \{(.*?)\}\s*(\w+)\s*;", flags=re.DOTALL)
    for body, name in pattern.findall(source(path)):
        fields = []
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            match = re.match(r"((?:const\s+)?\w+\s*\**)\s*(.*)", declaration, flags=re.DOTALL)
            assert match, declaration
            for declared in match.group(2).split(","):
                field, length = re.match(r"\s*(\w+)(?:\[(\d+)\])?\s*$", declared).groups()
                fields.append((field, _spaced(match.group(1)), int(length or 1)))
        found[name] = fields
    return found


def constants(path: Path) -> dict[str, int]:
    """Return every enumeration constant with a number."""
    pairs = re.findall(r"(DYNAMOE_\w+)\s*=\s*(-?\d+)", source(path))
    return {name: int(value) for name, value in pairs}


def _type(argument: str) -> str:
    argument = argument.strip()
    return argument if argument == "void" else _spaced(re.sub(r"\w+$", "", argument))


def _spaced(text: str) -> str:
    return re.sub(r"\s*\*", "*", re.sub(r"\s+", " ", text)).strip()
