"""Which tensors of a checkpoint make one Mixtral block, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from .._arrays import FloatArray, as_array, floats, require_finite, shape_text
from .._library import integer

_BLOCK = re.compile(r"(?P<prefix>(?:.*\.)?layers\.(?P<number>\d+)\.(?:block_sparse_moe|mlp)\.)")
_PER_EXPERT = re.compile(r"experts\.(?:0|[1-9]\d*)\.w[123]\.weight")
_GATE = "gate.weight"
_GATE_UP, _DOWN = "experts.gate_up_proj", "experts.down_proj"
_SHOWN = 3


class Source(Protocol):
    """Tensors by name: those of files, or arrays in memory."""

    @property
    def names(self) -> Iterable[str]:
        """The names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""

    def read(self, name: str) -> FloatArray:
        """Return a tensor as float32."""


class Arrays:
    """Arrays in memory, of any kind that the package reads."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays

    def __str__(self) -> str:
        return "the mapping"

    @property
    def names(self) -> Iterable[str]:
        """The names of all arrays."""
        return [name for name in self._arrays if isinstance(name, str)]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        shape = getattr(self._arrays[name], "shape", None)
        return as_array(self._arrays[name], name).shape if shape is None else tuple(shape)

    def read(self, name: str) -> FloatArray:
        """Return an array as float32."""
        return floats(self._arrays[name], name)


class Block:
    """One block: its sizes, checked, and its arrays under a layer's names, read when asked for."""

    parameter_names = (
        "router.weight",
        "experts.up.weight",
        "experts.gate.weight",
        "experts.down.weight",
    )

    def __init__(self, source: Source, number: int | None) -> None:
        self._source = source
        self._prefix = _prefix(source, number)
        size = len(self._prefix)
        inside = {name[size:] for name in source.names if name.startswith(self._prefix)}
        if number is None:
            inside = {name for name in inside if name.startswith(("gate.", "experts."))}
        self._require(inside, {_GATE})
        self.experts, self.width = self._matrix(_GATE, "[experts, width]", 2)
        self._fused = _GATE_UP in inside or _DOWN in inside
        self._require(inside, self._expected())
        if extra := sorted(inside - self._expected()):
            raise ValueError(
                f"{self._prefix}{extra[0]}: a Mixtral block of {self.experts} experts has no such "
                f"tensor{_and_more(extra)}"
            )
        first = self._matrix(_DOWN if self._fused else "experts.0.w2.weight", "", 0)
        if len(first) != 2 + self._fused or first[-1] < 1:
            allowed = "[experts, width, hidden]" if self._fused else "[width, hidden]"
            name = _DOWN if self._fused else "experts.0.w2.weight"
            raise ValueError(
                f"{self._prefix}{name}: got shape {shape_text(first)}, allowed is {allowed}"
            )
        self.hidden = first[-1]
        self._check_shapes()

    def _expected(self) -> set[str]:
        if self._fused:
            return {_GATE, _GATE_UP, _DOWN}
        leaves = ("w1", "w2", "w3")
        names = {f"experts.{e}.{leaf}.weight" for e in range(self.experts) for leaf in leaves}
        return {_GATE, *names}

    def _require(self, inside: set[str], expected: set[str]) -> None:
        missing = sorted(expected - inside, key=lambda name: (len(name), name))
        if missing:
            raise ValueError(
                f"{self._prefix}{missing[0]}: is not in {self._source}{_and_more(missing)}"
            )

    def _matrix(self, name: str, allowed: str, rank: int) -> tuple[int, ...]:
        shape = self._source.shape(self._prefix + name)
        if rank and (len(shape) != rank or min(shape) < 1):
            raise ValueError(
                f"{self._prefix}{name}: got shape {shape_text(shape)}, allowed is {allowed}"
            )
        return shape

    def _check_shapes(self) -> None:
        n, d, h = self.experts, self.width, self.hidden
        shapes: dict[str, tuple[int, ...]] = {_GATE_UP: (n, 2 * h, d), _DOWN: (n, d, h)}
        if not self._fused:
            shapes = {}
            for expert in range(n):
                shapes[f"experts.{expert}.w1.weight"] = (h, d)
                shapes[f"experts.{expert}.w2.weight"] = (d, h)
                shapes[f"experts.{expert}.w3.weight"] = (h, d)
        for name, allowed in shapes.items():
            found = self._source.shape(self._prefix + name)
            if found != allowed:
                raise ValueError(
                    f"{self._prefix}{name}: got shape {shape_text(found)}, allowed is "
                    f"{shape_text(allowed)}: {n} experts, width {d}, hidden size {h}"
                )

    def parameter(self, name: str) -> FloatArray:
        """Return the array of a layer's parameter, of `parameter_names`."""
        n, d, h = self.experts, self.width, self.hidden
        if name == "router.weight":
            return self._read(_GATE)
        projection = name.split(".")[1]
        if self._fused:
            if projection == "down":
                return self._read(_DOWN)
            half = slice(0, h) if projection == "gate" else slice(h, 2 * h)
            return np.ascontiguousarray(self._read(_GATE_UP)[:, half])
        leaf = {"gate": "w1", "down": "w2", "up": "w3"}[projection]
        result = np.empty((n, d, h) if projection == "down" else (n, h, d), np.float32)
        for expert in range(n):
            result[expert] = self._read(f"experts.{expert}.{leaf}.weight")
        return result

    def _read(self, name: str) -> FloatArray:
        values = self._source.read(self._prefix + name)
        require_finite(values, self._prefix + name)
        return values


def _prefix(source: Source, number: int | None) -> str:
    """Return what the names of block `number` begin with."""
    if number is None:
        return ""
    wanted = integer(number, "number", 0)
    found: dict[str, int] = {}
    for name in source.names:
        match = _BLOCK.match(name)
        if match:
            rest = name[match.end() :]
            if rest in (_GATE, _GATE_UP, _DOWN) or _PER_EXPERT.fullmatch(rest):
                found[match["prefix"]] = int(match["number"])
    prefixes = sorted(prefix for prefix, layer in found.items() if layer == wanted)
    if len(prefixes) == 1:
        return prefixes[0]
    if prefixes:
        names = ", ".join(prefixes)
        raise ValueError(f"number: got {wanted}, which {source} has more than once: {names}")
    layers = sorted(set(found.values()))
    allowed = f"is one of {', '.join(map(str, layers))}" if layers else "is none: no Mixtral block"
    raise ValueError(f"number: got {wanted}, allowed in {source} {allowed}")


def _and_more(names: list[str]) -> str:
    if len(names) == 1:
        return ""
    shown = ", ".join(names[1 : 1 + _SHOWN])
    return f", nor {shown}" + (" and more" if len(names) > 1 + _SHOWN else "")
