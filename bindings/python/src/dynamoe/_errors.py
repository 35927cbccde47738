"""Errors of the library as Python exceptions."""

from __future__ import annotations

from . import _signatures as c


class DynaMoEError(RuntimeError):
    """Anything that is neither a bad argument nor a file nor memory.

    A backward without a training forward before it, a handle that another thread is inside,
    arithmetic that left the finite numbers, kernels absent on this machine.

    Attributes
    ----------
    status : int or None
        The status code of the C interface, -7 (``DYNAMOE_ERROR_BUSY``) for a handle that another
        thread is inside or changes; None when Python itself noticed.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


_EXCEPTIONS: dict[int, type[Exception]] = {
    c.ERROR_ARGUMENT: ValueError,
    c.ERROR_HANDLE: ValueError,
    c.ERROR_FILE: OSError,
    c.ERROR_FORMAT: OSError,
    c.ERROR_MEMORY: MemoryError,
}


def exception(status: int, message: str) -> Exception:
    """Return the exception for a status of the C interface."""
    message = message or f"the library reported status {status} without a message"
    kind = _EXCEPTIONS.get(status)
    return DynaMoEError(message, status) if kind is None else kind(message)
