"""Native objects, their functions, and views of their memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _signatures as c
from ._arrays import FloatArray, address, floats, shape_text
from ._library import check, library

if TYPE_CHECKING:
    from .network import Network


class Functions:
    """The functions ``dynamoe_<noun>_<verb>`` as attributes named by the verb."""

    def __init__(self, noun: str) -> None:
        prefix = f"dynamoe_{noun}_"
        for name in c.FUNCTIONS:
            if name.startswith(prefix) and not name.endswith("_init"):
                setattr(self, name[len(prefix) :], getattr(library, name))

    def __getattr__(self, verb: str) -> Any:
        raise AttributeError(verb)


class Handle:
    """Owns one native object and frees it when the last reference goes.

    Every view of the object's memory holds a reference, so memory outlives all views.
    """

    __slots__ = ("_free", "address")

    def __init__(self, value: int, free: Any) -> None:
        self.address = value
        self._free = free

    def __del__(self) -> None:
        self._free(self.address)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a live model cannot be copied or pickled: use save and load")


class _Borrowed:
    """Memory of a handle, in the form that NumPy makes an array of without a copy."""

    __slots__ = ("__array_interface__", "_handle")

    def __init__(self, handle: Handle, where: int, shape: tuple[int, ...], writable: bool) -> None:
        self._handle = handle
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<f4",
            "shape": shape,
            "data": (where, not writable),
        }


class Place(NamedTuple):
    shape: tuple[int, ...]
    size: int
    data: int
    gradient: int | None


class Tensors(Mapping[str, FloatArray]):
    """Names to live views of the network's own memory, in file order.

    A view is made at each access, without a copy, and shows every later change. It stays valid
    after the network was closed or forgotten. Views of parameters and buffers are read-only;
    ``mapping[name] = values`` copies values in after checking shape and finiteness, in effect from
    the next call. Views of gradients are writable.

    A matrix in bfloat16 has no memory in float32: each access makes a read-only copy.
    """

    def __init__(self, network: Network, kind: str) -> None:
        self._network = network
        self._kind = kind

    def _places(self) -> dict[str, Place]:
        self._network._live()
        return self._network._buffers if self._kind == "buffer" else self._network._tensors

    def _place(self, name: str) -> Place:
        try:
            return self._places()[name]
        except (KeyError, TypeError):
            raise KeyError(f"{name!r} is not the name of a {self._kind}") from None

    def __getitem__(self, name: str) -> FloatArray:
        handle = self._network._live()
        place = self._place(name)
        if self._kind == "gradient":
            return np.asarray(_Borrowed(handle, place.gradient or 0, place.shape, True))
        if not place.data and place.size:
            return self._copied(handle, name, place)
        return np.asarray(_Borrowed(handle, place.data, place.shape, False))

    def _copied(self, handle: Handle, name: str, place: Place) -> FloatArray:
        values = np.empty(place.shape, np.float32)
        get = self._network._c.parameter_get
        check(get(handle.address, name.encode(), address(values), values.size))
        values.flags.writeable = False
        return values

    def __setitem__(self, name: str, values: Any) -> None:
        place = self._place(name)
        array = floats(values, f"{self._kind}s[{name!r}]")
        if array.shape != place.shape:
            raise ValueError(
                f"{self._kind}s[{name!r}]: got shape {shape_text(array.shape)}, "
                f"allowed is {shape_text(place.shape)}"
            )
        if self._kind == "gradient":
            self[name][...] = array
        else:
            self._set(name, address(array), array.size)

    def shared(self, name: str) -> FloatArray:
        """Return a writable view; whoever writes there calls `written` before the next call.

        Of parameters the network keeps packed copies, which know of no write through a view.
        """
        handle = self._network._live()
        place = self._place(name)
        return np.asarray(_Borrowed(handle, place.data, place.shape, True))

    def written(self, name: str) -> None:
        """Check the values that were written to `shared` and put them in effect.

        Raises
        ------
        ValueError
            When one of them is NaN or infinity.
        """
        self._set(name, self._place(name).data, self._place(name).size)

    def _set(self, name: str, where: int, size: int) -> None:
        functions, handle = self._network._c, self._network._live()
        setter = functions.buffer_set if self._kind == "buffer" else functions.parameter_set
        check(setter(handle.address, name.encode(), where, size))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places())

    def __len__(self) -> int:
        return len(self._places())

    def __repr__(self) -> str:
        lines = [f"  {name} {shape_text(p.shape)}" for name, p in self._places().items()]
        return "\n".join([f"{len(lines)} {self._kind}s", *lines])
